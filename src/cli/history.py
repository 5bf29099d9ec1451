"""`scripts/history`: past prices on this machine. Arguments, words and tables; no rule."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    Stop,
    complain,
    print_json,
)
from cli.history_options import build_parser
from cli.history_tables import (
    gaps_text,
    holding_json,
    month_text,
    months_json,
    rows_text,
    show_holdings,
)
from cli.runner import Command, run_tool
from config import SettingsError, inspect_environment, use_settings
from operations.refused import Refused
from operations.time_ranges import read_moment
from research.errors import HistoryError, UnusablePrices
from research.export import csv_chunks
from research.history import History, MonthResult
from research.history_file import write_whole
from research.imports import import_files
from research.months import Month, to_ns
from research.overview import list_holdings, verify
from research.series import Kind, Series
from utils.formatting import counted

_NEEDED = ("ALPACA_DATA_URL", "HISTORY_DIR")
__all__ = ["build_parser", "main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """One command; whatever stops it is one line, and an exit code."""
    return run_tool("history", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the answer
    options = build_parser().parse_args(arguments)
    settings, problems = inspect_environment()  # whatever else is missing in .env
    if wrong := [one for one in problems if one.startswith(_NEEDED)]:
        raise SettingsError(wrong)
    use_settings(settings)
    try:
        return HistoryCommand(settings, options).run()
    except UnusablePrices as error:
        raise Stop(str(error), EXIT_REFUSED) from error
    except HistoryError as error:
        raise Stop(str(error), EXIT_FAILED) from error


class HistoryCommand(Command):
    """One run of one command."""

    @property
    def _history(self) -> History:
        return History(self.settings.history_dir)

    def run(self) -> int:
        commands = {
            "fetch": self.fetch,
            "import": self.import_files,
            "list": self.list,
            "verify": self.verify,
            "export": self.export,
        }
        return commands[self.options.command]() or EXIT_DONE

    def fetch(self) -> None:
        options, now = self.options, datetime.now(UTC)
        since, until = _range(options, now)
        last = Month.at(min(to_ns(now), to_ns(until or now) - (until is not None)))
        firsts = {symbol: self._first_month(symbol, since) for symbol in options.symbols}
        from cli.history_fetch import FetchRun  # loads the SDK: a second

        with self._history.writing(), self._progress() as progress:
            run = FetchRun(self.settings, self._history, options, now, progress, self._tell)
            results = run.fetch(firsts, last)
        self._summarize(results)

    def _first_month(self, symbol: str, since: datetime | None) -> Month:
        if since is not None:
            try:
                return Month.parse(f"{since:%Y-%m}")
            except ValueError as error:
                raise Refused(f"--from: {error}") from None
        there = self._history.months(Kind.BARS, symbol)
        if not there:
            raise Refused(f"there are no bars of {symbol} yet: say from when, as --from 2023-01")
        return there[0]

    def _summarize(self, results: Sequence[MonthResult]) -> None:
        """What there is of each symbol now: a gap can be longer than a month."""
        symbols = dict.fromkeys(one.symbol for one in results)
        kinds = {(one.symbol, one.content.kind) for one in results if one.content}
        holdings = [
            one
            for one in list_holdings(self._history, list(symbols))
            if (one.symbol, one.kind) in kinds
        ]
        if self.as_json:
            shown = [holding_json(one) for one in holdings]
            print_json({"done": True, **months_json(results), "holdings": shown})
        for one in holdings:
            self.say(
                f"{one.symbol}: {rows_text(one)} in {counted(one.months, 'month')};"
                f" {gaps_text(one.kind, one.gaps)}"
            )

    def import_files(self) -> None:
        options = self.options
        with self._history.writing(), self._progress() as progress:
            task = progress.add_task("rows", total=None)
            results = import_files(
                self._history,
                options.files,
                symbol=options.symbol,
                places=options.places,
                replaces=options.replace,
                on_rows=lambda rows: progress.update(task, description=f"{rows:,} rows"),
            )
            for one in results:
                self._tell(month_text(one, ""))
        self._summarize(results)
        rounded = {one.content.origin.rounded for one in results if one.content}
        if total := sum(rounded):
            self.say(f"{total:,} prices were rounded to {counted(options.places, 'digit')}.")

    # What there is

    def _symbols(self) -> Sequence[str]:
        """Those asked for; none means all."""
        wanted: Sequence[str] = self.options.symbols
        if unknown := [one for one in wanted if one not in self._history.symbols()]:
            raise Refused(f"there is nothing of {', '.join(unknown)} here (scripts/history list)")
        return wanted

    def list(self) -> int:
        holdings = list_holdings(self._history, self._symbols())
        problems = [text for one in holdings for text in one.problems]
        shown = {"holdings": [holding_json(one) for one in holdings]}
        if self.as_json and not problems:
            print_json({"done": True, **shown})
        elif not self.as_json and any(one.months for one in holdings):
            show_holdings(self.console, [one for one in holdings if one.months])
        elif not holdings:
            self.say("Nothing is here yet: scripts/history fetch BTC/USD --from 2023-01")
        if problems:
            return complain("history", problems, EXIT_FAILED, as_json=self.as_json, shown=shown)
        return EXIT_DONE

    def verify(self) -> int:
        checked = [*verify(self._history, self._symbols())]
        problems = [one.problem for one in checked if one.problem]
        rows = sum(one.rows for one in checked)
        shown = {"files": len(checked), "rows": rows, "problems": problems}
        if problems:
            return complain("history", problems, EXIT_FAILED, as_json=self.as_json, shown=shown)
        self.answer(f"{counted(len(checked), 'file')}, {rows:,} rows: all sound", **shown)
        return EXIT_DONE

    def export(self) -> None:
        options, history = self.options, self._history
        since, until = _range(options, datetime.now(UTC))
        if self.as_json and options.output is None:
            raise Refused("--json says what was written: name the file, as --output bars.csv")
        series: Series
        if options.quotes:
            kind, series = Kind.QUOTES, history.load_quotes(options.symbol, since, until).series
        else:
            kind, series = Kind.BARS, history.load_bars(options.symbol, since, until).series
        if options.output is None:
            for chunk in csv_chunks(kind, series):
                sys.stdout.write(chunk)
            sys.stdout.flush()
            return
        text = "".join(csv_chunks(kind, series))
        write_whole(options.output, text.encode())
        gaps = series.find_gaps()
        self.answer(
            f"{options.output}: {len(series):,} {kind} of {options.symbol};"
            f" {gaps_text(kind, gaps)}",
            file=str(options.output),
            rows=len(series),
            gaps=len(gaps),
        )

    # While it works

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        """A bar on a terminal, and nothing elsewhere."""
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
        )
        is_shown = self.console.is_terminal and not self.as_json
        with Progress(
            *columns, console=self.console, transient=True, disable=not is_shown
        ) as progress:
            yield progress

    def _tell(self, line: str) -> None:
        """A line that stays above the bar, whose console is this one."""
        self.say(line)
        sys.stdout.flush()


def _range(options: argparse.Namespace, now: datetime) -> tuple[datetime | None, datetime | None]:
    since = read_moment("--from", options.since, now, is_end=False)
    until = read_moment("--to", options.until, now, is_end=True)
    if since is not None and since >= (until or now):
        last = "now" if until is None else f"--to {options.until}"
        raise Refused(f"--from {options.since} is not before {last}")
    return since, until


if __name__ == "__main__":
    sys.exit(main())
