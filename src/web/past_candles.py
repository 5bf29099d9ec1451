"""Candles of any length out of bars: of the stored history, and of what the exchange adds. Pure.

A candle begins at a multiple of its length since 1970 (a week: on Monday). Prices are floats: they
are drawn, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from research.months import SECOND_NS
from research.series import Bars

MAX_CANDLES = 1000
WEEK_SECONDS = 7 * 24 * 3600
_MONDAY = 4 * 24 * 3600  # 1970 began on a Thursday
Candle = list[float]


def newest_candles(bars: Bars | None, *, seconds: int, first: int, last: int) -> list[Candle]:
    """The newest MAX_CANDLES that begin in [first, last), in seconds since 1970."""
    if bars is None:
        return []
    starts = bars.at_ns // SECOND_NS
    begin = int(np.searchsorted(starts, max(first, last - seconds * (MAX_CANDLES + 1))))
    found = aggregate(bars, begin, int(np.searchsorted(starts, last)), seconds)
    return [one for one in found if first <= one[0] < last][-MAX_CANDLES:]


def aggregate(bars: Bars, begin: int, end: int, seconds: int) -> list[Candle]:
    """The rows [begin, end) as candles: `[time, open, high, low, close]`, time in seconds."""
    if begin >= end:
        return []
    starts = bars.at_ns[begin:end] // SECOND_NS
    times = begins_of(starts, seconds)
    edges = np.flatnonzero(np.diff(times, prepend=times[0] - 1))
    lasts = np.append(edges[1:], end - begin) - 1
    columns = (
        bars.open[begin:end][edges],
        np.maximum.reduceat(bars.high[begin:end], edges),
        np.minimum.reduceat(bars.low[begin:end], edges),
        bars.close[begin:end][lasts],
    )
    scale = 10**bars.places  # a division gives the float that the digits mean; a product may not
    prices = [(one / scale).tolist() for one in columns]
    return [list(one) for one in zip(times[edges].tolist(), *prices, strict=True)]


def begins_of(starts: Any, seconds: int) -> Any:
    """When the candles begin in which these seconds lie: an array, or one number."""
    shift = _MONDAY if seconds == WEEK_SECONDS else 0
    return (starts - shift) // seconds * seconds + shift


def merged(history: Sequence[Candle], added: Sequence[Candle]) -> list[Candle]:
    """Both in the order of time; the candle in which one ends and the other begins is one."""
    found = [list(one) for one in history]
    for candle in added:
        if found and candle[0] == found[-1][0]:
            time, first, high, low, _ = found[-1]
            found[-1] = [time, first, max(high, candle[2]), min(low, candle[3]), candle[4]]
        elif not found or candle[0] > found[-1][0]:
            found.append(list(candle))
    return found[-MAX_CANDLES:]
