"""The stored prices that tries are on: of one symbol at a time, read once.

Owns what is kept in memory, and that it is read again as soon as a file is another one.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

import numpy as np

from research.errors import HistoryError
from research.feed import Feed, find_kind, find_spread, make_feed
from research.history import History
from research.months import SECOND_NS, to_ns
from research.series import Bars, Kind, Series
from web.tryout_input import Range

MAX_FEEDS = 2  # ranges of one symbol
K = TypeVar("K")
V = TypeVar("V")


class KeptHistory:
    """What one process has read. Not for several threads at once."""

    def __init__(self, history: History, max_jump_percent: Decimal) -> None:
        self._history, self._max_jump_percent = history, max_jump_percent
        self._whole: tuple[Any, Series, tuple[str, ...], Decimal] | None = None
        self._feeds: OrderedDict[Any, Feed] = OrderedDict()

    def load(self, where: Range) -> Feed:
        """Raises HistoryError: there are no prices, or they are damaged."""
        return kept(self._feeds, self.key(where), lambda: self._make_feed(where), MAX_FEEDS)

    def _make_feed(self, where: Range) -> Feed:
        """Out of the whole history of the symbol, which the next range is taken from, too."""
        history, symbol, key = self._history, where.symbol, self.key(where)[1:]
        kind = find_kind(history, symbol, where.since, where.until) or Kind.BARS
        if self._whole is None or self._whole[0] != (symbol, kind, key):
            self._whole, self._feeds = None, OrderedDict()  # first: two would be twice the memory
            load = history.load_quotes if kind is Kind.QUOTES else history.load_bars
            spread = Decimal(0) if kind is Kind.QUOTES else find_spread(history, symbol)[0]
            loaded = load(symbol)
            self._whole = (symbol, kind, key), loaded.series, loaded.sources, spread
        _, series, sources, spread = self._whole
        begin, end = (None if one is None else to_ns(one) for one in (where.since, where.until))
        first = 0 if begin is None else int(np.searchsorted(series.at_ns, begin))
        last = len(series) if end is None else int(np.searchsorted(series.at_ns, end))
        if first >= last:
            raise HistoryError(f"there are no {kind} of {symbol} of this time in the history")
        part = series.slice(first, last)
        return make_feed(
            part,
            part.find_gaps(begin, end),
            sources,
            spread_percent=spread,
            max_jump_percent=self._max_jump_percent,
        )

    def key(self, where: Range) -> tuple[Any, ...]:
        """Another one as soon as a file of the symbol is another one."""
        folder = self._history.folder_of(where.symbol)
        files = sorted(
            (path.name, stat.st_mtime_ns, stat.st_size, stat.st_ino)
            for path in folder.glob("*.*")
            if not path.name.startswith(".") and (stat := path.stat())
        )
        return where, tuple(files)

    def load_bars(self, symbol: str, since: datetime, until: datetime) -> Bars | None:
        """At least the bars of [since, until), for candles; None: there are none.

        Raises:
            HistoryError: a file is damaged.
        """
        if self._whole is not None and self._whole[0][:2] == (symbol, Kind.BARS):
            key, series = self._whole[:2]
            if key[2] == self.key(Range(symbol=symbol))[1:] and isinstance(series, Bars):
                return series
        if find_kind(self._history, symbol, since, until) is not Kind.BARS:
            return None
        return self._history.load_bars(symbol, since, until).series

    def span_of_bars(self, symbol: str) -> tuple[int, int] | None:
        """When the first bar begins, and when the last one is over; in seconds.

        Raises:
            HistoryError: a file is damaged.
        """
        months = self._history.months(Kind.BARS, symbol)
        if not months:
            return None
        first, last = (
            self._history.read(Kind.BARS, symbol, month).series for month in (months[0], months[-1])
        )
        assert isinstance(last, Bars)
        ends = int(last.at_ns[-1]) // SECOND_NS + last.bar_seconds
        return int(first.at_ns[0]) // SECOND_NS, ends


def kept(kept: OrderedDict[K, V], key: K, make: Callable[[], V], most: int) -> V:
    """The one of this key; the oldest are forgotten."""
    if key in kept:
        kept.move_to_end(key)
        return kept[key]
    made = make()
    kept[key] = made
    while len(kept) > most:
        kept.popitem(last=False)
    return made
