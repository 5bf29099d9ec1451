"""Text to whole steps and back: every digit, or an error."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import UnusablePrices
from research.price_steps import Prices, price_texts, read_prices, rescaled, step_of

PRICES = st.decimals(0, 10**7, places=9).flatmap(
    lambda number: st.sampled_from([f"{number:f}", f"{number.normalize():E}", str(number)])
)


def values(prices: Prices) -> list[Decimal]:
    [column] = prices.columns
    return [int(one) * step_of(prices.places) for one in column]


@given(st.lists(PRICES, min_size=1, max_size=30))
def test_every_price_is_exactly_a_whole_number_of_steps(texts):
    prices = read_prices([texts])
    assert values(prices) == [Decimal(one) for one in texts]
    [column] = prices.columns
    assert [Decimal(one) for one in price_texts(column.tolist(), prices.places)] == values(prices)


@given(st.lists(PRICES, min_size=1, max_size=10), st.integers(9, 10))
def test_a_finer_step_changes_no_price(texts, wanted):
    prices = read_prices([texts])
    [column] = prices.columns
    finer = Prices((rescaled(column, prices.places, wanted),), wanted)
    assert values(finer) == values(prices)


def test_the_step_is_the_coarsest_that_fits_all_columns():
    prices = read_prices([["1", "2.50"], ["3.125000", "10"]])
    assert prices.places == 3
    assert [column.tolist() for column in prices.columns] == [[1000, 2500], [3125, 10000]]


@pytest.mark.parametrize(
    ("text", "value"),
    [("1e-07", "0.0000001"), ("6E4", "60000"), (".5", "0.5"), ("7.", "7"), ("0e-9", "0")],
)
def test_unusual_spellings_are_understood(text, value):
    assert values(read_prices([[text]])) == [Decimal(value)]


@pytest.mark.parametrize(
    "text", ["", ".", "-1", "NaN", "inf", "1,5", "1.2.3", "1e400", "0x10", "٣", "1 2", "9" * 70]
)
def test_what_is_no_price_is_refused_and_named(text):
    with pytest.raises(UnusablePrices, match="is no price"):
        read_prices([["1.5", text]])


@pytest.mark.parametrize(
    "texts",
    [
        ["0.1234567890123456789"],  # 19 digits after the point
        ["123456.1234567890123456"],  # 22 digits
        ["0.123456789012345678", "60000"],  # each fits, but not both in one step
    ],
)
def test_what_fits_into_no_whole_step_is_an_error_that_names_the_cure(texts):
    with pytest.raises(UnusablePrices, match="--places 9"):
        read_prices([texts])
    rounded = read_prices([texts], places=9)
    assert rounded.rounded == 1
    assert values(rounded)[0] == round(Decimal(texts[0]), 9)


def test_months_whose_steps_do_not_meet_are_refused():
    with pytest.raises(UnusablePrices, match="one step of 64 bits"):
        rescaled(read_prices([["100000000000"]]).columns[0], 0, 9)
