"""The newest quote of one symbol, its sanity, and the prices that matter. Phase 4 of the plan.

Owns: what a quote costs (a few comparisons of floats) and which quotes count: positive, not
crossed, finite, and no jump that the next one does not confirm. Decides no order.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import InitVar, dataclass, field
from decimal import Decimal
from typing import Any

from domain.orders import Side
from domain.trading_state import TradingState
from strategy.exits import ExitTrack
from strategy.triggers import Triggers
from trading.exit_watch import ExitWatch

_INFINITY = float("inf")


@dataclass(slots=True, eq=False)
class SymbolWatch:
    """The newest quote of one symbol and the prices that matter. Changed in the event loop only.

    An ordinary quote costs two comparisons: its bid lies between `_low` and `_high`. A buy needs an
    ask at or below its price, and no bid is above its ask.
    """

    symbol: str
    max_jump_percent: InitVar[Decimal]
    buy_below: float = -_INFINITY
    sell_above: float = _INFINITY
    backs_off_until: dict[Side, float] = field(default_factory=lambda: dict.fromkeys(Side, 0.0))
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    newest: Any = None
    bid: float = 0.0  # of the newest quote
    ask: float = _INFINITY
    # When the newest quote came; before the first, since when it is watched.
    received_at: float = field(default_factory=time.monotonic)
    state: TradingState | None = None
    last_reason: str = ""
    # Why the newest quote cannot be traded on, and the cure; None: it can.
    unusable: tuple[str, str | None] | None = None
    exits: ExitWatch | None = None  # while a peak or a stop loss is followed
    track: ExitTrack | None = None  # of `exits`, and what is left of it after them
    _low: float = -_INFINITY
    _high: float = _INFINITY
    _jump: float = field(init=False)
    _least: float = field(init=False)  # of the last bid
    _most: float = field(init=False)  # of the last ask
    _suspect: float | None = None

    def __post_init__(self, max_jump_percent: Decimal) -> None:
        self._jump = float(max_jump_percent) / 100
        self._least, self._most = 1 - self._jump, 1 + self._jump

    def set_triggers(self, triggers: Triggers, exits: ExitWatch | None = None) -> None:
        """Floats for the hot comparison, a hair too generous; the worker confirms in Decimal."""
        self.exits = exits
        buy, sell = triggers.buy_at_or_below, triggers.sell_at_or_above
        sell = triggers.cancel_buy_at_or_above if sell is None else sell
        self.buy_below = -_INFINITY if buy is None else float(buy) * (1 + 1e-12)
        self.sell_above = _INFINITY if sell is None else float(sell) * (1 - 1e-12)
        self.exits_changed()

    def exits_changed(self) -> None:
        """A peak has risen, or a clock begun or ended: other bids matter now."""
        self._low, self._high = self.buy_below, self.sell_above
        if self.exits is not None:
            self.track = self.exits.track
            if self.exits.trail is not None:
                self.sell_above = self.exits.sell_above
            low, high = self.exits.bounds
            self._low, self._high = max(self.buy_below, low), min(self.sell_above, high)

    def accept(self, quote: Any, bid: float, ask: float, now: float) -> bool:
        """Take a sane quote as the newest. True when it crosses a trigger: the worker's turn."""
        if not 0.0 < bid <= ask < _INFINITY:
            return False
        is_jump = bid < self.bid * self._least or ask > self.ask * self._most
        if is_jump and not self._is_confirmed(bid):
            return False
        self._suspect = None
        self.newest, self.received_at = quote, now
        self.bid, self.ask = bid, ask
        if self._low < bid < self._high:
            return False
        if self.exits is not None:
            self.exits.follow(quote, now)
            self.exits_changed()
        return (ask <= self.buy_below and now >= self.backs_off_until[Side.BUY]) or (
            self.wants_sale() and now >= self.backs_off_until[Side.SELL]
        )

    def wants_sale(self) -> bool:
        """Whether the newest quote asks for a sale, or for what comes before one."""
        if self.bid >= self.sell_above:
            return True
        return self.exits is not None and self.exits.wants_sale(self.bid)

    def wants_to_trade(self) -> bool:
        """Whether the newest quote crosses a trigger, or a sale is wanted at any price."""
        return self.ask <= self.buy_below or self.wants_sale()

    def _is_confirmed(self, bid: float) -> bool:
        """A quote that jumps is a spike until the next one confirms it."""
        suspect, self._suspect = self._suspect, bid
        return suspect is not None and abs(bid - suspect) <= self._jump * suspect
