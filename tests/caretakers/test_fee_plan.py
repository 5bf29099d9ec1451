"""How posted fees are allotted: by day, coin and side, exact to the last digit."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_entry
from caretakers.fee_plan import allot, last_settled_day, plan_fee_settlements
from models.exchange import Side, WireError
from models.fee_activity import FeeActivity

DAY = date(2024, 3, 1)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=3)
RATE = Decimal("0.0025")


def bought(name, qty="1", *, at=NOON, since=None, symbol="BTC/USD", estimated=True, fee="0"):
    return build_entry(
        symbol=symbol,
        side=Side.BUY,
        client_order_id=name,
        filled_qty=Decimal(qty),
        filled_avg_price=Decimal(100),
        submitted_at=since or at,
        ended_at=at,
        fee_qty=Decimal(fee),
        fee_is_estimated=estimated,
    )


def sold(name, qty="1", *, at=NOON, symbol="BTC/USD", estimated=True, fee="0"):
    entry = bought(name, qty, at=at, symbol=symbol, estimated=estimated)
    return build_entry(
        **{
            name: getattr(entry, name)
            for name in entry.__dataclass_fields__
            if name not in ("side", "fee_usd")
        },
        side=Side.SELL,
        fee_usd=Decimal(fee),
    )


def fee(*, coins="0", usd="0", symbol="BTC/USD", day=DAY, name="a"):
    return FeeActivity(id=name, day=day, symbol=symbol, coins=Decimal(coins), usd=Decimal(usd))


def settled(entries, posted, now=LATER):
    plan = plan_fee_settlements(entries, posted, now=now, fee_rate=RATE)
    return {
        one.client_order_id: one.fee
        for settlement in plan
        if not settlement.implausible
        for one in settlement.fees
    }


def test_a_days_fees_are_divided_in_proportion_to_what_was_filled():
    entries = [bought("a", "1"), bought("b", "3"), sold("s", "2"), sold("t", "2")]
    posted = [fee(coins="0.008"), fee(coins="0.002", name="b"), fee(usd="1.00", name="c")]
    assert settled(entries, posted) == {
        "a": Decimal("0.0025"),
        "b": Decimal("0.0075"),
        "s": Decimal("0.5"),
        "t": Decimal("0.5"),
    }


def test_the_last_row_takes_the_rest_to_the_last_stored_digit():
    entries = [bought(name) for name in "abc"]
    shares = settled(entries, [fee(coins="0.0075000000000001")])
    assert sum(shares.values()) == Decimal("0.0075000000000001")
    assert shares["a"] == shares["b"] == Decimal("0.002500000000000033")
    assert shares["c"] == Decimal("0.002500000000000034")


def test_each_symbol_and_each_day_has_its_own_total():
    yesterday = NOON - timedelta(days=1)
    entries = [
        bought("a"),
        bought("b", symbol="ETH/USD"),
        bought("c", at=yesterday),
    ]
    posted = [
        fee(coins="0.0021"),
        fee(coins="0.0022", symbol="ETH/USD"),
        fee(coins="0.0023", day=DAY - timedelta(days=1)),
    ]
    assert settled(entries, posted) == {
        "a": Decimal("0.0021"),
        "b": Decimal("0.0022"),
        "c": Decimal("0.0023"),
    }


def test_only_finished_days_whose_fees_were_posted_are_settled():
    posted = [fee(coins="0.002")]
    assert settled([bought("a")], posted, now=NOON) == {}
    midnight = datetime(2024, 3, 2, tzinfo=UTC)
    assert settled([bought("a")], posted, now=midnight + timedelta(hours=5, minutes=59)) == {}
    assert settled([bought("a")], posted, now=midnight + timedelta(hours=6)) != {}
    assert settled([bought("a")], []) == {}
    assert settled([sold("s")], posted) == {}
    assert settled([bought("a")], [fee(coins="0.002", day=DAY - timedelta(days=1))]) == {}


def test_the_newest_settled_day_is_the_one_before_whatever_the_zone():
    assert last_settled_day(datetime(2024, 3, 2, 5, tzinfo=UTC)) == date(2024, 2, 29)
    assert last_settled_day(datetime(2024, 3, 2, 6, tzinfo=UTC)) == DAY


def test_what_was_settled_is_not_settled_again():
    entries = [bought("a", "1", estimated=False, fee="0.0025"), bought("z", "0")]
    assert settled(entries, [fee(coins="0.0025")]) == {}


def test_a_late_fill_of_a_settled_day_shares_its_total_anew():
    entries = [bought("a", estimated=False, fee="0.005"), bought("a/c1")]
    shares = settled(entries, [fee(coins="0.005")])
    assert shares == {"a": Decimal("0.0025"), "a/c1": Decimal("0.0025")}


def test_an_order_open_over_midnight_ties_its_days_together():
    next_noon = NOON + timedelta(days=1)
    entries = [bought("a"), bought("b", since=NOON, at=next_noon), bought("c", at=next_noon)]
    posted = [fee(coins="0.003"), fee(coins="0.0045", day=DAY + timedelta(days=1))]
    assert settled(entries, posted) == dict.fromkeys("abc", Decimal("0.0025"))
    unfinished = next_noon + timedelta(hours=1)
    assert settled(entries, posted, now=unfinished) == {}


def test_fees_in_usd_without_a_symbol_are_divided_over_the_sells_of_all_coins():
    entries = [sold("s", "1"), sold("t", "3", symbol="ETH/USD"), bought("a")]
    assert settled(entries, [fee(usd="1.00", symbol=None)]) == {
        "s": Decimal("0.25"),
        "t": Decimal("0.75"),
    }


def test_more_than_our_orders_can_have_cost_is_not_written():
    """The user traded the same coin by hand that day."""
    plan = plan_fee_settlements([bought("a")], [fee(coins="0.02")], now=LATER, fee_rate=RATE)
    assert [(one.implausible, one.fees) for one in plan] == [(True, ())]


def test_a_refund_or_nothing_posted_settles_nothing():
    assert settled([bought("a")], [fee(coins="-0.001")]) == {}
    assert settled([bought("a")], [fee(coins="0")]) == {}


def test_pairs_that_are_not_in_usd_are_left_to_their_estimate():
    assert settled([bought("a", symbol="BTC/USDT")], [fee(coins="0.002", symbol="BTC/USDT")]) == {}


amounts = st.decimals(min_value="1e-9", max_value="1e9", places=9)


@settings(max_examples=200, deadline=None)
@given(total=amounts, weights=st.lists(amounts, min_size=1, max_size=12))
def test_shares_add_up_to_the_total_and_none_is_negative(total, weights):
    shares = allot(total, [(str(index), weight) for index, weight in enumerate(weights)])
    assert sum(share.fee for share in shares) == total
    assert all(share.fee >= 0 for share in shares)
    assert all(-share.fee.as_tuple().exponent <= 18 for share in shares)
    # A share is off by less than one stored digit for each row before it.
    for share, weight in zip(shares, weights, strict=True):
        exact = total * weight / sum(weights)
        assert abs(share.fee - exact) <= Decimal("1e-17") * len(weights) + exact * Decimal("1e-20")


COIN_FEE = {
    "id": "20220812000000000::53be51ba-46f9-43de-b81f-576f241dc680",
    "activity_type": "CFEE",
    "date": "2022-08-12",
    "net_amount": "0",
    "description": "Coin Pair Transaction Fee (Non USD)",
    "symbol": "ETHUSD",
    "qty": "-0.000195",
    "price": "1884.5",
    "status": "executed",
}  # the example of Alpaca's documentation
USD_FEE = {
    "id": "20220812000000000::7b93c848-46f9-43de-b81f-576f241dc680",
    "activity_type": "CFEE",
    "date": "2022-08-12",
    "net_amount": "-2.21",
    "description": "Coin Pair Transaction Fee (USD)",
    "status": "executed",
}


def test_both_shapes_of_a_fee_are_read():
    coin, usd = FeeActivity.from_wire(COIN_FEE), FeeActivity.from_wire(USD_FEE)
    assert (coin.symbol, coin.coins, coin.usd) == ("ETH/USD", Decimal("0.000195"), 0)
    assert (usd.symbol, usd.coins, usd.usd) == (None, 0, Decimal("2.21"))
    assert coin.day == date(2022, 8, 12)


@pytest.mark.parametrize(
    "change",
    [
        {"status": "canceled"},
        {"activity_type": "FILL"},
        {"description": "TAF fee for proceed of 10 shares", "activity_type": "FEE"},
    ],
)
def test_what_is_no_fee_of_crypto_is_passed_over(change):
    assert FeeActivity.from_wire(USD_FEE | change) is None


def test_a_fee_of_a_stock_is_passed_over():
    stock = {"activity_type": "FEE", "symbol": "AAPL", "description": "REG fee"}
    assert FeeActivity.from_wire(USD_FEE | stock) is None


@pytest.mark.parametrize(
    "raw",
    [
        COIN_FEE | {"qty": "much"},
        COIN_FEE | {"date": None},
        COIN_FEE | {"symbol": None},
        USD_FEE | {"net_amount": "NaN"},
        "a text",
    ],
)
def test_a_fee_that_cannot_be_read_is_an_error(raw):
    with pytest.raises(WireError):
        FeeActivity.from_wire(raw)
