"""Figures of a replay, each worked out by hand for a market of a few bars."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from domain.asset import DcaAsset
from domain.market import AssetRules
from research.backtest import Account, Entrant, run_backtest
from research.bars import PathChoice
from research.baselines import Purchase, buy_at_once, buy_weekly
from research.equity import Change, changes_of, compute_equity
from research.feed import Feed, PriceLine, convert_bars, find_kind, load_feed, measure_spread
from research.figures import list_cycles
from research.history_file import MonthFile, Origin
from research.market_rules import KnownRules, load_rules, save_rules, usual_rules
from research.months import MINUTE_NS, SECOND_NS, Month, to_ns
from research.series import Bars, Kind, Quotes

D = Decimal
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
BEGIN_NS = to_ns(BEGIN)
DAY_NS = 24 * 60 * MINUTE_NS


def rules_of(symbol="BTC/USD"):
    return AssetRules(
        symbol=symbol,
        min_order_size=D("0.0001"),
        min_trade_increment=D("0.0001"),
        price_increment=D("0.01"),
        min_cost_usd=D(1),
    )


def an_asset(symbol="BTC/USD", **columns):
    values = {
        "id": 1,
        "asset_symbol": symbol,
        "is_enabled": True,
        "base_order_amount": D(100),
        "safety_order_amount": D(50),
        "max_safety_orders": 1,
        "safety_order_deviation": D(10),
        "take_profit_percent": D(5),
        "cooldown_period": 0,
    }
    return DcaAsset(**values | columns)


def series_of(*rows, symbol="BTC/USD", seconds=60, first=0):
    """Rows of open, high, low, close; or of one price. In whole dollars, from bar `first` on."""
    wide = [row if isinstance(row, tuple) else (row,) * 4 for row in rows]
    opens, highs, lows, closes = np.array(wide, dtype=np.int64).T * 100
    at_ns = BEGIN_NS + (first + np.arange(len(rows), dtype=np.int64)) * seconds * SECOND_NS
    return Bars(
        symbol=symbol,
        places=2,
        at_ns=at_ns,
        bar_seconds=seconds,
        open=opens,
        high=highs,
        low=lows,
        close=closes,
    )


def feed_of(series, spread="0"):
    asks, half = series.open, D(spread) / 200
    line = PriceLine(
        symbol=series.symbol,
        at_ns=series.at_ns,
        low_bid=series.low * 0.01 * float(1 - half),
        close_bid=series.close * 0.01 * float(1 - half),
        asks=asks,
        ask_of_step=D("0.01") * (1 + half),
        end_ns=int(series.at_ns[-1]) + series.bar_seconds * SECOND_NS,
        last_bid=int(series.close[-1]) * D("0.01") * (1 - half),
    )
    return Feed(
        kind=Kind.BARS,
        series=series,
        prices=convert_bars(series),
        line=line,
        gaps=(),
        sources=("here",),
        spread_percent=D(spread),
    )


def run(*series, cash=150, fee="0", spread="0", path=PathChoice.LOW_FIRST, **columns):
    entrants = [
        Entrant(
            asset=an_asset(one.symbol, id=number, **columns),
            known=KnownRules(rules_of(one.symbol)),
            feed=feed_of(one, spread),
        )
        for number, one in enumerate(series, start=1)
    ]
    account = Account(
        cash_usd=D(cash), fee_percent=D(fee), max_spread_percent=D(100), max_jump_percent=D(10)
    )
    return run_backtest(entrants, account, [path])


def minutes(count):
    return BEGIN + timedelta(minutes=count)


# 1 coin at 100; 0.5555 at 90 (50 USD, down to the increment): 149.995 USD; sold 5 % above the
# average of 96.43, and bought again at once.
LADDER = ((100,) * 4, (100, 100, 90, 90), (90, 90, 82, 85), (85, 120, 85, 120))


def test_a_drawdown_counts_coins_at_the_lowest_bid_of_a_bar():
    """At its low of 82 the third bar leaves 0.005 USD and 1.5555 coins: 127.556 of 150."""
    fall = run(series_of(*LADDER)).runs[0].figures.drawdown
    assert (fall.usd, fall.percent) == (D("22.44"), D("14.96"))
    assert (fall.peak_at, fall.low_at) == (BEGIN, minutes(2))


def test_the_time_under_water_ends_when_the_peak_is_reached_again():
    water = run(series_of(*LADDER)).runs[0].figures.under_water
    assert (water.since, water.until, water.seconds, water.is_over) == (
        BEGIN, minutes(3), 180, True,
    )  # fmt: skip


def test_a_time_under_water_that_is_not_over_lasts_until_the_last_bar_is():
    water = run(series_of(*LADDER[:3])).runs[0].figures.under_water
    assert (water.since, water.until, water.is_over) == (BEGIN, minutes(3), False)


def test_a_market_that_only_rises_has_no_drawdown_and_no_water():
    figures = run(series_of(100, 101, 102)).runs[0].figures
    assert (figures.drawdown, figures.under_water) == (None, None)


def test_the_result_is_complete_cycles_and_what_is_still_held():
    """A cycle that earned 7.5 USD and one that holds 1 coin at 94.5 and 5.5 USD less."""
    test = run(series_of(100, (100, 105, 100, 105), (105, 105, 100, 100)), max_safety_orders=0)
    figures = test.runs[0].figures
    total = figures.report.total
    # 1 coin, sold at 105: +5. 0.9523 coins at 105 = 99.9915, at 100: -4.7615.
    assert (total.count, total.profit_usd) == (1, D(5))
    assert figures.unrealised_usd == D("-4.7615")
    assert figures.result_usd == D("0.2385")
    assert figures.ladder_usd == 100
    assert figures.return_on_ladder_percent == D("0.2385")
    assert figures.report.open_cycles == 1
    assert total.capital.peak_usd == 100  # the second is bought in the instant of the sale


def test_the_table_of_safety_orders_counts_complete_and_open_cycles():
    def used(*rows):
        use = run(series_of(*rows), cooldown_period=3600).runs[0].figures.ladder_use
        return [(one.safety_orders, one.cycles, one.profit_usd > 0, one.open_cycles) for one in use]

    assert used(*LADDER[:2]) == [(0, 0, False, 0), (1, 0, False, 1)]
    assert used(*LADDER) == [(0, 0, False, 0), (1, 1, True, 0)]


def test_the_share_of_time_fully_bought_is_from_the_last_safety_order_to_the_sale():
    """Bought at minute 1, sold at minute 3, of 4 minutes."""
    assert run(series_of(*LADDER)).runs[0].figures.fully_bought_percent == 50


def test_fees_are_those_of_all_orders_coins_at_what_was_paid():
    """0.0025 coins at 100; then 0.9975 coins sold at 105: 0.27 USD; then 0.0024 (0.9523 x 0.25 %,
    up to its step) coins at 105."""
    test = run(series_of(100, (100, 105, 100, 105)), fee="0.25", max_safety_orders=0)
    bought = test.runs[0].outcome.assets[0].entries[2]
    assert test.runs[0].figures.fees_usd == D("0.25") + D("0.27") + bought.fee_qty * 105


def test_the_same_money_is_spent_at_once_with_the_same_spread_and_fee():
    """150 USD at 101 (2 % of spread): 1.4851 coins, 0.25 % of them the fee; at the end the bid is
    118.8."""
    test = run(series_of(100, 120), fee="0.25", spread="2")
    coins = D("1.4851") - D("0.00371275")
    assert abs(test.held.result_usd - (coins * D("118.8") - D("1.4851") * 101)) < D("1e-5")
    assert abs(test.held.fees_usd - D("0.00371275") * 101) < D("1e-6")
    assert test.held.curve.last_usd == pytest.approx(float(150 + test.held.result_usd))


def test_weekly_buys_are_equal_parts_at_the_first_price_of_each_week():
    """15 days are three weeks; in the second one nothing was traded on its first two days."""
    days = series_of(*[100] * 7, seconds=86400)
    later = series_of(*[50] * 6, seconds=86400, first=9)
    line = feed_of(
        days.with_columns(
            2,
            np.concatenate([days.at_ns, later.at_ns]),
            tuple(np.concatenate(both) for both in zip(days.prices, later.prices, strict=True)),
        )
    ).line
    wanted = [Purchase(line=line, rules=rules_of(), usd=D(300))]
    bought = buy_weekly(wanted, D(0)).changes
    assert [((one.at_ns - BEGIN_NS) // DAY_NS, one.usd, one.coins) for one in bought] == [
        (0, D(-100), D(1)), (9, D(-100), D(2)), (14, D(-100), D(2)),
    ]  # fmt: skip
    assert [one.usd for one in buy_at_once(wanted, D(0)).changes] == [D(-300)]


def test_cycles_of_several_assets_have_a_number_each():
    both = run(
        series_of(100, (100, 105, 100, 105)),
        series_of(100, (100, 105, 100, 105), symbol="ETH/USD"),
        cash=1000,
        max_safety_orders=0,
    )
    cycles = list_cycles(both.runs[0].outcome)
    assert [(one.cycle_id, one.symbol) for one in cycles] == [
        (1, "BTC/USD"), (2, "ETH/USD"), (3, "BTC/USD"), (4, "ETH/USD"),
    ]  # fmt: skip
    report = both.runs[0].figures.report
    assert [(line.name, line.count, line.profit_usd) for line in report.lines] == [
        ("BTC/USD", 1, D(5)), ("ETH/USD", 1, D(5)),
    ]  # fmt: skip


def test_an_asset_without_a_bar_is_worth_its_last_bid():
    """ETH misses the second minute, and begins with the first."""
    bitcoin, ether = series_of(100, 100, 100), series_of(10, 20, symbol="ETH/USD")
    ether = ether.with_columns(2, bitcoin.at_ns[[0, 2]], ether.prices)
    lines = {one.symbol: feed_of(one).line for one in (bitcoin, ether)}
    curve = compute_equity(D(50), [Change(BEGIN_NS, "ETH/USD", D(-50), D(5))], lines)
    assert curve.close.tolist() == [50.0, 50.0, 100.0]


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(*[st.integers(70, 130)] * 4), min_size=1, max_size=40),
    fee=st.sampled_from(["0", "0.25"]),
    spread=st.sampled_from(["0", "0.5"]),
    path=st.sampled_from(list(PathChoice)),
)
def test_the_curve_ends_where_the_account_does(rows, fee, spread, path):
    bars = [(opens, max(row), min(row), row[3]) for row in rows for opens in row[:1]]
    test = run(series_of(*bars), fee=fee, spread=spread, path=path, cash=400)
    one = test.runs[0]
    assert one.curve.last_usd == pytest.approx(float(one.outcome.equity_usd), abs=1e-9)
    assert (one.curve.low <= one.curve.close + 1e-9).all()
    changes = changes_of(entry for asset in one.outcome.assets for entry in asset.entries)
    assert sum((each.coins for each in changes), D(0)) == one.outcome.assets[0].coins


# From the history


def test_bars_come_before_quotes_and_quotes_where_only_they_are(history):
    quotes = Quotes(
        symbol="BTC/USD",
        places=2,
        at_ns=BEGIN_NS + np.array([0, 1, 2], np.int64) * SECOND_NS,
        bid=np.array([9900, 0, 9800], np.int64),
        ask=np.array([10000, 10000, 10000], np.int64),
    )
    month = Month.at(BEGIN_NS)
    origin = Origin(source="here", is_complete=True)

    def load():
        kind = find_kind(history, "BTC/USD", BEGIN, None)
        return load_feed(
            history,
            "BTC/USD",
            BEGIN,
            None,
            kind=kind,
            spread_percent=D(1),
            max_jump_percent=D(10),
        )

    with history.writing():
        history.save(MonthFile(month, quotes, origin))
    feed = load()
    assert (feed.kind, feed.spread_percent) == (Kind.QUOTES, 0)
    assert feed.line.close_bid.tolist() == [99.0, 98.0]  # the daemon drops the other one, too
    assert feed.line.ask(1) == 100
    with history.writing():
        history.save(MonthFile(month, series_of(100, 110), origin))
    feed = load()
    assert (feed.kind, feed.line.last_bid, feed.line.ask(0)) == (
        Kind.BARS, D("109.45"), D("100.5"),
    )  # fmt: skip
    assert feed.end == minutes(2)


def test_a_measured_spread_is_a_mean_over_time_in_which_a_silence_counts_a_minute():
    """1 % for 20 s, then 3 % for an hour: (20 x 1 + 60 x 3) / 80."""
    quotes = Quotes(
        symbol="BTC/USD",
        places=0,
        at_ns=np.array([0, 20, 3620], np.int64) * SECOND_NS,
        bid=np.array([995, 985, 985], np.int64),
        ask=np.array([1005, 1015, 1015], np.int64),
    )
    assert measure_spread([quotes]) == D("2.5")
    assert measure_spread([]) is None


def test_rules_are_kept_beside_the_history_to_the_last_digit(history):
    assert load_rules(history, "BTC/USD", D(1)) is None
    save_rules(history, rules_of(), BEGIN)
    assert load_rules(history, "BTC/USD", D(1)) == KnownRules(rules_of(), BEGIN)


def test_the_usual_smallest_order_is_a_dollar_in_the_finest_steps():
    rules = usual_rules("BTC/USD", D(10), D(30000)).rules
    assert (rules.min_order_size, rules.min_trade_increment) == (D("0.000033334"), D("1e-9"))
