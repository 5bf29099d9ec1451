"""Which settings of an asset can work, at the edges of what is allowed. Pure.

Findings that need a plan at a price are tested with the plan (test_cycle_plan).
"""

from __future__ import annotations

from decimal import Decimal

import pytest

from builders import FEE_RATE, build_asset, build_cycle, build_rules, build_state
from strategy.asset_checks import (
    check_asset,
    find_number_problems,
    find_renaming,
    find_row_problem,
    find_state_problem,
)


@pytest.mark.parametrize(
    ("column", "values"),
    [
        ("base_order_amount", ["0.00000001", "200000"]),
        ("safety_order_amount", ["0.00000001", "200000"]),
        ("safety_order_deviation", ["0.000001", "99.999999"]),
        ("take_profit_percent", ["0.000001", "1000"]),
        ("take_profit_fee_percent", ["0.000001", "5", None]),
        ("buy_order_price_deviation_percent", ["0.000001", "99.999999", None]),
    ],
)
def test_an_amount_or_a_percent_may_be_the_least_and_the_most(column, values):
    for value in values:
        asset = build_asset(**{column: None if value is None else Decimal(value)})
        assert find_number_problems(asset) == []


@pytest.mark.parametrize(
    ("column", "most"), [("max_safety_orders", 100), ("cooldown_period", 365 * 24 * 3600)]
)
def test_a_count_may_be_nothing_and_the_most_and_no_more(column, most):
    assert find_number_problems(build_asset(**{column: 0})) == []
    assert find_number_problems(build_asset(**{column: most})) == []
    [problem] = find_number_problems(build_asset(**{column: most + 1}))
    assert problem.endswith(f"must be 0 to {most}, not {most + 1}")


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"base_order_amount": Decimal("200000.00000001")}, "at most 200000 USD"),
        ({"safety_order_amount": Decimal(-1)}, "a safety order must be more than 0 USD, not -1"),
        ({"take_profit_percent": Decimal("1000.000001")}, "and at most 1000 percent"),
        ({"take_profit_percent": Decimal("NaN")}, "not NaN"),
        ({"take_profit_fee_percent": Decimal("5.000001")}, "and at most 5 percent"),
        ({"take_profit_fee_percent": Decimal(0)}, "more than 0"),
        ({"buy_order_price_deviation_percent": Decimal(100)}, "below 100 percent, not 100"),
        ({"asset_symbol": "ETH/BTC"}, "pays in USD only: ETH/USD"),
    ],
)
def test_what_is_beyond_them_is_named(columns, words):
    [problem] = find_number_problems(build_asset(**columns))
    assert words in problem


def test_without_safety_orders_they_may_cost_nothing_but_never_less():
    none = {"max_safety_orders": 0}
    assert find_number_problems(build_asset(safety_order_amount=Decimal(0), **none)) == []
    assert find_number_problems(build_asset(safety_order_amount=Decimal(-1), **none))
    one = build_asset(safety_order_amount=Decimal(0), max_safety_orders=1)
    assert len(find_number_problems(one)) == 1


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({}, None),
        ({"asset_symbol": "btc/usd"}, "its asset_symbol must be written BTC/USD"),
        ({"asset_symbol": "BTCUSD"}, "its asset_symbol must be written BTC/USD"),
        ({"max_safety_orders": -1}, "safety orders must be 0 to 100, not -1"),
        (
            {"max_safety_orders": -1, "asset_symbol": "BTC/EUR"},
            "safety orders must be 0 to 100, not -1; BTC/EUR is not quoted in USD, and this bot"
            " pays in USD only: BTC/USD",
        ),
    ],
)
def test_a_row_written_by_hand_is_named_with_all_that_is_wrong(columns, problem):
    asset = build_asset(**columns)
    assert find_row_problem(asset) == problem
    assert find_state_problem(build_state(asset)) == problem


def test_a_symbol_that_is_none_is_named():
    assert "no / no" in (find_row_problem(build_asset(asset_symbol="no / no")) or "")


def test_a_renaming_is_named_with_its_cure():
    state = build_state(cycle=build_cycle(id=7), other_symbol="ETH/USD")
    text = find_renaming(state)
    assert text == find_state_problem(state)
    assert "its cycle 7 is of ETH/USD: change it back, and add BTC/USD beside it" in text
    assert find_renaming(build_state()) is None


def test_what_is_refused_already_is_not_warned_of_as_well():
    rules = build_rules(is_tradable=False)
    losing = build_asset(take_profit_percent=Decimal("0.1"))
    findings, plan = check_asset(losing, rules, FEE_RATE, Decimal(50000))
    assert [finding.refuses for finding in findings] == [True]
    assert plan is not None


def test_where_fees_take_more_than_any_take_profit_brings_none_is_named():
    asset = build_asset(base_order_amount=Decimal(200), safety_order_amount=Decimal(200))
    [finding], _ = check_asset(asset, build_rules(), Decimal("0.9"), Decimal(50000))
    assert not finding.refuses
    assert finding.text.endswith("no take profit earns with orders this small")


def test_the_amount_that_is_enough_at_any_price_is_in_whole_cents():
    rules = build_rules(min_order_size="0.001", min_trade_increment="0.0001")
    columns = {"max_safety_orders": 1, "take_profit_percent": Decimal(5)}
    asset = build_asset(safety_order_amount=Decimal("10.15"), **columns)
    [finding], _ = check_asset(asset, rules, FEE_RATE, Decimal("2000.03"))
    assert "10.21 USD is enough at any" in finding.text
