"""Which program is measured: this checkout, a folder with another, or a revision of this one."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from config import PROJECT_ROOT
from local_stack.exchange_process import StackError


@dataclass(frozen=True, slots=True)
class Checkout:
    """A folder with the project in it. `name` is what the tables call it."""

    name: str
    root: Path
    python: str
    revision: str  # the short id of its commit, with `+` where files differ

    @property
    def source(self) -> Path:
        return self.root / "src"


def this_checkout() -> Checkout:
    return Checkout("this bot", PROJECT_ROOT, sys.executable, _described(PROJECT_ROOT))


def checkout_in(folder: Path, name: str, revision: str | None = None) -> Checkout:
    """The project in `folder`; run by its own packages where it has them, else by ours.

    Raises:
        StackError: there is none.
    """
    root = folder.expanduser().absolute()
    if not (root / "src" / "main_app.py").is_file():
        raise StackError(f"{folder} is no checkout of this project: no src/main_app.py in it")
    own = root / ".venv" / "bin" / "python"
    python = str(own) if own.exists() else sys.executable
    return Checkout(name, root, python, revision or _described(root))


def checkout_of(revision: str, folder: Path) -> Checkout:
    """The files of `revision`, put below `folder`; run by our packages.

    Raises:
        StackError: no git, no repository, or no such revision.
    """
    archived = _git(PROJECT_ROOT, "archive", "--format=tar", revision, "--", "src")
    if archived.returncode != 0:
        said = archived.stderr.decode(errors="replace").strip().splitlines()
        reason = said[-1].removeprefix("fatal: ") if said else "git says nothing"
        raise StackError(f"--against {revision}: {reason}")
    root = folder / "against"
    with tarfile.open(fileobj=io.BytesIO(archived.stdout)) as archive:
        archive.extractall(root, filter="data")
    short = _git(PROJECT_ROOT, "rev-parse", "--short=9", revision).stdout.decode().strip()
    return checkout_in(root, revision, short)


def _described(root: Path) -> str:
    found = _git(root, "describe", "--always", "--dirty=+", "--abbrev=9")
    return found.stdout.decode().strip() if found.returncode == 0 else "no revision known"


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, check=False
        )
    except FileNotFoundError:
        return subprocess.CompletedProcess(arguments, 127, b"", b"git is not installed")
