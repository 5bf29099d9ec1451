"""The history of this machine: HISTORY_DIR/BTC-USD/2023-01.bars, a file for each symbol and month.

    history = History(settings.history_dir)
    bars = history.load_bars("BTC/USD", start, end).series
    bars.at_ns, bars.open, bars.high, bars.low, bars.close     int64 each; a price is n * price_step

Owns: where files lie, that one process at a time writes, and what a range of them is. Never fills a
gap: what is missing is in `gaps`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np

from domain.wire import WireError, normalize_symbol
from research.errors import DamagedHistory, HistoryError
from research.history_file import ARRIVING, MonthFile, read_month, write_month
from research.months import Month, time_text, to_ns
from research.price_steps import rescaled
from research.series import Bars, Gap, Kind, Quotes, Series
from utils.state_file import locked

_LOCK = ".lock"
_NAME = re.compile(rf"(\d{{4}}-\d\d)\.({'|'.join(Kind)})", re.ASCII)
S = TypeVar("S", bound=Series)


@dataclass(frozen=True, slots=True)
class Loaded(Generic[S]):
    """A range of the history. `gaps` are within what was asked for, its edges included."""

    series: S
    gaps: tuple[Gap, ...]
    sources: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class MonthResult:
    """What became of one month of a fetch or an import. `content` is None where there were no bars:
    that is not stored, but asked for again.

    `replaced`: what was wrong with the file that was there.
    """

    symbol: str
    month: Month
    content: MonthFile | None
    gaps: tuple[Gap, ...] = ()
    is_new: bool = True
    replaced: str = ""


class History:
    """The files under one folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    # What is there

    def symbols(self) -> list[str]:
        """Those with a folder of their own."""
        found = []
        for path in sorted(self.folder.glob("*-*")):
            try:
                symbol = normalize_symbol(path.name.replace("-", "/"))
            except WireError:
                continue
            if path.is_dir() and self.folder_of(symbol) == path:
                found.append(symbol)
        return found

    def months(self, kind: Kind, symbol: str) -> list[Month]:
        """Those that have a file, in order."""
        names = (_NAME.fullmatch(path.name) for path in self.folder_of(symbol).glob("*.*"))
        return sorted(Month.parse(name[1]) for name in names if name and name[2] == kind)

    def folder_of(self, symbol: str) -> Path:
        return self.folder / symbol.replace("/", "-")

    def path_of(self, kind: Kind, symbol: str, month: Month) -> Path:
        return self.folder_of(symbol) / f"{month}.{kind}"

    # Reading

    def read(self, kind: Kind, symbol: str, month: Month) -> MonthFile:
        """One file.

        Raises:
            DamagedHistory: it is not what its name says, or not whole.
        """
        path = self.path_of(kind, symbol, month)
        found = read_month(path)
        if (found.kind, found.series.symbol, found.month) != (kind, symbol, month):
            holds = f"{found.kind} of {found.series.symbol} {found.month}"
            raise DamagedHistory(f"{path} holds {holds}, which is not what its name says")
        return found

    def load_bars(
        self, symbol: str, start: datetime | None = None, end: datetime | None = None
    ) -> Loaded[Bars]:
        """The bars that begin in [start, end), in one step of price; without bounds all there are.

        Raises:
            HistoryError: there are none, a file is damaged, or months do not fit together.
        """
        bars, gaps, sources = self._load(Kind.BARS, symbol, start, end)
        assert isinstance(bars, Bars)
        return Loaded(bars, gaps, sources)

    def load_quotes(
        self, symbol: str, start: datetime | None = None, end: datetime | None = None
    ) -> Loaded[Quotes]:
        """The quotes of [start, end), as `load_bars`."""
        quotes, gaps, sources = self._load(Kind.QUOTES, symbol, start, end)
        assert isinstance(quotes, Quotes)
        return Loaded(quotes, gaps, sources)

    def _load(
        self, kind: Kind, symbol: str, start: datetime | None, end: datetime | None
    ) -> tuple[Series, tuple[Gap, ...], tuple[str, ...]]:
        begin_ns, end_ns = (None if one is None else to_ns(one) for one in (start, end))
        wanted = [
            month
            for month in self.months(kind, symbol)
            if (begin_ns is None or month.end_ns > begin_ns)
            and (end_ns is None or month.begin_ns < end_ns)
        ]
        files = [self.read(kind, symbol, month) for month in wanted]
        series = joined([one.series for one in files]) if files else None
        if series is not None:
            first = 0 if begin_ns is None else int(np.searchsorted(series.at_ns, begin_ns))
            last = len(series) if end_ns is None else int(np.searchsorted(series.at_ns, end_ns))
            series = series.slice(first, last)
        if series is None or not len(series):
            raise HistoryError(_nothing(kind, symbol, begin_ns, end_ns))
        sources = tuple(dict.fromkeys(one.origin.source for one in files))
        return series, series.find_gaps(begin_ns, end_ns), sources

    # Writing

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the lock of the folder; what a killed writer left half is removed.

        Raises:
            HistoryError: another process holds it, or the folder cannot be written.
        """
        with ExitStack() as held:
            try:
                held.enter_context(locked(self.folder / _LOCK, seconds=0))
                for path in self.folder.glob(f"*/.*{ARRIVING}"):
                    path.unlink(missing_ok=True)
            except TimeoutError:
                reason = f"another scripts/history writes to {self.folder}: wait until it is done"
                raise HistoryError(reason) from None
            except OSError as error:
                reason = f"cannot write {error.filename or self.folder}: {error.strerror or error}"
                raise HistoryError(reason) from error
            yield

    def save(self, content: MonthFile) -> Path:
        """Write one month, whole or not at all. Only while `writing`.

        Raises:
            HistoryError: it could not be written; an older file is as it was.
        """
        path = self.path_of(content.kind, content.series.symbol, content.month)
        write_month(path, content)
        return path


def joined(parts: Sequence[Series]) -> Series:
    """Months as one, in the finest of their steps.

    Raises:
        HistoryError: their bars differ in length, or the prices fit into no common step.
    """
    lengths = sorted({one.bar_seconds for one in parts if isinstance(one, Bars)})
    if len(lengths) > 1:
        raise HistoryError(
            f"{parts[0].symbol} has bars of {' and of '.join(map(str, lengths))} seconds in these"
            " months: load those of one length, or import the others anew (--replace)"
        )
    places = max(one.places for one in parts)
    columns = zip(
        *([rescaled(one, part.places, places) for one in part.prices] for part in parts),
        strict=True,
    )
    at_ns = np.concatenate([one.at_ns for one in parts])
    return parts[0].with_columns(places, at_ns, tuple(np.concatenate(one) for one in columns))


def by_month(series: Series) -> Iterator[tuple[Month, Series]]:
    """The parts of a series, which is in the order of time."""
    begin = 0
    while begin < len(series):
        month = Month.at(int(series.at_ns[begin]))
        end = int(np.searchsorted(series.at_ns, month.end_ns))
        yield month, series.slice(begin, end)
        begin = end


def _nothing(kind: Kind, symbol: str, begin_ns: int | None, end_ns: int | None) -> str:
    since = "" if begin_ns is None else f" from {time_text(begin_ns)}"
    until = "" if end_ns is None else f" until {time_text(end_ns)}"
    cure = "fetch" if kind is Kind.BARS else "import"
    return (
        f"there are no {kind} of {symbol}{since}{until} in the history"
        f" (scripts/history list; scripts/history {cure} --help)"
    )
