"""Candles of the minutes that the history does not have: from Alpaca's data, asked for sparingly.

Owns what was answered, for as long as it can be used again. Asked without keys, with a count of its
own: nothing is taken from the allowance of the account that trades (see utils.alpaca_bars).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from utils.alpaca_bars import BarSource
from utils.alpaca_http import UnreadableAnswer
from web.candle_rows import MAX_CANDLES, Candle, begins_of

FRESH_SECONDS = 20.0  # what moves meanwhile comes with the status
MAX_KEPT = 50
# The longest bar that a candle is a whole number of: fewer to fetch. Not longer than an hour: days
# of Alpaca's begin where New York's or Chicago's do.
_FRAMES = ((3600, "1Hour"), (900, "15Min"), (300, "5Min"), (60, "1Min"))


@dataclass(frozen=True, slots=True)
class _Kept:
    at: float  # monotonic seconds
    candles: list[Candle]


class ExchangeCandles:
    """Used by one thread at a time."""

    def __init__(self, origin: str | None) -> None:
        self._origin = origin
        self._source: BarSource | None = None
        self._kept: OrderedDict[tuple[str, int, int, int], _Kept] = OrderedDict()

    def load(self, symbol: str, *, seconds: int, first: int, last: int) -> list[Candle]:
        """At most MAX_CANDLES that begin in [first, last), in seconds since 1970: the newest.

        Raises:
            ExchangeError: nothing certain was answered.
        """
        first = int(begins_of(max(first, last - seconds * MAX_CANDLES), seconds))
        key = symbol, seconds, first, min(last, int(begins_of(int(time.time()), 60)))
        kept = self._kept.get(key)
        if kept is None or time.monotonic() - kept.at > FRESH_SECONDS:
            kept = _Kept(time.monotonic(), self._fetch(symbol, seconds, first, last))
            self._kept[key] = kept
            while len(self._kept) > MAX_KEPT:
                self._kept.popitem(last=False)
        return kept.candles

    def _fetch(self, symbol: str, seconds: int, first: int, last: int) -> list[Candle]:
        self._source = self._source or BarSource(self._origin)
        frame = next(name for length, name in _FRAMES if seconds % length == 0)
        found: list[Candle] = []
        bounds = _text(first), _text(last - 1)
        for page in self._source.pages(symbol, *bounds, timeframe=frame, patience_seconds=0.0):
            for bar in page:
                _add(found, bar, seconds)
        return found[-MAX_CANDLES:]


def _add(candles: list[Candle], bar: Mapping[str, Any], seconds: int) -> None:
    """The bar as a part of the candle that it lies in."""
    try:
        at = datetime.fromisoformat(str(bar["t"])).timestamp()
        prices = [float(bar[name]) for name in ("o", "h", "l", "c")]
    except (KeyError, TypeError, ValueError):
        raise UnreadableAnswer("a bar has no time or no price") from None
    begins, (opened, high, low, close) = int(begins_of(int(at), seconds)), prices
    if candles and candles[-1][0] == begins:
        last = candles[-1]
        last[2], last[3], last[4] = max(last[2], high), min(last[3], low), close
    else:
        candles.append([begins, opened, high, low, close])


def _text(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
