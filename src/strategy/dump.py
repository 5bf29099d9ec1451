"""Whether the market as a whole falls: at least half of the watched assets, and at least two, by so
many percent within five minutes. Pure: times are arguments, so that a replay gives the same answer.

Prices are floats, as the wire has them: they decide about a pause of buys, never about an order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

WINDOW_SECONDS = 300.0
BUCKET_SECONDS = 10.0
MAX_GAP_SECONDS = 15.0  # between two samples: after more, nothing is known of what was before
MIN_ASSETS = 2


def compute_pause_end(begun_at: datetime, minutes: Decimal) -> datetime:
    """Until when a fall at `begun_at` keeps all assets from buying."""
    return begun_at + timedelta(minutes=float(minutes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The newest bid of one asset. `quoted_at`: seconds; another quote has another."""

    symbol: str
    bid: float
    quoted_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Falls:
    """How far each asset fell from its highest price of the last five minutes, in percent. Only
    those of which enough quotes came in that time.
    """

    percents: Mapping[str, float]
    limit_percent: float

    @property
    def fallen(self) -> list[str]:
        """The symbols that fell that far, the deepest fall first."""
        # A hair generous: 5 % of a float may be 4.999999999999999.
        least = self.limit_percent * (1 - 1e-9)
        down = [symbol for symbol, percent in self.percents.items() if percent >= least]
        return sorted(down, key=lambda symbol: -self.percents[symbol])

    @property
    def needed(self) -> int:
        """So many must fall."""
        return max(MIN_ASSETS, -(-len(self.percents) // 2))

    @property
    def is_dump(self) -> bool:
        return len(self.fallen) >= self.needed


@dataclass(slots=True)
class PriceWindow:
    """The prices of one asset: a ring of buckets, each with the highest price of ten seconds and
    the last time that it was there.

    A price counts when two quotes in a row had it: the lower of both for the highest price, the
    higher of both for the present one. So no single bad quote is a peak, or a fall.
    """

    _buckets: deque[tuple[float, float]] = field(default_factory=deque)
    _last: Sample | None = None
    _present: float = 0.0

    def add(self, sample: Sample) -> None:
        """Take a quote that is newer than the last one."""
        before, self._last = self._last, sample
        if before is None or sample.quoted_at - before.quoted_at > WINDOW_SECONDS:
            self._buckets.clear()
            return
        self._present = max(before.bid, sample.bid)
        highest = min(before.bid, sample.bid)
        newest = self._buckets[-1] if self._buckets else (-BUCKET_SECONDS, 0.0)
        if newest[0] // BUCKET_SECONDS < sample.quoted_at // BUCKET_SECONDS:
            self._buckets.append((sample.quoted_at, highest))
        elif highest >= newest[1]:
            self._buckets[-1] = (sample.quoted_at, highest)

    def is_new(self, sample: Sample) -> bool:
        return self._last is None or sample.quoted_at > self._last.quoted_at

    def fall_percent(self, now: float) -> float | None:
        """Percent below the highest price of the last five minutes; None: nothing is known."""
        while self._buckets and now - self._buckets[0][0] > WINDOW_SECONDS:
            self._buckets.popleft()
        if not self._buckets:
            return None
        highest = max(price for _, price in self._buckets)
        return max(0.0, (1 - self._present / highest) * 100)


class DumpDetector:
    """Of all watched assets. After a dump it begins anew: each fall counts once."""

    def __init__(self, percent: Decimal) -> None:
        self._percent = float(percent)
        self._windows: dict[str, PriceWindow] = {}
        self._sampled_at: float | None = None
        self.falls = Falls(percents={}, limit_percent=self._percent)

    def see(self, samples: Iterable[Sample], now: float) -> Falls:
        """What these samples say, taken at `now` (seconds of the clock that `quoted_at` has)."""
        if self._sampled_at is not None and not 0 <= now - self._sampled_at <= MAX_GAP_SECONDS:
            self.forget()  # a process that was suspended, a clock that was set
        self._sampled_at = now
        seen = {sample.symbol: sample for sample in samples}
        self._windows = {symbol: self._windows.get(symbol) or PriceWindow() for symbol in seen}
        percents = {}
        for symbol, window in self._windows.items():
            if window.is_new(seen[symbol]):
                window.add(seen[symbol])
            if (percent := window.fall_percent(now)) is not None:
                percents[symbol] = percent
        self.falls = Falls(percents=percents, limit_percent=self._percent)
        return self.falls

    def forget(self) -> None:
        """What was before counts no more."""
        self._windows.clear()
        self._sampled_at = None
