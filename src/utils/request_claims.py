"""The times of requests that several processes share, in files that are only ever appended to.

Owns: the order of the claims. A process that wants to send appends a line with the time and counts
the lines before it. The file's order is the same for all, so no two can both take the last place.
There is no lock, so a process that was suspended or killed keeps no other waiting: it leaves at
most one unused place behind.

Each period of PERIOD_SECONDS has its own file, named after the boot (whose clock it uses) and the
period's number. No file is ever replaced, because a claim could get lost. A claim counts only if it
was in the file before the file's period ended, and whoever writes into the next file reads this one
first.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from bisect import bisect_right, insort
from collections.abc import Iterable
from pathlib import Path

from utils.state_file import read_boot_id

PERIOD_SECONDS = 300.0  # at 200 requests a minute 20 kB, and much longer than what is counted
_READ_BYTES = 1 << 16


class ClaimsVanished(OSError):
    """The file was deleted or cut: no other process would read the claim."""


class RequestClaims:
    """One process's view of the claims of all. Not thread-safe: its owner locks.

    Args:
        path: folder and stem of the files.
        window_seconds: how long a claim counts.
    """

    def __init__(self, path: Path, window_seconds: float) -> None:
        self._path = path
        self._window_seconds = window_seconds
        self._boot = read_boot_id()[:8]
        self._file = -1
        self._name, self._opened = "", os.stat_result(range(10))
        self._period = -1
        self._read_until = 0
        self._rest = b""  # of a line that is not complete yet
        self._times: list[float] = []

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Forget the file: the next `open` reads everything anew."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def open(self, now: float, own: Iterable[float]) -> None:
        """Use the file of `now`: read it and the one before, and append those of `own` they lack.

        Raises:
            OSError: the folder cannot be used.
        """
        period = compute_period(now)
        if self._file >= 0 and period == self._period:
            return
        self.close()
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._name = str(self._file_of(period))
        self._file = os.open(self._name, flags, 0o600)
        self._opened = os.fstat(self._file)
        # What was known before is kept as long as nothing better can be read.
        self._period, self._times, self._read_until, self._rest = period, [], 0, b""
        with contextlib.suppress(FileNotFoundError):
            self._take_in(self._file_of(period - 1).read_bytes() + b"\n")
        self.catch_up()
        for at in set(own) - set(self._times):
            self._append(at)
        self._remove_older()

    def catch_up(self) -> None:
        """Take in what was appended since.

        Raises:
            OSError: it cannot be read.
        """
        while data := os.pread(self._file, _READ_BYTES, self._read_until):
            self._read_until += len(data)
            self._take_in(data)

    def known(self, now: float) -> list[float]:
        """The claims of the window that ends `now`, as far as they were taken in. Sorted."""
        del self._times[: bisect_right(self._times, now - self._window_seconds)]
        return self._times

    def claim(self, at: float) -> None:
        """Append a claim; then `known` is exactly what stands before it.

        Three calls of the system and no more: at each, another thread can take the interpreter.

        Raises:
            ClaimsVanished: no other process would read it.
            OSError: it cannot be written, or not as a whole.
        """
        line = self._append(at)
        unread = os.pread(self._file, _READ_BYTES, self._read_until)
        while len(unread) % _READ_BYTES == 0 and line not in unread:
            more = os.pread(self._file, _READ_BYTES, self._read_until + len(unread))
            if not more:
                break
            unread += more
        begin = unread.rfind(line)  # if another claims the same time: both count for us
        if begin < 0 or not self._is_still_the_file():
            self.withdraw(at)
            raise ClaimsVanished(errno.ENOENT, "it was deleted")
        self._read_until += begin
        self._take_in(unread[:begin])

    def withdraw(self, at: float) -> None:
        """Nothing was sent for the claim of this time: its place is free again."""
        self._append(-at)

    def _append(self, value: float) -> bytes:
        """The line. Its leading line break ends what a torn write left."""
        line = f"\n{value!r}\n".encode("ascii")
        if os.write(self._file, line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return line

    def _take_in(self, data: bytes) -> None:
        """The file may hold anything: what is no time of the window is ignored."""
        lines, _, self._rest = (self._rest + data).rpartition(b"\n")
        now = time.monotonic()
        oldest = now - self._window_seconds
        for word in lines.split():
            try:
                value = float(word)
            except ValueError:
                continue
            if not oldest < abs(value) <= now:
                continue
            if value > 0:
                insort(self._times, value)
            elif -value in self._times:
                self._times.remove(-value)

    def _is_still_the_file(self) -> bool:
        try:
            return os.path.samestat(self._opened, os.stat(self._name))
        except FileNotFoundError:
            return False

    def _file_of(self, period: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{self._boot}.{period}")

    def _remove_older(self) -> None:
        """Files of other boots, and of periods that are over for every window. A process that was
        suspended for long must not remove files newer than its own.
        """
        for path in self._path.parent.glob(f"{self._path.name}.*"):
            boot, _, number = path.name.removeprefix(f"{self._path.name}.").partition(".")
            is_of_now = boot == self._boot and number.isdecimal()
            if not (is_of_now and int(number) >= self._period - 1):
                path.unlink(missing_ok=True)


def compute_period(now: float) -> int:
    """The number of the period that `now` (monotonic seconds) lies in."""
    return int(now // PERIOD_SECONDS)
