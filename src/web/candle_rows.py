"""Candles as rows: when they begin, and two lists of them as one. Pure.

A candle begins at a multiple of its length since 1970 (a week: on Monday). Prices are floats: they
are drawn, and decide nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MAX_CANDLES = 1000
WEEK_SECONDS = 7 * 24 * 3600
_MONDAY = 4 * 24 * 3600  # 1970 began on a Thursday
Candle = list[float]  # time in seconds, open, high, low, close


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
