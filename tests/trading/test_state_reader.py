"""A refresh reads what changed, all of it and nothing else; what it reads is applied beside the
quotes, and one symbol's slow rules keep no other waiting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BTC, HELD, wire_quote
from builders import build_entry, build_order
from domain.trading_state import TradingState
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, update_cycle
from models.order_journal import append_journal_entry, settle_fee
from models.trading_state import load_all_trading_states, load_trading_state, load_trading_states
from strategy.order_identity import compute_client_order_id
from trading import state_reader
from trading.asset_rules_cache import AssetRulesCache
from trading.state_reader import Changes, StateReader
from utils.alpaca_client_rest import ExchangeRefused, get_trading_client
from utils.db_utils import close_quietly, execute_query, get_db_connection

ETH = "ETH/USD"


@pytest.fixture
def reader(settings, exchange):
    """What a daemon reads with; it has read nothing yet."""
    rules = AssetRulesCache(get_trading_client(), settings.minimum_order_usd)
    return StateReader(rules, settings.taker_fee_rate)


@pytest.fixture
def two(db_conn, start):
    """Two assets with a cycle; the first has bought once and had an earlier cycle."""
    cycle = start(**HELD)
    start(symbol=ETH)
    execute_query(
        "INSERT INTO dca_cycles (asset_id, status, completed_at, created_at)"
        " VALUES (%s, 'complete', '2026-01-01', '2026-01-01')",
        (cycle.asset_id,),
        db_conn=db_conn,
    )
    # The latest cycle is the one with the highest id.
    execute_query("UPDATE dca_cycles SET id = id + 100 WHERE id = %s", (cycle.id,), db_conn=db_conn)
    cycle = load_trading_state(db_conn, BTC).cycle
    order = build_order(cycle, status="filled", filled_qty="0.002", filled_avg_price="50000")
    entry = build_entry(order, asset_id=cycle.asset_id, cycle_id=cycle.id, order_seq=0)
    append_journal_entry(db_conn, entry)
    return cycle


def symbols_of(changes: Changes) -> list[str]:
    return [reading.state.asset.asset_symbol for reading in changes.readings]


def pinned(table: str, assignment: str, where: str) -> str:
    """An edit by hand that leaves the row's `updated_at` as it was."""
    return f"UPDATE {table} SET {assignment}, updated_at = updated_at WHERE {where}"


EDITS = {
    "an asset's setting": lambda db, cycle: update_asset_config(
        db, cycle.asset_id, {"take_profit_percent": Decimal(3)}
    ),
    "a cycle": lambda db, cycle: update_cycle(db, cycle.id, {"status": "error"}),
    "a new cycle": lambda db, cycle: (
        update_cycle(db, cycle.id, {"status": "complete"}),
        create_cycle(db, cycle.asset_id, "watching"),
    ),
    "an asset by hand that keeps its time": lambda db, cycle: execute_query(
        pinned("dca_assets", "is_enabled = 0", f"id = {cycle.asset_id}"), db_conn=db
    ),
    "a cycle by hand that keeps its time": lambda db, cycle: execute_query(
        pinned("dca_cycles", "quantity = 0", f"id = {cycle.id}"), db_conn=db
    ),
    "the cycle before": lambda db, cycle: execute_query(
        pinned("dca_cycles", "status = 'error'", "status = 'complete'"), db_conn=db
    ),
    "when the cycle before ended": lambda db, cycle: execute_query(
        pinned("dca_cycles", "completed_at = '2026-02-02'", "status = 'complete'"), db_conn=db
    ),
    "a fee": lambda db, cycle: settle_fee(
        db, compute_client_order_id(cycle, 0), Decimal("0.000007"), Decimal(0)
    ),
    "the symbol of what it bought": lambda db, cycle: execute_query(
        "UPDATE dca_orders SET symbol = 'LTC/USD'", db_conn=db
    ),
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS.keys())
def test_whatever_changes_is_read_and_nothing_else(reader, two, db_conn, edit):
    assert symbols_of(reader.read_changed()) == [BTC, ETH]
    assert reader.read_changed() == Changes([], frozenset({BTC, ETH}))
    before = {one.asset.asset_symbol: one for one in load_all_trading_states(db_conn)}
    edit(db_conn, two)
    [changed] = reader.read_changed().readings
    assert changed.state == load_trading_state(db_conn, BTC) != before[BTC]
    assert reader.read_changed().readings == []


def test_a_change_is_read_however_late_it_is_committed_after_its_time(reader, two, db_conn):
    slow = get_db_connection()
    try:
        slow.start_transaction()
        execute_query("UPDATE dca_cycles SET quantity = 1 WHERE id = %s", (two.id,), db_conn=slow)
        reader.read_changed()
        execute_query("UPDATE dca_assets SET is_enabled = 0", db_conn=db_conn)
        assert symbols_of(reader.read_changed()) == [BTC, ETH], "and others change meanwhile"
        slow.commit()
        [changed] = reader.read_changed().readings
    finally:
        close_quietly(slow)
    assert changed.state.cycle.quantity == 1
    # Nor does it matter that the row's time is older than what was read, or that a clock was set.
    past = "UPDATE dca_cycles SET quantity = 2, updated_at = '2020-01-01' WHERE id = %s"
    execute_query(past, (two.id,), db_conn=db_conn)
    [changed] = reader.read_changed().readings
    assert changed.state.cycle.quantity == 2


def test_what_changes_between_the_two_questions_is_read_once_more(
    reader, two, db_conn, monkeypatch
):
    reader.read_changed()
    update_cycle(db_conn, two.id, {"quantity": Decimal(1)})

    def load_late(connection, symbols) -> list[TradingState]:
        update_cycle(db_conn, two.id, {"quantity": Decimal(2)})
        return load_trading_states(connection, symbols)

    with monkeypatch.context() as patch:
        patch.setattr(state_reader, "load_trading_states", load_late)
        [changed] = reader.read_changed().readings
    assert changed.state.cycle.quantity == 2
    assert symbols_of(reader.read_changed()) == [BTC]
    assert symbols_of(reader.read_changed()) == []


def test_an_asset_that_is_removed_is_named_no_more_and_read_when_it_comes_back(
    reader, start, db_conn
):
    eth = start(symbol=ETH)
    start()
    reader.read_changed()
    execute_query("DELETE FROM dca_cycles WHERE id = %s", (eth.id,), db_conn=db_conn)
    assert reader.read_changed() == Changes([], frozenset({BTC}))
    create_cycle(db_conn, eth.asset_id, "watching")
    changes = reader.read_changed()
    assert (symbols_of(changes), changes.symbols) == ([ETH], {BTC, ETH})


def test_an_order_has_its_own_symbol_read_and_all_where_that_is_another_asset_by_now(
    reader, two, db_conn
):
    reader.read_changed()
    update_cycle(db_conn, two.id, {"quantity": Decimal(1)})
    changes = reader.read_some({ETH})
    assert (symbols_of(changes), changes.symbols) == ([ETH], None)
    execute_query(
        "UPDATE dca_assets SET asset_symbol = 'LTC/USD' WHERE asset_symbol = 'BTC/USD'",
        db_conn=db_conn,
    )
    changes = reader.read_some({BTC})
    assert (symbols_of(changes), changes.symbols) == (["LTC/USD"], {"LTC/USD", ETH})


# What the event loop makes of it.


async def test_what_is_configured_no_more_is_not_bought_and_what_changed_counts_at_once(
    parts, reader, start, db_conn
):
    start(**HELD)
    eth = start(symbol=ETH)
    await parts.see()
    await parts.market.assets.take(await asyncio.to_thread(reader.read_changed))
    watches = parts.market._watches
    assert watches[ETH].buy_below == float("inf")
    execute_query("DELETE FROM dca_cycles WHERE id = %s", (eth.id,), db_conn=db_conn)
    update_asset_config(db_conn, 1, {"take_profit_percent": Decimal(10)})
    changes = await asyncio.to_thread(reader.read_changed)
    await parts.market.assets.take(changes)
    assert symbols_of(changes) == [BTC]
    assert watches[BTC].sell_above == pytest.approx(55000)
    assert watches[ETH].buy_below == float("-inf")


async def test_a_wait_after_an_error_ends_though_nothing_changes(parts, reader, start, db_conn):
    cycle = start(asset={"cooldown_period": 3600})
    ended = datetime.now(UTC) - timedelta(seconds=3598)
    execute_query(
        "UPDATE dca_cycles SET status = 'error', completed_at = %s", (ended,), db_conn=db_conn
    )
    create_cycle(db_conn, cycle.asset_id, "watching")
    await parts.see()
    watch = parts.market._watches[BTC]
    await parts.market.assets.take(await asyncio.to_thread(reader.read_changed))
    assert watch.buy_below == float("-inf")
    async with asyncio.timeout(20):
        while watch.buy_below != float("inf"):
            await asyncio.sleep(0.1)
            changes = await asyncio.to_thread(reader.read_changed)
            assert changes.readings == []
            await parts.market.assets.take(changes)
    assert datetime.now(UTC) - ended >= timedelta(seconds=3600)


async def test_rules_that_come_slowly_keep_no_other_symbol_waiting(
    parts, reader, start, exchange, db_conn
):
    for symbol in (BTC, ETH):
        start(symbol=symbol)
    slow = exchange.arm("http_hang", match={"path": "/v2/assets/ETHUSD"}, seconds=60)
    reader._rules = parts.rules
    async with asyncio.timeout(5):
        await parts.market.assets.take(await asyncio.to_thread(reader.read_changed))
        while parts.market.symbols() != {BTC}:
            await asyncio.sleep(0.01)
        await parts.market.on_crypto_quote(parts.quote_both(50000, 50001))
        await parts.market.wait_until_idle()
        assert [order.symbol for order in await asyncio.to_thread(parts.orders)] == [BTC]
        update_cycle(db_conn, 1, {"status": "error"})
        await parts.market.assets.take(await asyncio.to_thread(reader.read_changed))
        assert parts.market._watches[BTC].buy_below == float("-inf")
    exchange.clear_faults(slow)


async def test_old_rules_count_until_new_ones_come(parts, reader, start, exchange, monkeypatch):
    start(**HELD)
    await parts.see()
    known = parts.rules._known[BTC]
    parts.rules._known[BTC] = replace(known, fresh_until=0.0, due_at=0.0)
    slow = exchange.arm("http_hang", match={"path": "/v2/assets/BTCUSD"}, seconds=60)
    reader._rules = parts.rules
    async with asyncio.timeout(5):
        await parts.market.assets.take(await asyncio.to_thread(reader.read_changed))
        await parts.market.on_crypto_quote(wire_quote(BTC, 40000, 40001))
        assert parts.market._watches[BTC].wants_to_trade()
    exchange.clear_faults(slow)
    async with asyncio.timeout(20):
        while parts.rules._known[BTC].fresh_until == 0.0:
            await asyncio.sleep(0.01)


async def test_an_unknown_symbol_is_asked_about_once_a_minute_and_said_at_once(
    parts, reader, start, exchange
):
    start(symbol="NO/USD")
    reader._rules = parts.rules
    for _ in range(3):
        await parts.market.assets.take(await asyncio.to_thread(reader.read_changed))
        await asyncio.gather(*parts.market.assets.rules_tasks)
    routes = Counter(exchange.state()["requests"]["by_route"])
    assert routes["GET /v2/assets/{name}"] == 1
    [held] = parts.market.stalls.held_back()
    assert "does not know the symbol NO/USD" in held.reason
    with pytest.raises(ExchangeRefused):
        await asyncio.to_thread(parts.rules.get, "NO/USD")
    assert parts.market.symbols() == set()
