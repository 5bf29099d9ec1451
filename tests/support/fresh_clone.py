"""The project in a folder of its own, in which nothing was set up: as after a clone."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from config import PROJECT_ROOT
from project_copy import copy_project
from runtime.process_table import command_line_of, end_process

_SECONDS = 120


class FreshClone:
    """Its packages are borrowed, and so is the private copy of MariaDB, if there is one."""

    def __init__(self, folder: Path) -> None:
        self.folder = copy_project(folder, {})
        self.env_file = folder / ".env"
        self.env_file.unlink()
        (folder / ".env.example").write_bytes((PROJECT_ROOT / ".env.example").read_bytes())
        packages = b"".join(
            (folder / name).read_bytes() for name in ("requirements.txt", "pyproject.toml")
        )
        stamp = f"{hashlib.sha256(packages).hexdigest()} {folder}\n"
        (folder / ".venv" / ".installed").write_text(stamp)
        (folder / ".local").mkdir()
        binaries = PROJECT_ROOT / ".local" / "mariadb-binaries"
        if binaries.exists():
            (folder / ".local" / "mariadb-binaries").symlink_to(binaries)
        self.programs = folder / "programs"
        self.programs.mkdir()

    @property
    def environment(self) -> dict[str, str]:
        """No setting of the tests', and programs of the test's own before those of the machine."""
        path = f"{self.programs}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "TERM": "xterm"}

    def command(self, *arguments: str) -> list[str]:
        return [str(self.folder / "scripts" / arguments[0]), *arguments[1:]]

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """A script of its own, where nobody can be asked."""
        return subprocess.run(
            self.command(*arguments),
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )

    def kill_at(self, line: str, arguments: Sequence[str]) -> None:
        """Run it and end it with SIGKILL as soon as it says `line`; what it started lives on."""
        process = subprocess.Popen(
            self.command(*arguments),
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert process.stdout is not None
        said = []
        for one in process.stdout:
            said.append(one)
            if line in one:
                process.kill()
                process.wait()
                process.stdout.close()
                return
        raise AssertionError(f"it never said {line!r}: {''.join(said)}")

    def query(self, database: str, statement: str) -> list[dict[str, Any]]:
        """What the private database answers."""
        done = self.run("database", "shell", "--json", "--database", database, statement)
        assert done.returncode == 0, done.stderr
        rows: list[dict[str, Any]] = json.loads(done.stdout)
        return rows

    def processes(self) -> list[psutil.Process]:
        """All that runs from this folder or with its data."""
        own = str(self.folder)
        return [one for one in psutil.process_iter() if any(own in p for p in command_line_of(one))]

    def end(self) -> None:
        """Nothing of it is left."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                end_process(process, psutil.Process.kill)


@contextlib.contextmanager
def fresh_clone(folder: Path) -> Iterator[FreshClone]:
    clone = FreshClone(folder)
    try:
        yield clone
    finally:
        clone.end()


def write_settings(clone: FreshClone, settings: Mapping[str, str], *more: str) -> None:
    lines = [*(f"{name}={value}" for name, value in settings.items()), *more]
    clone.env_file.touch(0o600)
    clone.env_file.write_text("".join(f"{line}\n" for line in lines))
