"""Candles of any length out of the bars of the stored history. Pure."""

from __future__ import annotations

import numpy as np

from research.months import SECOND_NS
from research.series import Bars
from web.candle_rows import MAX_CANDLES, Candle, begins_of


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
