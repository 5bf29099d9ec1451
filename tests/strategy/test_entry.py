"""When a cycle begins: manual start and the highest price of a base order, pure tables."""

from __future__ import annotations

from dataclasses import replace
from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    FEE_RATE,
    NOW,
    build_asset,
    build_circumstances,
    build_cycle,
    build_order,
    build_rules,
    build_state,
)
from domain.asset import StartMode
from domain.cycle import CycleStatus
from domain.journal import Purpose
from strategy.asset_checks import check_asset, find_number_problems
from strategy.booking import compute_order_change
from strategy.cycle_plan import plan_cycle
from strategy.entry import describe_wait
from strategy.sizing import is_dust, round_to_increment
from strategy.triggers import ANY_PRICE, compute_triggers, decide

HELD = Decimal("0.002")
MANUAL = {"start_mode": StartMode.MANUAL}
CAPPED = {"max_entry_price": Decimal(48000)}
HIGH = {"max_entry_price": Decimal(70000)}
EARLY = {"buy_order_price_deviation_percent": Decimal(1), "last_sell_price": Decimal(50000)}
ASKED = {"open_requested": True}
COOLING = {"status": "cooldown"}
DUST = {"quantity": Decimal("0.0001")}


@pytest.mark.parametrize(
    ("why", "asset", "cycle", "buys_at"),
    [
        ("at once", {}, {}, ANY_PRICE),
        ("manual", MANUAL, {}, None),
        ("manual, dust is no position", MANUAL, DUST, None),
        ("manual, asked for", MANUAL, ASKED, ANY_PRICE),
        ("manual, asked for, holds dust", MANUAL, DUST | ASKED, ANY_PRICE),
        ("capped", CAPPED, {}, 48000),
        ("manual and capped", MANUAL | CAPPED, {}, None),
        ("manual and capped, asked for", MANUAL | CAPPED, ASKED, 48000),
        ("cools down", {}, COOLING, None),
        ("early restart", EARLY, COOLING, 49500),
        ("early restart, capped", EARLY | CAPPED, COOLING, 48000),
        ("early restart, capped higher", EARLY | HIGH, COOLING, 49500),
        ("early restart, manual", EARLY | MANUAL, COOLING, None),
        ("early restart, manual, asked for", EARLY | MANUAL, COOLING | ASKED, ANY_PRICE),
        ("cools down, asked for: the cooldown ends", {}, COOLING | ASKED, ANY_PRICE),
        ("cools down, manual, asked for", MANUAL, COOLING | ASKED, ANY_PRICE),
        ("cools down, asked for, capped", CAPPED, COOLING | ASKED, 48000),
        ("disabled, asked for", {"is_enabled": False}, ASKED, None),
        ("to be closed, asked for", MANUAL, ASKED | {"close_requested": True}, None),
        ("its order is under way", MANUAL, ASKED | {"status": "buying"}, None),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_base_order_comes_only_when_it_may(why, asset, cycle, buys_at):
    state = build_state(build_asset(**asset), build_cycle(**cycle))
    found = compute_triggers(state, build_rules(), FEE_RATE)
    assert found.buy_at_or_below == buys_at
    assert found.buy_purpose == (None if buys_at is None else Purpose.BASE)


@pytest.mark.parametrize("asset", [MANUAL, CAPPED, MANUAL | CAPPED, MANUAL | CAPPED | EARLY])
def test_safety_orders_and_take_profit_are_not_concerned(asset):
    held = build_cycle(quantity=HELD)
    plain = compute_triggers(build_state(build_asset(), held), build_rules(), FEE_RATE)
    state = build_state(build_asset(**asset), held)
    assert compute_triggers(state, build_rules(), FEE_RATE) == plain


def test_after_an_error_a_request_waits_for_the_cooldown_as_well():
    state = build_state(
        build_asset(**MANUAL),
        build_cycle(**ASKED),
        previous_status=CycleStatus.ERROR,
        previous_completed_at=NOW,
    )
    price = Decimal(50000)
    assert decide(state, build_rules(), FEE_RATE, bid=price, ask=price, now=NOW) is None


@given(
    st.decimals("0.005", "70000", places=6),
    st.sampled_from(["0.01", "0.5", "1", "25", "0.00000001"]),
    st.decimals("0.005", "70000", places=6),
)
def test_a_base_order_is_never_above_the_highest_price(highest, step, ask):
    """Nor is its limit price, which is rounded up to the price increment."""
    rules = build_rules(price_increment=step)
    state = build_state(build_asset(max_entry_price=highest))
    decision = decide(state, rules, FEE_RATE, bid=ask, ask=ask, now=NOW)
    limit = round_to_increment(ask, rules.price_increment, ROUND_CEILING)
    assert (decision is not None) == (limit <= highest)


def test_the_fill_of_the_base_order_ends_the_request():
    cycle = build_cycle(**ASKED)
    order = build_order(cycle, filled_qty="0.002", filled_avg_price="50000", status="filled")
    updates = compute_order_change(cycle, order, build_circumstances()).cycle_updates
    assert updates["open_requested"] is False


@pytest.mark.parametrize("filled_qty", ["0", "0.00005"])
def test_an_order_that_ends_unfilled_or_with_dust_leaves_the_request(filled_qty):
    cycle = build_cycle(**ASKED)
    order = build_order(cycle, filled_qty=filled_qty, filled_avg_price="50000", status="canceled")
    updates = compute_order_change(cycle, order, build_circumstances()).cycle_updates
    assert "open_requested" not in updates
    after = replace(cycle, **updates)
    asset = build_asset(**MANUAL)
    assert compute_triggers(build_state(asset, after), build_rules(), FEE_RATE).buy_at_or_below


@pytest.mark.parametrize(
    ("asset", "cycle", "ask", "words"),
    [
        ({}, {}, 50000, None),
        (MANUAL, {}, 50000, "waits for scripts/bot open BTC/USD"),
        (MANUAL, COOLING, 50000, "waits for scripts/bot open BTC/USD"),
        (MANUAL, ASKED, 50000, None),
        (CAPPED, {}, 50000, "waits for a price at or below 48000 USD"),
        (CAPPED, {}, None, "waits for a price at or below 48000 USD"),
        (CAPPED, {}, 48000, None),
        (CAPPED, COOLING, 50000, None),
        (CAPPED, COOLING | ASKED, 50000, "waits for a price at or below 48000 USD"),
        (MANUAL | CAPPED, {}, 50000, "waits for scripts/bot open BTC/USD"),
        (MANUAL | {"is_enabled": False}, {}, 50000, None),
        (MANUAL, {"close_requested": True}, 50000, None),
        (MANUAL, {"status": "buying"}, 50000, None),
    ],
)
def test_what_it_waits_for_is_said_in_words(asset, cycle, ask, words):
    ask = None if ask is None else Decimal(ask)
    asset, cycle = build_asset(**asset), build_cycle(**cycle)
    assert describe_wait(asset, cycle, holds_coins=False, ask=ask) == words
    assert describe_wait(asset, cycle, holds_coins=True, ask=ask) is None


def test_the_plan_of_a_manual_start_is_that_of_any_other():
    plain = plan_cycle(build_asset(), build_rules(), FEE_RATE, Decimal(50000))
    manual = plan_cycle(build_asset(**MANUAL), build_rules(), FEE_RATE, Decimal(50000))
    assert plain == manual
    assert len(plain.orders) == 4


def test_above_the_highest_price_the_plan_begins_there():
    capped = plan_cycle(build_asset(**CAPPED), build_rules(), FEE_RATE, Decimal(50000))
    assert capped == plan_cycle(build_asset(), build_rules(), FEE_RATE, Decimal(48000))


@pytest.mark.parametrize("price", ["0", "-1", "1000000000001", "1e-19", "NaN"])
def test_a_highest_price_that_is_none_is_refused(price):
    asset = build_asset(max_entry_price=Decimal(price))
    [problem] = find_number_problems(asset)
    assert problem.startswith("the highest price of a base order ")


def test_a_highest_price_below_a_price_step_is_refused_and_one_below_the_ask_is_warned_of():
    rules, ask = build_rules(price_increment="1"), Decimal(50000)
    [finding], plan = check_asset(build_asset(max_entry_price=Decimal("0.5")), rules, FEE_RATE, ask)
    assert (finding.refuses, plan) == (True, None)
    assert "below the smallest price step" in finding.text
    [finding], plan = check_asset(build_asset(**CAPPED), build_rules(), FEE_RATE, ask)
    assert (finding.refuses, plan.ask) == (False, Decimal(48000))
    assert finding.text.startswith("no base order comes above 48000 USD, and the ask is 50000 USD")
    findings, _ = check_asset(build_asset(**CAPPED), build_rules(), FEE_RATE, Decimal(48000))
    assert findings == ()


def test_an_early_restart_that_a_manual_start_keeps_from_coming_is_warned_of():
    asset = build_asset(**MANUAL | EARLY)
    [finding], _ = check_asset(asset, build_rules(), FEE_RATE, Decimal(50000))
    assert (finding.refuses, "never comes with a manual start" in finding.text) == (False, True)


# With the options at their defaults nothing is decided in another way than before they were there.


def _base_trigger_of_before(state, rules):
    """As it was: when and where a base order came."""
    asset, cycle = state.asset, state.cycle
    if state.other_symbol or cycle.close_requested or not asset.is_enabled:
        return None
    if not is_dust(cycle.quantity, rules, FEE_RATE):
        return None
    if cycle.status is CycleStatus.COOLDOWN:
        percent, sold_at = asset.buy_order_price_deviation_percent, asset.last_sell_price
        return None if None in (percent, sold_at) else sold_at * (1 - percent / 100)
    return ANY_PRICE if cycle.status is CycleStatus.WATCHING else None


@given(
    st.sampled_from(list(CycleStatus)),
    st.sampled_from(["0", "0.00001", "0.002"]),
    st.booleans(),
    st.booleans(),
    st.none() | st.decimals("0.1", "20", places=2),
    st.none() | st.decimals("1", "70000", places=2),
    st.sampled_from([None, "ETH/USD"]),
)
def test_with_the_options_at_their_defaults_a_base_order_comes_as_before(
    status, quantity, is_enabled, close_requested, early_percent, sold_at, other_symbol
):
    state = build_state(
        build_asset(
            is_enabled=is_enabled,
            buy_order_price_deviation_percent=early_percent,
            last_sell_price=sold_at,
        ),
        build_cycle(status=status, quantity=Decimal(quantity), close_requested=close_requested),
        other_symbol=other_symbol,
    )
    found = compute_triggers(state, build_rules(), FEE_RATE)
    base_at = found.buy_at_or_below if found.buy_purpose is Purpose.BASE else None
    assert base_at == _base_trigger_of_before(state, build_rules())
