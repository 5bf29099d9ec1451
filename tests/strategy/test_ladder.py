"""The ladder against a second calculation in exact fractions that shares nothing with it. Pure."""

from __future__ import annotations

from decimal import Decimal, getcontext
from fractions import Fraction
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FEE_RATE, build_asset, build_cycle, build_order, build_rules, build_state
from domain.journal import Purpose
from strategy.exits import ANY_SELL_PRICE, compute_exit_price, compute_take_profit_price
from strategy.ladder import (
    compute_buy_usd,
    compute_ladder_prices,
    compute_ladder_usd,
    compute_next_buy_usd,
    compute_on_order_usd,
    compute_order_usd,
    compute_remaining_usd,
    compute_safety_order_trigger,
    count_safety_orders_left,
    count_safety_orders_paid,
    get_order_number,
)

RULES = build_rules()
HELD, DUST = Decimal("0.002"), Decimal("0.0001")  # 0.0001 can be sold, but not after the coin fee

amounts = st.decimals("0.01", "200000", places=8)
counts = st.integers(0, 12)
percents = st.decimals("0.000001", "99.999999", places=6)
prices = st.decimals("0.000000000000000001", "1000000", places=18).filter(lambda price: price > 0)


def ladder(base="100", safety="50", count=3, **columns):
    return build_asset(
        base_order_amount=Decimal(base),
        safety_order_amount=Decimal(safety),
        max_safety_orders=count,
        **columns,
    )


@given(base=amounts, safety=amounts, count=counts, done=st.integers(0, 15), spent=amounts)
def test_the_amounts_are_those_of_a_list_written_down_order_by_order(
    base, safety, count, done, spent
):
    asset = ladder(base, safety, count)
    orders = [Fraction(base)] + [Fraction(safety)] * count
    whole = sum(orders)
    assert [Fraction(compute_order_usd(asset, n)) for n in range(count + 1)] == orders
    assert compute_order_usd(asset, count + 1) == 0
    assert Fraction(compute_ladder_usd(asset)) == whole
    cycle = build_cycle(quantity=HELD, safety_orders=done)
    state = build_state(asset, cycle, bought_usd=spent)
    to_come = orders[done + 1 :]
    budget = max(0, whole - Fraction(spent))
    assert count_safety_orders_left(asset, cycle) == len(to_come)
    remaining = compute_remaining_usd(state, RULES, FEE_RATE)
    assert Fraction(remaining) == min(sum(to_come), budget)
    next_buy = compute_next_buy_usd(state, RULES, FEE_RATE)
    assert Fraction(next_buy) == min((to_come or [0])[0], budget)
    assert next_buy <= remaining


@given(ask=prices, deviation=percents, count=counts)
def test_the_prices_fall_by_the_deviation_each_as_fractions_say(ask, deviation, count):
    asset = ladder(count=count, safety_order_deviation=deviation)
    found = compute_ladder_prices(asset, ask)
    assert len(found) == count + 1
    for number, price in enumerate(found):
        exact = Fraction(ask) * (1 - Fraction(deviation) / 100) ** number
        assert abs(Fraction(price) - exact) <= exact / 10**57


@given(fill=prices, average=prices, deviation=percents)
def test_a_trigger_is_exact_whatever_the_precision_around_it(fill, average, deviation):
    asset = ladder(safety_order_deviation=deviation)
    kept = 1 - Fraction(deviation) / 100
    noted = build_cycle(quantity=HELD, last_order_fill_price=fill, average_purchase_price=average)
    bare = build_cycle(quantity=HELD, last_order_fill_price=None, average_purchase_price=average)
    assert getcontext().prec == 28
    assert Fraction(compute_safety_order_trigger(asset, noted)) == Fraction(fill) * kept
    assert Fraction(compute_safety_order_trigger(asset, bare)) == Fraction(average) * kept


@given(base=amounts, safety=amounts, count=counts, cost=st.decimals("0", "3000000", places=18))
def test_what_coins_cost_uses_up_as_many_safety_orders_as_it_has_begun(base, safety, count, cost):
    begun = max(0, ceil((Fraction(cost) - Fraction(base)) / Fraction(safety)))
    assert count_safety_orders_paid(ladder(base, safety, count), cost) == min(count, begun)


def test_a_hair_beyond_a_whole_safety_order_has_begun_the_next():
    """28 digits would round the hair away."""
    cost = Decimal("400000.000000000000000001")
    asset = ladder(base="100000", safety="150000", count=9)
    assert count_safety_orders_paid(asset, Decimal(400000)) == 2
    assert count_safety_orders_paid(asset, cost) == 3


def test_a_ladder_without_an_amount_is_used_up_by_any_coins():
    assert count_safety_orders_paid(ladder(safety="0", count=4), Decimal(1)) == 4


@pytest.mark.parametrize(
    ("purpose", "done", "number"),
    [(Purpose.BASE, 0, 0), (Purpose.BASE, 2, 0), (Purpose.SAFETY, 0, 1), (Purpose.SAFETY, 2, 3)],
)
def test_the_base_order_is_order_0_and_safety_orders_count_from_1(purpose, done, number):
    assert get_order_number(build_cycle(safety_orders=done), purpose) == number


@pytest.mark.parametrize(
    ("why", "quantity", "done", "bought_usd", "rules", "next_usd", "remaining_usd"),
    [
        ("nothing is held", "0", 0, "0", RULES, 100, 250),
        ("dust waits for a base order", DUST, 0, "5", RULES, 100, 245),
        ("dust after safety orders, too", DUST, 2, "5", RULES, 100, 245),
        ("coins wait for a safety order", HELD, 0, "100", RULES, 50, 150),
        ("the last one", HELD, 2, "200", RULES, 50, 50),
        ("none is left", HELD, 3, "100", RULES, 0, 0),
        ("more were bought than are allowed", HELD, 9, "100", RULES, 0, 0),
        ("the budget cuts the next", HELD, 1, "220", RULES, 30, 30),
        ("the budget is spent", HELD, 1, "250", RULES, 0, 0),
        ("more than the budget is spent", "0", 0, "251", RULES, 0, 0),
        ("without rules dust counts as held", DUST, 0, "5", None, 50, 150),
        ("without rules nothing is nothing", "0", 0, "0", None, 100, 250),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_what_comes_next_and_what_is_still_to_come(
    why, quantity, done, bought_usd, rules, next_usd, remaining_usd
):
    cycle = build_cycle(quantity=Decimal(quantity), safety_orders=done)
    state = build_state(ladder(), cycle, bought_usd=Decimal(bought_usd))
    assert compute_next_buy_usd(state, rules, FEE_RATE) == next_usd
    assert compute_remaining_usd(state, rules, FEE_RATE) == remaining_usd
    off = build_state(ladder(is_enabled=False), cycle, bought_usd=Decimal(bought_usd))
    assert compute_remaining_usd(off, rules, FEE_RATE) == 0


def test_a_buy_costs_what_its_own_purpose_says():
    state = build_state(ladder(), build_cycle(quantity=HELD, safety_orders=1))
    assert compute_buy_usd(state, Purpose.BASE) == 100
    assert compute_buy_usd(state, Purpose.SAFETY) == 50


def test_a_row_that_asks_for_billions_of_safety_orders_is_counted_at_once():
    """Rows are written by hand, too, and a list shows their cost before they are refused."""
    asset = ladder(count=2**31 - 1)
    assert compute_ladder_usd(asset) == 100 + 50 * Decimal(2**31 - 1)
    assert compute_ladder_usd(ladder(count=-5)) == 100


PART = {"filled_qty": "0.0005", "filled_avg_price": "49000"}


@pytest.mark.parametrize(
    ("why", "order", "usd"),
    [
        ("what is open at its limit", {}, "100"),
        ("what is filled at its price", PART, "99.5"),
        ("another symbol", {"symbol": "ETH/USD"}, "0"),
        ("a sell", {"side": "sell", "limit_price": "60000"}, "0"),
        ("a market order has no limit", {"limit_price": None}, "0"),
        ("an order without a size", {"qty": None}, "0"),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_open_buys_on_these_symbols_bind_what_they_cost_at_most(why, order, usd):
    one = build_order(**order)
    assert compute_on_order_usd([one], {"BTC/USD"}) == Decimal(usd)
    assert compute_on_order_usd([one, one], {"BTC/USD"}) == 2 * Decimal(usd)
    assert compute_on_order_usd([], {"BTC/USD"}) == 0


# Exits.


@given(average=prices, percent=percents, fee=st.none() | st.decimals("0.01", "5", places=6))
def test_a_take_profit_is_the_percent_above_the_average_and_never_a_hair_less(
    average, percent, fee
):
    asset = build_asset(take_profit_percent=percent, take_profit_fee_percent=fee)
    exact = Fraction(average) * (1 + Fraction(percent) / 100)
    if fee is not None:
        exact /= (1 - Fraction(fee) / 100) ** 2
    found = Fraction(compute_take_profit_price(asset, average))
    assert 0 <= found - exact < Fraction(1, 10**18)
    assert fee is not None or found == exact


@pytest.mark.parametrize(
    ("why", "cycle", "price"),
    [
        ("a take profit", {"quantity": HELD}, Decimal(51000)),
        (
            "cheap coins",
            {"quantity": HELD, "average_purchase_price": Decimal("1e-8")},
            Decimal("1.02e-8"),
        ),
        ("no average is known", {"quantity": HELD, "average_purchase_price": Decimal(0)}, None),
        ("the user wants it sold", {"quantity": HELD, "close_requested": True}, ANY_SELL_PRICE),
        ("whatever it cost", {"close_requested": True}, ANY_SELL_PRICE),
    ],
)
def test_where_a_cycle_is_sold(why, cycle, price):
    assert compute_exit_price(build_asset(), build_cycle(**cycle)) == price


def test_every_bid_reaches_the_price_of_a_sale_that_the_user_wants():
    assert Decimal("1e-18") > ANY_SELL_PRICE
