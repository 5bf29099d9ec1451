"""The plan of a cycle against a second calculation that shares nothing with the first: exact
fractions and whole steps, no function of the bot.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from builders import build_asset, build_cycle, build_rules, build_state
from domain.journal import Purpose
from strategy.asset_checks import check_asset, compute_min_order_usd
from strategy.cycle_plan import CyclePlan, plan_cycle
from strategy.ladder import compute_ladder_usd, compute_remaining_usd
from strategy.sizing import is_dust, size_buy


@dataclass(frozen=True)
class Case:
    """Numbers as a person would write them down; sizes and steps are the exchange's."""

    ask: str
    base: str = "100"
    safety: str = "50"
    count: int = 3
    deviation: str = "1.5"
    profit: str = "1.2"
    net_of_fee: str | None = None
    smallest: str = "0.000011"
    step: str = "0.000000001"
    tick: str = "0.01"
    fee_percent: str = "0.25"

    def asset(self):
        return build_asset(
            base_order_amount=Decimal(self.base),
            safety_order_amount=Decimal(self.safety),
            max_safety_orders=self.count,
            safety_order_deviation=Decimal(self.deviation),
            take_profit_percent=Decimal(self.profit),
            take_profit_fee_percent=Decimal(self.net_of_fee) if self.net_of_fee else None,
        )

    def rules(self):
        return build_rules(
            min_order_size=self.smallest, min_trade_increment=self.step, price_increment=self.tick
        )

    def fee_rate(self) -> Decimal:
        return Decimal(self.fee_percent) / 100

    def plan(self) -> CyclePlan:
        return plan_cycle(self.asset(), self.rules(), self.fee_rate(), Decimal(self.ask))


def down(value: Fraction, step: Fraction) -> Fraction:
    return floor(value / step) * step


def up(value: Fraction, step: Fraction) -> Fraction:
    return ceil(value / step) * step


def second_calculation(case: Case) -> list[tuple[Fraction, ...]]:
    """For each order: trigger, limit, coins, coins held, average, sell price, coins sold, net."""
    places18, nano, cent = Fraction(1, 10**18), Fraction(1, 10**9), Fraction(1, 100)
    fine = min(nano, Fraction(case.tick))
    step, tick, fee = Fraction(case.step), Fraction(case.tick), Fraction(case.fee_percent) / 100
    price = Fraction(case.ask)
    held = average = paid = in_account = Fraction(0)
    rows = []
    for number in range(case.count + 1):
        if number:
            price = down(price * (100 - Fraction(case.deviation)) / 100, fine)
        limit = up(price, tick)
        coins = down(Fraction(case.safety if number else case.base) / limit, step)
        average = down((average * held + price * coins) / (held + coins), places18)
        held += coins
        paid += coins * price
        in_account += coins - up(coins * fee, nano)
        goal = average * (100 + Fraction(case.profit)) / 100
        if case.net_of_fee:
            goal /= (1 - Fraction(case.net_of_fee) / 100) ** 2
        sell_at = up(goal, fine)
        sold = down(in_account, step)
        proceeds = sold * sell_at
        net = proceeds - up(proceeds * fee, cent) - paid
        rows.append((price, limit, coins, held, average, sell_at, sold, net))
    return rows


def planned_rows(plan: CyclePlan) -> list[tuple[Fraction, ...]]:
    rows = []
    for order in plan.orders:
        after, sale = order.after, order.after.sale
        shown = (
            order.trigger_price,
            order.limit_price,
            order.qty,
            after.quantity,
            after.average_price,
            sale.price,
            sale.qty,
            sale.net_profit_usd,
        )
        rows.append(tuple(Fraction(value) for value in shown))
    return rows


ETH = {"smallest": "0.001", "step": "0.0001", "tick": "0.1"}
SHIB = {"smallest": "1", "step": "1", "tick": "0.00000001"}
CASES = {
    "the defaults on bitcoin": Case("60000", base="20", safety="20", count=5),
    "an odd ask": Case("63613.46", base="20", safety="20", count=5),
    "an ask between two ticks": Case("61234.567", deviation="0.7"),
    "an ask with eight places": Case("50123.12345678", deviation="3.33"),
    "no safety orders": Case("60000", count=0),
    "a hundred safety orders": Case("60000", base="20", safety="11", count=100, deviation="1"),
    "half a step at a time": Case("60000", count=5, deviation="50"),
    "nearly all at once": Case("60000", count=2, deviation="90"),
    "six places of percent": Case("60000", deviation="1.234567", profit="0.987654"),
    "coarse ether": Case("2617.3", base="20", safety="20", **ETH),
    "coarse ether, off the grid": Case("2617.35", base="33.33", safety="21.21", **ETH),
    "whole coins": Case("7.77", base="100", safety="60", smallest="1", step="1"),
    "quarter coins and a tick of five": Case(
        "103", base="200", safety="180", smallest="0.25", step="0.25", tick="5"
    ),
    "steps of ten thousand coins": Case(
        "0.0000123", base="25", safety="15", smallest="10000", step="10000", tick="0.0000001"
    ),
    "a coin at 1e-8": Case("0.00000001", base="20", safety="20", count=0, **SHIB),
    "a coin near 1e-8 with a ladder": Case(
        "0.00000123", base="20", safety="20", count=4, deviation="5", **SHIB
    ),
    "a coin at 1e-8 with finer ticks": Case(
        "0.00000001", count=4, deviation="7", smallest="1", step="1", tick="0.000000000001"
    ),
    "dust left by every sale": Case("19.99", base="500", safety="100", smallest="1", step="1"),
    "a loss": Case("60000", profit="0.4"),
    "just above the fees": Case("60000", base="1000", safety="1000", profit="0.51"),
    "net of fees": Case("60000", profit="0.5", net_of_fee="0.25"),
    "net of other fees than are taken": Case("3.21", profit="0.5", net_of_fee="0.15", **ETH),
    "no fees": Case("60000", fee_percent="0"),
    "high fees": Case("60000", fee_percent="5", profit="12"),
    "the largest orders": Case("60000", base="200000", safety="200000", count=10),
    "the smallest orders": Case("60000", base="11.03", safety="10.01", count=20),
    "a price in the millions": Case("98765432.1", base="5000", safety="5000", count=9),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_the_plan_agrees_to_the_last_digit_with_a_second_calculation(case):
    plan = case.plan()
    assert plan.problem is None
    assert planned_rows(plan) == second_calculation(case)
    reserved = sum(Fraction(order.qty) * Fraction(order.limit_price) for order in plan.orders)
    assert Fraction(plan.capital_usd) == reserved <= Fraction(compute_ladder_usd(case.asset()))


def decimals(low: str, high: str, places: int):
    return st.decimals(low, high, places=places).map(lambda value: f"{value:f}")


@settings(max_examples=80, deadline=None)
@given(
    case=st.builds(
        Case,
        ask=decimals("0.0001", "150000", 6),
        base=decimals("12", "5000", 2),
        safety=decimals("11", "5000", 2),
        count=st.integers(0, 12),
        deviation=decimals("0.01", "40", 3),
        profit=decimals("0.1", "20", 2),
        net_of_fee=st.sampled_from([None, "0.25", "0.1"]),
        step=st.sampled_from(["0.000000001", "0.0001", "0.01", "1"]),
        smallest=st.sampled_from(["0.000011", "1"]),
        tick=st.sampled_from(["0.000001", "0.01", "0.5"]),
    )
)
def test_any_ladder_that_is_accepted_agrees_with_the_second_calculation(case):
    findings, plan = check_asset(case.asset(), case.rules(), case.fee_rate(), Decimal(case.ask))
    assume(not any(finding.refuses for finding in findings))
    assert planned_rows(plan) == second_calculation(case)


def test_the_orders_are_named_and_counted():
    plan = CASES["coarse ether"].plan()
    assert [(order.number, order.purpose) for order in plan.orders] == [
        (0, Purpose.BASE),
        (1, Purpose.SAFETY),
        (2, Purpose.SAFETY),
        (3, Purpose.SAFETY),
    ]
    assert plan.start is None


def test_a_disabled_asset_has_the_plan_that_it_would_have():
    case = CASES["the defaults on bitcoin"]
    disabled = build_asset(
        is_enabled=False,
        base_order_amount=Decimal(20),
        safety_order_amount=Decimal(20),
        max_safety_orders=5,
        safety_order_deviation=Decimal("1.5"),
        take_profit_percent=Decimal("1.2"),
    )
    assert plan_cycle(disabled, case.rules(), case.fee_rate(), Decimal(case.ask)) == case.plan()


def test_the_rest_of_an_open_cycle_is_the_rest_of_its_plan():
    case = CASES["coarse ether"]
    whole = case.plan()
    first = whole.orders[1]
    cycle = build_cycle(
        quantity=first.after.quantity,
        average_purchase_price=first.after.average_price,
        last_order_fill_price=first.trigger_price,
        safety_orders=1,
        order_seq=2,
    )
    fees = sum(
        (up(Fraction(order.qty) * Fraction("0.0025"), Fraction(1, 10**9)))
        for order in whole.orders[:2]
    )
    state = build_state(
        case.asset(),
        cycle,
        bought_usd=first.after.paid_usd,
        coin_fees=Decimal(fees.numerator) / fees.denominator,
    )
    rest = plan_cycle(
        case.asset(), case.rules(), case.fee_rate(), Decimal(case.ask), open_cycle=state
    )
    for planned, again in zip(whole.orders[2:], rest.orders, strict=True):
        assert (again.number, again.trigger_price, again.limit_price, again.qty) == (
            planned.number,
            planned.trigger_price,
            planned.limit_price,
            planned.qty,
        )
        assert again.after.sale.qty == planned.after.sale.qty
        assert abs(again.after.paid_usd - planned.after.paid_usd) < Decimal("1e-15")
    assert rest.start.sale.qty == first.after.sale.qty


def test_the_rest_of_an_open_cycle_stays_within_what_is_left_of_its_budget():
    """Dust of canceled orders took 25 USD of the ladder's 250."""
    case, asset = Case("50000"), Case("50000").asset()
    cycle = build_cycle(quantity=Decimal("0.003"), safety_orders=1)
    state = build_state(asset, cycle, bought_usd=Decimal(175))
    rest = plan_cycle(asset, case.rules(), case.fee_rate(), Decimal(case.ask), open_cycle=state)
    assert [round(order.size_usd, 2) for order in rest.orders] == [50, 25]


def test_a_safety_order_that_the_price_has_passed_comes_at_the_ask():
    case = CASES["the defaults on bitcoin"]
    cycle = build_cycle(
        quantity=Decimal("0.001"),
        average_purchase_price=Decimal(60000),
        last_order_fill_price=Decimal(60000),
    )
    rest = plan_cycle(
        case.asset(),
        case.rules(),
        case.fee_rate(),
        Decimal(50000),
        open_cycle=build_state(case.asset(), cycle, bought_usd=Decimal(20)),
    )
    assert [order.trigger_price for order in rest.orders[:2]] == [Decimal(50000), Decimal(49250)]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({}, "170"),
        ({"quantity": Decimal("0.002"), "safety_orders": 0}, "150"),
        ({"quantity": Decimal("0.002"), "safety_orders": 2}, "50"),
        ({"quantity": Decimal("0.002"), "safety_orders": 7}, "0"),
        ({"quantity": Decimal("0.00000001")}, "170"),
        ({"status": "buying"}, "170"),
        ({"status": "cooldown"}, "170"),
    ],
)
def test_what_a_deal_can_still_cost(columns, expected):
    asset = build_asset(base_order_amount=Decimal(20))
    state = build_state(asset, build_cycle(**columns))
    assert compute_remaining_usd(state, build_rules(), Decimal("0.0025")) == Decimal(expected)


def test_what_was_spent_is_not_needed_again_and_a_disabled_asset_needs_nothing():
    held = build_cycle(quantity=Decimal("0.002"))
    state = build_state(build_asset(), held, bought_usd=Decimal(200))
    assert compute_remaining_usd(state, None, Decimal("0.0025")) == 50
    disabled = build_state(build_asset(is_enabled=False), held)
    assert compute_remaining_usd(disabled, None, Decimal("0.0025")) == 0


# What cannot work, and what is warned of.


def findings_of(case: Case, **columns):
    asset = build_asset(
        **{
            "base_order_amount": Decimal(case.base),
            "safety_order_amount": Decimal(case.safety),
            "max_safety_orders": case.count,
            "safety_order_deviation": Decimal(case.deviation),
            "take_profit_percent": Decimal(case.profit),
        }
        | columns
    )
    findings, _ = check_asset(asset, case.rules(), case.fee_rate(), Decimal(case.ask))
    return findings


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"base_order_amount": Decimal(0)}, "the base order must be more than 0 USD, not 0"),
        ({"base_order_amount": Decimal(-5)}, "more than 0 USD, not -5"),
        ({"base_order_amount": Decimal("NaN")}, "not NaN"),
        ({"base_order_amount": Decimal("Infinity")}, "not Infinity"),
        ({"base_order_amount": Decimal(200001)}, "at most 200000 USD"),
        ({"base_order_amount": Decimal("20.123456789")}, "at most 8 decimal places"),
        ({"base_order_amount": Decimal("11.02")}, "at least 11.03 USD"),
        ({"safety_order_amount": Decimal(0)}, "a safety order must be more than 0"),
        ({"safety_order_amount": Decimal(10)}, "at least 10.01 USD"),
        ({"max_safety_orders": -1}, "0 to 100, not -1"),
        ({"max_safety_orders": 101}, "0 to 100, not 101"),
        ({"safety_order_deviation": Decimal(0)}, "more than 0 and below 100 percent"),
        ({"safety_order_deviation": Decimal(100)}, "below 100 percent, not 100"),
        ({"safety_order_deviation": Decimal(-2)}, "not -2"),
        ({"safety_order_deviation": Decimal("1.0000001")}, "at most 6 decimal places"),
        ({"take_profit_percent": Decimal(0)}, "the take profit must be more than 0"),
        ({"take_profit_percent": Decimal(1001)}, "at most 1000 percent"),
        ({"take_profit_fee_percent": Decimal(6)}, "at most 5 percent"),
        ({"buy_order_price_deviation_percent": Decimal(100)}, "the early restart"),
        ({"cooldown_period": -1}, "cooldown seconds"),
        ({"cooldown_period": 10**9}, "cooldown seconds"),
        ({"asset_symbol": "BTC/USDT"}, "BTC/USD"),
        (
            {"base_order_amount": Decimal(150_000), "safety_order_amount": Decimal(60_000)},
            "one order can sell at most 200000 USD",
        ),
        (
            {"safety_order_deviation": Decimal(99), "max_safety_orders": 9},
            "below the smallest price step 0.01: use fewer safety orders or a smaller deviation",
        ),
    ],
)
def test_what_cannot_work_is_refused_with_what_would_be_right(columns, words):
    [finding] = findings_of(Case("60000"), **columns)
    assert finding.refuses
    assert words in finding.text


def test_several_faults_are_reported_together():
    faults = findings_of(Case("60000"), base_order_amount=Decimal(0), max_safety_orders=-1)
    assert len(faults) == 2


def test_a_symbol_that_is_not_tradable_is_refused():
    rules = build_rules(is_tradable=False)
    findings, _ = check_asset(build_asset(), rules, Decimal("0.0025"), Decimal(60000))
    assert [f.text for f in findings if f.refuses] == ["BTC/USD is not tradable on Alpaca now"]


@pytest.mark.parametrize(
    "case",
    [
        Case("20", base="25", count=0, smallest="1", step="1"),
        Case("20", base="100", safety="25", smallest="1", step="1"),
        Case("2617.342", base="11.5", safety="10", **ETH),
        Case("8", base="11.1", safety="16", smallest="1", step="1"),
        Case("0.00000123", base="11.1", safety="9.99", **SHIB),
    ],
    ids=["base of dust", "safety of dust", "coarse", "one coin", "tiny price"],
)
def test_an_order_too_small_is_refused_with_an_amount_that_works(case):
    [finding] = [finding for finding in findings_of(case) if finding.refuses]
    enough = Decimal(finding.text.rsplit("at least ", 1)[1].removesuffix(" USD"))
    column = "base_order_amount" if "base order" in finding.text else "safety_order_amount"
    assert not [finding for finding in findings_of(case, **{column: enough}) if finding.refuses]
    cent_less = {column: enough - Decimal("0.01")}
    assert [finding for finding in findings_of(case, **cent_less) if finding.refuses]


@given(
    price=st.decimals("0.00000001", "200000", places=8).filter(lambda value: value > 0),
    step=st.sampled_from([Decimal(1).scaleb(-places) for places in range(10)]),
    tick=st.sampled_from([Decimal(1).scaleb(-places) for places in range(9)]),
    fee_rate=st.sampled_from([Decimal(0), Decimal("0.0025"), Decimal("0.05")]),
)
def test_the_least_order_can_be_bought_and_sold_again(price, step, tick, fee_rate):
    rules = build_rules(min_order_size=step * 3, min_trade_increment=step, price_increment=tick)
    least = compute_min_order_usd(rules, price, fee_rate)
    assume(least <= 200_000)
    assert not is_dust(size_buy(least, price, rules).qty, rules, fee_rate)


def test_a_take_profit_below_both_fees_is_warned_of_with_one_that_earns():
    [warning] = findings_of(Case("60000", profit="0.4"))
    assert not warning.refuses
    assert "loses money" in warning.text
    enough = Decimal(warning.text.rsplit("; ", 1)[1].split()[0])
    assert not findings_of(Case("60000", profit=f"{enough}"))
    assert findings_of(Case("60000", profit=f"{enough - Decimal('0.01')}"))


def test_a_safety_order_that_fits_by_luck_of_rounding_is_warned_of():
    case = Case("2000", base="20", safety="10.15", count=1, profit="5", **ETH)
    [warning] = findings_of(case)
    assert not warning.refuses
    assert "10.2 USD is enough at any" in warning.text
    assert not findings_of(case, safety_order_amount=Decimal("10.2"))


def test_sound_settings_have_no_findings():
    assert findings_of(CASES["the defaults on bitcoin"]) == ()
