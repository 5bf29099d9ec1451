"""Follows the quotes of one symbol that matter for how its coins are sold: the peak of a take
profit that trails, and the clock of a stop loss. In memory; peak_saver saves the peak.

Owns: which quotes count for that (none that is stale; for a peak none with too wide a spread). What
follows from one is strategy.exits'. Used in the event loop only; asks and writes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from config import Settings
from domain.market import Quote
from domain.trading_state import TradingState
from domain.wire import WireError
from strategy.exits import (
    ExitTrack,
    Trail,
    compute_trail,
    follow_quote,
    forget_clock,
    raise_peak,
    with_track,
)
from strategy.triggers import Triggers

_INFINITY = float("inf")
CONFIRM_SECONDS = 5.0  # between two peaks that a second source is asked about: requests are counted


@dataclass(slots=True, eq=False)
class ExitWatch:
    """Of one state. `sell_below` and `stop_below` are floats, a hair too generous: the worker
    confirms in Decimal. `on_peak` is called when the peak has risen.
    """

    settings: Settings
    state: TradingState
    track: ExitTrack
    on_peak: Callable[[ExitWatch], None]
    trail: Trail | None = None
    stop_price: Decimal | None = None
    sell_below: float = field(init=False, default=-_INFINITY)
    stop_below: float = field(init=False, default=-_INFINITY)
    is_due: bool = field(init=False, default=False)
    is_stale: bool = field(init=False, default=False)  # the newest quote, by our clock
    below_first_at: float | None = None  # monotonic: below the stop since, whatever the gaps
    quoted_at: datetime | None = None  # of the last quote that was followed
    confirms_at: float = 0.0  # monotonic seconds: not before
    may_confirm: bool = field(init=False, default=True)

    @classmethod
    def of(
        cls,
        settings: Settings,
        state: TradingState,
        triggers: Triggers,
        track: ExitTrack,
        on_peak: Callable[[ExitWatch], None],
    ) -> ExitWatch | None:
        """None where nothing is to be followed."""
        if triggers.trail is None and triggers.stop_at_or_below is None:
            return None
        watch = cls(settings, state, track, on_peak, stop_price=triggers.stop_at_or_below)
        if track.stop_price != watch.stop_price:  # the clock is of another price
            watch.track = forget_clock(track)
        if watch.stop_price is not None:
            watch.stop_below = float(watch.stop_price) * (1 + 1e-12)
        if triggers.trail is not None:
            watch._set_trail()
        watch._note_clock()
        return watch

    def follow(self, raw: Any, now: float) -> None:
        """Take a quote of the stream that came at `now` (monotonic seconds)."""
        symbol, settings = self.state.asset.asset_symbol, self.settings
        self.may_confirm = now >= self.confirms_at
        try:
            quote = Quote.from_wire(symbol, raw)
        except WireError:
            return
        max_seconds = settings.max_quote_age_seconds
        age_seconds = (datetime.now(UTC) - quote.quoted_at).total_seconds()
        self.is_stale = age_seconds > max_seconds
        if self.is_stale:
            return
        # By the quotes' own times, too: our clock stands still while the machine sleeps.
        last_at, self.quoted_at = self.quoted_at, quote.quoted_at
        if last_at is not None and (quote.quoted_at - last_at).total_seconds() > 2 * max_seconds:
            self.track = replace(self.track, below_since=None)
        if self.stop_price is None or quote.bid > self.stop_price:
            self.below_first_at = None
        elif self.below_first_at is None:
            self.below_first_at = now
        is_narrow = quote.spread_percent <= settings.max_spread_percent
        before = self.track.peak
        self.track = follow_quote(
            self.track,
            self.trail if is_narrow else None,
            self.stop_price,
            bid=quote.bid,
            at=now,
            max_gap_seconds=max_seconds,
        )
        self._note_clock()
        if self.track.peak != before:
            self._has_risen()

    def confirm(self, found: ExitTrack, now: float) -> None:
        """Take the peak that a second source has confirmed."""
        self.confirms_at, self.may_confirm = now + CONFIRM_SECONDS, False
        if found.holding == self.track.holding and self.trail is not None:
            self.track = raise_peak(self.track, found.peak)
            self._has_risen()

    def _has_risen(self) -> None:
        self._set_trail()
        self.on_peak(self)

    def _set_trail(self) -> None:
        state = with_track(self.state, self.track)
        self.trail = compute_trail(state.asset, state.cycle)
        sell = self.trail.sell_at_or_below if self.trail is not None else None
        self.sell_below = -_INFINITY if sell is None else float(sell) * (1 + 1e-12)

    def _note_clock(self) -> None:
        seconds = self.track.below_seconds
        self.is_due = seconds is not None and seconds >= self.state.asset.stop_loss_seconds

    def is_starved(self, now: float) -> bool:
        """Whether its stop loss would have fired if its quotes came often enough for the clock."""
        if self.below_first_at is None or self.is_due:
            return False
        least = self.state.asset.stop_loss_seconds + self.settings.max_quote_age_seconds
        return now - self.below_first_at > least

    def take_over(self, before: ExitWatch) -> None:
        """What `before`, of the same asset, knows of the quotes."""
        self.confirms_at, self.quoted_at = before.confirms_at, before.quoted_at
        if before.track.holding == self.track.holding and before.stop_price == self.stop_price:
            self.below_first_at = before.below_first_at

    def wants_sale(self, bid: float) -> bool:
        """Whether the bid has fallen to a price at which something is to be done. Of a stale quote
        below the stop the worker says why it does nothing: a wrong clock must not be silent.
        """
        is_wanted = self.is_due or self.is_stale
        return bid <= self.sell_below or (is_wanted and bid <= self.stop_below)

    @property
    def sell_above(self) -> float:
        """The bid that a second source must confirm as a peak. Just after another one it waits for
        that: each of its quotes is seen by `follow`.
        """
        if self.trail is None or (self.trail.peak is not None and not self.may_confirm):
            return _INFINITY
        return float(self.trail.confirm_at_or_above) * (1 - 1e-12)

    @property
    def bounds(self) -> tuple[float, float]:
        """Between these two bids nothing changes here. While the clock runs each quote above the
        stop is looked at, because it ends it; and after one above the peak each of the next.
        """
        below, above = max(self.sell_below, self.stop_below), _INFINITY
        if self.trail is not None and self.trail.peak is not None:
            above = float(self.trail.peak)
            if self.track.next_peak is not None:
                below = above
        if self.track.below_since is not None:
            above = min(above, self.stop_below)
        return below, above
