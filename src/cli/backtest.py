"""`scripts/backtest`: what settings would have earned. Arguments, words and tables; no rule."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cli.backtest_inputs import InputReader
from cli.backtest_options import PATHS, build_parser, parse_options
from cli.backtest_tables import show_result
from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    Stop,
    make_console,
    print_json,
)
from cli.runner import run_tool
from config import Settings, SettingsError, inspect_environment, use_settings
from research.backtest import Backtest, run_backtest
from research.errors import HistoryError
from research.history_file import write_whole
from research.journal_csv import journal_csv
from research.result import read_result, to_json, write_result

_NEEDED = (
    "HISTORY_DIR", "TAKER_FEE_PERCENT", "MINIMUM_ORDER_USD", "MAX_SPREAD_PERCENT",
    "MAX_QUOTE_JUMP_PERCENT",
)  # fmt: skip
__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """One backtest; whatever stops it is one line, and an exit code."""
    return run_tool("backtest", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the answer
    options = parse_options(list(arguments))
    settings, problems = inspect_environment()  # whatever else is missing in .env
    if wrong := [one for one in problems if one.startswith(_NEEDED)]:
        raise SettingsError(wrong)
    use_settings(settings)
    try:
        if options.show is not None:
            _show(options)
        else:
            _try(settings, options)
    except HistoryError as error:
        raise Stop(str(error), EXIT_FAILED) from error
    return EXIT_DONE


def _show(options: argparse.Namespace) -> None:
    result = read_result(options.show)
    if options.json:
        print_json(result)
        return
    try:
        show_result(make_console(), result)
    except (KeyError, TypeError, ValueError, ArithmeticError) as error:
        raise HistoryError(f"{options.show} is damaged: {error!r}") from error


def _try(settings: Settings, options: argparse.Namespace) -> None:
    console = make_console()  # first: it refuses a closed standard output
    with _progress(options) as tell:
        tell("reading")
        found = InputReader(settings, options, datetime.now(UTC)).read()
        test = run_backtest(found.entrants, found.account, PATHS[options.path], tell)
        if options.plot is not None:
            tell("drawing")
            _plot(test, options.plot)
        result = to_json(test)
        written = _write(test, result, options)
    if options.json:
        print_json({"done": True, **result, "notes": list(found.notes)})
        return
    show_result(console, result, found.notes)
    for path in written:
        console.print(f"written: {path}")


def _write(test: Backtest, result: Mapping[str, Any], options: argparse.Namespace) -> list[Path]:
    """The files that were asked for; of several paths the journal of the first."""
    if options.csv is not None:
        outcome = test.runs[0].outcome
        entries = (entry for one in outcome.assets for entry in one.entries)
        write_whole(options.csv, journal_csv(entries).encode())
    if options.out is not None:
        write_result(options.out, result)
    return [path for path in (options.csv, options.plot, options.out) if path is not None]


def _plot(test: Backtest, path: Path) -> None:
    """A picture that fails leaves an older one of this name as it was."""
    from research.picture import draw_backtest  # matplotlib takes a second to load

    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draw_backtest(test, test.runs[0], scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


@contextmanager
def _progress(options: argparse.Namespace) -> Iterator[Callable[[str], None]]:
    """What is being done, on a terminal; it goes away with the answer."""
    console = make_console(sys.stderr)
    if options.json or not console.is_terminal:
        yield lambda _: None
        return
    with console.status("") as status:
        yield lambda text: status.update(f"{', '.join(options.symbols)}: {text} ...")


if __name__ == "__main__":
    sys.exit(main())
