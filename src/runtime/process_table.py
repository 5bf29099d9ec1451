"""Finds and ends processes of ours by what they are, not by a remembered number."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

END_SECONDS = 60
POLL_SECONDS = 0.05
STACK_MARK = "DCA_LOCAL_STACK"  # in the environment of every program of a stack: its folder


def servers_below(folder: Path) -> Iterator[psutil.Process]:
    """Every database server process whose data folder is `folder` or stands below it."""
    option = f"--datadir={folder.absolute()}"
    for process in psutil.process_iter(["cmdline"]):
        command = process.info["cmdline"] or []  # None or empty: ended, or not ours to see
        if any(part == option or part.startswith(f"{option}/") for part in command):
            yield process


def end_process(process: psutil.Process, signal: Callable[[psutil.Process], None]) -> None:
    """Signal the process and wait for its end; when that takes too long it is killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        signal(process)
        if not _has_ended_within(process, END_SECONDS):
            process.kill()
            _has_ended_within(process, END_SECONDS)


def _has_ended_within(process: psutil.Process, seconds: float) -> bool:
    """A zombie has ended: it only waits for its parent, which may be in no hurry."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            process.wait(POLL_SECONDS)
            return True
        except psutil.TimeoutExpired:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    continue
            return True
    return False


def processes_of_stack(folder: Path) -> Iterator[psutil.Process]:
    """Every process started for the local stack of this folder, also by one of its children."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended, or not ours to see
            if process.environ().get(STACK_MARK) == str(folder.absolute()):
                yield process
