"""What the user wants sold now: strategy, lifecycle, placement and the caretaker that honour it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from bot_parts import BotParts, wire_quote
from builders import (
    FEE_RATE,
    NOW,
    OTHER_ORDER_ID,
    build_asset,
    build_circumstances,
    build_cycle,
    build_order,
    build_rules,
    build_state,
)
from caretaker_process import real_run
from caretakers.order_manager import manage_orders
from caretakers.plans.order_manager import Claims, Fault, Surroundings, plan_order_repairs
from domain.cycle import CycleStatus
from domain.journal import Purpose
from domain.orders import Side
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.order_journal import get_entries_of_cycle
from strategy.booking import compute_order_change
from strategy.exits import ANY_SELL_PRICE
from strategy.repairs import compute_missing_order_change
from strategy.sizing import is_dust
from strategy.triggers import (
    NEVER,
    Triggers,
    compute_triggers,
    decide,
    decide_close,
)
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_orders

RULES = build_rules()
HOLDS = {"quantity": Decimal("0.002"), "close_requested": True}


# Strategy: pure.


@pytest.mark.parametrize("quantity", ["0", "0.00000001", "0.002"])
@pytest.mark.parametrize("status", CycleStatus)
@pytest.mark.parametrize("is_enabled", [True, False])
def test_a_cycle_to_be_closed_never_buys_and_sells_at_any_price_what_it_holds(
    status, quantity, is_enabled
):
    asset = build_asset(is_enabled=is_enabled)
    cycle = build_cycle(status=status, quantity=Decimal(quantity), close_requested=True)
    state = build_state(asset, cycle)
    sells = status is CycleStatus.WATCHING and not is_dust(cycle.quantity, RULES, FEE_RATE)
    triggers = compute_triggers(state, RULES, FEE_RATE)
    assert triggers.buy_at_or_below is None
    if status is CycleStatus.BUYING:
        assert triggers == Triggers(cancel_buy_at_or_above=ANY_SELL_PRICE)
        return
    assert sells or triggers == NEVER
    for price in ("0.01", "1000000"):
        decision = decide(state, RULES, FEE_RATE, bid=Decimal(price), ask=Decimal(price), now=NOW)
        assert (decision is not None) == sells
        assert decision == decide_close(state, RULES, FEE_RATE)
    if sells:
        assert (decision.side, decision.purpose) == (Side.SELL, Purpose.TAKE_PROFIT)
        assert decision.at_any_price


def test_without_the_wish_nothing_is_sold_at_any_price():
    state = build_state(cycle=build_cycle(quantity=Decimal("0.002")))
    assert decide_close(state, RULES, FEE_RATE) is None
    bid = Decimal(51000)
    decision = decide(state, RULES, FEE_RATE, bid=bid, ask=bid, now=NOW)
    assert decision is not None
    assert not decision.at_any_price


# Lifecycle: pure.


def test_a_buy_that_ends_without_coins_completes_the_cycle_to_be_closed():
    cycle = build_cycle(status="buying", close_requested=True)
    order = build_order(cycle, status="canceled")
    change = compute_order_change(cycle, order, build_circumstances())
    assert change.cycle_updates == {
        "status": CycleStatus.COMPLETE,
        "completed_at": order.ended_at,
        "latest_order_id": None,
        "order_seq": 1,
    }
    assert change.next_cycle is CycleStatus.COOLDOWN
    assert change.journal.purpose is Purpose.BASE
    assert change.asset_updates == {}, "nothing was sold: no price to restart below"


@pytest.mark.parametrize("filled", ["0.002", "0.0005"])
def test_a_buy_that_ends_with_coins_leads_to_their_sale(filled):
    cycle = build_cycle(status="buying", close_requested=True)
    order = build_order(cycle, status="canceled", filled_qty=filled, filled_avg_price="50000")
    change = compute_order_change(cycle, order, build_circumstances())
    assert change.cycle_updates["status"] is CycleStatus.WATCHING
    assert change.next_cycle is None


def test_a_replaced_buy_goes_on_until_it_ends_too():
    cycle = build_cycle(status="buying", close_requested=True)
    order = build_order(cycle, status="replaced", replaced_by=OTHER_ORDER_ID)
    change = compute_order_change(cycle, order, build_circumstances())
    assert change.cycle_updates["status"] is CycleStatus.BUYING
    assert change.cycle_updates["latest_order_id"] == OTHER_ORDER_ID


@pytest.mark.parametrize(("quantity", "closes"), [("0", True), ("0.002", False)])
def test_an_order_that_does_not_exist_does_not_leave_a_closed_cycle_open(quantity, closes):
    cycle = build_cycle(
        status="buying", quantity=Decimal(quantity), close_requested=True, latest_order_id="gone"
    )
    cooling = build_circumstances(cooldown_until=NOW + timedelta(seconds=30))
    change = compute_missing_order_change(cycle, cooling)
    expected = CycleStatus.COMPLETE if closes else CycleStatus.WATCHING
    assert change.cycle_updates["status"] is expected
    assert (change.next_cycle is CycleStatus.COOLDOWN) == closes
    assert ("completed_at" in change.cycle_updates) == closes
    assert "order_seq" not in change.cycle_updates


def test_the_sale_is_booked_as_a_take_profit_and_its_row_says_who_wanted_it():
    cycle = build_cycle(status="selling", **HOLDS)
    order = build_order(
        cycle, side="sell", status="filled", qty="0.001995", filled_qty="0.001995",
        filled_avg_price="40000",
    )  # fmt: skip
    change = compute_order_change(cycle, order, build_circumstances())
    assert change.cycle_updates["status"] is CycleStatus.COMPLETE
    assert change.next_cycle is CycleStatus.COOLDOWN
    assert change.journal.purpose is Purpose.TAKE_PROFIT
    assert change.journal.note.startswith("closed by the user")


# The order manager.


def test_the_open_buy_of_a_cycle_to_be_closed_is_canceled_at_any_age():
    young = build_order(submitted_at=NOW, created_at=NOW)
    sell = build_order(submitted_at=NOW, created_at=NOW, side="sell", id=OTHER_ORDER_ID)
    around = {"now": NOW, "stale_seconds": 300.0, "symbols": frozenset({"BTC/USD"})}
    for identity in (young.id, young.client_order_id):
        claims = Claims(order_ids=frozenset({young.id}), closing=frozenset({identity}))
        [repair] = plan_order_repairs([young, sell], Surroundings(claims=claims, **around))
        assert (repair.order, repair.fault) == (young, Fault.UNWANTED_BUY)
    claims = Claims(order_ids=frozenset({young.id}))
    assert plan_order_repairs([young, sell], Surroundings(claims=claims, **around)) == []


def test_order_manager_clears_the_way_of_a_sale(settings, exchange, db_conn, start, parts):
    cycle = start("watching", quantity=Decimal("0.002"), average_purchase_price=Decimal(50000))
    exchange.push_quote("BTC/USD", 50000, 50001)
    identity = f"dca-{cycle.id}-{cycle.order_key}-0"
    place_limit_buy_order(
        get_trading_client(), "BTC/USD", Decimal("0.001"), 45000, client_order_id=identity
    )
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.BUYING
    manage_orders(real_run(settings))
    assert [order.status for order in fetch_orders(get_trading_client(), status="all")] == ["new"]
    update_cycle(db_conn, cycle.id, {"close_requested": True})
    manage_orders(real_run(settings))
    parts.sweep()
    after = get_cycle(db_conn, cycle.id)
    assert (after.status, after.order_seq) == (CycleStatus.WATCHING, 1)


# Placement, on the local exchange.


@pytest.fixture
def closing(start, db_conn):
    """A cycle that holds coins bought at 50,000 and is to be closed."""
    cycle = start(
        "watching", quantity=Decimal("0.002"), average_purchase_price=Decimal(50000),
        last_order_fill_price=Decimal(50000),
    )  # fmt: skip
    update_cycle(db_conn, cycle.id, {"close_requested": True, "order_seq": 1})
    return get_cycle(db_conn, cycle.id)


async def test_it_is_sold_at_a_loss_without_any_quote_and_cools_down_as_usual(
    parts: BotParts, exchange, db_conn, closing
):
    exchange.push_quote("BTC/USD", 30000, 30001)
    await parts.see()  # a refresh of the triggers, no quote
    [order] = parts.orders()
    assert order.client_order_id == f"dca-{closing.id}-{closing.order_key}-1"
    assert (order.side, order.order_type) == (Side.SELL, "market")
    await parts.see()
    assert len(parts.orders()) == 1, "its result is waited for"
    parts.sweep()
    done, cooling = get_cycle(db_conn, closing.id), get_latest_cycle(db_conn, closing.asset_id)
    assert (done.status, done.close_requested) == (CycleStatus.COMPLETE, True)
    assert (cooling.status, cooling.close_requested) == (CycleStatus.COOLDOWN, False)
    [entry] = get_entries_of_cycle(db_conn, closing.id)
    assert (entry.purpose, entry.order_seq) == (Purpose.TAKE_PROFIT, 1)
    await parts.see(wire_quote("BTC/USD", 30000, 30001))
    assert len(parts.orders()) == 1, "the new cycle is in cooldown"


async def test_the_second_opinion_on_prices_is_not_asked_for(
    parts: BotParts, exchange, closing, monkeypatch
):
    def ask(symbol: str) -> None:
        raise AssertionError(f"the price of {symbol} does not matter")

    monkeypatch.setattr("trading.attempt.fetch_latest_quote", ask)
    exchange.push_quote("BTC/USD", 30000, 30001)
    await parts.see()
    assert len(parts.orders()) == 1


async def test_a_wide_or_stale_quote_does_not_hold_it_up(parts: BotParts, exchange, closing):
    exchange.push_quote("BTC/USD", 30000, 45000)
    await parts.see(wire_quote("BTC/USD", 30000, 45000, at=NOW))
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_without_the_wish_a_refresh_alone_sells_nothing(
    parts: BotParts, exchange, db_conn, closing
):
    update_cycle(db_conn, closing.id, {"close_requested": False})
    exchange.push_quote("BTC/USD", 30000, 30001)
    await parts.see()
    assert parts.orders() == []


async def test_a_halted_daemon_does_not_sell_either(parts: BotParts, exchange, closing):
    parts.why_no_orders = lambda: "another daemon has taken the account"
    exchange.push_quote("BTC/USD", 30000, 30001)
    await parts.see()
    assert parts.orders() == []


async def test_a_cycle_to_be_closed_that_holds_nothing_does_not_buy(
    parts: BotParts, exchange, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    update_cycle(db_conn, cycle.id, {"close_requested": True})
    await parts.see(parts.quote_both(50000, 50001))
    assert parts.orders() == []


async def test_a_rejected_sale_is_tried_again_as_the_next_order(
    parts: BotParts, exchange, db_conn, closing
):
    exchange.push_quote("BTC/USD", 30000, 30001)
    exchange.arm("reject_order", count=1)
    await parts.see()
    parts.sweep()
    after = get_cycle(db_conn, closing.id)
    assert (after.status, after.order_seq, after.close_requested) == ("watching", 2, True)
    await parts.see()
    assert len(parts.orders()) == 1, "refusals rest for a while"
    parts.placer.guard("BTC/USD").succeeded(Side.SELL)
    parts.market.order_changed(replace(parts.orders()[0], filled_qty=Decimal(1), status="filled"))
    await parts.see()
    parts.sweep()
    assert [order.client_order_id[-2:] for order in parts.orders()] == ["-1", "-2"]
    assert get_cycle(db_conn, closing.id).status is CycleStatus.COMPLETE


async def test_an_asset_whose_row_cannot_trade_any_more_is_closed_all_the_same(
    parts: BotParts, exchange, db_conn, closing
):
    update_asset_config(db_conn, closing.asset_id, {"take_profit_percent": Decimal(-1)})
    exchange.push_quote("BTC/USD", 30000, 30001)
    await parts.see()
    assert [order.side for order in parts.orders()] == [Side.SELL]
