"""The PID file of the daemon: locked while it runs, with the process's identity in it.

Owns: at most one daemon per PID file on this host, and the answer to "is it running?" for the
watchdog.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAME_START_SECONDS = 1.0  # resolution of process start times


class AlreadyRunning(Exception):
    """Another process holds the PID file's lock."""


@dataclass(frozen=True, slots=True)
class PidRecord:
    """Which process wrote the file. `started_at` is its start in seconds after the boot."""

    pid: int
    started_at: float

    def is_running(self, program: str = "main_app.py") -> bool:
        """Whether it still runs: the same start (PIDs are reused) and the same program."""
        return self.process(program) is not None

    def process(self, program: str = "main_app.py") -> psutil.Process | None:
        """The process, or None when it is gone, a zombie, or another one has its PID."""
        try:
            process = psutil.Process(self.pid)
            is_same = abs(_started_at(process) - self.started_at) <= _SAME_START_SECONDS
            is_ours = any(Path(part).name == program for part in process.cmdline())
            alive = process.status() != psutil.STATUS_ZOMBIE
        except psutil.Error:
            return None
        return process if is_same and is_ours and alive else None


def _started_at(process: psutil.Process) -> float:
    """Seconds after the boot: both come from the wall clock, which may be set while it runs."""
    return process.create_time() - psutil.boot_time()


def read_pid_file(path: Path) -> PidRecord | None:
    """The record in `path`, or None when there is none or it is garbage."""
    try:
        pid_text, started_text = path.read_text("ascii").split()[:2]
        return PidRecord(int(pid_text), float(started_text))
    except (OSError, ValueError):
        return None


class PidFile:
    """Context manager: lock and write the file, remove it at the end. A crash leaves it, unlocked.

    Raises:
        AlreadyRunning: at entry, when another process holds it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None

    def __enter__(self) -> PidFile:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        while self._descriptor is None:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
                record = read_pid_file(self._path)
                owner = record.pid if record else "unknown"
                raise AlreadyRunning(
                    f"another daemon is running (PID {owner}, {self._path.name})"
                ) from None
            if self._is_still_the_file(descriptor):
                self._descriptor = descriptor
            else:
                os.close(descriptor)  # the former owner removed it between our open and our lock
        os.ftruncate(self._descriptor, 0)
        identity = f"{os.getpid()}\n{_started_at(psutil.Process())}\n"
        os.write(self._descriptor, identity.encode("ascii"))
        os.fsync(self._descriptor)
        return self

    def _is_still_the_file(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), os.stat(self._path))
        except FileNotFoundError:
            return False

    def __exit__(self, *_reason: object) -> None:
        if self._descriptor is not None:
            self._path.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = None
