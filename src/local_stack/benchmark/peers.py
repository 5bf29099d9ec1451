"""The packages that the replay is compared with, in an environment of their own: they need other
versions of ours, and the product needs none of them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import distributions

from config import PROJECT_ROOT
from local_stack.benchmark.clients import RIVALS
from local_stack.exchange_process import StackError
from mariadb_server.debian_packages import LOCAL_FOLDER

FOLDER = LOCAL_FOLDER / "benchmark-peers"
PYTHON = FOLDER / "bin" / "python"
REQUIREMENTS = RIVALS / "requirements.txt"


def read_wanted() -> dict[str, str]:
    """Name and version of each peer."""
    lines = REQUIREMENTS.read_text("utf-8").splitlines()
    pinned = (line.partition("==") for line in lines if line and not line.startswith("#"))
    return {name: version for name, _, version in pinned}


def find_missing() -> list[str]:
    """The peers that are not there in the wanted version."""
    there = {
        one.metadata["Name"].lower(): one.version
        for one in distributions(path=[str(path) for path in FOLDER.glob("lib/*/site-packages")])
    }
    return [name for name, version in read_wanted().items() if there.get(name) != version]


def install(report: Callable[[str], None]) -> None:
    """Into an environment of their own below .local.

    Raises:
        StackError: with pip's last words.
    """
    if not find_missing():
        return
    report(f"installing {', '.join(read_wanted())} into {FOLDER.relative_to(PROJECT_ROOT)}")
    _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(FOLDER))
    _run(sys.executable, "-m", "pip", "--python", str(PYTHON), "install", "-r", str(REQUIREMENTS))


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise StackError(f"the peers were not installed: {said[-1] if said else 'no reason given'}")
