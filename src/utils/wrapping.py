"""Text for the width of a terminal: broken between words only, and under its own column.

The one place that wraps plain text and help pages (tables are the business of rich). What goes to a
file or a pipe is left as it is, for machines read it, unless COLUMNS says how wide it is to be.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TextIO

PAGE_COLUMNS = 100  # pages are written for this width
_LEAST_COLUMNS = 30  # what a second column must have, or it goes below the first
_RAGGED_COLUMNS = 12  # a line that is shorter by more than this was ended on purpose
_HANG = 2
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)|(?<=^exit codes:) (?=\d)")
_CODE = re.compile(r"\d ")  # the next of a list of exit codes


def columns_of(stream: TextIO) -> int | None:
    """The width of the terminal that `stream` is; None: it is a file, a pipe, or closed, and not
    the standard output, for which COLUMNS of the environment sets a width.
    """
    try:
        is_terminal = stream.isatty()
    except (AttributeError, ValueError):
        return None
    # An error stays one line: others read the last one of a process in the background.
    if not is_terminal and stream is not sys.stdout:
        return None
    return shutil.get_terminal_size((80, 24) if is_terminal else (0, 0)).columns or None


def wrapped_for(stream: TextIO, text: str) -> str:
    """`text` as `stream` shows it well."""
    columns = columns_of(stream)
    return text if columns is None else wrap_page(text, columns)


def say(text: str) -> None:
    """On standard output."""
    print(wrapped_for(sys.stdout, text))


def warn(text: str) -> None:
    """On standard error."""
    print(wrapped_for(sys.stderr, text), file=sys.stderr)


def wrap_words(text: str, first: int, rest: int | None = None) -> list[str]:
    """Lines of at most `first` columns (from the second on: `rest`); a word that is longer has a
    line of its own.
    """
    rest = first if rest is None else rest
    lines: list[str] = []
    for word in text.split():
        limit = first if len(lines) <= 1 else rest
        if lines and len(lines[-1]) + 1 + len(word) <= limit:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines or [""]


def shorten(text: str, width: int) -> str:
    """One line: what does not fit is left out between whole words; a short end (the cure after the
    last colon) stays.
    """
    if len(text) <= width:
        return text
    _, colon, end = text.rpartition(": ")
    tail = f"… {end}" if colon and len(end) <= width // 2 else "…"
    room = width - len(tail) - 1
    return f"{wrap_words(text, room)[0]} {tail}"


@dataclass(slots=True)
class _Block:
    """A paragraph, or (with `head`) an entry of two columns whose second one begins at `column`."""

    indent: int
    text: str
    last_line: str
    head: str = ""
    column: int = 0

    def lines(self, width: int) -> Iterable[str]:
        blanks = " " * self.indent
        if not self.head:
            hang = blanks if self.indent == 0 else blanks + " " * _HANG
            one, *more = wrap_words(self.text, width - len(blanks), width - len(hang))
            return [blanks + one, *(hang + line for line in more)]
        if width - self.column >= _LEAST_COLUMNS:
            one, *more = wrap_words(self.text, width - self.column)
            head = f"{blanks}{self.head}".ljust(self.column)
            return [head + one, *(" " * self.column + line for line in more)]
        heads = _Block(self.indent, self.head, self.head).lines(width)
        below = blanks + " " * 2 * _HANG
        return [*heads, *(below + line for line in wrap_words(self.text, width - len(below)))]


def wrap_page(text: str, width: int) -> str:
    """A page that was written for 100 columns, for `width`: paragraphs are filled anew, second
    columns stay columns as long as there is room.
    """
    if all(len(line) <= width for line in text.splitlines()):
        return text
    lines = [line for block in _blocks(text) for line in block.lines(width)]
    return "\n".join(line.rstrip() for line in lines)


def _blocks(text: str) -> list[_Block]:
    blocks: list[_Block] = []
    for line in text.splitlines():
        words = line.strip()
        indent = len(line) - len(line.lstrip())
        gap = _GAP.search(line)
        last = blocks[-1] if blocks and blocks[-1].text else None
        if words and gap is None and last is not None and _goes_on(last, words, indent):
            last.text += f" {words}"
            last.last_line = line
        elif gap is None:
            blocks.append(_Block(indent, words, line))
        else:
            head, body = line[indent : gap.start()], line[gap.end() :].strip()
            blocks.append(_Block(indent, re.sub(" {2,}", " ", body), line, head, gap.end()))
    return blocks


def _goes_on(last: _Block, words: str, indent: int) -> bool:
    """Whether a line continues `last`: the line before was full, and it stands under its text."""
    is_full = len(last.last_line) + 1 + len(words.split()[0]) > PAGE_COLUMNS - _RAGGED_COLUMNS
    below = last.column if last.head else last.indent
    return indent == below and is_full and _CODE.match(words) is None


class PageFormatter(argparse.HelpFormatter):
    """Help as its author wrote it, as wide as the terminal (80 columns where there is none)."""

    def __init__(self, prog: str) -> None:
        self._columns = shutil.get_terminal_size().columns
        super().__init__(prog, width=min(self._columns, PAGE_COLUMNS))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return wrap_page(text, self._columns)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return wrap_words(text, width)
