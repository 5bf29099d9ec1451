"""What the data stream sent in the last seconds before each sell was taken, for the ledger.

Only quotes that one can trade on, and only those that a client received.
"""

import time
from collections import deque

from paper_exchange.core.clock import NANOS
from paper_exchange.core.orders import Event, Side
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import TradeUpdate

KEPT_SECONDS = 15.0
_MAX_AGE_NS = 60 * NANOS


class QuotesSent:
    def __init__(self) -> None:
        self.before_orders: dict[str, list[tuple[Quote, float]]] = {}
        """By order id, oldest first; each with how many seconds before the order it was sent."""
        self._recent: dict[str, deque[tuple[float, Quote]]] = {}

    def on_sent(self, quote: Quote) -> None:
        if not quote.is_usable or quote.at_ns < time.time_ns() - _MAX_AGE_NS:
            return
        now = time.monotonic()
        recent = self._recent.setdefault(quote.symbol, deque())
        recent.append((now, quote))
        while recent[0][0] < now - KEPT_SECONDS:
            recent.popleft()

    def on_trade_update(self, update: TradeUpdate) -> None:
        """Keeps what was sent before a sell was taken."""
        order = update.order
        if update.event is not Event.PENDING_NEW or order.side is not Side.SELL:
            return
        now = time.monotonic()
        self.before_orders[order.id] = [
            (quote, round(now - sent_at, 3))
            for sent_at, quote in self._recent.get(order.symbol, ())
            if sent_at >= now - KEPT_SECONDS
        ]
