"""Sells on the real exchange and database: at a price that is still there, whole, and not kept from
it by an open buy, a wide spread or what earlier cycles left.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot_parts import BotParts, wire_quote
from builders import FEE_RATE, NOW, build_order, build_rules, build_state
from caretaker_process import real_run
from caretakers import consistency_checker as consistency_checking
from caretakers.consistency_checker import check_consistency
from domain.cycle import OPEN_STATUSES
from domain.orders import Side
from fixtures_trading import leave_coins
from models.asset_config import get_asset_config
from models.cycle_data import get_cycle, get_cycles_by_status, update_cycle
from models.order_journal import load_leftovers
from operations.adopt_coins import prepare_adoption
from operations.refused import Refused
from strategy.order_identity import compute_client_order_id
from strategy.reconciliation import Action, plan
from strategy.unclaimed import measure_unclaimed
from trading import attempt, order_placement, placement_guard, take_profit_checks
from trading.cycle_changes import Applied, apply_order
from utils.alpaca_client_rest import place_limit_buy_order
from utils.alpaca_queries import fetch_position
from utils.db_utils import execute_query, get_db_connection

BTC = "BTC/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}
POSITION = "GET /v2/positions/{name}"


def count(exchange, route):
    return exchange.state()["requests"]["by_route"].get(route, 0)


async def until(condition, what):
    for _ in range(1500):
        if await asyncio.to_thread(condition):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"in vain: {what}")


async def see_during_the_position(parts: BotParts, exchange, first, then):
    """Hand in `first`; while the worker waits for the position, the market moves to `then`."""
    await parts.see()
    before = count(exchange, POSITION)
    await parts.market.on_crypto_quote(parts.quote_both(*first))
    await until(lambda: count(exchange, POSITION) > before, "the position was not asked for")
    await parts.market.on_crypto_quote(await asyncio.to_thread(parts.quote_both, *then))
    await parts.market.wait_until_idle()


def sells(parts):
    return [order for order in parts.orders() if order.side is Side.SELL]


# A price that is gone.


@pytest.mark.parametrize(
    ("why", "then", "sold"),
    [
        ("the market fell below the target", (47000, 47001), 0),
        ("it fell by a hair", (50999.99, 51000.5), 0),
        ("it fell to where a safety order is due", (49000, 49001), 0),
        ("it is still there", (51000, 51001), 1),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_take_profit_is_decided_again_just_before_it_is_sent(
    parts, start, exchange, why, then, sold
):
    start(**HELD)
    exchange.arm("http_slow", count=1, seconds=0.4, match={"path": "/v2/positions/BTCUSD"})
    await see_during_the_position(parts, exchange, (51500, 51501), then)
    assert len(sells(parts)) == sold


async def test_a_confirmation_that_has_become_old_is_asked_for_again(
    parts, start, exchange, monkeypatch
):
    """The stream alone says that the price is back: that can be a spike."""
    monkeypatch.setattr(order_placement, "CONFIRMED_SECONDS", 0.2)
    start(**HELD)
    exchange.arm("http_slow", count=1, seconds=0.4, match={"path": "/v2/positions/BTCUSD"})
    await parts.see()
    before = count(exchange, POSITION)
    await parts.market.on_crypto_quote(parts.quote_both(51500, 51501))
    await until(lambda: count(exchange, POSITION) > before, "the position was not asked for")
    await asyncio.to_thread(exchange.push_quote, BTC, 47000, 47001)
    await parts.market.wait_until_idle()
    assert sells(parts) == []


@contextmanager
def hanging_database(table):
    """Who reads `table` waits until the block ends."""
    with closing(get_db_connection()) as lock:
        execute_query(f"LOCK TABLES {table} WRITE", db_conn=lock)
        yield
        execute_query("UNLOCK TABLES", db_conn=lock)


def readers_that_wait():
    with closing(get_db_connection()) as connection:
        return execute_query(
            "SELECT id FROM information_schema.processlist WHERE state LIKE 'Waiting for table%'",
            db_conn=connection,
        )


async def see_while_the_database_hangs(parts: BotParts, exchange, first, then):
    """As `see_during_the_position`, but the market moves while the row is read the last time, and
    stays there.
    """
    exchange.arm("http_slow", count=1, seconds=1, match={"path": "/v2/positions/BTCUSD"})
    await parts.see()
    before = count(exchange, POSITION)
    await parts.market.on_crypto_quote(parts.quote_both(*first))
    await until(lambda: count(exchange, POSITION) > before, "the position was not asked for")
    with hanging_database("dca_cycles"):
        await until(readers_that_wait, "the row was not read again")
        since = time.monotonic()
        await until(lambda: time.monotonic() - since > 0.2, "time stands still")
        quote = await asyncio.to_thread(parts.quote_both, *then)
    await parts.market.wait_until_idle()
    assert parts.orders() == []
    until_at = time.monotonic() + order_placement.QUOTE_SECONDS + 0.2
    while time.monotonic() < until_at:  # by then what was skipped is tried again
        await parts.market.on_crypto_quote(quote)
        await parts.market.wait_until_idle()


@pytest.fixture
def hang_of_a_tenth(monkeypatch):
    monkeypatch.setattr(attempt, "SLOW_READ_SECONDS", 0.1)


@pytest.mark.usefixtures("hang_of_a_tenth")
@pytest.mark.parametrize(("then", "sold"), [((47000, 47001), 0), ((51000, 51001), 1)])
async def test_a_take_profit_is_not_sent_at_a_price_of_before_the_database_hung(
    parts, start, exchange, then, sold
):
    start(**HELD)
    await see_while_the_database_hangs(parts, exchange, (51500, 51501), then)
    assert len(sells(parts)) == sold


@pytest.mark.usefixtures("hang_of_a_tenth")
async def test_a_base_order_is_sent_at_the_price_of_after_the_database_hung(parts, start, exchange):
    start()
    await see_while_the_database_hangs(parts, exchange, (50000, 50001), (49000, 49001))
    assert [order.limit_price for order in parts.orders()] == [Decimal(49001)]


@pytest.mark.parametrize("removes", [True, False])
async def test_no_sell_is_sent_for_a_cycle_that_was_removed_or_taken_back_meanwhile(
    parts, start, exchange, db_conn, removes
):
    """`assets remove --keep-coins` and `bot close --withdraw` come while the position is slow."""
    cycle = start(**HELD)
    await parts.see()
    exchange.arm("http_slow", count=2, seconds=0.6, match={"path": "/v2/positions/BTCUSD"})
    if not removes:
        update_cycle(db_conn, cycle.id, {"close_requested": True})
    before = count(exchange, POSITION)
    await parts.market.on_crypto_quote(parts.quote_both(51500, 51501))
    await until(lambda: count(exchange, POSITION) > before, "the position was not asked for")
    if removes:
        execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
        execute_query("DELETE FROM dca_assets", db_conn=db_conn)
    else:
        update_cycle(db_conn, cycle.id, {"close_requested": False})
    await parts.market.wait_until_idle()
    assert sells(parts) == []


async def test_a_symbol_that_waits_for_its_turn_to_buy_sells_when_its_target_is_reached(
    settings, exchange, start
):
    """With a limit set there is one buy at a time, and each can take minutes."""
    parts = BotParts(replace(settings, max_open_cycles=50), exchange)
    try:
        start(symbol="ETH/USD")
        start(**HELD)
        exchange.push_quote("ETH/USD", 3000, 3001)
        exchange.arm("http_slow", count=1, seconds=5, match={"path": "/v2/positions/ETHUSD"})
        await parts.see()
        await parts.market.on_crypto_quote(parts.quote_both(3000, 3001, "ETH/USD"))
        await until(parts.market._buy_turn.locked, "nobody buys")
        await parts.market.on_crypto_quote(parts.quote_both(49000, 49001))
        await until(lambda: parts.market._buy_turn._waiters, "nobody waits for the turn")
        await parts.market.on_crypto_quote(parts.quote_both(49000.5, 49001))
        await parts.market.on_crypto_quote(await asyncio.to_thread(parts.quote_both, 51500, 51501))
        await until(lambda: sells(parts), "nothing was sold")
        assert parts.market._buy_turn.locked(), "the other buy is still under way"
        await parts.market.wait_until_idle()
        assert [order.symbol for order in parts.orders() if order.side is Side.BUY] == ["ETH/USD"]
        assert not parts.market._buy_turn.locked()
    finally:
        await parts.market.stop()


# A filled sell that did not sell all.


async def test_a_position_that_showed_half_leaves_a_cycle_that_sells_the_other_half(
    parts, start, exchange, db_conn, monkeypatch, caplog
):
    monkeypatch.setattr(take_profit_checks, "POSITION_LAG_SECONDS", 0)
    cycle = start(**HELD, coins="0.001")
    high = parts.quote_both(51500, 51501)
    await parts.see(high)
    exchange.finish()
    [half] = sells(parts)
    parts.apply_update(half, "fill")
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.quantity, after.order_seq) == ("watching", Decimal("0.001"), 1)
    assert "sale.incomplete symbol=BTC/USD" in caplog.text
    exchange.set_balance(BTC, "0.000995")  # the rest shows up, less the coin fee
    await parts.see(parts.quote_both(51500, 51501))
    exchange.finish()
    [_, rest] = sells(parts)
    parts.apply_update(rest, "fill")
    assert get_cycle(db_conn, cycle.id).status == "complete"
    assert fetch_position(parts.client, BTC) is None
    [entry, other] = execute_query("SELECT * FROM dca_orders", fetch_all=True, db_conn=db_conn)
    assert entry["filled_qty"] + other["filled_qty"] == Decimal("0.001995")


# An open buy.


def rest_a_safety_order(parts, exchange, cycle):
    """The ask moved on before the limit buy arrived: it is open, and its event has linked it."""
    exchange.push_quote(BTC, 50990, 51000)
    identity = compute_client_order_id(cycle)
    place_limit_buy_order(
        parts.client, BTC, Decimal("0.001"), Decimal(49500), client_order_id=identity
    )
    exchange.finish()
    parts.sweep()


async def test_a_resting_safety_order_is_canceled_when_the_take_profit_is_reached(
    parts, start, exchange, db_conn
):
    cycle = start(**HELD)
    await asyncio.to_thread(rest_a_safety_order, parts, exchange, cycle)
    assert get_cycle(db_conn, cycle.id).status == "buying"
    await parts.see(parts.quote_both(50999.99, 51001))
    assert [order.status for order in parts.orders()] == ["new"], "not yet"
    await parts.see(parts.quote_both(51500, 51501))
    exchange.finish()
    [buy] = parts.orders()
    assert buy.status == "canceled"
    await asyncio.to_thread(parts.apply_update, buy, "canceled")
    await parts.see(parts.quote_both(51500, 51501))
    exchange.finish()
    [_, sell] = parts.orders()
    assert (sell.side, sell.qty) == (Side.SELL, Decimal("0.002"))
    await asyncio.to_thread(parts.apply_update, sell, "fill")
    assert get_cycle(db_conn, cycle.id).status == "complete"


async def test_a_spike_does_not_cancel_a_resting_safety_order(parts, start, exchange):
    cycle = start(**HELD)
    await asyncio.to_thread(rest_a_safety_order, parts, exchange, cycle)
    exchange.push_quote(BTC, 50000, 50001)
    await parts.see(wire_quote(BTC, 51500, 51501))
    exchange.finish()
    assert [order.status for order in parts.orders()] == ["new"], "the stream alone saw that price"


async def test_the_end_of_a_resting_buy_is_asked_for_a_bounded_number_of_times(
    parts, start, exchange, monkeypatch
):
    monkeypatch.setattr(placement_guard, "FIRST_CANCEL_SECONDS", 0)
    cycle = start(**HELD)
    await asyncio.to_thread(rest_a_safety_order, parts, exchange, cycle)
    exchange.arm("http_500", match={"method": "DELETE"})
    for _ in range(placement_guard.MAX_CANCEL_REQUESTS + 4):
        parts.market._watches and parts.market._watches[BTC].backs_off_until.update(
            dict.fromkeys(Side, 0.0)
        )
        await parts.see(parts.quote_both(51500, 51501))
    assert exchange.times_applied("http_500") == placement_guard.MAX_CANCEL_REQUESTS


async def test_a_halted_bot_cancels_nothing(parts, start, exchange):
    cycle = start(**HELD)
    await asyncio.to_thread(rest_a_safety_order, parts, exchange, cycle)
    parts.why_no_orders = lambda: "another daemon has taken the account"
    await parts.see(parts.quote_both(51500, 51501))
    assert [order.status for order in parts.orders()] == ["new"]


# A wide spread.


async def test_a_wide_spread_stops_no_sell(parts, start):
    start(**HELD)
    await parts.see(parts.quote_both(52000, 55120))
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_a_wide_spread_stops_a_buy_and_says_so_once(parts, start, caplog):
    start(**HELD)
    for _ in range(3):
        await parts.see(parts.quote_both(47000, 49400))
    assert parts.orders() == []
    skipped = [one.getMessage() for one in caplog.records if "order.skipped" in one.getMessage()]
    assert [line.split("reason=")[1] for line in skipped] == [
        '"the spread is wider than MAX_SPREAD_PERCENT=2: no buys"'
    ]


async def test_a_wide_spread_on_the_way_to_a_buy_does_not_hold_back_the_sell(parts, start):
    start(**HELD)
    await parts.see(parts.quote_both(47000, 49400))
    await parts.see(parts.quote_both(51000, 51001))
    assert [order.side for order in parts.orders()] == [Side.SELL]


# What earlier cycles left.


async def trade_one_cycle(parts, exchange, db_conn):
    """Base order, take profit and the end of the cooldown, on the bot's own decisions."""

    async def fill(quote, event):
        await parts.see(parts.quote_both(*quote, "AVAX/USD"))
        exchange.finish()
        order = parts.orders()[-1]
        assert order.is_ended, order
        await asyncio.to_thread(parts.apply_update, order, event)
        return order

    bought = await fill((20, 20.01), "fill")
    sold = await fill((21, 21.01), "fill")
    assert (bought.side, sold.side) == (Side.BUY, Side.SELL)
    [cycle] = get_cycles_by_status(db_conn, *OPEN_STATUSES)
    update_cycle(db_conn, cycle.id, {"status": "watching"})
    return bought, sold


async def test_what_each_cycle_leaves_neither_blocks_the_coin_nor_grows(
    parts, start, exchange, db_conn
):
    """With coarse steps the fee leaves almost a step each time; three were 'a position'."""
    start(symbol="AVAX/USD", asset={"base_order_amount": Decimal(12)})
    left = []
    for _ in range(8):
        await trade_one_cycle(parts, exchange, db_conn)
        position = fetch_position(parts.client, "AVAX/USD")
        [leftover] = load_leftovers(db_conn).values()
        assert leftover == position.qty, "the journal knows to the last digit what is left"
        left.append(position.qty)
    assert max(left) < Decimal("0.01"), "one step at most, however many cycles"
    assert len({order.qty for order in sells(parts)}) > 1, "what had added up was sold, too"


async def test_coins_of_the_users_own_still_hold_back_a_base_order(
    parts, start, exchange, db_conn, caplog
):
    start(symbol="AVAX/USD", asset={"base_order_amount": Decimal(12)})
    await trade_one_cycle(parts, exchange, db_conn)
    exchange.add_balance("AVAX/USD", "1")
    orders = len(parts.orders())
    caplog.set_level(logging.WARNING)
    await parts.see(parts.quote_both(20, 20.01, "AVAX/USD"))
    assert len(parts.orders()) == orders
    assert "existing position found on Alpaca" in caplog.text


def test_the_checker_takes_what_earlier_cycles_left_for_what_it_is(
    settings, start, exchange, db_conn, monkeypatch
):
    monkeypatch.setattr(consistency_checking, "SECONDS_BETWEEN_SNAPSHOTS", 0)
    start(symbol="AVAX/USD", coins="0.6")
    exchange.push_quote("AVAX/USD", 20, 20.01)
    run = real_run(settings)
    check_consistency(run)
    assert [step["kind"] for step in run.done] == ["position_unexpected"]
    execute_query("DELETE FROM dca_events", db_conn=db_conn)
    leave_coins(db_conn, "AVAX/USD", "1.6", "1.0")
    run = real_run(settings)
    check_consistency(run)
    assert run.plan == []


def test_the_checker_never_ends_a_cycle_because_of_coins_that_earlier_cycles_left(
    settings, start, exchange, db_conn, monkeypatch
):
    """Were they sold by hand, the journal would explain coins that the cycle has bought."""
    monkeypatch.setattr(consistency_checking, "SECONDS_BETWEEN_SNAPSHOTS", 0)
    bought = {"average_purchase_price": Decimal(20), "last_order_fill_price": Decimal(20)}
    start(symbol="AVAX/USD", coins="0.6", quantity=Decimal("0.6"), **bought)
    leave_coins(db_conn, "AVAX/USD", "1.6", "1.0")
    exchange.push_quote("AVAX/USD", 20, 20.01)
    run = real_run(settings)
    check_consistency(run)
    assert run.plan == []


def test_what_earlier_cycles_left_is_not_adopted_a_second_time(settings, start, exchange, db_conn):
    start(symbol="AVAX/USD", coins="0.6")
    exchange.push_quote("AVAX/USD", 20, 20.01)
    asset = get_asset_config(db_conn, "AVAX/USD")
    leave_coins(db_conn, "AVAX/USD", "1.6", "1.1")
    adoption, _ = prepare_adoption(settings, db_conn, asset)
    assert adoption.position_qty == Decimal("0.1"), "0.5 are paid for in the journal already"
    leave_coins(db_conn, "AVAX/USD", "1.1", "1.0")
    with pytest.raises(Refused, match="there are no coins of AVAX/USD to adopt"):
        prepare_adoption(settings, db_conn, asset)


async def test_what_a_buy_filled_after_its_cycle_was_sold_is_no_leftover(
    parts, start, exchange, db_conn, caplog
):
    """A whole order bought at 50 USD must not go with a cycle that began at 20 USD."""
    cycle = start(symbol="AVAX/USD", coins="2")
    leave_coins(db_conn, "AVAX/USD", "1.6", "1.6")
    late = build_order(
        cycle,
        id=f"{cycle.id}-0",
        symbol="AVAX/USD",
        status="canceled",
        filled_qty="3.6",
        filled_avg_price="36.67",
    )
    rules = await asyncio.to_thread(parts.rules.get, "AVAX/USD")
    assert apply_order(late, rules, FEE_RATE, NOW, "test").applied is Applied.CORRECTED
    assert load_leftovers(db_conn) == {}
    await parts.see(parts.quote_both(20, 20.01, "AVAX/USD"))
    assert parts.orders() == []
    assert "existing position found on Alpaca: 2" in caplog.text
    adoption, _ = prepare_adoption(parts.settings, db_conn, get_asset_config(db_conn, "AVAX/USD"))
    assert adoption.position_qty == 2, "it can be made a cycle of its own"


def test_an_unclaimed_order_does_not_matter_because_of_what_earlier_cycles_left():
    order = build_order(status="filled", filled_qty="0.002", filled_avg_price="50000")
    late = NOW + timedelta(hours=1)
    state, left = build_state(), Decimal("0.003")
    more = measure_unclaimed(order, state, left, build_rules(), FEE_RATE, late)
    state = replace(state, leftover=left)
    explained = measure_unclaimed(order, state, left, build_rules(), FEE_RATE, late)
    assert (plan(more).action, plan(explained).action) == (Action.BLOCK, Action.NOTHING)


# A sell that fills after it was canceled, while the next order is on its way.


@pytest.mark.parametrize("finds", ["the stream", "a sweep"])
async def test_a_late_sale_does_not_end_a_cycle_that_has_sent_its_next_buy(
    parts, start, exchange, db_conn, finds
):
    """The coins of that buy would belong to nobody until a later cycle sells them."""
    cycle = start(**HELD)
    exchange.arm("rest_market_order")
    exchange.arm("fill_late", seconds=0.3)
    await parts.see(parts.quote_both(51500, 51501))
    exchange.finish()
    [sell] = sells(parts)
    exchange.cancel(sell.id)
    await asyncio.to_thread(parts.apply_update, sells(parts)[0], "canceled")
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.order_seq) == ("watching", 1)
    identity = compute_client_order_id(after)  # sent, and its event has not come yet
    await asyncio.to_thread(
        place_limit_buy_order, parts.client, BTC, Decimal("0.001"), Decimal(49000),
        client_order_id=identity,
    )  # fmt: skip
    await until(lambda: sells(parts)[0].filled_qty > 0, "the late fill did not come")
    if finds == "the stream":
        await asyncio.to_thread(parts.apply_update, sells(parts)[0], "fill")
    else:
        await asyncio.to_thread(parts.sweep)
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.quantity) == ("buying", 0)
    await asyncio.to_thread(exchange.push_quote, BTC, 48999, 49000)
    exchange.finish()
    await asyncio.to_thread(parts.sweep)
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.quantity) == ("watching", Decimal("0.001"))


async def test_a_late_sale_ends_a_cycle_that_has_sent_nothing_since(
    parts, start, exchange, db_conn
):
    cycle = start(**HELD)
    exchange.arm("rest_market_order")
    exchange.arm("fill_late", seconds=0.1)
    await parts.see(parts.quote_both(51500, 51501))
    exchange.finish()
    exchange.cancel(sells(parts)[0].id)
    await asyncio.to_thread(parts.apply_update, sells(parts)[0], "canceled")
    await until(lambda: sells(parts)[0].filled_qty > 0, "the late fill did not come")
    await asyncio.to_thread(parts.apply_update, sells(parts)[0], "fill")
    assert get_cycle(db_conn, cycle.id).status == "complete"
