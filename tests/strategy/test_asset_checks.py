"""Which settings of an asset can work, at the edges of what is allowed. Pure.

Findings that need a plan at a price are tested with the plan (test_cycle_plan).
"""

from __future__ import annotations

import re
from decimal import Decimal

import pytest

from builders import FEE_RATE, build_asset, build_cycle, build_rules, build_state
from strategy.asset_checks import (
    check_asset,
    find_number_problems,
    find_renaming,
    find_row_problem,
    find_sale_problems,
    find_state_problem,
)
from strategy.cycle_plan import CyclePlan, Holding, PlannedSale


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
        ({"safety_order_amount": Decimal("-1.50")}, "not -1.5"),
        ({"take_profit_percent": Decimal("NaN")}, "not NaN"),
        ({"base_order_amount": Decimal("sNaN")}, "not sNaN"),
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


@pytest.mark.parametrize("fee_rate", ["0.9", "0.69917"])  # the second would need 1,005 %
def test_where_fees_take_more_than_any_take_profit_brings_none_is_named(fee_rate):
    asset = build_asset(base_order_amount=Decimal(200), safety_order_amount=Decimal(200))
    [finding], _ = check_asset(asset, build_rules(), Decimal(fee_rate), Decimal(50000))
    assert not finding.refuses
    assert finding.text.endswith("no take profit earns with orders this small")


def test_the_amount_that_is_enough_at_any_price_is_in_whole_cents():
    rules = build_rules(min_order_size="0.001", min_trade_increment="0.0001")
    columns = {"max_safety_orders": 1, "take_profit_percent": Decimal(5)}
    asset = build_asset(safety_order_amount=Decimal("10.15"), **columns)
    [finding], _ = check_asset(asset, rules, FEE_RATE, Decimal("2000.03"))
    assert "10.21 USD is enough at any" in finding.text


def test_an_order_too_small_at_the_smallest_price_step_is_named_as_too_small():
    rules = build_rules(min_order_size="3000", min_trade_increment="1")
    columns = {"safety_order_amount": Decimal(20), "safety_order_deviation": Decimal(50)}
    asset = build_asset(max_safety_orders=1, **columns)
    [finding], _ = check_asset(asset, rules, FEE_RATE, Decimal("0.02"))
    assert "too small at a price of 0.01: the exchange needs at least 30.08 USD" in finding.text


def test_what_one_order_can_sell_at_most_can_be_sold():
    def findings_at(price):
        sale = PlannedSale(
            price=price, qty=Decimal(4), fee_usd=Decimal(1), net_profit_usd=Decimal(1)
        )
        held = Holding(
            quantity=Decimal(4),
            coins_held=Decimal(4),
            average_price=price,
            paid_usd=price,
            sale=sale,
        )
        return find_sale_problems(CyclePlan(symbol="BTC/USD", ask=price, start=held, orders=()))

    assert findings_at(Decimal(50000)) == []
    assert len(findings_at(Decimal("50000.01"))) == 1


def test_a_sale_that_brings_exactly_what_was_paid_is_warned_of():
    """0.00125 coins for 62.5 USD; a fifth is taken of them and of the 78.13 USD they bring."""
    asset = build_asset(
        base_order_amount=Decimal("62.5"),
        max_safety_orders=0,
        take_profit_percent=Decimal("56.26"),
    )
    [finding], plan = check_asset(asset, build_rules(), Decimal("0.2"), Decimal(50000))
    assert plan.orders[0].after.sale.net_profit_usd == 0
    assert finding.text.endswith("56.27 % earns")


def test_a_loss_at_one_place_of_the_ladder_is_warned_of_though_others_earn():
    """Of 25 whole coins the fee leaves 24 to sell, of hundreds nearly all."""
    rules = build_rules(min_order_size="1", min_trade_increment="1")
    asset = build_asset(
        base_order_amount=Decimal(500), safety_order_amount=Decimal(5000), max_safety_orders=1
    )
    [finding], plan = check_asset(asset, rules, FEE_RATE, Decimal(20))
    base, safety = (sale.net_profit_usd for sale in plan.sales)
    assert base < 0 < safety
    assert f"loses money: {base:.4f} USD" in finding.text


def test_the_least_percent_that_earns_can_be_the_least_of_all():
    asset = build_asset(
        base_order_amount=Decimal(1000),
        max_safety_orders=0,
        take_profit_percent=Decimal("0.000001"),
    )
    [finding], _ = check_asset(asset, build_rules(), Decimal("0.000001"), Decimal(50000))
    assert finding.text.endswith("; 0.01 % earns")


def test_a_safety_order_is_narrow_by_the_smallest_order_too():
    rules = build_rules(min_order_size="1", min_trade_increment="0.01")
    asset = build_asset(safety_order_amount=Decimal("20.2"), max_safety_orders=1)
    [finding], _ = check_asset(asset, rules, FEE_RATE, Decimal(20))
    assert "20.26 USD is enough at any" in finding.text


@pytest.mark.parametrize("fee_rate", [f"0.00{n}" for n in range(1, 10)])
def test_a_hundredth_less_than_the_percent_that_earns_loses(fee_rate):
    def findings_at(percent):
        asset = build_asset(base_order_amount=Decimal(5000), take_profit_percent=percent)
        return check_asset(asset, build_rules(), Decimal(fee_rate), Decimal(50000))[0]

    [finding] = findings_at(Decimal("0.01"))
    enough = Decimal(finding.text.rsplit("; ", 1)[1].split()[0])
    assert findings_at(enough) == ()
    assert len(findings_at(enough - Decimal("0.01"))) == 1


def test_a_price_is_shown_with_ten_digits():
    asset = build_asset(base_order_amount=Decimal(5))
    [finding], _ = check_asset(asset, build_rules(), FEE_RATE, Decimal("50000.123456789"))
    assert "too small at a price of 50000.12346: " in finding.text


# Trails and stop losses.


def exits(**columns):
    asset = build_asset(max_safety_orders=2, safety_order_deviation=Decimal(2), **columns)
    return check_asset(asset, build_rules(), FEE_RATE, Decimal(50000))


@pytest.mark.parametrize(
    "columns",
    [
        {"trailing_take_profit_percent": Decimal(0)},
        {"trailing_take_profit_percent": Decimal(100)},
        {"trailing_take_profit_percent": Decimal("0.0000001")},
        {"stop_loss_percent": Decimal(-1)},
        {"stop_loss_percent": Decimal(100)},
        {"stop_loss_percent": Decimal(5), "stop_loss_seconds": -1},
        {"stop_loss_percent": Decimal(5), "stop_loss_seconds": 86401},
    ],
    ids=str,
)
def test_a_trail_or_stop_that_cannot_be_is_refused(columns):
    findings, plan = exits(**columns)
    assert plan is None
    assert all(finding.refuses for finding in findings)


def test_a_trail_that_can_sell_below_break_even_is_warned_of_with_a_cure():
    findings, plan = exits(trailing_take_profit_percent=Decimal(1))
    assert findings == (), "2 % less 1 % is above the fees of both sides"
    sale = plan.orders[0].after.sale
    assert (sale.trails_from, sale.price) == (Decimal(51000), Decimal(50490))
    [finding], _ = exits(trailing_take_profit_percent=Decimal("1.6"))
    assert not finding.refuses
    assert "that trails by 1.6 % can lose money, sold below break-even" in finding.text
    enough = Decimal(re.search(r"([\d.]+) % earns$", finding.text)[1])
    findings, _ = exits(take_profit_percent=enough, trailing_take_profit_percent=Decimal("1.6"))
    assert findings == ()


def test_a_stop_before_safety_orders_ends_the_plan_there_and_is_said():
    [finding], plan = exits(stop_loss_percent=Decimal(2))
    assert (len(plan.orders), plan.problem) == (1, None)
    assert "comes before safety order 1" in finding.text
    assert plan.orders[0].after.stop.price == 49000
    findings, plan = exits(stop_loss_percent=Decimal(2), stop_loss_seconds=60)
    assert len(plan.orders) == 3, "the price may come to a safety order before that"
    findings, plan = exits(stop_loss_percent=Decimal("3.5"))
    assert (findings, len(plan.orders)) == ((), 3)


def test_a_stop_within_a_usual_move_is_warned_of():
    findings, _ = exits(stop_loss_percent=Decimal("0.5"), stop_loss_seconds=60)
    assert any("less than a usual move" in finding.text for finding in findings)
