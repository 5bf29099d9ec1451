"""The project in another folder, with an environment and a .env of its own, as a user has it."""

from __future__ import annotations

import shutil
import sys
import venv
from pathlib import Path

from config import PROJECT_ROOT
from utils.env_file import env_file_value


def copy_project(folder: Path, settings: dict[str, str]) -> Path:
    """Copy what runs into the new `folder`; the packages are borrowed from this environment."""
    for name in ("src", "scripts"):
        shutil.copytree(
            PROJECT_ROOT / name,
            folder / name,
            # What is compiled comes along, but for what another process writes right now.
            ignore=shutil.ignore_patterns("*.pyc.*", "*.egg-info"),
        )
    for name in ("requirements.txt", "pyproject.toml"):
        shutil.copy(PROJECT_ROOT / name, folder)
    environment = folder / ".venv"
    venv.EnvBuilder(symlinks=True).create(environment)
    [packages] = environment.glob("lib/python*/site-packages")
    # The copy's own modules first; a .pth in a borrowed folder is not read, so ours are not found.
    borrowed = [entry for entry in sys.path if "-packages" in entry]
    (packages / "project.pth").write_text("\n".join([str(folder / "src"), *borrowed, ""]))
    write_env_file(folder, settings)
    return folder


def write_env_file(folder: Path, settings: dict[str, str]) -> None:
    path = folder / ".env"
    path.touch(0o600)
    lines = [f"{name}={env_file_value(value)}\n" for name, value in settings.items()]
    path.write_text("".join(lines))
