"""The lines of a log, read back: parsed, from all its rotated files, and followed as it grows.

Reads only. A line is `time LEVEL module noun.past_participle key=value ...` (utils/log_events);
what follows it without a time (a traceback) belongs to it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_LINE = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}) ([A-Z]+) +(\S+) (\S*) ?(.*)", re.ASCII)
# A value with blanks is quoted, and what it quotes may hold quotes: it ends before the next key.
_FIELD = re.compile(r'(\w+)=("(?:.*?)"(?= \w+=|$)|\S*)', re.ASCII)


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event. `text` is the line as it stands in the file; `more` is what belongs to it."""

    text: str
    at: datetime
    level: str
    module: str
    event: str
    fields: dict[str, str]
    more: list[str] = field(default_factory=list)

    def is_at_least(self, level: str) -> bool:
        known = self.level in LEVELS
        return not known or LEVELS.index(self.level) >= LEVELS.index(level)

    def is_about(self, symbol: str) -> bool:
        named = f"{self.fields.get('symbol', '')},{self.fields.get('symbols', '')}"
        return symbol in named.split(",")


def parse_line(text: str) -> LogLine | None:
    """None: the text continues the line before it."""
    match = _LINE.fullmatch(text)
    if match is None:
        return None
    moment, level, module, event, rest = match.groups()
    try:
        at = datetime.fromisoformat(moment).replace(tzinfo=UTC)
    except ValueError:
        return None
    fields = {name: _unquoted(value) for name, value in _FIELD.findall(rest)}
    return LogLine(text, at, level, module, event, fields)


def parse_lines(texts: Iterable[str]) -> Iterator[LogLine]:
    """Each line with what belongs to it; what stands before the first is left out."""
    last = None
    for text in texts:
        if (line := parse_line(text)) is None:
            if last is not None:
                last.more.append(text)
            continue
        if last is not None:
            yield last
        last = line
    if last is not None:
        yield last


def log_files(path: Path) -> list[Path]:
    """The log and what rotation kept of it, oldest first."""
    kept = [one for one in path.parent.glob(f"{path.name}.*") if one.suffix[1:].isdigit()]
    files = sorted(kept, key=lambda one: int(one.suffix[1:]), reverse=True)
    return [*files, path] if path.exists() else files


def _unquoted(value: str) -> str:
    is_quoted = len(value) >= 2 and value[0] == value[-1] == '"'
    return value[1:-1] if is_quoted else value


class Follower:
    """Every whole line of a log from its oldest file on, each exactly once, through any rotation.

    Rotation renames files: the one that is read stays open and is read to its end, then those that
    came after it. (A new file can get the number of a removed one, but not of one that is open.)
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._begun = b""

    def read(self) -> list[str]:
        """The whole lines since the last call; a half one waits for its end."""
        lines: list[str] = []
        while True:
            following = self._files_after()  # before the read: what is written later is not missed
            if self._file is not None:
                *whole, self._begun = (self._begun + self._file.read()).split(b"\n")
                lines += (one.decode("utf-8", "replace") for one in whole)
            if not following:
                return lines
            try:
                file = open(following[0], "rb")  # noqa: SIM115 - it stays open
            except FileNotFoundError:  # rotated away meanwhile: look again
                continue
            self.close()
            self._file = file

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file, self._begun = None, b""

    def _files_after(self) -> list[Path]:
        """What was begun after the open file, oldest first; all where none is open."""
        files = log_files(self._path)
        if self._file is None:
            return files
        for index, one in enumerate(files):
            if _same_file(one, self._file):
                return files[index + 1 :]
        return files  # it was dropped: all that is kept is newer


def _same_file(path: Path, file: BinaryIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
