"""The way to an order is gone once before the first one: it asks and reads, and that is all."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from decimal import Decimal

import pytest

from bot_parts import BTC, FAR, HELD, buy
from daemon_process import DaemonProcess, wait_until
from domain.orders import Side
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.trading_state import load_trading_state
from trading import market_data_handler
from trading.placement import Skip
from trading.rehearsal import rehearse
from utils import alpaca_http
from utils.db_utils import DatabaseError, execute_query, thread_connection

# Of the account's allowance; the bid of a second source counts elsewhere.
POSITION, OPEN_ORDERS = "GET /v2/positions/{name}", "GET /v2/orders"
FLAGS = {
    "it is to be opened now": "open_requested",
    "it is to be closed": "close_requested",
    "a stop loss fired": "stop_loss_fired",
}
# Whatever an order could follow from: bought at any price, at a target that is reached, at once.
STATES = {
    "a base order is due": {},
    "it is to be opened now": {"status": "cooldown"},
    "a take profit is due": HELD,
    "it is to be closed": HELD,
    "a stop loss fired": HELD,
    "a buy is open": HELD | {"status": "buying"},
    "what it bought is gone": HELD | {"coins": "0"},
}


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(alpaca_http, "READ_WAITS_SECONDS", ())


def requests_made(exchange):
    return Counter(exchange.state()["requests"]["by_route"])


def everything(db_conn):
    """Every row of every table."""
    tables = execute_query("SHOW TABLES", fetch_all=True, db_conn=db_conn)
    names = sorted(name for row in tables for name in row.values())
    query = "SELECT * FROM `{}` ORDER BY 1"
    return {
        name: execute_query(query.format(name), fetch_all=True, db_conn=db_conn) for name in names
    }


@pytest.fixture
def reading_session(db_conn):
    """Of this thread; the server refuses whatever would write on it."""
    execute_query("SET SESSION TRANSACTION READ ONLY")
    with pytest.raises(DatabaseError):
        execute_query("UPDATE dca_assets SET is_enabled = is_enabled")


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("state", STATES)
async def test_it_asks_reads_and_leaves_everything_as_it_was(
    parts, start, exchange, db_conn, reading_session, caplog, state, side
):
    caplog.set_level(logging.DEBUG)
    cycle = start(**STATES[state])
    exchange.push_quote(BTC, 60000, 60001)  # beyond every target
    if state in FLAGS:
        update_cycle(db_conn, cycle.id, {FLAGS[state]: True})
    if state == "a buy is open":
        update_cycle(db_conn, cycle.id, {"latest_order_id": buy(parts, cycle, **FAR)})
    known = load_trading_state(thread_connection(), BTC)
    rows, ledger, made = everything(db_conn), exchange.ledger(), requests_made(exchange)
    caplog.clear()
    rehearse(parts.client, known, side)
    asked = [POSITION, OPEN_ORDERS] if side is Side.BUY else [POSITION]
    assert requests_made(exchange) - made == Counter(asked)
    assert everything(db_conn) == rows
    assert {**exchange.ledger(), "requests": None} == {**ledger, "requests": None}
    assert [one for one in caplog.records if one.levelno >= logging.INFO] == []


@pytest.mark.parametrize("change", ["close_requested = TRUE", "order_seq = order_seq + 1", None])
async def test_nor_does_a_row_that_is_another_by_now_get_an_order(
    parts, start, exchange, db_conn, change
):
    start(**HELD)
    exchange.push_quote(BTC, 60000, 60001)
    known = load_trading_state(thread_connection(), BTC)
    statement = f"UPDATE dca_cycles SET {change}" if change else "DELETE FROM dca_cycles"
    execute_query(statement, db_conn=db_conn)
    rows, made = everything(db_conn), requests_made(exchange)
    for side in Side:
        rehearse(parts.client, known, side)
    assert requests_made(exchange) - made == Counter({POSITION: 2, OPEN_ORDERS: 1})
    assert everything(db_conn) == rows
    assert parts.orders() == []


async def test_it_is_done_in_the_threads_that_work_next(parts, start, exchange, monkeypatch):
    start(**HELD)
    exchange.push_quote(BTC, 50000, 50001)
    await parts.see()
    rehearsed, working = {}, {}
    consider = parts.placer.consider

    def consider_here(*arguments, **options):
        placement = consider(*arguments, **options)
        working[placement.side] = threading.get_ident()
        return placement

    def rehearse_here(client, known, side):
        rehearse(client, known, side)
        rehearsed[side] = threading.get_ident()

    monkeypatch.setattr(market_data_handler, "rehearse", rehearse_here)
    monkeypatch.setattr(parts.placer, "consider", consider_here)
    assert await parts.market.rehearse()
    assert parts.orders() == []
    parts.limits.why_none_at_all = lambda symbol: Skip("not now").placement
    await parts.see(parts.quote_both(49499, 49500))
    parts.why_no_orders = lambda: "not now"
    await parts.see(parts.quote_both(51500, 51501))
    assert len(set(rehearsed.values())) == 2
    assert working == rehearsed


async def test_without_an_asset_there_is_nothing_to_rehearse_yet(parts, exchange):
    made = requests_made(exchange)
    assert not await parts.market.rehearse()
    assert requests_made(exchange) == made


async def test_an_exchange_that_fails_meanwhile_is_left_to_the_order(
    parts, start, exchange, db_conn
):
    start()
    quote = parts.quote_both(50000, 50001)
    await parts.see()
    exchange.arm("http_500", match={"method": "GET"})
    assert await parts.market.rehearse()
    exchange.clear_faults()
    execute_query("RENAME TABLE dca_cycles TO away", db_conn=db_conn)
    assert await parts.market.rehearse()
    execute_query("RENAME TABLE away TO dca_cycles", db_conn=db_conn)
    await parts.see(quote)
    assert len(parts.orders()) == 1


def test_the_daemon_rehearses_once_after_its_recovery_before_any_quote_and_then_trades(
    bot_environment, exchange, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    exchange.arm("http_slow", count=1, seconds=4, match={"path": "/v2/orders"})
    with DaemonProcess(bot_environment) as daemon:
        wait_until(lambda: requests_made(exchange)[POSITION])
        assert "recovery.finished" in daemon.output
        daemon.wait_until_trading()
        wait_until(lambda: requests_made(exchange)[POSITION] == 2)
        assert exchange.ledger()["orders"] == []
        assert get_cycle(db_conn, cycle.id) == cycle
        asked = requests_made(exchange)

        def has_ordered():
            exchange.push_quote(BTC, 50000, 50001)
            return "order.submitted" in daemon.output

        wait_until(has_ordered)
        assert (requests_made(exchange) - asked)[POSITION] == 1, "the order's own"
        wait_until(lambda: get_cycle(db_conn, cycle.id).quantity > Decimal(0))
        assert daemon.stop() == 0


def test_a_rehearsal_that_hangs_holds_up_neither_trading_nor_the_end(
    bot_environment, exchange, db_conn, make_asset
):
    held = create_cycle(db_conn, make_asset().id, "watching", **HELD)
    exchange.set_balance(BTC, "0.002", price="50000")
    exchange.arm("http_hang", seconds=60, match={"path": "/v2/positions/*"})
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        wait_until(lambda: exchange.times_applied("http_hang"))

        def has_ordered():
            exchange.push_quote(BTC, 49499, 49500)
            return "order.submitted" in daemon.output

        wait_until(has_ordered)
        wait_until(lambda: get_cycle(db_conn, held.id).safety_orders == 1)
        asked_at = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - asked_at < 20
        assert "destroyed" not in daemon.output
        assert "Traceback" not in daemon.output
