"""What an account was worth over time: cash and coins that change with each fill, judged at every
bar. Pure.

Fills are exact (Decimal); the curve is of floats, whose cents are exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

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


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """USD at every time of any asset: at the lowest bid of that bar, and at its last. A bar is
    judged with what is held after its fills.
    """

    start_usd: float
    at_ns: Integers
    low: Floats
    close: Floats
    end_ns: int

    @property
    def last_usd(self) -> float:
        return float(self.close[-1]) if len(self.close) else self.start_usd

    def falls(self) -> Floats:
        """USD below the highest close before each bar, at its low; 0 where it is above."""
        before = np.concatenate([[self.start_usd], self.close[:-1]])
        fallen: Floats = np.maximum(np.maximum.accumulate(before) - self.low, 0.0)
        return fallen

    def worst_drawdown(self) -> Drawdown | None:
        """None: the equity never fell."""
        before = np.concatenate([[self.start_usd], self.close[:-1]])
        peaks = np.maximum.accumulate(before)
        parts = np.divide(peaks - self.low, peaks, out=np.zeros_like(peaks), where=peaks > 0)
        if not len(parts) or parts.max() * self.start_usd <= _NOISE_USD:
            return None
        worst = int(parts.argmax())
        peak = int(np.argmax(before[: worst + 1]))
        peak_ns = int(self.at_ns[max(0, peak - 1)])
        return Drawdown(
            usd=to_cents(peaks[worst] - self.low[worst]),
            percent=to_cents(parts[worst] * 100),
            peak_at=to_datetime(peak_ns),
            low_at=to_datetime(int(self.at_ns[worst])),
        )

    def longest_under_water(self) -> UnderWater | None:
        """From the last close at a peak to the first one that is as high; None: it never fell."""
        if not len(self.close):
            return None
        closes = np.concatenate([[self.start_usd], self.close])
        times = np.concatenate([self.at_ns[:1], self.at_ns, [self.end_ns]])
        tops = np.flatnonzero(closes >= np.maximum.accumulate(closes) - _NOISE_USD)
        ends = np.append(tops[1:], len(closes))  # the last one lasts until the end
        is_under = ends - tops > 1
        if not is_under.any():
            return None
        lengths = np.where(is_under, times[ends] - times[tops], 0)
        longest = int(lengths.argmax())
        since, until = int(times[tops[longest]]), int(times[ends[longest]])
        is_over = bool(ends[longest] < len(closes))
        return UnderWater((until - since) / 1e9, to_datetime(since), to_datetime(until), is_over)

    def thinned(self, count: int) -> list[tuple[datetime, Decimal]]:
        """At most `count` points of it, evenly spaced in bars; the first and the last are in it."""
        chosen = np.unique(np.linspace(0, len(self.close) - 1, min(count, len(self.close))).round())
        return [
            (to_datetime(int(self.at_ns[one])), to_cents(self.close[one]))
            for one in chosen.astype(int).tolist()
        ]


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
    sums, level = [float(start)], start
    for _, change in steps:
        level += change
        sums.append(float(level))
    places = np.searchsorted(np.array([at for at, _ in steps], np.int64), times, side="right")
    levels: Floats = np.array(sums, np.float64)[places]
    return levels


def to_cents(value: float) -> Decimal:
    """For figures that are judged, not traded: half to even."""
    return Decimal(repr(float(value))).quantize(_CENT, ROUND_HALF_EVEN)
