"""When the strategy buys and sells: pure tables, no fixtures."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FEE_RATE, NOW, build_asset, build_cycle, build_rules, build_state
from domain.cycle import CycleStatus
from domain.journal import Purpose
from domain.orders import Side
from strategy.exits import ANY_SELL_PRICE, compute_take_profit_price
from strategy.ladder import compute_ladder_usd, compute_safety_order_trigger
from strategy.triggers import (
    ANY_PRICE,
    NEVER,
    Decision,
    Triggers,
    compute_early_restart_trigger,
    compute_triggers,
    decide,
    decide_close,
)

HELD = Decimal("0.002")


def decision_at(state, bid, ask=None, now=NOW):
    ask = Decimal(bid) if ask is None else Decimal(ask)
    return decide(state, build_rules(), FEE_RATE, bid=Decimal(bid), ask=ask, now=now)


def triggers_of(state):
    return compute_triggers(state, build_rules(), FEE_RATE)


# The plan's tests of phases 5 and 6; orders being placed are in test_market_data_handler.


def test_safety_order_trigger_price_calculation():
    cycle = build_cycle(quantity=HELD, last_order_fill_price=Decimal(50000))
    for deviation, expected in [("1.0", "49500"), ("0", "50000"), ("2.5", "48750"), ("100", "0")]:
        asset = build_asset(safety_order_deviation=Decimal(deviation))
        assert compute_safety_order_trigger(asset, cycle) == Decimal(expected)


def test_take_profit_trigger_price_calculation():
    cycle = build_cycle(quantity=HELD, average_purchase_price=Decimal(50000))
    for percent, expected in [("1.0", "50500"), ("0", "50000"), ("2.5", "51250")]:
        asset = build_asset(take_profit_percent=Decimal(percent))
        assert compute_take_profit_price(asset, cycle.average_purchase_price) == Decimal(expected)


# The other prices.


def test_the_safety_trigger_counts_from_the_last_fill_and_not_from_the_average():
    cycle = build_cycle(
        quantity=HELD, last_order_fill_price=Decimal(40000), average_purchase_price=Decimal(50000)
    )
    assert compute_safety_order_trigger(build_asset(), cycle) == Decimal(39600)


def test_without_a_noted_fill_the_safety_trigger_counts_from_the_average():
    cycle = build_cycle(quantity=HELD, last_order_fill_price=None)
    assert compute_safety_order_trigger(build_asset(), cycle) == Decimal(49500)


def test_a_fee_aware_take_profit_earns_both_fees_first():
    cycle = build_cycle(quantity=HELD)
    asset = build_asset(take_profit_percent=Decimal(1), take_profit_fee_percent=Decimal("0.25"))
    trigger = compute_take_profit_price(asset, cycle.average_purchase_price)
    paid = HELD * 50000
    received = HELD * (1 - FEE_RATE) * trigger * (1 - FEE_RATE)
    assert abs(received / paid - Decimal("1.01")) < Decimal("1e-20")


@pytest.mark.parametrize(
    ("percent", "sold_at", "expected"),
    [("1", "50000", "49500"), ("0", "50000", "50000"), (None, "50000", None), ("1", None, None)],
)
def test_an_early_restart_needs_its_percent_and_a_last_sell_price(percent, sold_at, expected):
    asset = build_asset(
        buy_order_price_deviation_percent=percent and Decimal(percent),
        last_sell_price=sold_at and Decimal(sold_at),
    )
    trigger = compute_early_restart_trigger(asset)
    assert trigger == (None if expected is None else Decimal(expected))


# Which triggers a state has.

EARLY = {"buy_order_price_deviation_percent": Decimal(1), "last_sell_price": Decimal(50000)}
BASE = (ANY_PRICE, Purpose.BASE, None)
SAFETY = (Decimal(49500), Purpose.SAFETY, Decimal(51000))
ONLY_SELL = (None, None, Decimal(51000))
NOTHING = (None, None, None)


@pytest.mark.parametrize(
    ("why", "asset", "cycle", "expected"),
    [
        ("an empty cycle buys at any price", {}, {}, BASE),
        ("dust is no position", {}, {"quantity": Decimal("0.0001")}, BASE),
        ("a position buys lower and sells higher", {}, {"quantity": HELD}, SAFETY),
        ("one safety order is left", {}, {"quantity": HELD, "safety_orders": 2}, SAFETY),
        ("none is left", {}, {"quantity": HELD, "safety_orders": 3}, ONLY_SELL),
        ("more than allowed were bought", {}, {"quantity": HELD, "safety_orders": 9}, ONLY_SELL),
        ("no safety orders wanted", {"max_safety_orders": 0}, {"quantity": HELD}, ONLY_SELL),
        ("disabled, holds coins", {"is_enabled": False}, {"quantity": HELD}, ONLY_SELL),
        ("disabled, holds nothing", {"is_enabled": False}, {}, NOTHING),
        ("an order is out to buy", {}, {"status": "buying"}, NOTHING),
        ("an order is out to sell", {}, {"status": "selling", "quantity": HELD}, NOTHING),
        ("it has ended", {}, {"status": "complete", "quantity": HELD}, NOTHING),
        ("it has ended in error", {}, {"status": "error", "quantity": HELD}, NOTHING),
        ("in cooldown", {}, {"status": "cooldown"}, NOTHING),
        ("in cooldown, may buy early", EARLY, {"status": "cooldown"}, (49500, Purpose.BASE, None)),
        ("disabled, in cooldown", EARLY | {"is_enabled": False}, {"status": "cooldown"}, NOTHING),
        ("in cooldown with coins", EARLY, {"status": "cooldown", "quantity": HELD}, NOTHING),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_state_has_its_triggers(why, asset, cycle, expected):
    found = triggers_of(build_state(build_asset(**asset), build_cycle(**cycle)))
    assert (found.buy_at_or_below, found.buy_purpose, found.sell_at_or_above) == expected
    assert (found == NEVER) is (expected == NOTHING)


@pytest.mark.parametrize("cycle", [{}, {"quantity": HELD}, {"close_requested": True}])
def test_a_renamed_asset_neither_buys_nor_sells(cycle):
    for status in ("watching", "buying"):
        one = build_cycle(status=status, **cycle)
        assert triggers_of(build_state(cycle=one, other_symbol="ETH/USD")) == NEVER


def test_a_position_without_an_average_price_is_never_sold_by_a_price():
    cycle = build_cycle(quantity=HELD, average_purchase_price=Decimal(0))
    assert triggers_of(build_state(cycle=cycle)).sell_at_or_above is None


@pytest.mark.parametrize(
    ("why", "cycle", "sells"),
    [
        ("coins that wait for a price", {"quantity": HELD}, True),
        ("coins without a known price", {"quantity": HELD, "average_purchase_price": 0}, True),
        ("dust", {"quantity": Decimal("0.0001")}, False),
        ("nothing", {}, False),
        ("nothing, in cooldown", {"status": "cooldown"}, False),
        ("coins in cooldown", {"status": "cooldown", "quantity": HELD}, False),
        ("coins that are being sold", {"status": "selling", "quantity": HELD}, False),
        ("coins beside an open buy", {"status": "buying", "quantity": HELD}, False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_cycle_that_the_user_closes_sells_at_any_price_and_never_buys(why, cycle, sells):
    state = build_state(build_asset(**EARLY), build_cycle(close_requested=True, **cycle))
    found = decide_close(state, build_rules(), FEE_RATE)
    assert triggers_of(state).buy_at_or_below is None
    assert found == (Decision(Side.SELL, Purpose.TAKE_PROFIT, ANY_SELL_PRICE) if sells else None)
    assert found is None or (found.at_any_price and not found.cancels_buy)
    unasked = replace(state, cycle=replace(state.cycle, close_requested=False))
    assert decide_close(unasked, build_rules(), FEE_RATE) is None


# What is decided at a quote.


@pytest.mark.parametrize(
    ("ask", "buys"), [("49500.01", False), ("49500", True), ("49499.99", True), ("1", True)]
)
def test_a_safety_order_is_bought_at_or_below_its_trigger(ask, buys):
    decision = decision_at(build_state(cycle=build_cycle(quantity=HELD)), bid="1", ask=ask)
    assert (decision is not None) is buys
    if decision:
        assert (decision.side, decision.purpose) == (Side.BUY, Purpose.SAFETY)
        assert (decision.trigger_price, decision.amount_usd) == (Decimal(49500), Decimal(50))


@pytest.mark.parametrize(
    ("bid", "sells"), [("50999.99", False), ("51000", True), ("51000.01", True), ("9e9", True)]
)
def test_the_position_is_sold_at_or_above_its_trigger(bid, sells):
    decision = decision_at(build_state(cycle=build_cycle(quantity=HELD)), bid=bid)
    assert (decision is not None) is sells
    if decision:
        assert (decision.side, decision.purpose) == (Side.SELL, Purpose.TAKE_PROFIT)
        assert decision.amount_usd is None
        assert not decision.at_any_price


def test_the_bid_does_not_buy_and_the_ask_does_not_sell():
    state = build_state(cycle=build_cycle(quantity=HELD))
    assert decision_at(state, bid="49000", ask="52000") is None


def test_a_safety_order_goes_before_a_take_profit():
    asset = build_asset(take_profit_percent=Decimal(-5), safety_order_deviation=Decimal(1))
    decision = decision_at(build_state(asset, build_cycle(quantity=HELD)), bid="49000")
    assert decision.purpose is Purpose.SAFETY


def test_a_base_order_is_bought_at_any_price_for_the_configured_amount():
    decision = decision_at(build_state(), bid="123456")
    assert (decision.purpose, decision.amount_usd) == (Purpose.BASE, Decimal(100))


@pytest.mark.parametrize(
    ("previous", "seconds_ago", "buys"),
    [
        (CycleStatus.ERROR, 59, False),
        (CycleStatus.ERROR, 60, True),
        (CycleStatus.COMPLETE, 1, True),  # the cooldown manager has ended that rest
        (None, None, True),
    ],
)
def test_only_after_an_error_a_watching_cycle_waits_for_the_cooldown(previous, seconds_ago, buys):
    ended_at = None if seconds_ago is None else NOW - timedelta(seconds=seconds_ago)
    state = build_state(previous_status=previous, previous_completed_at=ended_at)
    assert (decision_at(state, bid="50000") is not None) is buys


def test_the_wait_after_an_error_does_not_hold_back_a_sell():
    state = build_state(
        cycle=build_cycle(quantity=HELD),
        previous_status=CycleStatus.ERROR,
        previous_completed_at=NOW,
    )
    assert decision_at(state, bid="52000").side is Side.SELL


# The budget of a cycle: base + max_safety_orders x safety amount.


@pytest.mark.parametrize(
    ("cycle", "bought_usd", "expected"),
    [
        ({}, "0", "100"),
        ({}, "0.80", "100"),  # the dust of an earlier base order leaves enough
        ({}, "170", "80"),
        ({}, "250", "0"),
        ({}, "251", "0"),
        ({"quantity": HELD}, "100", "50"),
        ({"quantity": HELD}, "200.50", "49.50"),  # dust that a canceled order bought counts
        ({"quantity": HELD}, "250", "0"),
    ],
)
def test_no_order_takes_a_cycle_beyond_its_budget(cycle, bought_usd, expected):
    state = build_state(cycle=build_cycle(**cycle), bought_usd=Decimal(bought_usd))
    assert decision_at(state, bid="1").amount_usd == Decimal(expected)


# Properties.

prices = st.decimals("0.00000001", "1000000", places=8)


@given(average=prices, percent=st.decimals("0", "100", places=6), bid=prices)
def test_a_take_profit_never_sells_below_the_average(average, percent, bid):
    state = build_state(
        build_asset(take_profit_percent=percent, max_safety_orders=0),
        build_cycle(quantity=HELD, average_purchase_price=average),
    )
    if decision_at(state, bid=bid) is not None:
        assert bid >= average


@given(price=prices, ask=prices, spent=st.decimals("0", "500", places=2))
def test_what_is_bought_and_what_is_wanted_stay_within_the_ladder(price, ask, spent):
    state = build_state(
        cycle=build_cycle(quantity=HELD, last_order_fill_price=price), bought_usd=spent
    )
    decision = decision_at(replace(state, bought_usd=spent), bid="0.000000001", ask=ask)
    if decision is not None and decision.side is Side.BUY:
        assert spent + decision.amount_usd <= max(spent, compute_ladder_usd(state.asset))


def test_an_open_buy_is_canceled_at_the_take_profit_of_what_is_held():
    found = triggers_of(build_state(cycle=build_cycle(status="buying", quantity=HELD)))
    assert found == Triggers(cancel_buy_at_or_above=Decimal(51000))


@pytest.mark.parametrize(
    ("cycle", "bid", "cancels"),
    [
        ({"quantity": HELD}, "51000", True),
        ({"quantity": HELD}, "50999.99", False),
        ({"quantity": Decimal(0)}, "51000", False),
        ({"quantity": Decimal("0.0001")}, "51000", False),
        ({"quantity": HELD, "average_purchase_price": Decimal(0)}, "51000", False),
        ({"quantity": Decimal(0), "close_requested": True}, "1", True),
    ],
)
def test_only_the_take_profit_of_coins_that_can_be_sold_cancels_a_buy(cycle, bid, cancels):
    state = build_state(cycle=build_cycle(status="buying", **cycle))
    price = Decimal(bid)
    decision = decide(state, build_rules(), FEE_RATE, bid=price, ask=price + 1, now=NOW)
    assert (decision is not None and decision.cancels_buy) is cancels
    assert decision is None or (decision.side, decision.amount_usd) == (Side.SELL, None)
