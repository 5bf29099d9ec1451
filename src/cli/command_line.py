"""What the user's tools share: one-line refusals, questions, exit codes, the console, tables."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import IO, Any, NoReturn, TextIO, cast

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from operations.refused import Refused
from utils.wrapping import PageFormatter, columns_of, warn, wrap_page, wrapped_for

EXIT_DONE, EXIT_FAILED, EXIT_REFUSED = 0, 1, 2
_PLAIN_WIDTH = 10_000  # off a terminal nothing is wrapped
_WIDEST = 1000


class Stop(Exception):
    """The command ends here. `shown` is what --json prints beside the reason."""

    def __init__(self, reason: str, code: int, shown: Mapping[str, Any] | None = None) -> None:
        super().__init__(reason)
        self.code, self.shown = code, dict(shown or {})


class OneLineParser(argparse.ArgumentParser):
    """Refuses in one line instead of a page of usage, takes no abbreviated option, and prints its
    help as it is written, for the width of the terminal; so do the parsers of its commands.
    """

    def __init__(self, **options: Any) -> None:
        options.setdefault("formatter_class", PageFormatter)
        super().__init__(allow_abbrev=False, **options)
        self.subparsers: argparse.Action | None = None

    @property
    def commands(self) -> dict[str, argparse.ArgumentParser]:
        """The parsers of its commands, by name."""
        return {} if self.subparsers is None else dict(self.subparsers.choices or {})

    def add_subparsers(self, **options: Any) -> Any:
        self.subparsers = super().add_subparsers(**options)
        return self.subparsers

    def error(self, message: str) -> NoReturn:
        raise Refused(f"{message} (see {self.prog} --help)")


class _UnpaddedOutput:
    """An output without the blanks with which a table fills up its last column."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.encoding = out.encoding  # decides what may be drawn

    def write(self, text: str) -> int:
        return self._out.write(re.sub(r" +$", "", text, flags=re.MULTILINE))

    def flush(self) -> None:
        self._out.flush()


class _Console(Console):
    def on_broken_pipe(self) -> None:
        raise  # the error itself: whoever owns the program decides how it ends


def make_console(out: TextIO | None = None, *, is_plain: bool = False) -> Console:
    """Where answers go (default: standard output). Frames and colours only on a terminal, and a
    width only there or where COLUMNS sets one; none of it with `is_plain`.

    Raises:
        OSError: standard output is closed.
    """
    out = out or sys.stdout
    if out is None:
        raise OSError("standard output is closed")
    terminal = out.isatty() and not is_plain
    return _Console(
        file=out if terminal else cast(IO[str], _UnpaddedOutput(out)),  # rich needs no more of it
        highlight=False,
        markup=False,
        no_color=True if os.environ.get("NO_COLOR") else None,
        width=None if terminal else (not is_plain and columns_of(out)) or _PLAIN_WIDTH,
        force_terminal=terminal,
    )


def fitted(console: Console, text: str | Text) -> str | Text:
    """`text` for this console's width; styled text is wrapped by rich, between words as well."""
    return wrap_page(text, console.width) if isinstance(text, str) else text


def make_table(console: Console, **options: Any) -> Table:
    """Lines are drawn on a terminal only."""
    frame = box.SIMPLE_HEAD if console.is_terminal else None
    return Table(box=frame, pad_edge=False, header_style="bold", **options)


def width_of(table: Table, console: Console) -> int:
    """Columns that the terminal must have so that nothing of the table is cut."""
    widest = console.options.update(max_width=_WIDEST)
    return Measurement.get(console, widest, table).maximum


def confirm(
    question: str, *, is_sure: bool, as_json: bool, shown: Mapping[str, Any] | None = None
) -> None:
    """Return when the user agrees: `is_sure` (--yes), or a yes on a terminal.

    Raises:
        Stop: when they do not, or when there is no terminal to ask on.
    """
    if is_sure:
        return
    if as_json or not sys.stdin.isatty():
        reason = "nothing was changed: there is no terminal to ask you on; to agree, add --yes"
        raise Stop(reason, EXIT_REFUSED, shown)
    if ask(f"\n{question} [y/N] ").lower() not in ("y", "yes"):
        raise Stop("nothing was changed", EXIT_FAILED)


def ask(question: str) -> str:
    """What the user types, without blanks around it; nothing where the input ends."""
    try:
        return input(prompt_of(question)).strip()
    except EOFError:
        return ""


def prompt_of(question: str) -> str:
    """As the terminal shows it well, and a blank before what is typed."""
    return f"{wrapped_for(sys.stdout, question.rstrip())} "


def complain(
    program: str,
    reason: str | Sequence[str],
    code: int,
    *,
    as_json: bool,
    shown: Mapping[str, Any] | None = None,
) -> int:
    """Print each reason on standard error, as one line whatever is in it (wrapped on a terminal);
    returns `code`.
    """
    reasons = [reason] if isinstance(reason, str) else reason
    lines = [" ".join(each.split()) for each in reasons]
    if as_json:
        with contextlib.suppress(OSError):  # nobody reads it: the lines and the code remain
            print_json({**(shown or {}), "done": False, "error": "; ".join(lines)})
    for line in lines:
        warn(f"{program}: {line}")
    forget_unwritten()
    return code


def forget_unwritten() -> None:
    """Drop what standard output refuses: Python would try again at its end, with a traceback."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def print_json(answer: Mapping[str, Any]) -> None:
    """One object on one line."""
    print(json.dumps(answer), flush=True)
