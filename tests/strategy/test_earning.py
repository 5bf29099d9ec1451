"""Defaults that earn: whatever the coin's steps and its price."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FEE_RATE, build_asset
from domain.market import AssetRules
from operations.asset_input import build_asset as build_new_asset
from operations.asset_input import read_defaults
from paper_exchange.core.assets import DEFAULT_ASSETS
from strategy.asset_checks import check_asset
from strategy.cycle_plan import plan_cycle
from strategy.earning import (
    MAX_DEFAULT_ORDER_USD,
    USUAL_ORDER_USD,
    compute_default_order_usd,
    compute_default_take_profit_percent,
    compute_earning_order_usd,
    compute_worst_profit_usd,
)

# About what a coin of each costs, in USD.
PRICES = {
    "BTC/USD": "60000", "ETH/USD": "2617.3", "SOL/USD": "155.25", "LTC/USD": "81.3",
    "DOGE/USD": "0.11234", "AVAX/USD": "25.32", "LINK/USD": "14.2", "BCH/USD": "351.2",
    "UNI/USD": "7.21", "AAVE/USD": "101.2",
}  # fmt: skip


def rules_of(asset):
    return AssetRules(
        symbol=asset.symbol,
        min_order_size=asset.min_order_size,
        min_trade_increment=asset.min_trade_increment,
        price_increment=asset.price_increment,
        min_cost_usd=Decimal(10),
    )


def default_asset(rules, fee_percent, ask):
    asset = build_new_asset(rules.symbol, read_defaults(fee_percent))
    amount = compute_default_order_usd(asset, rules, fee_percent / 100, ask)
    return replace(asset, base_order_amount=amount, safety_order_amount=amount)


@pytest.mark.parametrize("fee_percent", ["0.15", "0.25", "0.4"])
@pytest.mark.parametrize("factor", ["0.5", "0.9987", "1", "1.0371", "1.3"])
@pytest.mark.parametrize("asset", DEFAULT_ASSETS, ids=lambda asset: asset.symbol)
def test_the_defaults_earn_on_every_listed_coin_wherever_the_cycle_ends(asset, factor, fee_percent):
    rules, ask = rules_of(asset), Decimal(PRICES[asset.symbol]) * Decimal(factor)
    wanted = default_asset(rules, Decimal(fee_percent), ask)
    findings, plan = check_asset(wanted, rules, Decimal(fee_percent) / 100, ask)
    assert findings == ()
    assert compute_worst_profit_usd(plan) > 0
    assert USUAL_ORDER_USD <= wanted.base_order_amount <= MAX_DEFAULT_ORDER_USD


@given(
    ask=st.decimals("0.0001", 90000, places=6),
    step_usd=st.decimals("0.000001", 5, places=6),
    take_profit=st.decimals("0.6", 20, places=2),
    max_safety=st.integers(0, 4),
)
def test_a_base_order_that_earns_does_so_however_the_coins_are_rounded(
    ask, step_usd, take_profit, max_safety
):
    step = (step_usd / ask).quantize(Decimal("1e-9")) + Decimal("1e-9")
    rules = AssetRules(
        symbol="BTC/USD",
        min_order_size=step,
        min_trade_increment=step,
        price_increment=Decimal("1e-9"),
        min_cost_usd=Decimal(10),
    )
    asset = build_asset(
        max_safety_orders=max_safety,
        safety_order_amount=Decimal(20),
        take_profit_percent=take_profit,
    )
    amount = compute_earning_order_usd(asset, rules, FEE_RATE, ask)
    amount = max(amount, Decimal(11) + 2 * step_usd)
    plan = plan_cycle(replace(asset, base_order_amount=amount), rules, FEE_RATE, ask)
    assert plan.orders
    assert compute_worst_profit_usd(plan) > 0


def test_no_order_earns_with_a_take_profit_below_the_fees_of_both_sides():
    rules = rules_of(DEFAULT_ASSETS[0])
    losing = build_asset(take_profit_percent=Decimal("0.5"))
    assert compute_earning_order_usd(losing, rules, FEE_RATE, Decimal(60000)) is None
    assert compute_default_order_usd(losing, rules, FEE_RATE, Decimal(60000)) == USUAL_ORDER_USD


def test_a_coin_that_would_need_a_large_order_is_left_to_the_user():
    rules = replace(rules_of(DEFAULT_ASSETS[0]), min_trade_increment=Decimal("0.01"))
    asset = build_asset(take_profit_percent=Decimal("1.2"))
    assert compute_default_order_usd(asset, rules, FEE_RATE, Decimal(60000)) == USUAL_ORDER_USD


@pytest.mark.parametrize(
    ("fee_percent", "percent"), [("0", "1.2"), ("0.25", "1.2"), ("0.26", "1.3"), ("0.6", "1.9")]
)
def test_the_default_take_profit_leaves_the_same_after_higher_fees(fee_percent, percent):
    assert compute_default_take_profit_percent(Decimal(fee_percent)) == Decimal(percent)


def test_the_warning_of_a_loss_names_a_larger_base_that_cures_it():
    rules = rules_of(DEFAULT_ASSETS[1])
    asset = build_asset(
        asset_symbol="ETH/USD",
        base_order_amount=Decimal(20),
        max_safety_orders=0,
        take_profit_percent=Decimal("1.2"),
    )
    [finding], _ = check_asset(asset, rules, FEE_RATE, Decimal("2617.3"))
    assert "; a base order of 40 USD earns with it, or with this one" in finding.text
    cured = replace(asset, base_order_amount=Decimal(40))
    assert check_asset(cured, rules, FEE_RATE, Decimal("2617.3"))[0] == ()


@pytest.mark.parametrize(
    ("deviation", "refuses", "words"),
    [
        ("0.00001", True, "less than the price step of SOL/USD, 0.001 USD: several orders"),
        ("0.05", False, "the last safety order comes 0.25 % below the base order"),
        ("0.09", False, "a small dip buys everything"),
    ],
)
def test_orders_at_nearly_one_price_are_refused_or_warned_of(deviation, refuses, words):
    rules = rules_of(DEFAULT_ASSETS[2])
    asset = build_new_asset("SOL/USD", read_defaults(Decimal("0.25")))
    asset = replace(asset, safety_order_deviation=Decimal(deviation))
    [finding], _ = check_asset(asset, rules, FEE_RATE, Decimal("155.25"))
    assert (finding.refuses, words in finding.text) == (refuses, True)
