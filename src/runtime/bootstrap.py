"""Go on in the project's own Python when a program was started with one that lacks the packages.

Import this before anything else: `python src/main_app.py` is what people type. A program outside
src/ puts that folder on its path first, because only the project's own Python knows it.
"""

from __future__ import annotations

import os
import resource
import sys
from importlib.util import find_spec
from pathlib import Path

_NEEDED = ("alpaca", "dotenv", "mysql", "psutil")
_TUNABLES, _CACHE = "GLIBC_TUNABLES", "glibc.malloc.tcache_count"
_OWN_PYTHON = Path(__file__).resolve().parents[2] / ".venv" / "bin" / "python"


def go_on_in_own_python() -> None:
    """Replace this process (the PID stays) by the same program under `.venv`, if it is needed."""
    if all(find_spec(package) is not None for package in _NEEDED):
        return
    if not _OWN_PYTHON.exists() or Path(sys.prefix) == _OWN_PYTHON.parents[1]:
        sys.exit("the packages of requirements.txt are not installed: run scripts/setup first")
    os.execv(_OWN_PYTHON, [str(_OWN_PYTHON), *sys.argv])


def keep_thread_caches_empty() -> None:
    """Go on as the same process (the PID stays) in which glibc keeps nothing back for each thread
    that frees: it fills such a cache for each of a daemon's threads within hours, up to 5 MB in
    all. Only the environment of a program that starts can say so.
    """
    tunables = os.environ.get(_TUNABLES, "")
    if not sys.platform.startswith("linux") or _CACHE in tunables:
        return
    os.environ[_TUNABLES] = ":".join(filter(None, (tunables, f"{_CACHE}=0")))
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def forbid_core_files() -> None:
    """For this process and its children: a core file would hold the keys."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


go_on_in_own_python()
