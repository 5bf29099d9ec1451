"""Orders with our prefix that no cycle claims: when they block, until when, and when they alert."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot_parts import BTC, FAR, HELD, buy
from caretaker_process import dry_run
from caretakers.consistency_checker import check_consistency
from caretakers.plans import consistency_checker as plan
from daemon_process import wait_until
from domain.cycle import CycleStatus
from domain.events import EventKind
from models.cycle_data import get_cycle, update_cycle
from models.events import get_error_events, get_events
from strategy import unclaimed
from strategy.order_identity import compute_client_order_id
from trading import unclaimed_orders
from trading.unclaimed_orders import alert_unclaimed
from utils import alpaca_http
from utils.alpaca_client_rest import cancel_order, place_market_sell_order
from utils.alpaca_queries import fetch_order
from utils.db_utils import execute_query

FOREIGN = "dca-999-a1b2c3d4-0"


@pytest.fixture(autouse=True)
def _no_waits(monkeypatch):
    monkeypatch.setattr(alpaca_http, "READ_WAITS_SECONDS", ())


@pytest.fixture
def old_enough(monkeypatch):
    """What was filled was filled long enough ago."""
    monkeypatch.setattr(unclaimed, "RECOVERY_TIME", timedelta(0))


@pytest.fixture
def quoted(exchange):
    exchange.push_quote(BTC, 49999, 50000)
    return exchange


def sell(parts, identity, qty="0.002"):
    order = place_market_sell_order(parts.client, BTC, Decimal(qty), client_order_id=identity)
    assert parts.exchange.finish()
    return order


def blocked(parts):
    return parts.reconciler.blocked_symbols()


def alerts(db_conn):
    return [event["kind"] for event in get_events(db_conn)]


async def test_an_unclaimed_order_blocks_buys_on_its_symbol_and_no_sells(parts, start, exchange):
    start(**HELD)
    start(symbol="ETH/USD")
    exchange.push_quote(BTC, 49999, 50000)
    buy(parts, None, identity="dca-999-a1b2c3d4-0")
    await asyncio.to_thread(parts.reconciler.recover)
    assert parts.reconciler.blocked_symbols() == {BTC}
    await parts.see(parts.quote_both(49000, 49001), parts.quote_both(3000, 3001, "ETH/USD"))
    assert [one.symbol for one in parts.orders()] == [BTC, "ETH/USD"], "only the other coin"
    await parts.see(parts.quote_both(51500, 51501))
    assert [one.side for one in parts.orders()] == ["buy", "buy", "sell"]


def test_a_block_and_its_alert_end_with_its_unfilled_order(parts, start, exchange, db_conn):
    start()
    order_id = buy(parts, None, identity="dca-999-a1b2c3d4-0", **FAR)
    parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == {BTC}
    assert [one.kind for one in get_error_events(db_conn, 3600, 9)] == [EventKind.ORDER_UNCLAIMED]
    cancel_order(parts.client, order_id)
    exchange.finish()
    parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == set()
    assert get_error_events(db_conn, 3600, 9) == []
    parts.reconciler.sweep()
    assert alerts(db_conn) == [EventKind.ORDER_UNCLAIMED] * 2, "its alert and its end, once each"


def test_a_block_ends_also_when_the_order_is_too_old_for_the_list(parts, start, exchange):
    start()
    order_id = buy(parts, None, identity="dca-999-a1b2c3d4-0", **FAR)
    parts.reconciler.sweep()
    inside = exchange.server.exchange

    async def age():
        order = inside.order(order_id)
        inside.book.put(replace(order, submitted_at_ns=order.submitted_at_ns - 7200 * 10**9))

    exchange.run(age())
    parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == {BTC}
    cancel_order(parts.client, order_id)
    exchange.finish()
    parts.reconciler.sweep()
    assert parts.reconciler.blocked_symbols() == set()


async def test_a_filled_order_blocks_until_its_coins_are_explained(
    parts, start, db_conn, quoted, old_enough, caplog
):
    cycle = start()
    buy(parts, None, identity=FOREIGN)
    held = parts.orders()[0].filled_qty
    for _ in range(2):
        parts.reconciler.sweep()
    assert blocked(parts) == {BTC}
    assert [one.levelname for one in caplog.records if "order.unclaimed" in one.getMessage()] == [
        "ERROR"
    ]
    update_cycle(db_conn, cycle.id, {"quantity": held, "average_purchase_price": Decimal(50000)})
    parts.reconciler.sweep()
    assert blocked(parts) == set(), "adopted"
    update_cycle(db_conn, cycle.id, {"quantity": Decimal(0)})
    parts.reconciler.sweep()
    assert blocked(parts) == {BTC}, "what was let be once is judged anew"
    quoted.set_balance(BTC, "0")
    parts.reconciler.sweep()
    assert blocked(parts) == set(), "sold"
    await parts.see(parts.quote_both(49000, 49001))
    assert len(parts.orders()) == 2, "and the bot buys again, without a restart"


def test_what_an_integration_test_traded_is_no_matter_to_a_new_database(
    parts, start, db_conn, quoted, old_enough, caplog
):
    buy(parts, None, identity="dca-1-a1b2c3d4-0")
    quoted.set_balance(BTC, "0")
    start()
    parts.reconciler.recover()
    for _ in range(2):
        parts.reconciler.sweep()
        assert blocked(parts) == set()
    assert [one for one in caplog.records if one.levelno > logging.INFO] == []
    assert alerts(db_conn) == []


def test_it_is_one_alert_in_whatever_words_and_by_whomever(
    parts, start, db_conn, quoted, old_enough, settings, monkeypatch
):
    start(**HELD)
    sell(parts, FOREIGN)
    check_consistency(before := dry_run(settings))
    assert "order_unclaimed" in [step["kind"] for step in before.plan]
    parts.reconciler.sweep()
    monkeypatch.setattr(unclaimed_orders, "describe_unclaimed", lambda order: "in other words")
    parts.reconciler.sweep()
    alert_unclaimed(fetch_order(parts.client, parts.orders()[0].id))
    monkeypatch.setattr(plan, "describe_unclaimed", lambda order: "in words of its own")
    check_consistency(after := dry_run(settings))
    assert "order_unclaimed" not in [step["kind"] for step in after.plan]
    assert alerts(db_conn).count("order_unclaimed") == 1


def test_once_its_coins_are_explained_nothing_is_wrong_any_more_until_they_are_not(
    parts, start, db_conn, quoted, old_enough
):
    cycle = start()
    buy(parts, None, identity=FOREIGN)
    held = parts.orders()[0].filled_qty
    severities = []
    for quantity in (Decimal(0), held, held, Decimal(0)):
        update_cycle(db_conn, cycle.id, {"quantity": quantity, "average_purchase_price": 50000})
        parts.reconciler.sweep()
        severities.append([event["severity"] for event in get_events(db_conn)])
    assert severities == [["error"], *[["info", "error"]] * 2, ["error", "info", "error"]]
    assert [one.kind for one in get_error_events(db_conn, 60, 9)] == ["order_unclaimed"]


def test_while_its_coins_may_be_on_the_move_it_blocks_without_an_alert(
    parts, start, db_conn, quoted, monkeypatch
):
    cycle = start("selling", **HELD)
    buy(parts, None, identity=FOREIGN)
    quoted.set_balance(BTC, "0")
    buy(parts, cycle, **FAR)  # the order that the cycle waits for
    parts.reconciler.sweep()
    assert blocked(parts) == {BTC}, "its fill is too young"
    monkeypatch.setattr(unclaimed, "RECOVERY_TIME", timedelta(0))
    update_cycle(db_conn, cycle.id, {"status": "selling"})
    parts.reconciler.sweep()
    assert blocked(parts) == {BTC}, "a sale is under way"
    assert alerts(db_conn) == []


async def test_a_sale_of_the_cycles_own_coins_matters_too(
    parts, start, db_conn, quoted, old_enough
):
    start(**HELD)
    sell(parts, FOREIGN)
    parts.reconciler.recover()
    assert (blocked(parts), alerts(db_conn)) == ({BTC}, ["order_unclaimed"])
    await parts.see(parts.quote_both(48000, 48001))
    assert len(parts.orders()) == 1, "no safety order for coins that are gone"


@pytest.mark.parametrize("fault", ["http_500", "http_html", "http_truncated"])
async def test_while_the_position_cannot_be_read_its_symbol_is_blocked_and_the_others_go_on(
    parts, start, db_conn, quoted, old_enough, fault
):
    start(**HELD)
    waiting = start("buying", symbol="ETH/USD")
    buy(parts, None, identity=FOREIGN)
    quoted.arm(fault, match={"path": "/v2/positions/BTCUSD"})
    for _ in range(2):
        parts.reconciler.recover()
    assert blocked(parts) == {BTC}
    assert get_cycle(db_conn, waiting.id).status is CycleStatus.WATCHING, "the other was resolved"
    await parts.see(parts.quote_both(48000, 48001))
    assert len(parts.orders()) == 1


def test_a_late_fill_of_one_that_had_ended_empty_matters(parts, start, quoted, old_enough):
    start(**HELD)
    order_id = buy(parts, None, identity=FOREIGN, **FAR)
    quoted.arm("fill_late", seconds=0.5)
    cancel_order(parts.client, order_id)
    wait_until(lambda: fetch_order(parts.client, order_id).is_ended)
    parts.reconciler.sweep()
    assert blocked(parts) == set()
    wait_until(lambda: fetch_order(parts.client, order_id).filled_qty > 0)
    parts.reconciler.sweep()
    assert blocked(parts) == {BTC}


def test_one_is_judged_after_a_recovery_has_caught_up(parts, start, db_conn, quoted, old_enough):
    """A backup: its cycle was sold since, and one that it does not know has bought as much."""
    cycle = start(**HELD)
    quoted.arm("skew_clock", seconds=-7200)
    sell(parts, compute_client_order_id(cycle))
    quoted.clear_faults("skew_clock")
    buy(parts, None, identity=FOREIGN)
    parts.reconciler.recover()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE
    assert (blocked(parts), alerts(db_conn)) == ({BTC}, ["order_unclaimed"])


def test_by_chance_the_same_coins_is_not_for_ever(parts, start, quoted, old_enough):
    cycle = start(**HELD)
    buy(parts, None, identity=FOREIGN)
    sell(parts, compute_client_order_id(cycle))  # filled, and not booked yet
    parts.reconciler.note_unclaimed(parts.orders()[0])
    parts.reconciler.sweep()
    parts.reconciler.sweep()
    assert blocked(parts) == {BTC}


async def test_the_coin_fee_of_a_large_cycle_hides_none(parts, start, db_conn, quoted, old_enough):
    cycle = start(asset={"base_order_amount": Decimal(50000)})
    await parts.see(parts.quote_both(49999, 50000))
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).quantity == 1
    buy(parts, None, identity=FOREIGN)  # less than the fee of the base order
    parts.reconciler.sweep()
    assert blocked(parts) == {BTC}


def test_one_too_old_for_the_list_that_fills_now_is_an_alert(
    parts, start, db_conn, quoted, old_enough
):
    start()
    quoted.arm("skew_clock", seconds=-7200)
    order_id = buy(parts, None, identity=FOREIGN, **FAR)
    quoted.clear_faults("skew_clock")
    parts.reconciler.recover()
    quoted.push_quote(BTC, 999, 1000)
    wait_until(lambda: fetch_order(parts.client, order_id).is_ended)
    parts.apply_update(fetch_order(parts.client, order_id), "fill")
    parts.reconciler.sweep()
    assert (blocked(parts), alerts(db_conn)) == ({BTC}, ["order_unclaimed"])


def test_a_hundred_of_them_cost_one_question_a_sweep(parts, start, quoted, old_enough):
    start()
    order = fetch_order(parts.client, buy(parts, None, identity=FOREIGN))
    for number in range(100):
        parts.reconciler.note_unclaimed(replace(order, id=f"{order.id}-{number}"))
    before = Counter(quoted.state()["requests"]["by_route"])
    parts.reconciler.sweep()
    asked = Counter(quoted.state()["requests"]["by_route"]) - before
    assert asked["GET /v2/positions/{name}"] == 1


def test_one_that_cannot_be_booked_blocks_until_it_can(parts, start, db_conn, quoted, old_enough):
    cycle = start()
    execute_query("ALTER TABLE dca_orders MODIFY client_order_id VARCHAR(3)", db_conn=db_conn)
    buy(parts, cycle)
    parts.reconciler.sweep()
    assert (blocked(parts), alerts(db_conn)) == ({BTC}, ["order_unwritable"])
    execute_query("ALTER TABLE dca_orders MODIFY client_order_id VARCHAR(160)", db_conn=db_conn)
    parts.reconciler.sweep()
    assert blocked(parts) == set()
    assert get_cycle(db_conn, cycle.id).quantity > 0
    assert get_error_events(db_conn, 60, 9) == [], "booked, and wrong no more"
