"""Takes bars and quotes from files into the history. Knows no terminal.

Owns: what of a file is refused. Nothing is written before every row was read, and no month that is
there already is replaced unasked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from domain.wire import WireError, normalize_symbol
from research.errors import DamagedHistory, HistoryError, UnusablePrices
from research.history import History, MonthResult, by_month
from research.history_file import MonthFile, Origin, check_month
from research.months import MINUTE_NS, SECOND_NS, Month, read_time
from research.price_steps import Prices, read_prices, rescaled
from research.series import Bars, Kind, Quotes, Series, Times, tidy_bars
from research.tables import COLUMNS, read_table

_CHUNK_ROWS = 50_000  # of text, which takes ten times the memory of what it becomes
_NAMES_SHOWN = 3
_USUAL_SECONDS = {1, *(60 * minutes for minutes in (1, 3, 5, 15, 30, 60, 120, 240, 360, 720, 1440))}


@dataclass
class _Arrived:
    """The rows of one symbol so far: those that are text still, and the chunks before."""

    width: int
    places: int | None
    times: list[int] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    chunks: list[tuple[list[int], Prices]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.texts = [[] for _ in range(self.width)]

    def add(self, at_ns: int, prices: Sequence[str]) -> None:
        self.times.append(at_ns)
        for column, text in zip(self.texts, prices, strict=True):
            column.append(text)
        if len(self.times) >= _CHUNK_ROWS:
            self.flush()

    def flush(self) -> None:
        if self.times:
            self.chunks.append((self.times, read_prices(self.texts, self.places)))
            self.times, self.texts = [], [[] for _ in range(self.width)]

    def columns(self) -> tuple[Times, Prices]:
        """All of them, in one step."""
        self.flush()
        places = max(one.places for _, one in self.chunks)
        columns = tuple(
            np.concatenate([rescaled(one.columns[n], one.places, places) for _, one in self.chunks])
            for n in range(self.width)
        )
        rounded = sum(one.rounded for _, one in self.chunks)
        times = np.concatenate([np.array(times, np.int64) for times, _ in self.chunks])
        return times, Prices(columns, places, rounded)


def import_files(
    history: History,
    paths: Sequence[Path],
    *,
    symbol: str | None = None,
    places: int | None = None,
    replaces: bool = False,
    on_rows: Callable[[int], None] = lambda _rows: None,
) -> list[MonthResult]:
    """Take all the files as one into the history; what became of each month. Only while `writing`.

    Args:
        symbol: whose they are, whatever they say themselves.
        places: round prices to so many digits after the point.
        replaces: also months that are there.
        on_rows: called now and then with the number of rows read so far.

    Raises:
        UnusablePrices: a row cannot be used, or contradicts another; nothing was written.
        HistoryError: a file cannot be read, a month is there already, or one cannot be written.
    """
    arrived: dict[tuple[Kind, str], _Arrived] = {}
    count = 0
    for path in paths:
        kind, rows = read_table(path)
        last_ns: dict[str, int] = {}
        names: dict[str, str] = {}
        for row in rows:
            try:
                name = names.get(row.symbol) or names.setdefault(
                    row.symbol, symbol or _symbol(row.symbol)
                )
                at_ns = read_time(row.at)
                if kind is Kind.QUOTES and at_ns < last_ns.get(name, 0):
                    raise ValueError("time goes backwards")
                last_ns[name] = at_ns
                if (kind, name) not in arrived:
                    arrived[kind, name] = _Arrived(len(COLUMNS[kind]), places)
                arrived[kind, name].add(at_ns, row.prices)
            except (ValueError, UnusablePrices) as error:
                raise UnusablePrices(f"{path}, {row.where}: {error}") from None
            count += 1
            if count % _CHUNK_ROWS == 0:
                on_rows(count)
        if symbol is not None and len(names) > 1:
            raise UnusablePrices(f"{path} has {', '.join(sorted(names))}: leave out --symbol")
    if not arrived:
        raise UnusablePrices(f"{', '.join(map(str, paths))}: there are no rows")
    source = _name_of(paths)
    try:
        found = [
            month
            for (kind, name), one in arrived.items()
            for month in _months(kind, name, one, source)
        ]
        results = [_compare(history, month, replaces) for month in found]
        for one in results:
            if one.content is not None:
                check_month(one.content)
    except UnusablePrices as error:
        raise UnusablePrices(f"{source}: {error}") from None
    for one in results:
        if one.is_new and one.content is not None:
            history.save(one.content)
    return results


def _months(kind: Kind, symbol: str, arrived: _Arrived, source: str) -> Iterator[MonthFile]:
    at_ns, prices = arrived.columns()
    series: Series
    again = other = np.array([], np.int64)
    if kind is Kind.BARS:
        first, high, low, close = prices.columns
        bars = Bars(
            symbol=symbol,
            places=prices.places,
            bar_seconds=_bar_seconds(at_ns),
            at_ns=at_ns,
            open=first,
            high=high,
            low=low,
            close=close,
        )
        tidied = tidy_bars(bars)
        series, again, other = tidied.bars, tidied.duplicates, tidied.differing
    else:
        order = np.argsort(at_ns, kind="stable")
        bid, ask = (one[order] for one in prices.columns)
        series = Quotes(symbol=symbol, places=prices.places, at_ns=at_ns[order], bid=bid, ask=ask)
    for month, part in by_month(series):
        origin = Origin(
            source=source,
            duplicates=_count_in(month, again),
            differing=_count_in(month, other),
            rounded=prices.rounded,
        )
        yield MonthFile(month, part, origin)


def _count_in(month: Month, at_ns: Times) -> int:
    return int(((month.begin_ns <= at_ns) & (at_ns < month.end_ns)).sum())


def _bar_seconds(at_ns: Times) -> int:
    """The distance that most bars have, where that is a usual length and all begin with one; else a
    minute: a few bars that are far apart say nothing of their length.
    """
    distances, counts = np.unique(np.diff(np.unique(at_ns)), return_counts=True)
    length = int(distances[int(np.argmax(counts))]) // SECOND_NS if counts.size else 0
    is_usual = length in _USUAL_SECONDS and not (at_ns % (length * SECOND_NS)).any()
    return length if is_usual else MINUTE_NS // SECOND_NS


def _compare(history: History, month: MonthFile, replaces: bool) -> MonthResult:
    """What is to be done with it.

    Raises:
        HistoryError: another one is there.
    """
    series, replaced, is_new = month.series, "", True
    path = history.path_of(month.kind, series.symbol, month.month)
    if path.exists():
        try:
            there = history.read(month.kind, series.symbol, month.month)
        except DamagedHistory as error:
            replaced = str(error)
        else:
            is_new = there.series.data_hash != series.data_hash
            if is_new and not replaces:
                raise HistoryError(
                    f"{series.symbol} {month.month} is in the history already, from"
                    f" {there.origin.source}, and is not the same: nothing was imported;"
                    " --replace puts these files in its place"
                )
    return MonthResult(
        symbol=series.symbol,
        month=month.month,
        content=month,
        gaps=series.find_gaps(),
        is_new=is_new,
        replaced=replaced,
    )


def _symbol(text: str) -> str:
    if not text:
        raise ValueError("it does not say whose prices these are: --symbol BTC/USD")
    try:
        return normalize_symbol(text.replace("-", "/").replace("_", "/"))
    except WireError as error:
        raise ValueError(f"{error}: --symbol BTC/USD says what it is") from None


def _name_of(paths: Sequence[Path]) -> str:
    names = [path.name for path in paths]
    more = len(names) - _NAMES_SHOWN
    return ", ".join(names[:_NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")
