"""Bars and quotes of one symbol as arrays, what is missing in them, and whether they make sense.

Pure. Times are int64 nanoseconds since 1970 (of a bar: its beginning), prices int64 steps.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from research.errors import UnusablePrices
from research.months import MINUTE_NS, SECOND_NS, time_text
from research.price_steps import Steps, step_of

Times = NDArray[np.int64]
QUOTES_SILENT_NS = 10 * MINUTE_NS
"""Quotes come when something changes: only a silence longer than this counts as a gap."""


class Kind(StrEnum):
    """What a file of the history holds."""

    BARS = "bars"
    QUOTES = "quotes"


@dataclass(frozen=True, slots=True)
class Gap:
    """From the moment at which the next bar was due to the beginning of the one that came. Of
    quotes: from the last one to the next. `missing` bars; 0 of quotes.
    """

    begin_ns: int
    end_ns: int
    missing: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.begin_ns) / SECOND_NS


@dataclass(frozen=True, kw_only=True, eq=False)
class Series:
    """One price is `steps * price_step`, exactly."""

    symbol: str
    places: int
    at_ns: Times

    @property
    def price_step(self) -> Decimal:
        return step_of(self.places)

    @property
    def prices(self) -> tuple[Steps, ...]:
        """Every column of prices, in the order of the file."""
        raise NotImplementedError

    def with_columns(self, places: int, at_ns: Times, prices: tuple[Steps, ...]) -> Series:
        raise NotImplementedError

    def find_gaps(self, begin_ns: int | None = None, end_ns: int | None = None) -> tuple[Gap, ...]:
        raise NotImplementedError

    def __len__(self) -> int:
        return len(self.at_ns)

    def slice(self, begin: int, end: int) -> Series:
        """Rows [begin, end)."""
        columns = tuple(one[begin:end] for one in self.prices)
        return self.with_columns(self.places, self.at_ns[begin:end], columns)

    @cached_property
    def data_hash(self) -> str:
        """SHA-256 of symbol, step, times and prices: the same for the same data, wherever it came
        from and in how many files it lies.
        """
        found = hashlib.sha256(f"{self.symbol} {self.places}".encode())
        for column in (self.at_ns, *self.prices):
            found.update(np.ascontiguousarray(column, "<i8").data)
        return found.hexdigest()


@dataclass(frozen=True, kw_only=True, eq=False)
class Bars(Series):
    """Bars of `bar_seconds` each."""

    bar_seconds: int
    open: Steps
    high: Steps
    low: Steps
    close: Steps

    @property
    def prices(self) -> tuple[Steps, ...]:
        return self.open, self.high, self.low, self.close

    def with_columns(self, places: int, at_ns: Times, prices: tuple[Steps, ...]) -> Bars:
        first, high, low, last = prices
        return replace(self, places=places, at_ns=at_ns, open=first, high=high, low=low, close=last)

    def find_gaps(self, begin_ns: int | None = None, end_ns: int | None = None) -> tuple[Gap, ...]:
        """Where bars are missing between the first and the last, or between the moments given."""
        length = self.bar_seconds * SECOND_NS
        before = [] if begin_ns is None else [-(-begin_ns // length) * length - length]
        after = [] if end_ns is None else [-(-end_ns // length) * length]
        times = np.concatenate([np.array(before, np.int64), self.at_ns, np.array(after, np.int64)])
        places = np.flatnonzero(np.diff(times) > length)
        return tuple(
            Gap(begin, end, (end - begin) // length)
            for begin, end in zip(
                (times[places] + length).tolist(), times[places + 1].tolist(), strict=True
            )
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Quotes(Series):
    """Each best bid and ask, in the order in which they came; several can have one time. As they
    were recorded: a zero or a crossed one is the trading code's business.
    """

    bid: Steps
    ask: Steps

    @property
    def prices(self) -> tuple[Steps, ...]:
        return self.bid, self.ask

    def with_columns(self, places: int, at_ns: Times, prices: tuple[Steps, ...]) -> Quotes:
        bid, ask = prices
        return replace(self, places=places, at_ns=at_ns, bid=bid, ask=ask)

    def find_gaps(self, begin_ns: int | None = None, end_ns: int | None = None) -> tuple[Gap, ...]:
        """Where nothing came for longer than QUOTES_SILENT_NS."""
        edges = [np.array([] if one is None else [one], np.int64) for one in (begin_ns, end_ns)]
        times = np.concatenate([edges[0], self.at_ns, edges[1]])
        places = np.flatnonzero(np.diff(times) > QUOTES_SILENT_NS)
        return tuple(
            Gap(begin, end, 0)
            for begin, end in zip(times[places].tolist(), times[places + 1].tolist(), strict=True)
        )


@dataclass(frozen=True, slots=True)
class Tidied:
    """Bars in the order of time, one for each moment, and what had to go for that."""

    bars: Bars
    duplicates: Times
    """When the bars are that came again, exactly the same."""
    differing: Times
    """And those that came again with other prices: the first one counts."""


def tidy_bars(bars: Bars) -> Tidied:
    """Sort, keep the first bar of each moment, and check each.

    Raises:
        UnusablePrices: a bar contradicts itself.
    """
    order = np.argsort(bars.at_ns, kind="stable")
    at_ns, prices = bars.at_ns[order], np.stack([one[order] for one in bars.prices])
    is_first = np.concatenate([[True], at_ns[1:] != at_ns[:-1]])
    kept = np.flatnonzero(is_first)
    again = np.flatnonzero(~is_first)
    firsts = kept[np.searchsorted(kept, again) - 1]
    differs = (prices[:, again] != prices[:, firsts]).any(axis=0)
    tidy = bars.with_columns(bars.places, at_ns[kept], tuple(prices[:, kept]))
    check_bars(tidy)
    return Tidied(tidy, at_ns[again[~differs]], at_ns[again[differs]])


def check_bars(bars: Bars) -> None:
    """Raises UnusablePrices for the first bar that cannot be."""
    top, bottom = np.maximum(bars.open, bars.close), np.minimum(bars.open, bars.close)
    length = bars.bar_seconds * SECOND_NS
    wrong = {
        "its price is not above 0": bars.low <= 0,
        "its high or low is not beyond its open and close": (bars.high < top) | (bars.low > bottom),
        f"it does not begin with a whole {bars.bar_seconds} seconds": bars.at_ns % length != 0,
        "it is not later than the one before": np.diff(bars.at_ns, prepend=-1) <= 0,
    }
    for reason, found in wrong.items():
        if found.any():
            at_ns = int(bars.at_ns[int(np.argmax(found))])
            raise UnusablePrices(f"the bar of {time_text(at_ns)}: {reason}")


def check_quotes(quotes: Quotes) -> None:
    """Raises UnusablePrices for the first one that is older than the one before it."""
    backwards = np.diff(quotes.at_ns) < 0
    if backwards.any():
        at_ns = int(quotes.at_ns[int(np.argmax(backwards)) + 1])
        raise UnusablePrices(f"the quote of {time_text(at_ns)}: time goes backwards")
