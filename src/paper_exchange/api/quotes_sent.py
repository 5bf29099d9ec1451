"""What the data stream told in the last seconds before each sell was taken: for the ledger.

Only quotes that one can decide on, and only those that somebody heard.
"""

import time
from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from paper_exchange.core.clock import NANOS
from paper_exchange.core.orders import Event, Side
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import TradeUpdate

KEPT_SECONDS = 15.0
_OLD_NS = 60 * NANOS


@dataclass(frozen=True, slots=True)
class Told:
    """A quote that was sent so many seconds before the order was taken."""

    bid: Decimal
    ask: Decimal
    seconds_before: float


class QuotesSent:
    def __init__(self) -> None:
        self.before_orders: dict[str, tuple[Told, ...]] = {}
        """By order id, oldest first."""
        self._recent: dict[str, deque[tuple[float, Quote]]] = {}

    def take(self, quote: Quote) -> None:
        """A quote that went out just now."""
        is_old = quote.at_ns < time.time_ns() - _OLD_NS
        if not quote.is_usable or is_old:
            return
        now = time.monotonic()
        recent = self._recent.setdefault(quote.symbol, deque())
        recent.append((now, quote))
        while recent[0][0] < now - KEPT_SECONDS:
            recent.popleft()

    def remember_before(self, update: TradeUpdate) -> None:
        """Listens to trade updates: keeps what was told before a sell was taken."""
        order = update.order
        if update.event is not Event.PENDING_NEW or order.side is not Side.SELL:
            return
        now = time.monotonic()
        self.before_orders[order.id] = tuple(
            Told(quote.bid, quote.ask, round(now - told_at, 3))
            for told_at, quote in self._recent.get(order.symbol, ())
            if told_at >= now - KEPT_SECONDS
        )
