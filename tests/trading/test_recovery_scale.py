"""A recovery of 500 open cycles ends, within the allowance of a few minutes at most: it works from
lists, asks singly only where that is cheaper, and goes on where it was cut off.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BotParts
from config import get_settings
from daemon_process import DaemonProcess, wait_until
from domain.cycle import CycleStatus
from fixtures_bot import exchange_of_bot
from models.cycle_data import create_cycle, get_cycle, get_cycles_by_status, update_cycle
from models.events import get_events
from models.trading_state import load_all_trading_states
from paper_exchange.core.assets import DEFAULT_ASSETS
from strategy.order_identity import compute_client_order_id
from trading.waiting_cycles import MAX_LOST_CYCLES
from utils import alpaca_http, alpaca_orders
from utils.alpaca_http import ExchangeUnavailable
from utils.db_utils import execute_query
from utils.request_pace import RequestPace

CYCLES = 500
SYMBOLS = [f"C{number:03}/USD" for number in range(CYCLES)]
ASSETS = tuple(
    replace(DEFAULT_ASSETS[0], symbol=symbol, name=symbol) for symbol in ("BTC/USD", *SYMBOLS)
)
ONE_ORDER = "GET /v2/orders:by_client_order_id"
NOBODYS = "c2470331-8993-4051-bf5d-428d5bdc{:04x}"


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    """No pauses, and no test inherits another's request count."""
    monkeypatch.setattr(alpaca_http, "READ_WAITS_SECONDS", ())
    monkeypatch.setattr(alpaca_http, "_pace", RequestPace())


@pytest.fixture
def wide(bot_environment, monkeypatch):
    """A local exchange that trades 500 coins, and counts as Alpaca does."""
    with exchange_of_bot(
        bot_environment, monkeypatch, assets=ASSETS, cash=Decimal(10_000_000)
    ) as running:
        yield running


@pytest.fixture
async def bot(wide, db_conn):
    parts = BotParts(get_settings(), wide)
    yield parts
    await parts.market.stop()


@pytest.fixture
def cycles(db_conn, make_asset):
    """One open cycle for each of 500 assets."""
    return [create_cycle(db_conn, make_asset(symbol).id, "watching") for symbol in SYMBOLS]


def submit(exchange, orders, **fields):
    """Orders as (symbol, client_order_id), inside the exchange: they cost no requests."""

    async def work():
        plain = {"qty": "0.02", "side": "buy", "type": "limit", "limit_price": "1000"}
        plain |= {"time_in_force": "gtc"} | fields
        for symbol, identity in orders:
            ours = {"symbol": symbol, "client_order_id": identity}
            exchange.server.exchange.submit(plain | ours)
            await asyncio.sleep(0)

    exchange.run(work())
    exchange.finish()


def requests_made(exchange):
    return Counter(exchange.state()["requests"]["by_route"])


def lose_an_old_order_behind(exchange, db_conn, cycle, count):
    """All cycles are a month old; one of them bought 20 days ago, and no event came. Since then the
    user traded by hand.
    """
    moment = datetime.now(UTC) - timedelta(days=30)
    execute_query("UPDATE dca_cycles SET created_at = %s", (moment,), db_conn=db_conn)
    symbol = SYMBOLS[cycle.id - 1]
    for one in (symbol, "BTC/USD"):
        exchange.push_quote(one, 999, 1000)
    exchange.arm("skew_clock", seconds=-86400 * 20)
    submit(exchange, [(symbol, compute_client_order_id(cycle))])
    exchange.clear_faults("skew_clock")
    exchange.arm("skew_clock", seconds=-86400 * 2)
    submit(exchange, [("BTC/USD", f"mine-{number}") for number in range(count)])
    exchange.clear_faults("skew_clock")


async def test_500_cycles_recover_from_a_cold_start_and_after_a_reconnect_with_a_handful_of_lists(
    bot, wide, cycles, db_conn
):
    for symbol in SYMBOLS[:20]:
        wide.push_quote(symbol, 999, 1000)
    filled = [(s, compute_client_order_id(c)) for s, c in zip(SYMBOLS[:20], cycles, strict=False)]
    behind = [
        (SYMBOLS[number], compute_client_order_id(cycles[number], seq))
        for seq in range(1, 3)
        for number in range(10)
    ]
    still_open = [
        (SYMBOLS[number], compute_client_order_id(cycles[number])) for number in range(20, 120)
    ]
    submit(wide, filled + behind + still_open)
    before = requests_made(wide)
    result = await asyncio.to_thread(bot.reconciler.recover)
    asked = requests_made(wide) - before
    assert asked.total() <= 5, asked
    assert result.unresolved_cycles == 0
    found = [get_cycle(db_conn, one.id) for one in cycles[:121]]
    assert [one.order_seq for one in found] == [3] * 10 + [1] * 10 + [0] * 101
    assert [one.status for one in found[20:]] == [CycleStatus.BUYING] * 100 + ["watching"]
    # The daemon's own reads of the same 500.
    states = load_all_trading_states(db_conn)
    await asyncio.to_thread(bot.rules.prefetch, [one.asset.asset_symbol for one in states])
    await bot.market.refresh(states)
    assert len(bot.market.symbols()) == CYCLES
    before = requests_made(wide)
    submit(wide, [(SYMBOLS[200], compute_client_order_id(cycles[200]))])
    for _ in range(2):
        await asyncio.to_thread(bot.reconciler.recover)
    asked = requests_made(wide) - before
    assert asked.total() <= 4, asked
    assert get_cycle(db_conn, cycles[200].id).status is CycleStatus.BUYING


async def test_500_cycles_older_than_a_long_history_cost_its_pages_and_a_few_cost_questions(
    bot, wide, cycles, db_conn
):
    lose_an_old_order_behind(wide, db_conn, cycles[7], 2600)
    before = requests_made(wide)
    await asyncio.to_thread(bot.reconciler.recover)
    asked = requests_made(wide) - before
    assert get_cycle(db_conn, cycles[7].id).order_seq == 1, "2,600 orders further back"
    assert asked[ONE_ORDER] == 0
    assert asked.total() <= 10, asked
    execute_query("DELETE FROM dca_cycles WHERE id > %s", (cycles[1].id,), db_conn=db_conn)
    again = BotParts(get_settings(), wide)
    before = requests_made(wide)
    await asyncio.to_thread(again.reconciler.recover)
    asked = requests_made(wide) - before
    assert asked == {"GET /v2/orders": 4, ONE_ORDER: 2}
    await again.market.stop()


async def test_a_recovery_that_is_cut_off_again_and_again_goes_on_and_ends(
    bot, wide, cycles, db_conn, monkeypatch
):
    """Small pages make a long history; every fourth answer is an outage that ends the attempt."""
    monkeypatch.setattr(alpaca_orders, "PAGE_SIZE", 5)
    some = cycles[:15]
    execute_query("DELETE FROM dca_cycles WHERE id > %s", (some[-1].id,), db_conn=db_conn)
    lose_an_old_order_behind(wide, db_conn, some[3], 200)
    outage = wide.arm("http_500", probability=0.25)
    before, attempts = requests_made(wide), 0
    while True:
        attempts += 1
        try:
            await asyncio.to_thread(bot.reconciler.recover)
        except ExchangeUnavailable:
            assert attempts < 200, "it begins again and again"
            continue
        break
    wide.clear_faults(outage)
    assert attempts > 5
    asked = requests_made(wide) - before
    # As many pages as questions; each attempt reads what is new, too, and ends in a failure.
    assert asked.total() <= 2 * len(some) + 4 * attempts, asked
    assert asked[ONE_ORDER] >= len(some)
    assert get_cycle(db_conn, some[3].id).order_seq == 1


async def test_hundreds_of_cycles_that_wait_for_nothing_cost_each_sweep_the_same_and_are_all_freed(
    bot, wide, cycles, db_conn
):
    lost = cycles[:70]
    for number, cycle in enumerate(lost):
        execute_query(
            "UPDATE dca_cycles SET status = 'buying', latest_order_id = %s WHERE id = %s",
            (NOBODYS.format(number), cycle.id),
            db_conn=db_conn,
        )
    sweeps = 0
    while get_cycles_by_status(db_conn, CycleStatus.BUYING):
        before, sweeps = requests_made(wide), sweeps + 1
        await asyncio.to_thread(bot.reconciler.sweep)
        asked = requests_made(wide) - before
        assert asked.total() <= 2 * MAX_LOST_CYCLES + 3, asked
        assert sweeps <= 2 * len(lost)
    assert sweeps == 3
    assert len(get_events(db_conn, 200)) == len(lost)


def test_the_daemon_starts_with_500_cycles_and_sends_its_first_order_within_a_few_requests(
    wide, bot_environment, cycles, db_conn
):
    """1,300 orders long ago, hundreds that wait for theirs to end, and two that ended meanwhile."""
    wide.configure(rate_limit_per_minute=0)
    for symbol in (*SYMBOLS[:2], "BTC/USD"):
        wide.push_quote(symbol, 999, 1000)
    wide.arm("skew_clock", seconds=-86400 * 2)
    submit(wide, [("BTC/USD", f"mine-{number}") for number in range(1300)])
    wide.clear_faults("skew_clock")
    submit(wide, [(SYMBOLS[n], compute_client_order_id(cycles[n])) for n in range(200)])
    for number in range(200, 300):
        wide.set_balance(SYMBOLS[number], "1", price="1000")
    selling = [(SYMBOLS[n], compute_client_order_id(cycles[n])) for n in range(200, 300)]
    submit(wide, selling, side="sell", limit_price="2000")
    book = wide.server.exchange.book
    for number in range(300):
        order = book.by_client_id(compute_client_order_id(cycles[number]))
        updates = {"status": "selling" if number >= 200 else "buying", "latest_order_id": order.id}
        update_cycle(db_conn, cycles[number].id, updates)
    execute_query(
        "UPDATE dca_cycles SET quantity = 1, average_purchase_price = 1000,"
        " last_order_fill_price = 1000 WHERE id >= %s",
        (cycles[200].id,),
        db_conn=db_conn,
    )
    wide.configure(rate_limit_per_minute=200)
    before = requests_made(wide)
    with DaemonProcess(bot_environment | {"RECONCILE_SECONDS": "60"}) as daemon:
        daemon.wait_until_trading()
        started = requests_made(wide) - before
        assert started.total() <= 20, started
        assert started["GET /v2/assets"] == 1
        assert started["GET /v2/assets/{name}"] == started[ONE_ORDER] == 0

        def has_ordered():
            wide.push_quote(SYMBOLS[400], 899, 900)
            return "order.submitted" in daemon.output

        wait_until(has_ordered)
        asked = requests_made(wide) - before
        assert asked.total() <= 25, asked
        assert asked["POST /v2/orders"] == 1
        wait_until(lambda: get_cycle(db_conn, cycles[0].id).order_seq == 1)
        assert daemon.stop() == 0
