"""A trader led through recorded quotes, one order for each quote at most, as in the daemon."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import numpy.typing as npt

from research.price_path import NO_HIGH, NO_LOW, Extremes, Integers, Scale
from research.trader import SimulatedTrader
from strategy.triggers import ANY_PRICE

MAX_GAP_SECONDS = 15.0  # MAX_QUOTE_AGE_SECONDS: a stop loss waits anew after a longer silence
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Quotes:
    """Columns of equal length, oldest first. `times` in microseconds since 1970 (UTC), prices in
    whole `step`s of USD.
    """

    times: Integers
    bids: Integers
    asks: Integers
    step: Decimal

    def sane(self, max_jump_percent: Decimal) -> Quotes:
        """Those that the daemon would trade on (see trading.quote_watch): positive, not crossed,
        and no jump that the next one does not confirm.
        """
        kept = (self.bids > 0) & (self.bids <= self.asks)
        times, bids, asks = (column[kept] for column in (self.times, self.bids, self.asks))
        sane = ~_find_spikes(bids, asks, float(max_jump_percent) / 100)
        return Quotes(times[sane], bids[sane], asks[sane], self.step)


def _find_spikes(bids: Integers, asks: Integers, jump: float) -> npt.NDArray[np.bool_]:
    """Which quotes are refused. Looked at one by one only from a jump to its confirmation."""
    refused = np.zeros(len(bids), dtype=bool)
    moved = (bids[1:] < bids[:-1] * (1 - jump)) | (asks[1:] > asks[:-1] * (1 + jump))
    starts, after = np.flatnonzero(moved) + 1, 0
    for start in starts.tolist():
        if start < after:
            continue
        last, number, suspect = start - 1, start, None
        while number < len(bids):
            bid, ask = float(bids[number]), float(asks[number])
            is_jump = bid < bids[last] * (1 - jump) or ask > asks[last] * (1 + jump)
            if not is_jump or (suspect is not None and abs(bid - suspect) <= jump * suspect):
                break
            suspect, refused[number] = bid, True
            number += 1
        after = number + 1
    return refused


class QuoteWalk:
    """One trader on one series of quotes. `at` is the quote that comes next."""

    def __init__(
        self, trader: SimulatedTrader, quotes: Quotes, max_gap_seconds: float = MAX_GAP_SECONDS
    ) -> None:
        self.trader, self.quotes, self.max_gap_seconds = trader, quotes, max_gap_seconds
        self.scale = Scale.of(quotes.step, quotes.step, Decimal(0))
        self.at = 0
        self._extremes = Extremes(quotes.asks, quotes.bids)
        self._bids = Extremes(quotes.bids, quotes.bids)
        if self.count:
            trader.highest_ask = int(quotes.asks.max()) * quotes.step

    @property
    def count(self) -> int:
        return self._extremes.count

    def start_of(self, number: int) -> int:
        """Microseconds since 1970."""
        return self.quotes.times.item(number)

    @property
    def last_bid(self) -> Decimal:
        return int(self.quotes.bids[-1]) * self.quotes.step if self.count else Decimal(0)

    def find_next(self) -> int:
        """The next quote at which something happens; `count` where nothing does any more."""
        trader, scale = self.trader, self.scale
        triggers = trader.triggers
        price = None if trader.buys_nothing else triggers.buy_at_or_below
        over = self.count
        if (wakes_at := trader.wakes_at) is not None:
            micros = (wakes_at - _EPOCH) // timedelta(microseconds=1)
            over = max(self.at, int(self.quotes.times.searchsorted(micros)))
        if price == ANY_PRICE or self._follows_each():
            return min(over, self.at)
        low = NO_LOW if price is None else scale.steps_with_ask_to(scale.units_down(price))
        drop, rise = NO_LOW, NO_HIGH
        if triggers.sell_at_or_above is not None:
            rise = scale.steps_with_bid_from(scale.units_up(triggers.sell_at_or_above))
        if (trail := triggers.trail) is not None:
            rise = scale.steps_with_bid_from(
                scale.units_up(trail.peak or trail.confirm_at_or_above)
            )
            if trail.sell_at_or_below is not None:
                drop = scale.steps_with_bid_to(scale.units_down(trail.sell_at_or_below))
        if triggers.stop_at_or_below is not None:
            stop = scale.steps_with_bid_to(scale.units_down(triggers.stop_at_or_below))
            drop = max(drop, stop)
        found = over
        if low != NO_LOW or rise != NO_HIGH:
            found = min(found, self._extremes.find(self.at, low, rise))
        if drop != NO_LOW:
            found = min(found, self._bids.find(self.at, drop, NO_HIGH))
        return found

    def _follows_each(self) -> bool:
        """Whether the very next quote matters: a higher one came just now, or a stop's clock runs
        (see trading.exit_watch).
        """
        track, triggers = self.trader.track, self.trader.triggers
        follows_peak = triggers.trail is not None and track.next_peak is not None
        follows_clock = triggers.stop_at_or_below is not None and track.below_since is not None
        return follows_peak or follows_clock

    def walk(self, number: int) -> None:
        """The trader gets this quote; the next one comes after it."""
        now = _EPOCH + timedelta(microseconds=self.start_of(number))
        step = self.quotes.step
        self.trader.let_time_pass(now)
        self.trader.end_cooldown(now)
        bid = self.quotes.bids.item(number) * step
        ask = self.quotes.asks.item(number) * step
        self.trader.follow(bid, now, self.max_gap_seconds, ask)
        self.trader.on_quote(bid, ask, now)
        self.at = number + 1
