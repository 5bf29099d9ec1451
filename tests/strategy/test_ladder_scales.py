"""Scales and the reference of a ladder: against fractions, and against ladders that others
published. Pure.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from itertools import accumulate
from math import ceil, floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import (
    FEE_RATE,
    build_asset,
    build_circumstances,
    build_cycle,
    build_entry,
    build_order,
    build_rules,
    build_state,
)
from domain.asset import SafetyOrderReference
from domain.journal import Purpose
from local_stack.audit.ladders import compute_whole_usd
from strategy.asset_checks import check_asset, find_number_problems
from strategy.booking import compute_order_change
from strategy.cycle_plan import plan_cycle
from strategy.ladder import (
    compute_buy_usd,
    compute_deviations,
    compute_ladder_prices,
    compute_ladder_usd,
    compute_order_usd,
    compute_remaining_usd,
    compute_safety_order_trigger,
    compute_steps,
    count_safety_orders_paid,
)
from strategy.repairs import compute_correction
from strategy.sizing import SizingError, size_buy

LAST, BASE = SafetyOrderReference
D = Decimal
HELD = D("0.002")

amounts = st.decimals("0.01", "2000", places=8)
scales = st.sampled_from(["0.5", "0.9", "1.05", "1.37", "1.5", "2"]).map(D) | st.decimals(
    "0.1", "3", places=6
)
counts = st.integers(1, 12)
percents = st.decimals("0.000001", "9", places=6)
prices = st.decimals("0.000001", "1000000", places=9)
references = st.sampled_from([LAST, BASE])


def ladder(count=3, volume=1, step=1, reference=LAST, **columns):
    return build_asset(
        max_safety_orders=count,
        safety_order_volume_scale=D(volume),
        safety_order_step_scale=D(step),
        safety_order_reference=reference,
        **columns,
    )


def usd_of(asset) -> list[Fraction]:
    """What each order costs, in fractions."""
    found = [Fraction(asset.base_order_amount)]
    for power in range(asset.max_safety_orders):
        scaled = (
            Fraction(asset.safety_order_amount) * Fraction(asset.safety_order_volume_scale) ** power
        )
        is_scaled = power > 0 and asset.safety_order_volume_scale != 1
        found.append(Fraction(floor(scaled * 100), 100) if is_scaled else scaled)
    return found


def steps_of(asset) -> list[Fraction]:
    scale = Fraction(asset.safety_order_step_scale)
    first = Fraction(asset.safety_order_deviation) / 100
    return [first * scale**power for power in range(asset.max_safety_orders)]


@given(
    base=amounts,
    safety=amounts,
    volume=scales,
    count=counts,
    done=st.integers(0, 14),
    spent=amounts,
)
def test_the_amounts_are_those_of_fractions_rounded_down_to_the_cent(
    base, safety, volume, count, done, spent
):
    asset = ladder(count, volume, base_order_amount=base, safety_order_amount=safety)
    orders = usd_of(asset)
    assert [Fraction(compute_order_usd(asset, n)) for n in range(count + 1)] == orders
    assert compute_order_usd(asset, count + 1) == 0
    assert Fraction(compute_ladder_usd(asset)) == sum(orders)
    assert Fraction(compute_whole_usd(asset)) == sum(orders), "the audit counts for itself"
    state = build_state(asset, build_cycle(quantity=HELD, safety_orders=done), bought_usd=spent)
    remaining = Fraction(compute_remaining_usd(state, build_rules(), FEE_RATE))
    assert remaining == min(sum(orders[done + 1 :]), max(0, sum(orders) - Fraction(spent)))


@given(base=amounts, safety=amounts, volume=scales, count=counts, cost=st.decimals(0, 9000))
def test_what_coins_cost_has_used_up_the_orders_that_it_has_begun(
    base, safety, volume, count, cost
):
    asset = ladder(count, volume, base_order_amount=base, safety_order_amount=safety)
    sums = list(accumulate(usd_of(asset)))
    begun = sum(whole < Fraction(cost) for whole in sums[:-1])
    assert count_safety_orders_paid(asset, cost) == begun


def test_a_scale_of_one_keeps_an_amount_to_the_last_digit_and_another_rounds_what_it_scales():
    odd = {"safety_order_amount": D("33.33333333"), "count": 4}
    assert [compute_order_usd(ladder(**odd), n) for n in (1, 4)] == [D("33.33333333")] * 2
    scaled = ladder(**odd, volume="1.5")
    found = [str(compute_order_usd(scaled, n)) for n in (1, 2, 3, 4)]
    assert found == ["33.33333333", "49.99", "74.99", "112.49"]


@given(ask=prices, deviation=percents, step=scales, count=counts, reference=references)
def test_the_prices_are_those_of_fractions(ask, deviation, step, count, reference):
    asset = ladder(count, step=step, reference=reference, safety_order_deviation=deviation)
    steps = steps_of(asset)
    assert [Fraction(one) / 100 for one in compute_steps(asset)] == pytest.approx(steps, rel=1e-15)
    found = compute_ladder_prices(asset, ask)
    exact = Fraction(ask)
    for number, price in enumerate(found[1:]):
        if reference is BASE:
            exact = Fraction(ask) * (1 - sum(steps[: number + 1]))
        else:
            exact *= 1 - steps[number]
        assert abs(Fraction(price) - exact) <= Fraction(ask) * (1 + steps[-1]) ** 20 / 10**50


@given(
    base=prices,
    last=prices,
    average=prices,
    step=scales,
    done=st.integers(0, 11),
    deviation=percents,
    reference=references,
)
def test_the_next_order_comes_below_what_its_reference_says(
    base, last, average, step, done, deviation, reference
):
    asset = ladder(12, step=step, reference=reference, safety_order_deviation=deviation)
    steps = steps_of(asset)
    fills = {"base_order_price": base, "last_order_fill_price": last}
    cycle = build_cycle(quantity=HELD, safety_orders=done, average_purchase_price=average, **fills)
    bare = replace(cycle, **dict.fromkeys(fills))
    below = sum(steps[: done + 1]) if reference is BASE else steps[done]
    fill = base if reference is BASE else last
    for one, price in ((cycle, fill), (bare, average)):
        exact = Fraction(price) * (1 - below)
        found = Fraction(compute_safety_order_trigger(asset, one))
        assert abs(found - exact) <= Fraction(price) * (1 + below) / 10**50


def test_a_row_made_by_hand_is_computed_at_once_whatever_it_says():
    asset = ladder(2**31 - 1, "999999.999999", "-1", safety_order_amount=D("0.00000001"))
    assert compute_ladder_usd(asset) > 10**500
    assert len(compute_ladder_prices(asset, D(1))) == 101
    for done in (-1, 0, 99, 100, 2**31 - 1):
        assert compute_safety_order_trigger(asset, build_cycle(quantity=HELD, safety_orders=done))
    assert compute_ladder_usd(ladder(3, "0")) == 150
    assert compute_ladder_prices(ladder(-4, "2", "2"), D(1)) == [1]


# What cannot work.


@pytest.mark.parametrize("column", ["safety_order_volume_scale", "safety_order_step_scale"])
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("0", "more than 0 and at most 10, not 0"),
        ("-1", "not -1"),
        ("10.000001", "at most 10, not 10.000001"),
        ("1.0000001", "at most 6 decimal places, not 1.0000001"),
        ("NaN", "must be a number, not NaN"),
        ("Infinity", "must be a number, not Infinity"),
        ("1e300", "at most 10"),
    ],
)
def test_a_scale_that_makes_no_sense_is_refused(column, value, words):
    [problem] = find_number_problems(build_asset(**{column: D(value)}))
    assert words in problem


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"count": 7, "step": 2}, None),
        ({"count": 8, "step": 2}, "safety order 8 would come 128 % below the last fill"),
        ({"count": 6, "step": 2, "reference": BASE}, None),
        (
            {"count": 7, "step": 2, "reference": BASE},
            "safety order 7 would come 127 % below the base order",
        ),
        ({"count": 99, "reference": BASE}, None),
        (
            {"count": 100, "reference": BASE},
            "safety order 100 would come 100 % below the base order",
        ),
        ({"count": 100}, None),
        ({"count": 4, "volume": 10}, None),
        ({"count": 5, "volume": 10}, "safety order 5 would cost 500000 USD"),
        ({"count": 100, "volume": 10, "step": 10}, "safety order 5 would cost 500000 USD"),
    ],
)
def test_the_order_at_which_a_ladder_breaks_is_named(columns, words):
    problems = find_number_problems(ladder(**columns))
    assert problems == [] if words is None else words in problems[0]


def test_a_scaled_order_that_is_too_small_is_refused_by_its_number():
    findings, _ = check_asset(ladder(5, "0.6"), build_rules(), FEE_RATE, D(50000))
    [text] = [finding.text for finding in findings if finding.refuses]
    assert "safety order 5 of 6.48 USD is too small" in text


# The whole plan, in fractions.


def down(value: Fraction, step: Fraction) -> Fraction:
    return floor(value / step) * step


def up(value: Fraction, step: Fraction) -> Fraction:
    return ceil(value / step) * step


WIRE, STORED = Fraction(1, 10**9), Fraction(1, 10**18)


@given(
    ask=st.decimals("100", "90000", places=2),
    safety=st.decimals("20", "90", places=2),
    volume=st.decimals("0.8", "2", places=3),
    deviation=st.decimals("0.1", "3", places=3),
    step=st.decimals("0.5", "1.8", places=3),
    count=st.integers(0, 8),
    reference=references,
    fee=st.none() | st.just(D("0.25")),
)
def test_a_plan_is_a_separate_calculation_in_fractions(
    ask, safety, volume, deviation, step, count, reference, fee
):
    asset = ladder(
        count,
        volume,
        step,
        reference,
        safety_order_amount=safety,
        safety_order_deviation=deviation,
        take_profit_fee_percent=fee,
    )
    if find_number_problems(asset):
        return
    rules = build_rules(min_cost_usd="1", min_order_size="0.00001")
    plan = plan_cycle(asset, rules, FEE_RATE, ask)
    tick, lot = Fraction(rules.price_increment), Fraction(rules.min_trade_increment)
    base = last = Fraction(ask)
    quantity = average = paid = Fraction(0)
    for number, (order, usd) in enumerate(zip(plan.orders, usd_of(asset), strict=False)):
        if number:
            steps = steps_of(asset)
            wanted = (
                base * (1 - sum(steps[:number]))
                if reference is BASE
                else last * (1 - steps[number - 1])
            )
            last = down(wanted, WIRE)
        limit = up(last, tick)
        qty = down(usd / limit, lot)
        cost = average * quantity + last * qty
        quantity, paid = quantity + qty, paid + last * qty
        average = down(cost / quantity, STORED) if number else last
        target = average * (1 + Fraction(asset.take_profit_percent) / 100)
        if fee is not None:
            target /= (1 - Fraction(fee) / 100) ** 2
        found = (order.trigger_price, order.limit_price, order.qty, order.after.paid_usd)
        assert tuple(map(Fraction, found)) == (last, limit, qty, paid)
        assert Fraction(order.after.average_price) == average
        assert Fraction(order.after.sale.price) == up(target, WIRE)
    assert plan.problem is not None or len(plan.orders) == count + 1


parts = st.lists(st.tuples(st.sampled_from(["0", "0.001", "0.4", "1"]), prices), max_size=14)


@given(
    safety=st.decimals("10", "90", places=3),
    volume=scales,
    count=st.integers(0, 6),
    reference=references,
    parts=parts,
)
def test_filled_and_open_buys_never_exceed_the_ladder(safety, volume, count, reference, parts):
    """Whatever part of each order is filled, dust or all of it."""
    asset = ladder(count, volume, reference=reference, safety_order_amount=safety)
    state, rules = build_state(asset), build_rules()
    for share, ask in parts:
        holds = state.cycle.quantity * D("0.9") >= rules.min_order_size
        purpose = Purpose.SAFETY if holds else Purpose.BASE
        try:
            sized = size_buy(compute_buy_usd(state, purpose), ask, rules)
        except SizingError:
            continue
        committed = Fraction(state.bought_usd) + Fraction(sized.qty) * Fraction(sized.limit_price)
        assert committed <= sum(usd_of(asset))
        qty = (sized.qty * D(share)).quantize(rules.min_trade_increment)
        order = build_order(
            state.cycle,
            status="filled" if qty == sized.qty else "canceled",
            qty=sized.qty,
            filled_qty=qty,
            filled_avg_price=sized.limit_price if qty else None,
        )
        change = compute_order_change(state.cycle, order, build_circumstances(asset=asset))
        state = replace(
            state,
            cycle=replace(state.cycle, **change.cycle_updates),
            bought_usd=state.bought_usd + qty * sized.limit_price,
        )


# The base order's price.


def bought(cycle, qty, price, status="filled", ordered=None):
    """The cycle after a buy."""
    order = build_order(
        cycle, status=status, qty=ordered or qty, filled_qty=qty, filled_avg_price=price
    )
    change = compute_order_change(cycle, order, build_circumstances())
    return replace(cycle, **change.cycle_updates)


def test_the_base_price_is_the_base_orders_and_no_safety_fill_moves_it():
    cycle = bought(build_cycle(), "0.002", "50000")
    assert cycle.base_order_price == 50000
    for price in ("49000", "48000", "60000"):
        cycle = bought(cycle, "0.002", price)
        assert (cycle.base_order_price, cycle.last_order_fill_price) == (50000, D(price))


def test_dust_of_a_base_order_is_no_base_and_the_one_after_it_is():
    cycle = bought(build_cycle(), "0.00005", "50000", "canceled", ordered="0.002")
    assert cycle.base_order_price is None
    cycle = bought(cycle, "0.002", "49000")
    assert cycle.base_order_price == 49000


def test_a_part_of_a_base_order_is_the_base():
    cycle = bought(build_cycle(), "0.001", "50000", "canceled", ordered="0.002")
    assert cycle.base_order_price == 50000
    assert bought(cycle, "0.001", "49000").base_order_price == 50000


BASE_PART = {"filled_qty": D("0.001"), "filled_avg_price": D(50000), "purpose": Purpose.BASE}


@pytest.mark.parametrize(
    ("why", "cycle", "known", "base_price"),
    [
        ("of the base order: weighted", {"base_order_price": D(50000)}, BASE_PART, 49000),
        ("of a safety order", {"base_order_price": D(50000)}, {"purpose": Purpose.SAFETY}, None),
        ("of a base order that is not the base", {"base_order_price": D(51000)}, BASE_PART, None),
        ("of a cycle that never had a base price", {}, BASE_PART, None),
        (
            "of a base order whose dust came first",
            {"quantity": D("0.00005")},
            BASE_PART | {"filled_qty": D("0.00005")},
            D(48050),
        ),
        (
            "of a dust order before the base",
            {"base_order_price": D(50000)},
            BASE_PART | {"filled_qty": D("0.00005")},
            None,
        ),
        ("of an order that nothing was known of", {"quantity": D(0)}, None, 48000),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) else "",
)
def test_a_late_fill_moves_the_base_price_only_where_it_is_the_base_orders(
    why, cycle, known, base_price
):
    cycle = build_cycle(**{"quantity": D("0.001")} | cycle)
    journaled = [] if known is None else [build_entry(**BASE_PART | known)]
    qty = sum((entry.filled_qty for entry in journaled), D(0))
    late = D("0.001") if qty != D("0.00005") else D("0.00195")
    usd = sum((entry.filled_usd for entry in journaled), D(0)) + late * 48000
    order = build_order(
        status="canceled", filled_qty=qty + late, filled_avg_price=usd / (qty + late)
    )
    change = compute_correction(cycle, order, journaled, 0, build_circumstances())
    assert change.cycle_updates.get("base_order_price") == base_price


def test_a_late_fill_after_another_weighs_all_three():
    cycle, first = (
        build_cycle(quantity=D("0.001"), base_order_price=D(50000)),
        build_entry(**BASE_PART),
    )
    order = build_order(status="canceled", filled_qty=D("0.002"), filled_avg_price=D(49000))
    change = compute_correction(cycle, order, [first], 0, build_circumstances())
    cycle = replace(cycle, **change.cycle_updates)
    order = replace(order, filled_qty=D("0.004"), filled_avg_price=D(48000))
    again = compute_correction(cycle, order, [first, change.journal], 0, build_circumstances())
    assert again.cycle_updates["base_order_price"] == 48000


# Ladders that others published.


@pytest.mark.parametrize(
    ("source", "asset", "expected"),
    [
        (
            "3Commas, main settings: 1 %, step scale 2",
            ladder(5, step=2, reference=BASE),
            ["1", "3", "7", "15", "31"],
        ),
        (
            "a calculator of such ladders: 1.2 %, step scale 1.2",
            ladder(8, step="1.2", reference=BASE, safety_order_deviation=D("1.2")),
            ["1.2", "2.64", "4.368", "6.4416", "8.92992", "11.915904", "15.4990848", "19.79890176"],
        ),
    ],
)
def test_published_deviations(source, asset, expected):
    assert list(compute_deviations(asset)) == [D(percent) for percent in expected]


@pytest.mark.parametrize(
    ("source", "amount", "volume", "expected"),
    [
        ("OKX, spot DCA: 100, multiplier 2", "100", "2", ["100", "200", "400"]),
        ("WunderTrading: 10, multiplier 2", "10", "2", ["10", "20", "40"]),
    ],
)
def test_published_amounts(source, amount, volume, expected):
    asset = ladder(len(expected), volume, safety_order_amount=D(amount))
    found = [compute_order_usd(asset, n) for n in range(1, len(expected) + 1)]
    assert found == [D(usd) for usd in expected]


@pytest.mark.parametrize(("reference", "prices"), [(BASE, [98, 96]), (LAST, [98, D("96.04")])])
def test_published_prices_below_the_base_order_and_below_the_order_before(reference, prices):
    """HXR's help: 2 %, from 100."""
    asset = ladder(2, reference=reference, safety_order_deviation=D(2))
    assert compute_ladder_prices(asset, D(100)) == [100, *prices]


# Order: volume, price, size, average price, total volume, as the README of dcamarcal shows them for
# 20 USD, 20 USD, 8 orders, 1.2 %, step scale 1.2, volume scale 1.5, from a price of 1.
PUBLISHED = """\
0  20.00000000 1.00000000  20.00000000 1.00000000   20.00000000
1  20.00000000 0.98800000  20.24291498 0.99396378   40.00000000
2  30.00000000 0.97360000  30.81347576 0.98513307   70.00000000
3  45.00000000 0.95632000  47.05537895 0.97365403  115.00000000
4  67.50000000 0.93558400  72.14745015 0.95921764  182.50000000
5 101.25000000 0.91070080 111.17811690 0.94132334  283.75000000
6 151.87500000 0.88084096 172.42045602 0.91931589  435.62500000
7 227.81250000 0.84500915 269.59767177 0.89237020  663.43750000
8 341.71875000 0.80201098 426.07739482 0.85945106 1005.15625000
"""


def test_a_published_ladder_comes_out_to_its_digits():
    """Up to order 5 to each digit that is shown; from then on its amounts have fractions of a cent,
    which ours are rounded down by.
    """
    asset = ladder(
        8,
        "1.5",
        "1.2",
        BASE,
        base_order_amount=D(20),
        safety_order_amount=D(20),
        safety_order_deviation=D("1.2"),
        take_profit_percent=D("1.2"),
    )
    fine = {"price_increment": "1e-9", "min_trade_increment": "1e-9", "min_order_size": "1e-9"}
    plan = plan_cycle(asset, build_rules(min_cost_usd="1", **fine), D(0), D(1))
    total = D(0)
    for line, order in zip(PUBLISHED.splitlines(), plan.orders, strict=True):
        number, volume, price, size, average, whole = map(D, line.split())
        usd = compute_order_usd(asset, order.number)
        total += usd
        assert order.number == number
        assert usd == volume.quantize(D("0.01"), rounding="ROUND_DOWN")
        assert round(order.trigger_price, 8) == price
        if number <= 5:
            assert (round(order.qty, 8), round(order.after.average_price, 8)) == (size, average)
            assert total == whole
        assert abs(order.qty - size) <= D("0.01") / price
        assert abs(order.after.average_price - average) <= D("0.00001")
        assert 0 <= whole - total < D("0.02")
