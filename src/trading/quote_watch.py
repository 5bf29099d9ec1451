"""The newest quote of one symbol, its sanity, and the prices that matter. Phase 4 of the plan.

Owns: what a quote costs (a few comparisons of floats) and which quotes count: positive, not
crossed, finite, and no jump that the next one does not confirm. Decides no order.
"""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal
from typing import Any

from domain.orders import Side
from domain.trading_state import TradingState
from strategy.triggers import Triggers

_INFINITY = float("inf")


class SymbolWatch:
    """The newest quote of one symbol and the prices that matter. Changed in the event loop only."""

    __slots__ = (
        "_high",
        "_jump",
        "_low",
        "_suspect",
        "ask",
        "backs_off_until",
        "bid",
        "buy_below",
        "last_reason",
        "newest",
        "received_at",
        "sell_above",
        "state",
        "symbol",
        "unusable",
        "wake",
    )  # fmt: skip

    def __init__(self, symbol: str, max_jump_percent: Decimal) -> None:
        self.symbol = symbol
        self.buy_below = -_INFINITY
        self.sell_above = _INFINITY
        self.backs_off_until = {side: 0.0 for side in Side}
        self.wake = asyncio.Event()
        self.newest: Any = None
        self.bid, self.ask = 0.0, _INFINITY  # of the newest quote
        self.received_at = time.monotonic()  # of the newest quote; before the first, the beginning
        self.state: TradingState | None = None
        self.last_reason = ""
        # Why the newest quote cannot be traded on, and the cure; None: it can.
        self.unusable: tuple[str, str | None] | None = None
        self._jump = float(max_jump_percent) / 100
        self._low, self._high = 0.0, _INFINITY
        self._suspect: float | None = None

    def set_triggers(self, triggers: Triggers) -> None:
        """Floats for the hot comparison, a hair too generous; the worker confirms in Decimal."""
        buy, sell = triggers.buy_at_or_below, triggers.sell_at_or_above
        sell = triggers.cancel_buy_at_or_above if sell is None else sell
        self.buy_below = -_INFINITY if buy is None else float(buy) * (1 + 1e-12)
        self.sell_above = _INFINITY if sell is None else float(sell) * (1 - 1e-12)

    def accept(self, quote: Any, bid: float, ask: float, now: float) -> bool:
        """Take a sane quote as the newest. True when it crosses a trigger: the worker's turn."""
        if not 0.0 < bid <= ask < _INFINITY:
            return False
        if (bid < self._low or ask > self._high) and not self._is_confirmed(bid):
            return False
        self._low, self._high = bid * (1 - self._jump), ask * (1 + self._jump)
        self._suspect = None
        self.newest, self.received_at = quote, now
        self.bid, self.ask = bid, ask
        return (ask <= self.buy_below and now >= self.backs_off_until[Side.BUY]) or (
            bid >= self.sell_above and now >= self.backs_off_until[Side.SELL]
        )

    def wants_to_trade(self) -> bool:
        """Whether the newest quote crosses a trigger, or the user wants a sale at any price."""
        return self.ask <= self.buy_below or self.bid >= self.sell_above

    def _is_confirmed(self, bid: float) -> bool:
        """A quote that jumps is a spike until the next one confirms it."""
        suspect, self._suspect = self._suspect, bid
        return suspect is not None and abs(bid - suspect) <= self._jump * suspect
