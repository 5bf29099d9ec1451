"""Small markets whose every order, fee and profit was worked out by hand; and the same walk without
its index, over random markets.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.asset import DcaAsset, StopLossAction
from domain.cycle import CycleStatus
from domain.market import AssetRules
from domain.orders import Side
from research.account import SimulatedAccount
from research.bars import Bars, BarWalk, PathChoice
from research.quotes import Quotes
from research.simulate import SimulatedMarket, simulate
from research.trader import SimulatedTrader
from strategy.cycle_plan import WIRE_STEP
from strategy.sizing import round_to_increment

D = Decimal
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
RULES = AssetRules(
    symbol="BTC/USD",
    min_order_size=D("0.0001"),
    min_trade_increment=D("0.0001"),
    price_increment=D("0.01"),
    min_cost_usd=D(1),
)
BUY, SELL = Side.BUY, Side.SELL


def an_asset(**columns):
    values = {
        "id": 1,
        "asset_symbol": "BTC/USD",
        "is_enabled": True,
        "base_order_amount": D(100),
        "safety_order_amount": D(50),
        "max_safety_orders": 2,
        "safety_order_deviation": D(10),
        "take_profit_percent": D(5),
        "cooldown_period": 60,
    }
    return DcaAsset(**values | columns)


def bars_of(*rows, step="0.01", seconds=60):
    """Rows of open, high, low, close; or of one price."""
    wide = [row if isinstance(row, tuple) else (row,) * 4 for row in rows]
    opens, highs, lows, closes = np.array(
        [[int(D(str(price)) / D(step)) for price in row] for row in wide], dtype=np.int64
    ).T
    starts = int(BEGIN.timestamp()) + np.arange(len(rows), dtype=np.int64) * seconds
    return Bars(starts, opens, highs, lows, closes, D(step))


def run(prices, *, cash=1000, fee="0", path=PathChoice.PESSIMISTIC, spread="0", **columns):
    market = SimulatedMarket(
        asset=an_asset(**columns), rules=RULES, prices=prices, spread_percent=D(spread)
    )
    return simulate([market], cash_usd=D(cash), fee_rate=D(fee), path=path)


def orders_of(outcome):
    return [
        (one.purpose.value, one.filled_qty, one.filled_avg_price, minute_of(one))
        for asset in outcome.assets
        for one in asset.entries
    ]


def minute_of(entry):
    return (entry.ended_at - BEGIN) / timedelta(minutes=1)


def test_a_base_order_two_safety_orders_and_a_take_profit():
    """100 at 100; 50 at 90; 50 at 81: 1 + 0.5555 + 0.6172 = 2.1727 coins for 199.9882 USD (up to
    the increment), average 92.0459...; sold 5 % above.
    """
    outcome = run(bars_of(100, (100, 100, 89, 89), (89, 89, 80, 80), (80, 97, 80, 97)))
    *buys, (_, sold, price, minute) = orders_of(outcome)
    assert buys == [
        ("base", D(1), D(100), 0),
        ("safety", D("0.5555"), D(90), 1),
        ("safety", D("0.6172"), D(81), 2),
    ]
    paid = D(100) + D("0.5555") * 90 + D("0.6172") * 81
    assert sold == D("2.1727")
    assert paid / sold * D("1.05") <= price < paid / sold * D("1.05") + D("2e-9")
    assert minute == 3
    assert outcome.cash_usd == 1000 - paid + sold * price
    assert outcome.assets[0].coins == 0
    assert outcome.assets[0].open_cycle.status is CycleStatus.COOLDOWN


def test_fees_are_taken_of_what_is_received():
    """1 coin at 100: 0.0025 coins of fee, 0.9975 sold at 105: 104.7375 less 0.2619 -> 0.27 USD."""
    outcome = run(bars_of(100, (100, 106, 100, 106)), fee="0.0025")
    assert orders_of(outcome) == [
        ("base", D(1), D(100), 0),
        ("take_profit", D("0.9975"), D(105), 1),
    ]
    assert outcome.cash_usd == 1000 - 100 + D("104.7375") - D("0.27")


def test_a_gap_fills_at_the_open_beyond_the_trigger():
    below = run(bars_of(100, (80, 80, 80, 80)))
    assert orders_of(below)[1] == ("safety", D("0.625"), D(80), 1)
    above = run(bars_of(100, (120, 120, 120, 120)))
    assert orders_of(above)[1] == ("take_profit", D(1), D(120), 1)


def test_a_gap_below_two_triggers_buys_both_at_prices_that_were_there():
    """After the first at 70 its own trigger is 63: deviations are below the last fill."""
    outcome = run(bars_of(100, (70, 70, 60, 60)))
    assert [one[2] for one in orders_of(outcome)] == [D(100), D(70), D(63)]


@pytest.mark.parametrize(
    ("path", "purposes"),
    [
        (PathChoice.LOW_FIRST, ["base", "safety", "take_profit"]),
        (PathChoice.HIGH_FIRST, ["base", "take_profit"]),
        (PathChoice.PESSIMISTIC, ["base", "safety"]),
    ],
)
def test_the_path_within_a_bar_decides_what_comes_first(path, purposes):
    """Open 100, up to 102 and down to 90, close 95. Low first: bought at 90, sold at 5 % above the
    average; high first with a target of 1 %: sold at 101.
    """
    columns = {"take_profit_percent": D(1), "max_safety_orders": 1, "cooldown_period": 3600}
    if path is PathChoice.PESSIMISTIC:  # high first buys at 90 and holds; low first sells at 101
        columns["take_profit_percent"] = D(5)
    outcome = run(bars_of(100, (100, 102, 90, 95)), path=path, **columns)
    assert [one[0] for one in orders_of(outcome)] == purposes


def test_a_cooldown_ends_with_the_first_bar_that_starts_at_or_after_its_end():
    rows = (100, (100, 105, 100, 105), 104, 103, 102)
    assert [one[3] for one in orders_of(run(bars_of(*rows), cooldown_period=60))] == [0, 1, 2]
    assert [one[3] for one in orders_of(run(bars_of(*rows), cooldown_period=61))] == [0, 1, 3]
    at_once = orders_of(run(bars_of(*rows), cooldown_period=0))
    assert at_once[2][:1] + at_once[2][2:] == ("base", D(105), 1), "at the price of the sale"


def test_an_early_restart_buys_within_the_cooldown():
    rows = (100, (100, 105, 100, 105), (105, 105, 90, 95), 95)
    outcome = run(bars_of(*rows), cooldown_period=86400, buy_order_price_deviation_percent=D(10))
    assert orders_of(outcome)[2][2:] == (D("94.5"), 2)


def test_a_spread_costs_half_of_it_on_each_side():
    """1 % around 100: bought at 100.5; 5 % above that are 105.525 as a bid."""
    outcome = run(bars_of(100, (100, 110, 100, 110)), spread="1")
    (_, _, bought, _), (_, _, sold, _) = orders_of(outcome)
    assert (bought, sold) == (D("100.5"), D("105.525"))


def test_cash_that_is_used_up_buys_nothing_until_a_sale_brings_some():
    rows = (100, (100, 100, 70, 70), (70, 100, 70, 100), 100)
    outcome = run(bars_of(*rows), cash=149, cooldown_period=0)
    purposes = [one[0] for one in orders_of(outcome)]
    assert purposes[:1] == ["base"]
    assert "safety" not in purposes
    assert "the cash is used up" in [one.why for one in outcome.assets[0].refusals]


def test_a_base_order_that_can_never_be_paid_is_not_tried_in_each_bar():
    """A stop loss may leave so little: years of bars would each be walked to refuse it."""
    account = SimulatedAccount(D(60), D(0))
    trader = SimulatedTrader.begin(an_asset(base_order_amount=D(100)), RULES, account)
    walk = BarWalk(trader, bars_of(100, 90, 110), PathChoice.PESSIMISTIC, D(0))
    walk.walk(0)
    assert [one.why for one in trader.refusals] == ["the cash is used up"]
    assert walk.find_next() == walk.count


def test_two_assets_share_the_cash_in_the_order_of_time_and_then_as_given():
    markets = [
        SimulatedMarket(
            asset=an_asset(id=number, asset_symbol=symbol),
            rules=RULES if number == 1 else RULES_OF_ETH,
            prices=bars_of(100, 100),
        )
        for number, symbol in ((1, "BTC/USD"), (2, "ETH/USD"))
    ]
    outcome = simulate(markets, cash_usd=D(150), fee_rate=D(0))
    assert [len(one.entries) for one in outcome.assets] == [1, 0]
    assert outcome.cash_usd == 50
    assert outcome.equity_usd == 150


RULES_OF_ETH = AssetRules(
    symbol="ETH/USD",
    min_order_size=D("0.0001"),
    min_trade_increment=D("0.0001"),
    price_increment=D("0.01"),
    min_cost_usd=D(1),
)


# Trails and stop losses.

NO_SAFETY = {"max_safety_orders": 0, "cooldown_period": 3600}


def test_a_trail_follows_the_peak_and_sells_below_it():
    """The target is 105; the peak 110; 2 % below it are 107.8."""
    trail = NO_SAFETY | {"trailing_take_profit_percent": D(2)}
    rows = 100, (100, 110, 100, 110), 109, (109, 109, 100, 100)
    over_bars = run(bars_of(*rows), path=PathChoice.LOW_FIRST, **trail)
    assert orders_of(over_bars)[1:] == [("take_profit", D(1), D("107.8"), 3)]
    within_one = bars_of(100, (100, 110, 100, 105))
    assert orders_of(run(within_one, **trail))[1:] == [("take_profit", D(1), D("107.8"), 1)]
    gap = run(bars_of(100, (110, 110, 110, 110), (90, 90, 90, 90)), **trail)
    assert orders_of(gap)[1:] == [("take_profit", D(1), D(90), 2)]
    below_target = run(bars_of(100, (100, 104.99, 100, 104), 90), **trail)
    assert len(orders_of(below_target)) == 1


def test_a_safety_order_begins_the_trail_anew():
    """The peak 105 belongs to the average 100; after a buy at 94.5 the target is another."""
    outcome = run(
        bars_of(100, (100, 105, 100, 105), (105, 105, 94, 95), 101),
        trailing_take_profit_percent=D(12),
        safety_order_deviation=D("5.5"),
        max_safety_orders=1,
        path=PathChoice.HIGH_FIRST,
    )
    assert [one[0] for one in orders_of(outcome)] == ["base", "safety"]


def test_a_stop_loss_sells_at_its_price_or_at_the_open_below_it_and_disables_the_asset():
    stop = NO_SAFETY | {"stop_loss_percent": D(10)}
    crossed = run(bars_of(100, (100, 100, 85, 95), 100, 100), **stop)
    assert orders_of(crossed)[1:] == [("stop_loss", D(1), D(90), 1)]
    gap = run(bars_of(100, (80, 80, 80, 80), 100), **stop)
    assert orders_of(gap)[1:] == [("stop_loss", D(1), D(80), 1)]


def test_after_a_stop_loss_with_a_cooldown_the_next_cycle_begins_when_it_is_over():
    outcome = run(
        bars_of(100, (100, 100, 85, 85), 50, 60),
        stop_loss_percent=D(10),
        stop_loss_action=StopLossAction.COOLDOWN,
        buy_order_price_deviation_percent=D(1),
        max_safety_orders=0,
        cooldown_period=120,
    )
    assert [(one[0], one[2], one[3]) for one in orders_of(outcome)] == [
        ("base", D(100), 0),
        ("stop_loss", D(90), 1),
        ("base", D(60), 3),  # no early restart at 50
    ]


def test_a_stop_loss_waits_until_the_price_was_below_for_so_long_without_a_break():
    stop = NO_SAFETY | {"stop_loss_percent": D(10), "stop_loss_seconds": 120}
    below = run(bars_of(100, (100, 100, 89, 89), 89, 88, 87), **stop)
    assert orders_of(below)[1:] == [("stop_loss", D(1), D(88), 3)]
    broken = run(bars_of(100, (100, 100, 89, 89), (89, 91, 89, 89), 88, 87, 86), **stop)
    assert orders_of(broken)[1:] == [("stop_loss", D(1), D(87), 4)]


def test_a_stop_loss_goes_before_a_safety_order_at_one_price():
    columns = {"stop_loss_percent": D(10), "safety_order_deviation": D(10)}
    outcome = run(bars_of(100, (80, 80, 80, 80)), **columns)
    assert [one[0] for one in orders_of(outcome)] == ["base", "stop_loss"]


def test_no_base_order_comes_above_the_highest_entry():
    outcome = run(bars_of(100, 99, (99, 99, 94, 96)), max_entry_price=D(95))
    assert orders_of(outcome) == [("base", D("1.0526"), D(95), 2)]


def quotes_of(*rows):
    """Rows of seconds, bid, ask."""
    times = np.array([row[0] * 1_000_000 for row in rows], dtype=np.int64)
    times += int(BEGIN.timestamp()) * 1_000_000
    bids, asks = np.array([[int(row[1] * 100), int(row[2] * 100)] for row in rows]).T
    return Quotes(times, bids, asks, D("0.01"))


def test_quotes_are_traded_one_by_one_and_a_spike_is_not():
    quotes = quotes_of(
        (0, 99, 100), (1, 60, 61), (2, 99, 100), (3, 88, 89), (4, 70, 71), (5, 70, 72)
    )
    outcome = simulate(
        [SimulatedMarket(asset=an_asset(), rules=RULES, prices=quotes)],
        cash_usd=D(1000),
        fee_rate=D(0),
        max_jump_percent=D(15),
    )
    # 61 is a spike, 71 is confirmed by 72.
    assert prices_of(outcome) == [("base", D(100)), ("safety", D(89)), ("safety", D(72))]


def prices_of(outcome):
    return [(one.purpose.value, one.filled_avg_price) for one in outcome.assets[0].entries]


def run_quotes(*rows, **columns):
    market = SimulatedMarket(asset=an_asset(**columns), rules=RULES, prices=quotes_of(*rows))
    outcome = simulate([market], cash_usd=D(1000), fee_rate=D(0), max_jump_percent=D(50))
    return prices_of(outcome)


def test_a_trail_follows_quotes_a_peak_counts_when_two_in_a_row_have_it():
    """The first, at the target, is confirmed; 106 alone is a spike, 105.5 is what both have."""
    bids = (99, 105, 106, 105.2, 103.4, 103, 106)
    rows = [(second, bid, bid + 1) for second, bid in enumerate(bids)]
    trail = NO_SAFETY | {"trailing_take_profit_percent": D(2), "take_profit_percent": D(5)}
    assert run_quotes(*rows, **trail)[1:] == [("take_profit", D(103))]
    lasting = [(0, 99, 100), (1, 105, 106), (2, 106, 107), (3, 105.6, 106.6), (4, 103.45, 104)]
    assert run_quotes(*lasting, **trail)[1:] == [("take_profit", D("103.45"))]


def test_a_stop_loss_on_quotes_needs_them_without_a_gap():
    stop = NO_SAFETY | {"stop_loss_percent": D(10), "stop_loss_seconds": 20}
    steady = [(0, 99, 100), *((second, 88, 89) for second in range(10, 40, 5))]
    assert run_quotes(*steady, **stop)[1:] == [("stop_loss", D(88))]
    silent = [(0, 99, 100), (10, 88, 89), (40, 87, 88), (50, 86, 87), (60, 85, 86)]
    assert run_quotes(*silent, **stop)[1:] == [("stop_loss", D(85))], "anew after a silence of 15 s"
    at_once = run_quotes((0, 99, 100), (1, 90, 91), **(stop | {"stop_loss_seconds": 0}))
    assert at_once[1:] == [("stop_loss", D(90))]


def naive(asset, rows, cash, fee_rate, path):
    """The same assumptions, walked leg by leg through every bar in Decimals; no spread."""
    account = SimulatedAccount(cash, fee_rate)
    trader = SimulatedTrader.begin(asset, RULES, account)

    def down(price):
        return price if price.is_infinite() else round_to_increment(price, WIRE_STEP, ROUND_FLOOR)

    def up(price):
        return round_to_increment(price, WIRE_STEP, ROUND_CEILING)

    def here(price, now):
        while True:
            trader.end_cooldown(now)
            triggers = trader.triggers
            buy, sell = triggers.buy_at_or_below, triggers.sell_at_or_above
            wants = (buy is not None and price <= buy) or (sell is not None and price >= sell)
            if not wants or not trader.on_quote(price, price, now):
                return

    for number, (opens, high, low, close) in enumerate(rows):
        now = BEGIN + timedelta(minutes=number)
        middle = (low, high) if path is PathChoice.LOW_FIRST else (high, low)
        at = opens
        here(at, now)
        for to in (*middle, close):
            while True:
                triggers = trader.triggers
                buy, sell = triggers.buy_at_or_below, triggers.sell_at_or_above
                if to < at and buy is not None and to <= (cut := down(buy)) < at:
                    at = cut
                elif to > at and sell is not None and to >= (risen := up(sell)) > at:
                    at = risen
                else:
                    break
                before = trader.state
                here(at, now)
                if trader.state is before:
                    break
            at = to
    return trader, account


PRICES = st.integers(60, 140)


@st.composite
def markets(draw):
    rows = []
    for _ in range(draw(st.integers(1, 60))):
        opens, close, one, other = (draw(PRICES) for _ in range(4))
        rows.append((opens, max(opens, close, one, other), min(opens, close, one, other), close))
    return [tuple(map(D, row)) for row in rows]


@settings(max_examples=150, deadline=None)
@given(
    rows=markets(),
    deviation=st.sampled_from(["0.7", "3", "9.1"]),
    profit=st.sampled_from(["0.6", "2.5", "7"]),
    cooldown=st.sampled_from([0, 60, 100, 600]),
    early=st.sampled_from([None, D("1.5")]),
    fee=st.sampled_from([D(0), D("0.0025")]),
    path=st.sampled_from([PathChoice.LOW_FIRST, PathChoice.HIGH_FIRST]),
    cash=st.sampled_from([D(160), D(5000)]),
)
def test_the_index_finds_what_a_walk_through_every_leg_finds(
    rows, deviation, profit, cooldown, early, fee, path, cash
):
    asset = an_asset(
        safety_order_deviation=D(deviation),
        take_profit_percent=D(profit),
        cooldown_period=cooldown,
        buy_order_price_deviation_percent=early,
        max_safety_orders=4,
    )
    trader, account = naive(asset, rows, cash, fee, path)
    outcome = simulate(
        [SimulatedMarket(asset=asset, rules=RULES, prices=bars_of(*rows))],
        cash_usd=cash,
        fee_rate=fee,
        path=path,
    )
    assert outcome.cash_usd == account.cash_usd
    assert list(outcome.assets[0].entries) == trader.entries
    assert outcome.assets[0].open_cycle == trader.state.cycle


@settings(max_examples=100, deadline=None)
@given(
    rows=markets(), cooldown=st.sampled_from([0, 60, 600]), fee=st.sampled_from([D(0), D("0.0025")])
)
def test_the_pessimistic_path_of_one_bar_is_the_worse_of_both(rows, cooldown, fee):
    columns = {"take_profit_percent": D(2), "safety_order_deviation": D(3)}
    bars = bars_of(rows[0])
    worst, *others = (
        run(bars, fee=str(fee), path=path, cooldown_period=cooldown, **columns).equity_usd
        for path in PathChoice
    )
    assert worst == min(others)
