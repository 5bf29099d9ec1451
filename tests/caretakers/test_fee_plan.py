"""How posted fees are allotted: by day, coin and side, exact to the last digit."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_DOWN, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builders import build_entry
from caretakers.plans.fee_matching import Charge, FeeRates
from caretakers.plans.fee_settlement import allot, last_settled_day, plan_fee_settlements
from domain.fee_activity import Execution, FeeActivity
from domain.journal import ADOPTED
from domain.orders import Side
from domain.wire import WireError

DAY = date(2024, 3, 1)
NOON = datetime(2024, 3, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=5)
RATES = FeeRates(Decimal("0.0025"), Decimal("0.0015"))


def bought(name, qty="1", *, at=NOON, since=None, symbol="BTC/USD", estimated=True, fee="0"):
    return build_entry(
        symbol=symbol,
        side=Side.BUY,
        alpaca_order_id=name,
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


def settled(entries, posted, now=LATER, executions=()):
    plan = plan_fee_settlements(entries, posted, executions, now=now, rates=RATES)
    return {
        one.client_order_id: one.fee
        for settlement in plan
        if settlement.problem is None
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
    posted = [fee(coins="0.0025")]
    assert settled([bought("a")], posted, now=NOON) == {}
    midnight = datetime(2024, 3, 2, tzinfo=UTC)
    assert settled([bought("a")], posted, now=midnight + timedelta(hours=5, minutes=59)) == {}
    assert settled([bought("a")], posted, now=midnight + timedelta(hours=6)) != {}
    assert settled([bought("a")], []) == {}
    assert settled([sold("s")], posted) == {}
    assert settled([bought("a")], [fee(coins="0.002", day=DAY - timedelta(days=1))]) == {}


def test_what_is_no_ones_fee_exactly_waits_until_all_can_have_been_posted():
    """A part of it may still be on its way, or the account may pay another rate."""
    posted = [fee(coins="0.002")]
    two_days = timedelta(days=2)
    midnight = datetime(2024, 3, 2, 6, tzinfo=UTC)
    assert settled([bought("a")], posted, now=midnight + two_days - timedelta(seconds=1)) == {}
    assert settled([bought("a")], posted, now=midnight + two_days) == {"a": Decimal("0.002")}


def problems(entries, posted, executions=(), now=LATER):
    plan = plan_fee_settlements(entries, posted, executions, now=now, rates=RATES)
    return [(one.is_late, one.reason) for one in plan if one.problem]


def at(hours, usd="0", coins="0", **more):
    """Posted so many hours after the trade."""
    moment = NOON + timedelta(hours=hours)
    posting = fee(usd=usd, coins=coins, day=moment.date(), **more)
    return replace(posting, posted_at=moment, id=f"{hours} {usd} {coins}")


def test_half_a_fee_is_not_taken_for_the_whole():
    """Two sells of 1,000 USD, and of 5 USD of fees one half is not there: each kept 2.50."""
    entries = [sold("s", "10"), sold("t", "10")]
    half = [fee(usd="1.25", name="a"), fee(usd="1.25", name="b")]
    assert settled(entries, half) == {"s": Decimal("2.5")}, "two halves can be one fee"
    assert settled(entries, [fee(usd="2.50")]) == {"s": Decimal("2.5")}
    assert settled(entries, [fee(usd="2.40")]) == {}
    [(is_late, reason)] = problems(entries, [fee(usd="2.40")])
    assert is_late
    assert reason == (
        "2.4 USD were posted for the sells of 2024-03-01, not the whole fees of 2 executions"
    )


def test_the_half_of_one_fee_is_not_taken_for_the_makers_fee_of_another():
    """0.0125 and 0.0075: the maker's fee of the small buy is half of the taker's of the large."""
    entries = [bought("large", "6"), bought("small", "5")]
    halves = [("0.0075", "a"), ("0.0075", "b"), ("0.00625", "c"), ("0.00625", "d")]
    posted = [fee(coins=coins, name=name) for coins, name in halves]
    assert settled(entries, posted) == {"large": Decimal("0.015"), "small": Decimal("0.0125")}
    for missing in range(len(posted)):
        some = posted[:missing] + posted[missing + 1 :]
        found = settled(entries, some)
        assert found.get("large", Decimal("0.015")) == Decimal("0.015")
        assert found.get("small", Decimal("0.0125")) == Decimal("0.0125")
    assert settled(entries, posted[:1]) == {}, "it may be either, or a part of one"


def test_one_whole_fee_goes_to_the_sell_that_no_parts_can_fit():
    """The first took the last one's whole fee: two parts that are older than the last were left."""
    seconds = {"first": 0, "second": 38, "last": 88}
    entries = [sold(name, "0.44", at=NOON + timedelta(seconds=s)) for name, s in seconds.items()]
    times = [("0.04", 0), ("0.07", 7200), ("0.04", 38), ("0.07", 7238), ("0.11", 88)]
    posted = [
        replace(fee(usd=usd, name=str(late)), posted_at=NOON + timedelta(seconds=late))
        for usd, late in times
    ]
    assert settled(entries, posted) == dict.fromkeys(seconds, Decimal("0.11"))
    soon = NOON + timedelta(days=1, hours=12)
    for missing in range(len(posted)):
        found = settled(entries, posted[:missing] + posted[missing + 1 :], soon)
        assert all(one == Decimal("0.11") for one in found.values()), times[missing]


def test_a_fee_that_is_missing_among_many_is_not_spread_over_the_others():
    entries = [sold(name, "10") for name in "abcd"]
    posted = [fee(usd="2.50", name=str(number)) for number in range(3)]
    assert settled(entries, posted) == dict.fromkeys("abc", Decimal("2.5"))
    other_tier = [fee(usd="2.20", name=str(number)) for number in range(3)]
    assert settled(entries, other_tier) == {}
    all_there = [*other_tier, fee(usd="2.20", name="x")]
    assert settled(entries, all_there) == dict.fromkeys("abcd", Decimal("2.2"))


def test_fees_of_an_evening_are_found_though_they_are_posted_on_the_next_day():
    evening, morning = NOON + timedelta(hours=11), NOON + timedelta(hours=14)
    entries = [sold("s", "10", at=evening), sold("t", "10", at=morning)]
    posted = [at(14.5, "2.50"), at(17.9, "2.50")]
    assert settled(entries, posted) == dict.fromkeys("st", Decimal("2.5"))
    assert settled(entries, posted, now=NOON + timedelta(hours=19)) == {"s": Decimal("2.5")}
    other_tier = [at(14.5, "2.20"), at(17.9, "2.20")]
    assert settled(entries, other_tier) == dict.fromkeys("st", Decimal("2.2"))


def test_no_fee_is_posted_before_its_trade():
    assert settled([sold("s", "10")], [at(-1, "2.50")]) == {}
    assert settled([sold("s", "10")], [at(49, "2.50")]) == {}


def test_parts_of_an_order_that_were_charged_at_both_rates_are_its_fee():
    """As one account was charged for an order in four parts."""
    parts = ["0.1338", "0.1343", "0.134438", "0.023337901"]
    fees = ["0.0003345", "0.00020145", "0.000201657", "0.000035007"]
    entries = [bought("a", str(sum(map(Decimal, parts))))]
    posted = [at(2.9 + n / 100, coins=one) for n, one in enumerate(fees)]
    whole = sum(map(Decimal, fees))
    assert settled(entries, posted, executions=[filled("a", one) for one in parts]) == {"a": whole}
    missing = settled(entries, posted[1:], executions=[filled("a", one) for one in parts])
    assert missing == {}


def filled(order_id, qty, *, side="buy", price="100", symbol="BTC/USD"):
    return Execution(
        order_id=order_id, symbol=symbol, side=Side(side), qty=Decimal(qty), price=Decimal(price),
        at=NOON,
    )  # fmt: skip


def test_a_posting_that_fits_two_sells_leaves_none_without_its_own():
    """0.42 USD are 0.25 % of 166.62 and 0.15 % of 277.99, both rounded up."""
    entries = [sold("small", "1.6662"), sold("large", "2.7799")]
    for posted in (["0.42", "0.70"], ["0.42", "0.25"]):
        shares = settled(entries, [at(n + 1, one) for n, one in enumerate(posted)])
        assert sum(shares.values()) == sum(map(Decimal, posted))
        assert len(shares) == 2


def test_trades_of_the_user_take_their_own_fees():
    entries = [sold("s", "10")]
    mine = [filled("s", "10", side="sell"), filled("by hand", "20", side="sell")]
    assert settled(entries, [at(1, "5.00")], executions=mine) == {}
    assert settled(entries, [at(1, "5.00"), at(2, "2.50")], executions=mine) == {
        "s": Decimal("2.5")
    }


def test_coins_that_were_adopted_have_no_fee():
    adopted = replace(bought("a", estimated=False, fee="0.1"), final_status=ADOPTED)
    assert settled([adopted, bought("b")], [fee(coins="0.0025")]) == {"b": Decimal("0.0025")}


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
    plan = plan_fee_settlements([bought("a")], [fee(coins="0.02")], now=LATER, rates=RATES)
    assert [(one.is_late, one.fees) for one in plan] == [(False, ())]


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
    assert sum(share for _, share in shares) == total
    assert all(share >= 0 for _, share in shares)
    assert all(-share.as_tuple().exponent <= 18 for _, share in shares)
    # A share is off by less than one stored digit for each row before it.
    for (_, share), weight in zip(shares, weights, strict=True):
        exact = total * weight / sum(weights)
        assert abs(share - exact) <= Decimal("1e-17") * len(weights) + exact * Decimal("1e-20")


@st.composite
def trading_days(draw):
    """Executions of some orders, each charged at a rate of its own and posted in its own way."""
    orders, executions, posted = [], [], []
    # Odd amounts, as the bot's are: sums of other fees' parts are nobody's fee by chance.
    sizes = draw(st.lists(st.integers(10**6, 25 * 10**9), min_size=1, max_size=12, unique=True))
    left = [Decimal(2 * one + 1) / 10**9 for one in sizes]
    while left:
        number, side = len(orders), draw(st.sampled_from(Side))
        count = draw(st.integers(1, 3))
        parts, left = left[:count], left[count:]
        build = bought if side is Side.BUY else sold
        moment = NOON + timedelta(hours=draw(st.integers(0, 40)))
        orders.append(build(f"o{number}", str(sum(parts)), at=moment))
        for part in parts:
            one = replace(filled(f"o{number}", part, side=side), at=moment)
            executions.append(one)
            rate = draw(st.sampled_from([RATES.taker, RATES.maker]))
            charge = Charge(
                order_id="", symbol=one.symbol, side=side, qty=one.qty, price=one.price,
                since=moment, until=moment,
            ).fee_at(rate)  # fmt: skip
            pieces = [charge]
            if draw(st.integers(0, 3)) == 0:
                step = Decimal("0.01") if side is Side.SELL else Decimal("1e-9")
                first = (charge * draw(st.integers(1, 9)) / 10).quantize(step, ROUND_DOWN)
                pieces = [first, charge - first] if first else [charge]
            for piece in pieces:
                late = timedelta(hours=draw(st.integers(0, 30)))
                posting = fee(symbol=None, usd=str(piece), day=(moment + late).date())
                if side is Side.BUY:
                    posting = fee(coins=str(piece), day=(moment + late).date())
                posted.append(replace(posting, id=str(len(posted)), posted_at=moment + late))
    return orders, executions, posted


@settings(max_examples=300, deadline=None)
@given(days=trading_days(), data=st.data())
def test_settled_fees_are_never_below_the_makers_rate_nor_more_than_was_posted(days, data):
    orders, executions, posted = days
    kept = data.draw(st.lists(st.sampled_from(posted), unique_by=id, max_size=len(posted)))
    for there in (kept, posted):
        shares = settled(orders, there, executions=executions)
        for side, amounts in ((Side.BUY, "coins"), (Side.SELL, "usd")):
            ours = {row.client_order_id: row for row in orders if row.side is side}
            paid = {name: share for name, share in shares.items() if name in ours}
            total = sum(getattr(one, amounts) for one in there)
            assert sum(paid.values()) <= total
            if side is Side.BUY and there is posted:
                assert (len(paid), sum(paid.values())) == (len(ours), total), "all is booked"
            for name, share in paid.items():
                row = ours[name]
                weight = row.filled_qty if side is Side.BUY else row.filled_usd
                assert share >= weight * RATES.maker


@settings(max_examples=200, deadline=None)
@given(days=trading_days())
def test_where_nothing_was_split_every_order_gets_its_fee(days):
    orders, executions, posted = days
    whole = len(posted) == len(executions)
    if whole:
        shares = settled(orders, posted, executions=executions)
        assert len(shares) == len(orders)
        assert sum(shares.values()) == sum(one.coins + one.usd for one in posted)


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
