"""How much is bought and sold: rounding to what the exchange accepts, and what counts as dust."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FEE_RATE, build_rules
from strategy.sizing import (
    MAXIMUM_ORDER_USD,
    SizingError,
    floor_quantity,
    is_dust,
    is_explained_by_fees,
    is_short_beyond_fees,
    is_unsellable,
    minimum_base_order_usd,
    round_stored,
    round_to_increment,
    size_buy,
    size_take_profit,
)

NONE = Decimal(0)


def test_base_order_usd_to_qty_conversion():
    sized = size_buy(Decimal(100), Decimal(50000), build_rules())
    assert (sized.qty, sized.limit_price) == (Decimal("0.002"), Decimal(50000))


def steps_of(qty: str, price: str) -> dict[str, str]:
    return {"min_trade_increment": qty, "price_increment": price, "min_order_size": qty}


@pytest.mark.parametrize(
    ("amount", "ask", "rules", "qty", "limit_price"),
    [
        ("100", "33333.333", {}, "0.00299999", "33333.34"),
        ("100", "33333.33", {}, "0.00300000", "33333.33"),
        ("100", "3000.01", steps_of("0.0001", "0.1"), "0.0333", "3000.1"),
        ("11", "0.00001234", steps_of("1", "0.00000001"), "891410", "0.00001234"),
        ("20", "7", steps_of("0.25", "5"), "2", "10"),
        ("10", "50000", {}, "0.0002", "50000"),
        ("10", "100000", {}, "0.0001", "100000"),
    ],
    ids=["price up", "exact", "coarse", "below a cent", "step of 5", "least cost", "least size"],
)
def test_quantities_round_down_and_the_limit_rounds_up_by_less_than_one_step(
    amount, ask, rules, qty, limit_price
):
    sized = size_buy(Decimal(amount), Decimal(ask), build_rules(**rules))
    assert (sized.qty, sized.limit_price) == (Decimal(qty), Decimal(limit_price))


@pytest.mark.parametrize(
    ("amount", "ask", "rules", "words"),
    [
        ("100", "0", {}, "no ask price"),
        ("100", "-1", {}, "no ask price"),
        ("0", "50000", {}, "below the minimum"),
        ("0", "50000", {"min_order_size": "0"}, "below the minimum"),
        ("4.99", "50000", {}, "below the minimum"),
        ("9.99", "50000", {}, "minimum 10"),
        ("10", "50000.01", {}, "minimum 10"),  # floored to just below ten dollars
        ("10", "50000", {"min_trade_increment": "1", "min_order_size": "1"}, "below the minimum"),
    ],
)
def test_what_the_exchange_would_refuse_is_not_sized(amount, ask, rules, words):
    with pytest.raises(SizingError, match=words):
        size_buy(Decimal(amount), Decimal(ask), build_rules(**rules))


def test_no_buy_is_larger_than_the_exchange_takes_in_one_order():
    sized = size_buy(Decimal(10**9), Decimal(50000), build_rules())
    assert sized.qty * sized.limit_price == MAXIMUM_ORDER_USD == 200_000


usd = st.decimals("10", "200000", places=2)
steps = st.sampled_from([Decimal(1).scaleb(-places) for places in range(10)])
asks = st.decimals("0.00000001", "200000", places=8).filter(lambda value: value > 0)


@given(amount=usd, ask=asks, step=steps, price_step=steps)
def test_a_buy_never_costs_more_than_meant_and_reaches_the_ask(amount, ask, step, price_step):
    rules = build_rules(min_order_size=step, min_trade_increment=step, price_increment=price_step)
    try:
        sized = size_buy(amount, ask, rules)
    except SizingError:
        return
    assert sized.qty * sized.limit_price <= amount
    assert 0 <= sized.limit_price - ask < price_step
    assert sized.qty % step == 0
    assert sized.limit_price % price_step == 0


STEPS = ("0.000000001", "1e-9", "1e-18", "0.01", "0.010", "0.25", "0.005", "1", "3", "100", "1e2")


@given(
    value=st.decimals("0", "1e12", places=9) | st.decimals("0", "1e45", places=18),
    step=st.sampled_from([Decimal(text) for text in STEPS]),
)
def test_rounding_stays_within_one_step_on_the_named_side(value, step):
    for rounded, sign in (
        (round_to_increment(value, step, ROUND_FLOOR), 1),
        (round_to_increment(value, step, ROUND_CEILING), -1),
    ):
        if len(value.as_tuple().digits) < 40:  # what any price or quantity has, and more
            exact, unit = Fraction(rounded), Fraction(step)
            assert 0 <= sign * (Fraction(value) - exact) < unit
            assert (exact / unit).denominator == 1
        assert "E+" not in str(rounded)


def test_an_average_is_stored_toward_zero_with_eighteen_places():
    assert round_stored(Decimal("1.0000000000000000019")) == Decimal("1.000000000000000001")
    widest = Decimal("123456789012345678.123456789012345678")
    assert round_stored(widest) == widest


# Dust.


@pytest.mark.parametrize(
    ("quantity", "dust"),
    [
        ("0", True),
        ("-1", True),
        ("0.0001", True),  # the fee takes it below the smallest order
        ("0.00010024", True),
        ("0.00010026", False),
        ("1", False),
    ],
)
def test_dust_is_what_cannot_be_sold_once_the_coin_fee_is_taken(quantity, dust):
    assert is_dust(Decimal(quantity), build_rules(), FEE_RATE) is dust


@pytest.mark.parametrize(
    ("available", "rules", "unsellable"),
    [
        ("0.0001", {}, False),
        ("0.00009999", {}, True),
        ("0.9", {"min_trade_increment": "1", "min_order_size": "0.5"}, True),
        ("1", {"min_trade_increment": "1", "min_order_size": "0.5"}, False),
        ("0", {}, True),
        ("0", {"min_order_size": "0"}, True),
    ],
)
def test_what_floors_below_the_smallest_order_cannot_be_sold(available, rules, unsellable):
    assert is_unsellable(Decimal(available), build_rules(**rules)) is unsellable


# Take profit.


@pytest.mark.parametrize(
    ("why", "quantity", "coin_fees", "available", "expected"),
    [
        ("the fee was taken from the coins", "0.002", "0.000005", "0.001995", "0.001995"),
        ("nothing was taken", "0.002", "0", "0.002", "0.002"),
        ("the user holds more: ours is what the fee left", "0.002", "0", "5", "0.001995"),
        ("the user holds more, the journal knows the fee", "0.002", "0.00001", "5", "0.00199"),
        ("some are missing", "0.002", "0.000005", "0.001", "0.001"),
        ("more than the increment shows", "0.002", "0", "0.001994999", "0.00199499"),
    ],
    ids=lambda value: value if " " in value else "",
)
def test_a_take_profit_sells_what_is_ours_and_there(why, quantity, coin_fees, available, expected):
    qty = size_take_profit(
        Decimal(quantity), Decimal(coin_fees), Decimal(available), build_rules(), FEE_RATE
    )
    assert qty == Decimal(expected)


@pytest.mark.parametrize(
    ("available", "expected"),
    [("5", "0.002095"), ("0.0021000001", "0.002095"), ("0.0021", "0.0021"), ("0.00205", "0.00205")],
)
def test_what_earlier_cycles_could_not_sell_goes_with_the_sale(available, expected):
    fees, leftover = Decimal("0.000005"), Decimal("0.0001")
    qty = size_take_profit(
        Decimal("0.002"), fees, Decimal(available), build_rules(), FEE_RATE, leftover
    )
    assert qty == Decimal(expected)


@pytest.mark.parametrize("available", ["0", "0.00009"])
def test_dust_is_not_offered_for_sale(available):
    with pytest.raises(SizingError, match="below what can be sold"):
        size_take_profit(Decimal("0.002"), NONE, Decimal(available), build_rules(), FEE_RATE)


@given(
    quantity=st.decimals("0.0002", "1000", places=8),
    available=st.decimals("0.0002", "2000", places=9),
)
def test_a_take_profit_never_sells_more_than_the_cycle_holds_or_the_account_has(
    quantity, available
):
    try:
        qty = size_take_profit(quantity, NONE, available, build_rules(), FEE_RATE)
    except SizingError:
        return
    assert qty <= min(quantity, available)
    assert floor_quantity(qty, build_rules()) == qty


@pytest.mark.parametrize(
    ("available", "short"),
    [
        ("0.002", False),
        ("0.001995", False),  # the taker's fee
        ("0.0019945", False),  # rounded up in parts
        ("0.00199449", False),  # a tenth of the fee and one increment more
        ("0.001994489", True),
        ("0.0019", True),
        ("0", True),
    ],
)
def test_only_more_than_fees_and_rounding_is_short(available, short):
    found = is_short_beyond_fees(
        Decimal("0.002"), NONE, Decimal(available), build_rules(), FEE_RATE
    )
    assert found is short


@pytest.mark.parametrize(
    ("left", "explained"),
    [("0", True), ("0.00000551", True), ("0.0001055", True), ("0.00010551", False)],
)
def test_what_is_left_beyond_the_fees_is_explained_while_it_cannot_be_sold(left, explained):
    found = is_explained_by_fees(Decimal("0.002"), Decimal(left), NONE, build_rules(), FEE_RATE)
    assert found is explained


@pytest.mark.parametrize(
    ("rules", "price", "expected"),
    [({}, "50000", "11.03"), ({"min_order_size": "0.001"}, "50000", "55.14")],
)
def test_the_least_base_order_can_be_sold_again(rules, price, expected):
    least = minimum_base_order_usd(build_rules(**rules), Decimal(price), FEE_RATE)
    assert round(least, 2) == Decimal(expected)
    sized = size_buy(least, Decimal(price), build_rules(**rules))
    assert not is_dust(sized.qty, build_rules(**rules), FEE_RATE)
