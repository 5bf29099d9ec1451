"""Finds and ends our processes by what they are, not by a remembered number."""

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
    for process in psutil.process_iter():
        if any(f"{part}/".startswith(f"{option}/") for part in command_line_of(process)):
            yield process


def command_line_of(process: psutil.Process) -> list[str]:
    """Empty when the process has ended or is not ours to see."""
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def end_process(process: psutil.Process, signal: Callable[[psutil.Process], None]) -> None:
    """Signal the process and wait for its end; when that takes too long it is killed."""
    with contextlib.suppress(psutil.NoSuchProcess):
        signal(process)
        if not wait_until_gone(process, END_SECONDS):
            process.kill()
            wait_until_gone(process, END_SECONDS)


def wait_until_gone(process: psutil.Process, seconds: float) -> bool:
    """Whether it ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while not is_gone(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
    return True


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended; a zombie has, though its parent has not asked yet."""
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def processes_of_stack(folder: Path) -> Iterator[psutil.Process]:
    """Every process started for the local stack of this folder, by whatever program of it."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):  # ended, or not ours to see
            if process.environ().get(STACK_MARK) == str(folder.absolute()):
                yield process
