"""The parts of the bot wired for a test, without the streams.

Quotes and updates are handed in by the test.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from config import Settings
from domain.orders import ExchangeOrder, TradeUpdate
from models.trading_state import load_all_trading_states
from running_exchange import RunningExchange
from strategy.order_identity import compute_client_order_id
from trading.engine import build_engine
from trading.market_data_handler import MarketDataHandler
from trading.trade_update_handler import TradeUpdateHandler
from utils.alpaca_client_rest import place_limit_buy_order
from utils.alpaca_queries import fetch_orders
from utils.db_utils import thread_connection

BTC = "BTC/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}
FAR = {"qty": "0.02", "price": "1000"}


def wire_quote(symbol: str, bid: float, ask: float, at: datetime | None = None) -> dict[str, Any]:
    """A quote as the data stream sends it (time as text, which the parser takes as well)."""
    moment = (at or datetime.now(UTC)).isoformat()
    return {"T": "q", "S": symbol, "bp": bid, "bs": 1.0, "ap": ask, "as": 1.0, "t": moment}


@dataclass
class BotParts:
    """Market handler, update handler and reconciler on one exchange and one database."""

    settings: Settings
    exchange: RunningExchange
    changed: list[ExchangeOrder] = field(default_factory=list)
    sweeps_requested: list[str] = field(default_factory=list)
    why_no_orders: Callable[[], str | None] = lambda: None

    def __post_init__(self) -> None:
        fee_rate = self.settings.taker_fee_rate
        engine = build_engine(
            self.settings,
            confirm_seconds=0,
            on_change=self._order_changed,
            why_no_orders=lambda: self.why_no_orders(),
        )
        self.client, self.rules, self.reconciler = engine.client, engine.rules, engine.reconciler
        self.limits, self.placer = engine.limits, engine.placer
        self.market = MarketDataHandler(self.settings, self.rules, self.placer)
        self.updates = TradeUpdateHandler(
            self.client,
            self.rules,
            fee_rate,
            on_change=self._order_changed,
            request_sweep=self.sweeps_requested.append,
            on_unclaimed=self.reconciler.note_unclaimed,
        )

    def _order_changed(self, order: ExchangeOrder) -> None:
        self.changed.append(order)
        self.market.order_changed(order)

    def quote_both(self, bid: float, ask: float, symbol: str = "BTC/USD") -> dict[str, Any]:
        """Let the exchange quote, and return the same quote for the handler."""
        self.exchange.push_quote(symbol, bid, ask)
        return wire_quote(symbol, bid, ask)

    async def see(self, *quotes: dict[str, Any]) -> None:
        """Refresh the triggers, hand in quotes and wait for the workers."""
        states = await asyncio.to_thread(lambda: load_all_trading_states(thread_connection()))
        await self.market.refresh(states)
        for quote in quotes:
            await self.market.on_crypto_quote(quote)
        await self.market.wait_until_idle()

    def orders(self, status: str = "all") -> list[ExchangeOrder]:
        """The exchange's orders, oldest first."""
        return fetch_orders(self.client, status=status)

    def apply_update(self, order: ExchangeOrder, event: str) -> None:
        """Apply an update about `order`, as the stream would bring it."""
        self.updates.apply(TradeUpdate(event=event, order=order))

    def sweep(self) -> None:
        """Let the exchange finish what it does, then sweep."""
        self.exchange.finish()
        self.reconciler.sweep()


def usd(text: str) -> Decimal:
    """A Decimal that reads as money in a test."""
    return Decimal(text)


def buy(parts, cycle, *, seq=None, symbol=BTC, qty="0.002", price="50000", identity=None):
    identity = identity or compute_client_order_id(cycle, seq)
    order = place_limit_buy_order(
        parts.client, symbol, Decimal(qty), Decimal(price), client_order_id=identity
    )
    parts.exchange.finish()
    return str(order.id)
