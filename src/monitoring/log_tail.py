"""The newest lines of a log, read from its end, and those that come after: for somebody who looks
at it now and then. Reads only, and never more of it than `MAX_BYTES`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from monitoring.log_lines import LogLine, log_files, parse_line

MAX_BYTES = 4_000_000
_BLOCK_BYTES = 256_000


def newest_lines(path: Path) -> Iterator[LogLine]:
    """Newest first, through rotation. Lines that belong to another (a traceback) are left out."""
    left = MAX_BYTES
    for file_path in reversed(log_files(path)):
        for text in _from_the_end(file_path, left):
            left -= len(text) + 1
            if left <= 0:
                return
            line = parse_line(text.decode("utf-8", "replace"))
            if line is not None:
                yield line


def _from_the_end(path: Path, most: int) -> Iterator[bytes]:
    try:
        file = open(path, "rb")  # noqa: SIM115 - closed below
    except OSError:  # rotated away meanwhile
        return
    with file:
        end, rest = file.seek(0, 2), b""
        least = max(0, end - most)
        while end > least:
            begin = max(least, end - _BLOCK_BYTES)
            file.seek(begin)
            first, *lines = (file.read(end - begin) + rest).split(b"\n")
            yield from reversed(lines)
            end, rest = begin, first
        yield rest


class NewLines:
    """What a log gets from the first call on. A file that was rotated away meanwhile is not looked
    for: it is news that is wanted, not all of it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inode = -1
        self._offset = 0

    def read(self) -> list[LogLine]:
        """Those since the last call, oldest first; none at the first."""
        try:
            found = self._path.stat()
        except OSError:
            return []
        is_first = self._inode == -1
        if found.st_ino != self._inode:
            self._inode, self._offset = found.st_ino, found.st_size if is_first else 0
        if found.st_size <= self._offset:
            return []
        begin = max(self._offset, found.st_size - _BLOCK_BYTES)
        with open(self._path, "rb") as file:
            file.seek(begin)
            whole, newline, _ = file.read().rpartition(b"\n")  # a half line waits for its end
        self._offset = begin + len(whole) + len(newline)
        lines = [parse_line(text.decode("utf-8", "replace")) for text in whole.split(b"\n")]
        return [line for line in lines if line is not None]
