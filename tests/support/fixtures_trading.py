"""The parts of a bot on a local exchange, cycles to trade with, and what the exchange sent."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from bot_parts import BotParts
from builders import NOW, build_entry, build_order
from config import Settings
from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.orders import Side
from models.cycle_data import create_cycle, update_cycle
from models.order_journal import append_journal_entry
from models.trading_state import load_trading_state
from paper_exchange.api import wire
from paper_exchange.core.state import TradeUpdate
from running_exchange import RunningExchange
from strategy.order_identity import compute_client_order_id


@pytest.fixture
async def parts(
    settings: Settings, exchange: RunningExchange, db_conn: MySQLConnectionAbstract
) -> AsyncIterator[BotParts]:
    """Handlers, placer and reconciler of one bot."""
    parts = BotParts(settings, exchange)
    yield parts
    await parts.market.stop()


@pytest.fixture
def start(
    db_conn: MySQLConnectionAbstract,
    exchange: RunningExchange,
    make_asset: Callable[..., DcaAsset],
) -> Callable[..., DcaCycle]:
    """Make an asset with a cycle; the exchange holds what the cycle says it bought."""

    def start(
        status: str = "watching",
        *,
        symbol: str = "BTC/USD",
        asset: dict[str, Any] | None = None,
        coins: str | None = None,
        **columns: Any,
    ) -> DcaCycle:
        cycle = create_cycle(db_conn, make_asset(symbol, **(asset or {})).id, status, **columns)
        held = coins if coins is not None else columns.get("quantity")
        if held:
            exchange.set_balance(symbol, str(held), price="50000")
        return cycle

    return start


@pytest.fixture
def sent_updates(exchange: RunningExchange) -> list[dict[str, Any]]:
    """Every trade update as the stream would send it, whether anybody listens or not."""
    messages: list[dict[str, Any]] = []
    inside = exchange.server.exchange

    def note(update: TradeUpdate) -> None:
        data = wire.trade_update_json(update, inside.asset(update.order.symbol))
        messages.append(json.loads(json.dumps({"stream": "trade_updates", "data": data})))

    async def listen() -> None:
        inside.trade_update_listeners.append(note)

    exchange.run(listen())
    return messages


def leave_coins(db_conn: MySQLConnectionAbstract, symbol: str, bought: str, sold: str) -> None:
    """The open cycle of `symbol` becomes a complete one that bought more than it sold; one like it
    goes on in its place.
    """
    state = load_trading_state(db_conn, symbol)
    assert state is not None
    cycle = state.cycle
    for seq, (side, qty) in enumerate([(Side.BUY, bought), (Side.SELL, sold)]):
        order = build_order(
            cycle,
            id=f"{cycle.id}-{seq}",
            client_order_id=compute_client_order_id(cycle, seq),
            symbol=symbol,
            side=side,
            filled_qty=qty,
            filled_avg_price="20",
            status="filled",
        )
        known = {"asset_id": state.asset.id, "cycle_id": cycle.id, "order_seq": seq}
        append_journal_entry(db_conn, build_entry(order, **known))
    update_cycle(db_conn, cycle.id, {"status": "complete", "completed_at": NOW})
    create_cycle(
        db_conn,
        state.asset.id,
        cycle.status,
        quantity=cycle.quantity,
        average_purchase_price=cycle.average_purchase_price,
        last_order_fill_price=cycle.last_order_fill_price,
    )
