"""What the limits on losses count, against a separate calculation in fractions."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builders import FEE_RATE, build_asset, build_rules
from domain.holding import HeldCoins
from strategy.cycle_plan import plan_cycle
from strategy.losses import compute_open_loss_usd, find_stopped_order, loss_of

FEE = Fraction(1, 400)


def held(symbol="BTC/USD", quantity="0.002", price="50000", fees=None):
    quantity = Decimal(quantity)
    coin_fees = quantity * FEE_RATE if fees is None else Decimal(fees)
    return HeldCoins(
        symbol=symbol, quantity=quantity, coin_fees=coin_fees, average_price=Decimal(price)
    )


def open_loss(*holdings, **bids):
    prices = {f"{name}/USD": Decimal(bid) for name, bid in bids.items()}
    rules = {one.symbol: build_rules(symbol=one.symbol) for one in holdings}
    return compute_open_loss_usd(holdings, rules, FEE_RATE, prices)


@pytest.mark.parametrize(
    ("bid", "loss"),
    [("50000", "0.50"), ("45000", "10.455"), ("60000", "0"), ("50300", "0")],
)
def test_the_open_loss_is_after_the_fees_of_both_sides(bid, loss):
    """100 USD bought 0.001995 coins; a sale at the same price brings 99.75 less 0.25."""
    assert open_loss(held(), BTC=bid) == Decimal(loss)


def test_gains_and_losses_count_together():
    both = held(), held("ETH/USD", "0.05", "2000")
    assert open_loss(*both, BTC="45000", ETH="2000") == Decimal("10.455") + Decimal("0.50")
    assert open_loss(*both, BTC="45000", ETH="2400") == 0


def test_dust_counts_as_nothing_and_needs_no_bid_to_count():
    assert open_loss(held(quantity="0.00001"), BTC="1") == 0
    assert open_loss() == 0


def test_without_a_bid_nothing_is_said():
    with pytest.raises(KeyError):
        open_loss(held())


@given(
    st.lists(
        st.tuples(
            st.decimals("0.001", "100", places=6),
            st.decimals("0.01", "70000", places=2),
            st.decimals("0.01", "70000", places=2),
        ),
        max_size=4,
    )
)
def test_it_is_what_selling_everything_would_lose(rows):
    rules = {f"A{n}/USD": build_rules(symbol=f"A{n}/USD") for n in range(len(rows))}
    holdings = [held(f"A{n}/USD", qty, price) for n, (qty, price, _) in enumerate(rows)]
    bids = {f"A{n}/USD": bid for n, (*_, bid) in enumerate(rows)}
    total = Fraction(0)
    for one, (qty, price, bid) in zip(holdings, rows, strict=True):
        taken = max(
            Fraction(one.coin_fees), Fraction(math.ceil(Fraction(qty) * FEE * 10**9), 10**9)
        )
        sold = Fraction(math.floor((Fraction(qty) - taken) * 10**8), 10**8)
        proceeds = sold * Fraction(bid)
        fee = min(proceeds, Fraction(math.ceil(proceeds * FEE * 100), 100))
        total += proceeds - fee - Fraction(qty) * Fraction(price)
    found = compute_open_loss_usd(holdings, rules, FEE_RATE, bids)
    assert abs(Fraction(found) - max(Fraction(0), -total)) < Fraction(1, 10**15)


def test_a_result_is_a_loss_only_below_zero():
    assert (loss_of(Decimal("-3")), loss_of(Decimal(0)), loss_of(Decimal(3))) == (3, 0, 0)


@pytest.mark.parametrize(("limit", "stopped"), [("1.4", 1), ("1.6", 2), ("3.3", 3), ("1000", None)])
def test_the_preview_finds_the_first_order_that_the_limit_stops(limit, stopped):
    """100 USD, then 50 USD each percent lower: 1.5, 3.2 and 5.4 USD down where they come."""
    plan = plan_cycle(build_asset(), build_rules(), FEE_RATE, Decimal(50000))
    assert find_stopped_order(plan, FEE_RATE, Decimal(limit)) == stopped
