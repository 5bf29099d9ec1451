"""The parts of a bot on a local exchange, cycles to trade with, and what the exchange told."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from bot_parts import BotParts
from config import Settings
from models.asset_config import DcaAsset
from models.cycle_data import DcaCycle, create_cycle
from paper_exchange import wire
from paper_exchange.state import TradeUpdate
from paper_exchange.threaded import RunningExchange


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
