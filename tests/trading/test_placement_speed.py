"""What lies between a crossed price and its order: what is read, asked and waited for, and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from bot_parts import HELD, BotParts, wire_quote
from domain.orders import Side
from models import statements
from models.cycle_data import update_cycle
from trading import attempt, market_data_handler
from utils import ready_threads
from utils.db_utils import execute_query

BTC = "BTC/USD"
RISEN = (51500, 51501)


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every statement that reads, while the test goes on."""
    seen: list[str] = []

    def execute(query, *rest, **options):
        seen.append(" ".join(query.split()[:4]))
        return execute_query(query, *rest, **options)

    monkeypatch.setattr(statements, "execute_query", execute)
    return seen


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def asked(exchange):
    return Counter(exchange.state()["requests"]["by_route"])


async def cross(parts, quote):
    await parts.market.on_crypto_quote(quote)
    await parts.market.wait_until_idle()


async def test_a_safety_order_reads_its_row_once_and_asks_nothing(parts, start, exchange, reads):
    start(**HELD)
    quote = parts.quote_both(49499, 49500)
    await parts.see()
    reads.clear()
    before = asked(exchange)
    await cross(parts, quote)
    assert asked(exchange) - before == Counter({"POST /v2/orders": 1})
    assert len(reads) == 1


async def test_a_slow_moment_before_a_safety_order_has_its_row_read_again(
    parts, start, db_conn, monkeypatch
):
    monkeypatch.setattr(attempt, "JUST_READ_SECONDS", 0.0)
    cycle = start(**HELD)
    quote = parts.quote_both(49499, 49500)
    await parts.see()
    blocked = parts.limits.blocked_symbols

    def slow():
        update_cycle(db_conn, cycle.id, {"close_requested": True})
        return blocked()

    monkeypatch.setattr(parts.limits, "blocked_symbols", slow)
    await cross(parts, quote)
    assert parts.orders() == []


@pytest.mark.parametrize("kind", ["base order", "take profit"])
async def test_what_needs_no_other_answer_is_asked_for_at_once_and_the_row_read_again_after_it(
    parts, start, exchange, reads, kind
):
    """The first question is answered only when the second has come, too."""
    if kind == "base order":
        start()
        quote, other = parts.quote_both(50000, 50001), "/v2/orders"
    else:
        start(**HELD)
        quote, other = parts.quote_both(*RISEN), "/v1beta3/*"
    await parts.see()
    reads.clear()
    slow = {"method": "GET"}
    exchange.arm("http_hang", count=1, seconds=30, match={"path": "/v2/positions/*"} | slow)
    hang = exchange.arm("http_hang", count=1, seconds=30, match={"path": other} | slow)
    await parts.market.on_crypto_quote(quote)
    await until(lambda: exchange.times_applied("http_hang") == 2)
    assert len(reads) == 1
    exchange.clear_faults()
    assert hang
    await parts.market.wait_until_idle()
    assert len(parts.orders()) == 1
    assert len(reads) == 2


@pytest.mark.parametrize("kind", ["base order", "take profit", "buy within limits"])
async def test_a_row_that_changes_while_the_exchange_is_asked_gets_no_order(
    settings, exchange, start, db_conn, kind
):
    limit = 50 if kind == "buy within limits" else None
    parts = BotParts(replace(settings, max_open_cycles=limit), exchange)
    held = {} if kind == "base order" else HELD
    cycle = start(**held)
    prices = {"base order": (50000, 50001), "take profit": RISEN}.get(kind, (49499, 49500))
    quote = parts.quote_both(*prices)
    await parts.see()
    path = "/v2/orders" if limit else "/v2/positions/*"
    exchange.arm("http_slow", count=1, seconds=1, match={"path": path, "method": "GET"})
    await parts.market.on_crypto_quote(quote)
    await until(lambda: exchange.times_applied("http_slow") == 1)
    execute_query("UPDATE dca_assets SET is_enabled = FALSE", db_conn=db_conn)
    update_cycle(db_conn, cycle.id, {"safety_orders": 2})
    await parts.market.wait_until_idle()
    assert parts.orders() == []
    await parts.market.stop()


async def test_within_limits_open_orders_are_asked_for_once_and_counted_in_one_statement(
    settings, exchange, start, reads
):
    parts = BotParts(
        replace(settings, max_open_cycles=50, max_buy_usd_per_day=Decimal(1000)), exchange
    )
    start()
    quote = parts.quote_both(50000, 50001)
    await parts.see()
    reads.clear()
    before = asked(exchange)
    await cross(parts, quote)
    made = asked(exchange) - before
    assert made == Counter(
        {"GET /v2/orders": 1, "GET /v2/positions/{name}": 1, "POST /v2/orders": 1}
    )
    assert len(reads) == 3, "the row, what the limits count, the row again"
    await parts.market.stop()


async def test_a_limit_that_is_reached_costs_one_request_at_a_time(settings, exchange, start):
    """Tens of assets can wait for their base order behind one limit, each with two questions."""
    parts = BotParts(replace(settings, max_buy_usd_per_day=Decimal(5)), exchange)
    start()
    quote = parts.quote_both(50000, 50001)
    await parts.see()
    before = asked(exchange)
    for _ in range(4):
        await cross(parts, quote)
        parts.market._watches[BTC].backs_off_until = dict.fromkeys(Side, 0.0)
    made = asked(exchange) - before
    assert made == Counter({"GET /v2/orders": 4, "GET /v2/positions/{name}": 1})
    await parts.market.stop()


async def test_coins_of_earlier_cycles_are_summed_only_where_they_change_the_answer(
    parts, start, reads
):
    start(**HELD, coins="0.001995")
    quote = parts.quote_both(*RISEN)
    await parts.see()
    reads.clear()
    await cross(parts, quote)
    assert len(parts.orders()) == 1
    assert not [one for one in reads if one.startswith("SELECT c.asset_id, SUM")]


async def test_a_state_that_is_no_longer_so_is_read_whole(parts, start, db_conn):
    cycle = start(**HELD)
    quote = parts.quote_both(49499, 49500)
    await parts.see()
    update_cycle(db_conn, cycle.id, {"order_seq": 5})
    await cross(parts, quote)
    [order] = parts.orders()
    assert order.client_order_id.endswith("-5")


async def test_the_first_order_after_an_idle_while_opens_no_connection(
    settings, exchange, start, db_conn, monkeypatch
):
    monkeypatch.setattr(market_data_handler, "THREADS", 1)
    monkeypatch.setattr(ready_threads, "IDLE_SECONDS", 0.05)
    parts = BotParts(settings, exchange)
    start(**HELD)
    quote = parts.quote_both(49499, 49500)
    await parts.see()

    def sessions():
        query = (
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
            " AND id <> CONNECTION_ID()"
        )
        return {row["id"] for row in execute_query(query, fetch_all=True, db_conn=db_conn)}

    def connects():
        query = "SHOW GLOBAL STATUS LIKE 'Connections'"
        return int(execute_query(query, fetch_one=True, db_conn=db_conn)["Value"])

    await until(lambda: len(sessions()) >= 2)  # of the thread for buys and that for sales
    for one in (old := sessions()):
        execute_query(f"KILL {one}", db_conn=db_conn)
    await until(lambda: len(sessions() - old) == 2)
    before = connects()
    await cross(parts, quote)
    assert len(parts.orders()) == 1
    assert connects() == before
    await parts.market.stop()


async def test_slow_buys_of_more_symbols_than_there_are_threads_hold_up_no_sale(
    settings, exchange, start, db_conn, monkeypatch
):
    monkeypatch.setattr(market_data_handler, "THREADS", 2)
    parts = BotParts(settings, exchange)
    for symbol in ("ETH/USD", "SOL/USD", "LTC/USD"):
        start(symbol=symbol)
    start(**HELD)
    await parts.see()
    slow = {"path": "/v2/orders", "method": "GET"}
    exchange.arm("http_hang", match=slow, seconds=60)
    for symbol in ("ETH/USD", "SOL/USD", "LTC/USD"):
        await parts.market.on_crypto_quote(wire_quote(symbol, 99, 100))
    await until(lambda: exchange.times_applied("http_hang") == 2)
    await parts.market.on_crypto_quote(await asyncio.to_thread(parts.quote_both, *RISEN))
    await until(lambda: asked(exchange)["POST /v2/orders"] == 1)
    exchange.clear_faults()
    await parts.market.wait_until_idle()
    await parts.market.stop()


async def test_a_buy_that_was_seen_open_counts_until_it_is_booked(settings, exchange, start):
    """From its fill to its row it is neither among the open orders nor in the journal."""
    parts = BotParts(replace(settings, max_buy_usd_per_day=Decimal(250)), exchange)
    prices = {BTC: 50000, "ETH/USD": 2500, "LTC/USD": 100}
    for symbol in prices:
        start(symbol=symbol)
    exchange.arm("rest_after_part", fraction=0.1)
    await parts.see(*(parts.quote_both(prices[one], prices[one], one) for one in (BTC, "ETH/USD")))
    assert [order.is_ended for order in parts.orders()] == [False, False]
    parts.limits.load_usage()  # as the next buy does: it sees both open
    exchange.clear_faults()
    for symbol, price in prices.items():
        exchange.push_quote(symbol, price, price)
    exchange.finish()
    assert {order.status for order in parts.orders()} == {"filled"}, "and nothing tells us yet"
    assert parts.limits.load_usage().bought_today_usd == 0
    await parts.see(parts.quote_both(100, 100, "LTC/USD"))
    assert len(parts.orders()) == 2, "a third hundred is more than the day's 250"
    await parts.market.stop()
