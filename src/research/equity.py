"""What an account was worth over time: cash and coins that change with each fill, judged at every
bar. Pure.

Fills are exact (Decimal); the curve is of floats, whose cents are exact. Of one asset only those
bars are looked at that can be the worst or the highest: the others cannot change a figure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal
from functools import cached_property
from itertools import accumulate

import numpy as np

from domain.journal import JournalEntry
from domain.orders import Side
from performance.cycle_results import ended_at
from research.feed import Floats, PriceLine
from research.months import to_datetime, to_ns
from research.price_path import Integers

_ZERO = Decimal(0)
_CENT = Decimal("0.01")
_NOISE_USD = 1e-7  # far below a cent, far above what a sum of floats is off
_PIECE = 256  # bars that are left out, or looked at, together
_NOISE = 1e-12  # of a part, far above the rounding of two operations


@dataclass(frozen=True, slots=True)
class Change:
    """One fill, fees taken off: USD and coins more (or less) from `at_ns` on."""

    at_ns: int
    symbol: str
    usd: Decimal
    coins: Decimal


@dataclass(frozen=True, slots=True)
class Drawdown:
    """The worst one in percent of the peak before it."""

    usd: Decimal
    percent: Decimal
    peak_at: datetime
    low_at: datetime


@dataclass(frozen=True, slots=True)
class UnderWater:
    """The longest time below an earlier peak. `is_over`: that peak was reached again."""

    seconds: float
    since: datetime
    until: datetime
    is_over: bool


class EquityCurve:
    """USD at every time of any asset: at the lowest bid of that bar, and at its last. A bar is
    judged with what is held after its fills.
    """

    def __init__(
        self, start_usd: float, at_ns: Integers, low: Floats, close: Floats, end_ns: int
    ) -> None:
        self.start_usd, self.at_ns, self.end_ns = start_usd, at_ns, end_ns
        self._low, self._close = low, close

    @property
    def low(self) -> Floats:
        return self._low

    @property
    def close(self) -> Floats:
        return self._close

    @property
    def last_usd(self) -> float:
        return float(self.closes_at(np.array([-1]))[0]) if len(self.at_ns) else self.start_usd

    def closes_at(self, places: Integers) -> Floats:
        """USD at the last bid of these bars."""
        found: Floats = self.close[places]
        return found

    def falls(self) -> Floats:
        """USD below the highest close before each bar, at its low; 0 where it is above."""
        before = np.concatenate([[self.start_usd], self.close[:-1]])
        fallen: Floats = np.maximum(np.maximum.accumulate(before) - self.low, 0.0)
        return fallen

    def worst_drawdown(self) -> Drawdown | None:
        """None: the equity never fell."""
        bars = self._deciding
        before = np.concatenate([[self.start_usd], bars.close[:-1]])
        peaks = np.maximum.accumulate(before)
        parts = np.divide(peaks - bars.low, peaks, out=np.zeros_like(peaks), where=peaks > 0)
        if not len(parts) or parts.max() * self.start_usd <= _NOISE_USD:
            return None
        worst = int(parts.argmax())
        peak = int(np.argmax(before[: worst + 1]))
        peak_ns = int(self.at_ns[bars.numbers[max(0, peak - 1)]])
        return Drawdown(
            usd=to_cents(peaks[worst] - bars.low[worst]),
            percent=to_cents(parts[worst] * 100),
            peak_at=to_datetime(peak_ns),
            low_at=to_datetime(int(self.at_ns[bars.numbers[worst]])),
        )

    def longest_under_water(self) -> UnderWater | None:
        """From the last close at a peak to the first one that is as high; None: it never fell."""
        count, bars = len(self.at_ns), self._deciding
        if not count:
            return None
        closes = np.concatenate([[self.start_usd], bars.close])
        numbers = np.concatenate([[-1], bars.numbers, [count]])  # of the beginning, and the end
        tops = np.flatnonzero(closes >= np.maximum.accumulate(closes) - _NOISE_USD)
        ends = np.append(tops[1:], len(closes))  # the last one lasts until the end
        is_under = numbers[ends] - numbers[tops] > 1
        if not is_under.any():
            return None
        times = np.append(self.at_ns[np.maximum(numbers[:-1], 0)], self.end_ns)
        lengths = np.where(is_under, times[ends] - times[tops], 0)
        longest = int(lengths.argmax())
        since, until = int(times[tops[longest]]), int(times[ends[longest]])
        is_over = bool(ends[longest] < len(closes))
        return UnderWater((until - since) / 1e9, to_datetime(since), to_datetime(until), is_over)

    def thinned(self, count: int) -> list[tuple[datetime, Decimal]]:
        """At most `count` points of it, evenly spaced in bars; the first and the last are in it."""
        bars = len(self.at_ns)
        chosen = np.unique(np.linspace(0, bars - 1, min(count, bars)).round()).astype(int)
        found = zip(self.at_ns[chosen].tolist(), self.closes_at(chosen).tolist(), strict=True)
        return [(to_datetime(at_ns), to_cents(usd)) for at_ns, usd in found]

    @property
    def _deciding(self) -> _Bars:
        """Every bar that can be at a peak, or the worst; the others change no figure."""
        return _Bars(np.arange(len(self.at_ns)), self.low, self.close)


@dataclass(frozen=True, slots=True)
class _Bars:
    """Some bars of a curve. `numbers`: which."""

    numbers: Integers
    low: Floats
    close: Floats


class _LineEquity(EquityCurve):
    """Of one asset: between two fills the equity rises and falls with the bid, so the highest and
    the lowest bid of a few hundred bars say whether any of them can matter. What is left out can
    not: every figure is that of all bars, to the last bit.
    """

    def __init__(self, start_usd: Decimal, changes: Sequence[Change], line: PriceLine) -> None:
        self.start_usd, self.at_ns, self.end_ns = float(start_usd), line.at_ns, line.end_ns
        self._line = line
        # A change counts from the first bar at or after it.
        self._from = np.searchsorted(line.at_ns, np.array([o.at_ns for o in changes], np.int64))
        self._cash = _sums([one.usd for one in changes], start_usd)
        coins = [one.coins if one.symbol == line.symbol else _ZERO for one in changes]
        self._coins = _sums(coins, _ZERO)

    @cached_property
    def low(self) -> Floats:
        return self._at(np.arange(len(self.at_ns)), self._line.low_bid)

    @cached_property
    def close(self) -> Floats:
        return self._at(np.arange(len(self.at_ns)), self._line.close_bid)

    def closes_at(self, places: Integers) -> Floats:
        there = places % len(self.at_ns)
        return self._at(there, self._line.close_bid[there])

    def _at(self, numbers: Integers, bids: Floats) -> Floats:
        """USD at these bids of these bars."""
        held = np.searchsorted(self._from, numbers, side="right")
        worth: Floats = self._cash[held] + self._coins[held] * bids
        return worth

    @cached_property
    def _deciding(self) -> _Bars:
        line, count = self._line, len(self.at_ns)
        cuts = self._from[self._from < count]
        edges = np.unique(np.concatenate([np.arange(0, count, _PIECE), cuts]))
        highest = self._at(edges, np.maximum.reduceat(line.close_bid, edges))
        lowest = self._at(edges, np.minimum.reduceat(line.low_bid, edges))
        peaks = np.maximum.accumulate(np.concatenate([[self.start_usd], highest]))
        before, after = peaks[:-1], peaks[1:]
        surely, at_most = (before - lowest) / before, (after - lowest) / after
        chosen = highest >= before - 2 * _NOISE_USD
        chosen |= at_most >= surely.max() - _NOISE
        chosen[0] = True  # the first bar is where everything is counted from
        lengths = np.diff(edges, append=count)[chosen]
        begins = edges[chosen]
        ends = np.cumsum(lengths)
        numbers = np.arange(int(ends[-1])) + np.repeat(begins - (ends - lengths), lengths)
        held = np.repeat(np.searchsorted(self._from, begins, side="right"), lengths)
        cash, coins = self._cash[held], self._coins[held]
        return _Bars(
            numbers, cash + coins * line.low_bid[numbers], cash + coins * line.close_bid[numbers]
        )


def changes_of(entries: Iterable[JournalEntry]) -> list[Change]:
    """What each order of a journal changed."""
    changes = []
    for entry in entries:
        at_ns = to_ns(ended_at(entry))
        if entry.side is Side.BUY:
            usd, coins = -entry.filled_usd, entry.filled_qty - entry.fee_qty
        else:
            usd, coins = entry.filled_usd - entry.fee_usd, -entry.filled_qty
        changes.append(Change(at_ns, entry.symbol, usd, coins))
    return changes


def compute_equity(
    start_usd: Decimal, changes: Sequence[Change], lines: Mapping[str, PriceLine]
) -> EquityCurve:
    """The curve of `start_usd` and these changes; between two bars the last bid counts."""
    each = list(lines.values())
    if len(each) == 1 and len(each[0].at_ns):
        return _LineEquity(start_usd, sorted(changes, key=lambda one: one.at_ns), each[0])
    times = each[0].at_ns if len(each) == 1 else np.unique(np.concatenate([o.at_ns for o in each]))
    ordered = sorted(changes, key=lambda one: one.at_ns)
    cash = _levels(times, [(one.at_ns, one.usd) for one in ordered], start_usd)
    low, close = cash.copy(), cash
    for line in each:
        own = [(one.at_ns, one.coins) for one in ordered if one.symbol == line.symbol]
        coins = _levels(times, own, _ZERO)
        if line.at_ns is times:
            low += coins * line.low_bid
            close += coins * line.close_bid
            continue
        places = np.searchsorted(line.at_ns, times, side="right") - 1
        there = np.maximum(places, 0)
        is_own = line.at_ns[there] == times
        low += coins * np.where(is_own, line.low_bid[there], line.close_bid[there])
        close += coins * line.close_bid[there]
    return EquityCurve(float(start_usd), times, low, close, max(line.end_ns for line in each))


def _levels(times: Integers, steps: Sequence[tuple[int, Decimal]], start: Decimal) -> Floats:
    """The sum of the steps up to each time, added up exactly."""
    sums = _sums([change for _, change in steps], start)
    places = np.searchsorted(np.array([at for at, _ in steps], np.int64), times, side="right")
    levels: Floats = sums[places]
    return levels


def _sums(changes: Sequence[Decimal], start: Decimal) -> Floats:
    """`start`, and the sum after each change, added up exactly."""
    return np.array([float(level) for level in accumulate(changes, initial=start)], np.float64)


def to_cents(value: float) -> Decimal:
    """For figures that are judged, not traded: half to even."""
    return Decimal(repr(float(value))).quantize(_CENT, ROUND_HALF_EVEN)
