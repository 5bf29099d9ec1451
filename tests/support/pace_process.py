"""A process of a test that takes requests from the shared allowance: `pace_process.py WHAT STEM`.

It imports little, so that many of them can be started at once.
"""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from utils import request_claims, request_pace
from utils.request_pace import AllowanceUsedUp, RequestPace


def start(what: str, stem: Path) -> subprocess.Popen[str]:
    """Run one of the functions below as a process."""
    command = [sys.executable, __file__, what, str(stem)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, text=True, stdin=pipe, stdout=pipe, stderr=pipe)


def take_what_there_is(pace: RequestPace, stem: Path) -> None:
    """At a word from outside, as many as it gets; prints how many."""
    print("ready", flush=True)
    sys.stdin.readline()
    count = 0
    with suppress(AllowanceUsedUp):
        while True:
            pace.take(reads=False)
            count += 1
    print(count)


def fall_to(number: int, pace: RequestPace) -> None:
    """Take one, and fall to a signal when its claim has just been written."""
    write = os.write

    def write_and_fall(file: int, line: bytes) -> int:
        written = write(file, line)
        request_claims.os.write = write  # type: ignore[assignment]
        os.kill(os.getpid(), number)
        return written

    request_claims.os.write = write_and_fall  # type: ignore[assignment]
    with suppress(AllowanceUsedUp):
        pace.take(reads=False)


def be_suspended(pace: RequestPace, stem: Path) -> None:
    fall_to(signal.SIGSTOP, pace)


def be_killed(pace: RequestPace, stem: Path) -> None:
    fall_to(signal.SIGKILL, pace)


def meet_a_full_disk(pace: RequestPace, stem: Path) -> None:
    """Five with room, five where the first finds room for half its line, five with room again."""
    request_pace._ALONE_SECONDS = 0.0
    [pace.take(reads=False) for _ in range(5)]
    [file] = stem.parent.glob(f"{stem.name}.*")
    room = file.stat().st_size + 10
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))
    [pace.take(reads=False) for _ in range(5)]
    print("torn" if file.stat().st_size == room else "whole")
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    [pace.take(reads=False) for _ in range(5)]


if __name__ == "__main__":
    globals()[sys.argv[1]](RequestPace(Path(sys.argv[2])), Path(sys.argv[2]))
