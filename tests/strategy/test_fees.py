"""The fee before it is posted: what the bot estimates is what the exchange charges."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_asset, build_cycle, build_rules
from domain.journal import Purpose
from domain.orders import ExchangeOrder, Side
from paper_exchange.core.fees import FeeSchedule
from paper_exchange.core.orders import Side as ExchangeSide
from strategy.booking import build_journal_entry
from strategy.fees import (
    compute_coin_fee,
    compute_coins_held,
    compute_qty_before_fee,
    compute_usd_fee,
)
from strategy.lifecycle import Circumstances
from strategy.sizing import is_dust, size_take_profit

RATE = Decimal("0.0025")
CHARGED = FeeSchedule(maker=Decimal("0.0015"), taker=RATE, usd_increment=Decimal("0.01"))
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
quantities = st.decimals(min_value="1e-9", max_value="1e9", places=9)
prices = st.decimals(min_value="1e-9", max_value="1e6", places=9)
rates = st.sampled_from(["0.0025", "0.0015", "0.0022", "0.001", "0.05"]).map(Decimal)


def test_fees_that_accounts_were_posted_are_computed_to_the_last_digit():
    """Third parties published them with their fills."""
    assert compute_coin_fee(Decimal("0.023337901"), Decimal("0.0015")) == Decimal("0.000035007")
    assert compute_coin_fee(Decimal("0.1338"), RATE) == Decimal("0.0003345")
    sold = Decimal("0.052379701"), Decimal("83616.292")
    assert compute_usd_fee(*sold, RATE) == Decimal("10.95")
    assert compute_usd_fee(Decimal("0.00011951"), Decimal("83675.06"), RATE) == Decimal("0.03")


@settings(max_examples=300, deadline=None)
@given(qty=quantities, price=prices, side=st.sampled_from(Side))
def test_the_journals_estimate_of_an_order_filled_at_once_is_the_exchanges_charge(qty, price, side):
    order = ExchangeOrder(
        id="o", client_order_id="c", symbol="BTC/USD", side=side, order_type="limit", qty=qty,
        limit_price=price, filled_qty=qty, filled_avg_price=price, status="filled",
        created_at=None, submitted_at=NOW, ended_at=NOW,
    )  # fmt: skip
    circumstances = Circumstances(asset=build_asset(), rules=build_rules(), fee_rate=RATE, now=NOW)
    entry = build_journal_entry(build_cycle(), order, Purpose.BASE, circumstances)
    charged = CHARGED.fee(side=ExchangeSide(side.value), qty=qty, price=price, is_maker=False)
    assert (entry.fee_qty, entry.fee_usd) == (charged.coins, charged.usd)
    assert entry.fee_is_estimated


def test_what_is_held_is_what_the_dearer_of_journal_and_rate_left():
    bought = Decimal("0.002")  # the rate says 0.000005
    assert compute_coins_held(bought, Decimal("0.00001"), RATE) == Decimal("0.00199")
    assert compute_coins_held(bought, Decimal("0.000003"), RATE) == Decimal("0.001995")


@settings(max_examples=300, deadline=None)
@given(received=quantities, rate=rates)
def test_what_was_bought_follows_from_what_is_left_of_it(received, rate):
    bought = compute_qty_before_fee(received, rate)
    assert bought - compute_coin_fee(bought, rate) == received


@settings(max_examples=300, deadline=None)
@given(parts=st.lists(quantities, min_size=1, max_size=6), rate=rates)
def test_what_is_sold_is_never_more_than_the_fees_left_and_no_position_that_counts_is_unsellable(
    parts, rate
):
    rules = build_rules(min_order_size="0.00000001", min_trade_increment="0.000000001")
    quantity = sum(parts)
    fees = sum(compute_coin_fee(part, rate) for part in parts)
    if is_dust(quantity, rules, rate) or is_dust(quantity - fees, rules, Decimal(0)):
        return
    available = quantity - fees
    assert size_take_profit(quantity, fees, available, rules, rate) <= available
    assert size_take_profit(quantity, fees, quantity * 2, rules, rate) <= available
