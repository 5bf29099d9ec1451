"""A hundred thousand malformed messages each.

Nothing raises out of a handler, nothing insane gets through.
"""

from __future__ import annotations

import copy
import random
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from config import load_settings
from domain.market import Quote
from domain.orders import TradeUpdate
from domain.wire import WireError
from strategy.triggers import ANY_PRICE, Triggers
from trading.buy_limits import BuyLimits
from trading.market_data_handler import MarketDataHandler
from trading.order_placement import OrderPlacer
from trading.quote_watch import SymbolWatch
from trading.trade_update_handler import TradeUpdateHandler

INPUTS = 100_000
_ORDER_ID = "61e69015-8549-4bfd-b9c3-01e75843f47d"
UPDATE = {
    "stream": "trade_updates",
    "data": {
        "event": "fill",
        "execution_id": _ORDER_ID,
        "price": "50000",
        "qty": "0.002",
        "position_qty": "0.002",
        "timestamp": "2026-01-02T03:04:05.123456789Z",
        "order": {
            "id": _ORDER_ID,
            "client_order_id": "dca-1-abcdef12-0",
            "symbol": "BTC/USD",
            "side": "buy",
            "type": "limit",
            "qty": "0.002",
            "limit_price": "50000",
            "filled_qty": "0.002",
            "filled_avg_price": "50000",
            "status": "filled",
            "created_at": "2026-01-02T03:04:05Z",
            "submitted_at": "2026-01-02T03:04:05Z",
            "filled_at": "2026-01-02T03:04:05Z",
            "replaced_by": None,
        },
    },
}
QUOTE = {
    "T": "q",
    "S": "BTC/USD",
    "bp": 50000.0,
    "bs": 1.0,
    "ap": 50001.0,
    "as": 1.0,
    "t": "2026-01-02T03:04:05.123456789Z",
}
_NAIVE = datetime(2026, 1, 2)  # noqa: DTZ001 - a time without a zone is what is tried
_NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**63, -(2**70), 1e308, -1e308, float("nan"), float("inf"),
    float("-inf"), "", " ", "NaN", "sNaN", "Infinity", "-0", "1e999999", "1e-999999", "0x10", "١٢",
    "9" * 400, "a" * 10_000, "\x00", "\ud800", "BTC/USD'; DROP TABLE dca_cycles; --", "buy", "sell",
    "filled", "canceled", "2026-01-02", "2026-13-45T99:99:99Z", "0001-01-01T00:00:00+14:00",
    b"bytes", [], {}, [1], {"id": 1}, (), object(), _NAIVE, datetime.max.replace(tzinfo=UTC),
    Decimal("NaN"), Decimal("1E+40"), Exception("x"), "dca-1-abcdef12-9999999999999999999",
]  # fmt: skip


def _mutated(rng: random.Random, value: Any, depth: int = 0) -> Any:
    """A copy with one to three places broken.

    Replaced, removed, doubled, or the whole of it replaced.
    """
    if rng.random() < 0.02:
        return rng.choice(_NASTY)
    broken = copy.deepcopy(value)
    for _ in range(rng.randint(1, 3)):
        place = broken
        while True:
            key = rng.choice(list(place))
            if isinstance(place[key], dict) and place[key] and rng.random() < 0.8:
                place = place[key]
                continue
            action = rng.random()
            if action < 0.7:
                place[key] = rng.choice(_NASTY)
            elif action < 0.85:
                del place[key]
            else:
                text = str(place[key])
                cut = rng.randint(0, len(text))
                place[key] = text[:cut] + rng.choice(["", "\x00", "9", "-", text]) + text[cut:]
            break
        if not broken or not all(isinstance(k, str) for k in broken):
            break
        if not any(True for _ in place):
            break
    return broken


async def test_malformed_trade_updates_never_raise_and_never_carry_insane_numbers():
    rng = random.Random(20260102)
    sweeps: list[str] = []
    handler = TradeUpdateHandler(
        client=None, rules=None, fee_rate=Decimal(0), request_sweep=sweeps.append
    )
    accepted = 0
    for _ in range(INPUTS):
        message = _mutated(rng, UPDATE)
        try:
            update = TradeUpdate.from_wire(message)
        except WireError:
            await handler.on_crypto_trade_update(
                message
            )  # says so and asks for a sweep; never raises
            continue
        accepted += 1
        order = update.order
        assert order.filled_qty.is_finite()
        assert Decimal(0) <= order.filled_qty <= Decimal("1e17")
        assert (order.filled_qty == 0) == (order.filled_avg_price is None)
        assert len(order.client_order_id) <= 128
        assert "/" in order.symbol
    assert len(sweeps) == INPUTS - accepted
    assert accepted > INPUTS / 100, "the mutations must leave some messages usable"


async def test_malformed_quotes_never_raise_and_never_wake_on_insane_prices():
    rng = random.Random(20260103)
    watch = SymbolWatch("BTC/USD", Decimal(10))
    watch.set_triggers(Triggers(buy_at_or_below=ANY_PRICE, sell_at_or_above=Decimal(1)))
    handler = _handler_with(watch)
    woken = 0
    for _ in range(INPUTS):
        await handler.on_crypto_quote(_mutated(rng, QUOTE))
        if watch.wake.is_set():
            watch.wake.clear()
            woken += 1
            try:
                quote = Quote.from_wire(watch.symbol, watch.newest)
            except WireError:
                continue  # such as a broken time: the worker finds no usable quote and backs off
            assert 0 < quote.bid <= quote.ask < Decimal("1e17")
    assert woken > INPUTS / 100


def _handler_with(watch: SymbolWatch) -> MarketDataHandler:
    """A handler that watches one symbol without a worker: the test reads `wake` itself."""
    required = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "DB_USER", "DB_NAME")
    settings = load_settings(dict.fromkeys(required, "x"))
    limits = BuyLimits(settings, client=None, rules_of=lambda symbol: None)
    placer = OrderPlacer(
        settings, None, None, resolve=None, limits=limits, why_no_orders=lambda: None
    )
    handler = MarketDataHandler(settings, rules=None, placer=placer)
    handler._watches[watch.symbol] = watch
    return handler
