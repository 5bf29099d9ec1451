"""When the dump guard would have paused the buys: strategy.dump over past prices, second by second.

Owns: which prices it is shown. Where nothing can have fallen far enough it is not asked: a guard
asked for each second of years would take longer than the replay.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from research.price_path import Integers
from strategy.dump import MIN_ASSETS, WINDOW_SECONDS, DumpDetector, Sample

_MICROS = 1_000_000
_WINDOW = int(WINDOW_SECONDS)
# A detector that begins so long before knows what one that began earlier knows: its window is full,
# and of two prices in a row the first is in it, or both are too far apart to count.
_WARM_SECONDS = 2 * _WINDOW + 100


@dataclass(frozen=True, slots=True)
class BidSeries:
    """What the guard sees of one asset. `at` in microseconds since 1970 (UTC), ascending."""

    symbol: str
    at: Integers
    bids: npt.NDArray[np.float64]


def bids_of_quotes(symbol: str, times: Integers, bids: Integers, step: Decimal) -> BidSeries:
    return BidSeries(symbol, times, _floats(bids, step))


def bids_of_bars(
    symbol: str, starts: Integers, opens: Integers, closes: Integers, step: Decimal
) -> BidSeries:
    """Of each bar its open, and its close just before it ends: a price counts when two in a row
    have it, so that a high or low alone would not.
    """
    length = int(np.diff(starts).min()) * _MICROS if len(starts) > 1 else 60 * _MICROS
    begins = starts * _MICROS
    ends = begins + length - min(_MICROS, length // 2)
    at = np.column_stack((begins, ends)).ravel()
    return BidSeries(symbol, at, _floats(np.column_stack((opens, closes)).ravel(), step))


def find_dumps(percent: Decimal, series: Sequence[BidSeries]) -> list[datetime]:
    """When at least half of these assets, and at least two, fell by so many percent."""
    found: list[datetime] = []
    if len(series) < MIN_ASSETS:
        return found
    detector = DumpDetector(percent)
    for begin, end in _spans(float(percent), series):
        seconds = np.arange(begin, end, dtype=np.int64)
        # The newest price of before each second.
        newest = [np.searchsorted(one.at, seconds * _MICROS).tolist() for one in series]
        for second, *places in zip(seconds.tolist(), *newest, strict=True):
            samples = [
                Sample(
                    symbol=one.symbol,
                    bid=float(one.bids[place - 1]),
                    quoted_at=int(one.at[place - 1]) / _MICROS,
                )
                for one, place in zip(series, places, strict=True)
                if place > 0
            ]
            if detector.see(samples, second).is_dump:
                detector.forget()  # each fall counts once
                found.append(datetime.fromtimestamp(second, UTC))
    return found


def _spans(percent: float, series: Sequence[BidSeries]) -> Iterator[tuple[int, int]]:
    """Seconds within which enough assets may have fallen, with what must be seen before them."""
    counts: dict[int, int] = {}
    for one in series:
        for window in _falling_windows(percent, one):
            counts[window] = counts.get(window, 0) + 1
    wanted = sorted(window for window, count in counts.items() if count >= MIN_ASSETS)
    begin = end = 0
    for window in wanted:
        since = window * _WINDOW - _WARM_SECONDS
        if since > end:
            if end:
                yield begin, end
            begin = since
        end = (window + 1) * _WINDOW
    if end:
        yield begin, end


def _falling_windows(percent: float, one: BidSeries) -> set[int]:
    """The windows, by number since 1970, in which its newest price may be so far below one of the
    last five minutes: the lowest of each against the highest of it and the one before.
    """
    if not len(one.at):
        return set()
    numbers = one.at // (_WINDOW * _MICROS)
    starts = np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1])
    windows = numbers[starts]
    lows, highs = np.minimum.reduceat(one.bids, starts), np.maximum.reduceat(one.bids, starts)
    before = np.where(np.diff(windows, prepend=windows[0] - 2) == 1, np.roll(highs, 1), 0.0)
    is_low = lows <= np.maximum(highs, before) * (1 - percent / 100) * (1 + 1e-6)
    fallen = windows[is_low].tolist()
    return {*fallen, *(window + 1 for window in fallen)}  # it stays the newest for a while


def _floats(steps: Integers, step: Decimal) -> npt.NDArray[np.float64]:
    """The floats next to these prices, as the wire has them."""
    numerator, denominator = step.as_integer_ratio()
    found: npt.NDArray[np.float64] = (steps * numerator) / denominator
    return found
