"""What the data stream sent in the last seconds before each sell was taken, and the lowest and the
highest bid that it sent since a buy filled last, for the ledger.

Only quotes that one can trade on, and only those that a client received.
"""

import time
from collections import deque
from decimal import Decimal

from paper_exchange.core.clock import NANOS
from paper_exchange.core.orders import Event, Side
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import TradeUpdate

KEPT_SECONDS = 15.0
_MAX_AGE_NS = 60 * NANOS
_BEFORE_SECONDS = 2.0  # a quote of so long before a fill may be decided on after it
_CLOSED = (Event.CANCELED, Event.EXPIRED, Event.REJECTED, Event.REPLACED)


class QuotesSent:
    def __init__(self) -> None:
        self.before_orders: dict[str, list[tuple[Quote, float]]] = {}
        """By order id, oldest first; each with how many seconds before the order it was sent."""
        self.extremes_before_orders: dict[str, tuple[Decimal, Decimal]] = {}
        """By order id, the lowest and the highest bid."""
        self._recent: dict[str, deque[tuple[float, Quote]]] = {}
        self._extremes: dict[str, tuple[Decimal, Decimal]] = {}
        self._closed: set[str] = set()

    def on_sent(self, quote: Quote) -> None:
        if not quote.is_usable or quote.at_ns < time.time_ns() - _MAX_AGE_NS:
            return
        now = time.monotonic()
        recent = self._recent.setdefault(quote.symbol, deque())
        recent.append((now, quote))
        while recent[0][0] < now - KEPT_SECONDS:
            recent.popleft()
        low, high = self._extremes.get(quote.symbol, (quote.bid, quote.bid))
        self._extremes[quote.symbol] = min(low, quote.bid), max(high, quote.bid)

    def on_trade_update(self, update: TradeUpdate) -> None:
        """Keeps what was sent before a sell was taken."""
        order = update.order
        if order.side is Side.BUY:
            self._on_buy(update)
        if update.event is not Event.PENDING_NEW or order.side is not Side.SELL:
            return
        now = time.monotonic()
        self.before_orders[order.id] = [
            (quote, round(now - sent_at, 3))
            for sent_at, quote in self._recent.get(order.symbol, ())
            if sent_at >= now - KEPT_SECONDS
        ]
        if (extremes := self._extremes.get(order.symbol)) is not None:
            self.extremes_before_orders[order.id] = extremes

    def _on_buy(self, update: TradeUpdate) -> None:
        """A fill begins the extremes anew; one after its order's end nobody can know of."""
        order = update.order
        if update.event in _CLOSED:
            self._closed.add(order.id)
        if update.event not in (Event.FILL, Event.PARTIAL_FILL) or order.id in self._closed:
            return
        since = time.monotonic() - _BEFORE_SECONDS
        recent = self._recent.get(order.symbol, ())
        bids = [quote.bid for sent_at, quote in recent if sent_at >= since]
        self._extremes.pop(order.symbol, None)
        if bids:
            self._extremes[order.symbol] = min(bids), max(bids)
