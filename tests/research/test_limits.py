"""The limits of the whole account and a manual start in a replay: small markets worked out by hand.

Prices are of one-minute bars without a spread, fees are 0 where nothing else is said: a base order
of 100 USD, safety orders of 50 USD each 10 % below the last fill, sold 5 % above the average.
"""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise

import numpy as np
import pytest

from domain.asset import DcaAsset, StartMode, StopLossAction
from domain.market import AssetRules
from research.bars import Bars, PathChoice
from research.dumps import bids_of_quotes, find_dumps
from research.limits import SharedLimits
from research.simulate import SimulatedMarket, simulate
from research.trader import HeldBack
from strategy.dump import DumpDetector, Sample
from strategy.limits import AccountLimits

D = Decimal
BTC, ETH = "BTC/USD", "ETH/USD"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def a_market(symbol, *prices, opens=(), begin=BEGIN, **columns):
    """Minutes of open, high, low, close; or of one price. `opens` in minutes."""
    values = {
        "id": 1,
        "asset_symbol": symbol,
        "is_enabled": True,
        "base_order_amount": D(100),
        "safety_order_amount": D(50),
        "max_safety_orders": 2,
        "safety_order_deviation": D(10),
        "take_profit_percent": D(5),
        "cooldown_period": 86_400 * 9,
    }
    wide = [row if isinstance(row, tuple) else (row,) * 4 for row in prices]
    columns_of_bars = np.array(
        [[int(D(str(one)) * 100) for one in row] for row in wide], np.int64
    ).T
    starts = int(begin.timestamp()) + np.arange(len(prices), dtype=np.int64) * 60
    return SimulatedMarket(
        asset=DcaAsset(**values | columns),
        rules=AssetRules(
            symbol=symbol,
            min_order_size=D("0.0001"),
            min_trade_increment=D("0.0001"),
            price_increment=D("0.01"),
            min_cost_usd=D(1),
        ),
        prices=Bars(starts, *columns_of_bars, D("0.01")),
        opens=[begin + timedelta(minutes=one) for one in opens],
    )


def run(*markets, cash=10_000, fee="0", path=PathChoice.PESSIMISTIC, **limits):
    return simulate(
        markets, cash_usd=D(cash), fee_rate=D(fee), path=path, limits=AccountLimits(**limits)
    )


def orders_of(outcome):
    """By time: symbol, purpose, price, minute."""
    entries = [entry for asset in outcome.assets for entry in asset.entries]
    return [
        (one.symbol[:3], one.purpose.value, one.filled_avg_price, minute_of(one.ended_at))
        for one in sorted(entries, key=lambda entry: entry.ended_at)
    ]


def minute_of(at):
    return (at - BEGIN) / timedelta(minutes=1)


def refusals_of(outcome):
    return [(one.why, minute_of(one.at)) for asset in outcome.assets for one in asset.refusals]


def test_a_second_cycle_begins_when_the_first_one_is_sold():
    """105 is the target of the first; the other, given later, buys in the very same minute."""
    outcome = run(a_market(BTC, 100, 100, 105, 105), a_market(ETH, 50, 51, 52, 53),
                  max_open_cycles=1)  # fmt: skip
    assert orders_of(outcome) == [
        ("BTC", "base", 100, 0),
        ("BTC", "take_profit", 105, 2),
        ("ETH", "base", 52, 2),
    ]
    assert refusals_of(outcome) == [("MAX_OPEN_CYCLES=1 is reached", 0)]
    given_first = run(a_market(ETH, 50, 50, 51, 52), a_market(BTC, 90, 95, 96, 97),
                      max_open_cycles=1)  # fmt: skip
    assert [one[:1] + one[3:] for one in orders_of(given_first)] == [("ETH", 0)]


def test_a_cycle_that_is_open_goes_on_whatever_number_is_allowed():
    outcome = run(a_market(BTC, 100, 90), a_market(ETH, 50, 50), max_open_cycles=0)
    assert orders_of(outcome) == []
    outcome = run(a_market(BTC, 100, 90), a_market(ETH, 50, 50), max_open_cycles=1)
    assert orders_of(outcome) == [("BTC", "base", 100, 0), ("BTC", "safety", 90, 1)]


def test_a_day_buys_for_so_much_and_the_next_day_for_as_much_again():
    """100 + 50 are bought on the first day; the second safety order waits at 81 until midnight."""
    late = datetime(2026, 1, 1, 23, 57, tzinfo=UTC)
    outcome = run(a_market(BTC, 100, 90, 80, 79, 78, begin=late), max_buy_usd_per_day=D(199))
    assert [one[1:3] for one in orders_of(outcome)] == [
        ("base", 100),
        ("safety", 90),
        ("safety", 79),
    ]
    assert outcome.assets[0].entries[-1].ended_at == datetime(2026, 1, 2, tzinfo=UTC)
    enough = run(a_market(BTC, 100, 90, 80, begin=late), max_buy_usd_per_day=D(200))
    assert len(orders_of(enough)) == 3


def test_a_day_is_of_all_assets_together():
    outcome = run(a_market(BTC, 100, 100), a_market(ETH, 50, 50), max_buy_usd_per_day=D(199))
    assert orders_of(outcome) == [("BTC", "base", 100, 0)]


def test_a_position_costs_so_much_at_most_and_others_do_not_count():
    markets = a_market(BTC, 100, (100, 100, 70, 70)), a_market(ETH, 50, 50)
    outcome = run(*markets, max_position_usd=D(150))
    assert orders_of(outcome) == [
        ("BTC", "base", 100, 0),
        ("ETH", "base", 50, 0),
        ("BTC", "safety", 90, 1),
    ]
    assert refusals_of(outcome) == [("MAX_POSITION_USD=150 is reached", 1)]


@pytest.mark.parametrize("path", PathChoice)
def test_a_buy_that_is_kept_back_keeps_no_stop_loss_back_further_down_the_bar(path):
    """The safety order at 90 is refused; the stop loss of 15 % is at 85, not at the low of 80."""
    stop = {"stop_loss_percent": D(15)}
    bars = 100, (100, 100, 80, 80), 80
    outcome = run(a_market(BTC, *bars, **stop), max_position_usd=D(120), path=path)
    assert orders_of(outcome) == [("BTC", "base", 100, 0), ("BTC", "stop_loss", 85, 1)]
    for_lack_of_cash = run(a_market(BTC, *bars, **stop), cash=120, path=path)
    assert orders_of(for_lack_of_cash) == orders_of(outcome)


def test_while_what_is_held_would_lose_so_much_nothing_is_bought():
    """One coin at 100: at the close of 91 before, it loses 9; at 96 it loses 4."""
    markets = a_market(BTC, 100, 91, 91, 96, 96), a_market(ETH, 50, 50, 50.5, 51, 52, opens=[1],
                                                           start_mode=StartMode.MANUAL)  # fmt: skip
    outcome = run(*markets, max_open_loss_usd=D(5), max_loss_usd_per_day=D(1000))
    # In minute 1 the close of minute 0 counts, which was 100.
    assert orders_of(outcome) == [("BTC", "base", 100, 0), ("ETH", "base", 50, 1)]
    later = a_market(ETH, 50, 50, 50.5, 51, 52, opens=[2], start_mode=StartMode.MANUAL)
    outcome = run(markets[0], later, max_open_loss_usd=D(5))
    assert orders_of(outcome) == [("BTC", "base", 100, 0), ("ETH", "base", 52, 4)]
    assert refusals_of(outcome) == [("MAX_OPEN_LOSS_USD=5 is reached", 2)]


def test_its_own_loss_counts_at_the_price_of_the_buy_after_the_fees_of_both_sides():
    """1 coin at 100, 0.0025 of it is the fee: 0.9975 x 90 = 89.775 less 0.23 would lose 10.455."""
    bars = 100, (100, 100, 89, 89)
    just = run(a_market(BTC, *bars), fee="0.0025", max_open_loss_usd=D("10.455"))
    assert len(orders_of(just)) == 1
    above = run(a_market(BTC, *bars), fee="0.0025", max_open_loss_usd=D("10.456"))
    assert orders_of(above)[1] == ("BTC", "safety", 90, 1)


def test_after_so_much_was_lost_on_a_day_nothing_is_bought_until_the_next():
    late = datetime(2026, 1, 1, 23, 57, tzinfo=UTC)
    stop = {"stop_loss_percent": D(5), "stop_loss_action": StopLossAction.COOLDOWN}
    loser = a_market(BTC, 100, (100, 100, 94, 94), 94, 94, 94, begin=late, **stop)
    other = a_market(ETH, 50, 50, 50, 51, 52, begin=late, opens=[2], start_mode=StartMode.MANUAL)
    stopped = run(loser, other, max_loss_usd_per_day=D(5))
    [base] = stopped.assets[1].entries
    assert (base.filled_avg_price, base.ended_at) == (51, datetime(2026, 1, 2, tzinfo=UTC))
    less = run(loser, other, max_loss_usd_per_day=D("5.01"))
    assert [one.filled_avg_price for one in less.assets[1].entries] == [50]


def test_a_gain_of_the_same_day_makes_up_for_a_loss():
    """The first loses 5; the second earns 5 in minute 3: then the third may buy."""
    stop = {"stop_loss_percent": D(5), "stop_loss_action": StopLossAction.COOLDOWN}
    loser = a_market(BTC, 100, (100, 100, 94, 94), 94, 94, 94, **stop)
    winner = a_market(ETH, 50, 50, 50, 52.5, 52.5)
    third = a_market("LTC/USD", 10, 10, 11, 12, 12.5, opens=[2], start_mode=StartMode.MANUAL)
    outcome = run(loser, winner, third, max_loss_usd_per_day=D(5))
    assert orders_of(outcome)[-2:] == [
        ("ETH", "take_profit", D("52.5"), 3),
        ("LTC", "base", 12, 3),
    ]


def test_while_the_market_falls_nothing_is_bought():
    """Both fall by 10 % from minute 3 to minute 4, whose close counts with the open of minute 5:
    the guard sees it within that one, and the pause of three minutes holds for bars 6 and 7.
    """
    falls = 100, 100, 100, 100, 90.1, 89, 88, 87, 86, 85
    markets = a_market(BTC, *falls), a_market(ETH, *falls)
    free = [one[3] for one in orders_of(run(*markets)) if one[1] == "safety"]
    assert free == [5, 5]
    outcome = run(*markets, dump_pause_percent=D("9.5"), dump_pause_minutes=D(3))
    safety = [one for one in orders_of(outcome) if one[1] == "safety"]
    assert [one[2:] for one in safety] == [(86, 8), (86, 8)]
    assert refusals_of(outcome)[0][0] == "the market fell (DUMP_PAUSE_PERCENT)"
    alone = run(a_market(BTC, *falls), dump_pause_percent=D("9.5"))
    assert [one[2:] for one in orders_of(alone)][1] == (89, 5), "one asset is no market"


def test_a_guard_asked_where_it_may_matter_finds_what_one_asked_each_second_finds():
    for seed in range(6):
        chance, series = random.Random(seed), []
        for symbol in ("A", "B", "C")[: 2 + seed % 2]:
            at, price, times, bids = 0, 10_000, [], []
            for _ in range(300):
                at += chance.choice((0, 1, 1, 7, 40, 400 if seed % 3 else 9))
                price = max(100, price + chance.randint(-60, 60))
                times.append(at * 1_000_000 + 1_700_000_000_000_000 + chance.randrange(900_000))
                bids.append(price)
            columns = np.array(sorted(times)), np.array(bids, dtype=np.int64)
            series.append(bids_of_quotes(symbol, *columns, D("0.01")))
        found = find_dumps(D(2), series)
        assert found == every_second(D(2), series)
        assert found or seed % 3


def every_second(percent, series):
    detector, found = DumpDetector(percent), []
    first = min(int(one.at[0]) for one in series) // 1_000_000
    last = max(int(one.at[-1]) for one in series) // 1_000_000
    places = [0] * len(series)
    for second in range(first, last + 1):
        samples = []
        for number, one in enumerate(series):
            while places[number] < len(one.at) and one.at[places[number]] < second * 1_000_000:
                places[number] += 1
            if place := places[number]:
                sample = Sample(
                    symbol=one.symbol,
                    bid=float(one.bids[place - 1]),
                    quoted_at=int(one.at[place - 1]) / 1_000_000,
                )
                samples.append(sample)
        if detector.see(samples, second).is_dump:
            detector.forget()
            found.append(datetime.fromtimestamp(second, UTC))
    return found


def test_a_manual_start_waits_for_the_user_each_time():
    """Asked in minute 1, sold at 105 in minute 3; what is asked while it is open is refused."""
    market = a_market(BTC, 99, 100, 101, 105, 104, 103, 102, opens=[1, 2], cooldown_period=60,
                      start_mode=StartMode.MANUAL)  # fmt: skip
    outcome = run(market)
    assert orders_of(outcome) == [("BTC", "base", 100, 1), ("BTC", "take_profit", 105, 3)]
    [(why, minute)] = refusals_of(outcome)
    assert (why, minute) == ("the cycle of BTC/USD is open already: it bought 1 coins", 2)


def test_what_the_user_wants_opened_ends_a_cooldown():
    for mode in StartMode:
        opens = [0, 2.5] if mode is StartMode.MANUAL else [2.5]
        market = a_market(BTC, 100, 105, 104, 103, 102, opens=opens, start_mode=mode)
        assert orders_of(run(market))[2:] == [("BTC", "base", 103, 3)]


def wandering(seed, count):
    chance, prices = random.Random(seed), [100.0]
    while len(prices) < count:
        prices.append(round(prices[-1] * (1 + chance.gauss(0, 0.02)), 2))
    return [
        (one, round(max(one, to) * 1.002, 2), round(min(one, to) * 0.998, 2), to)
        for one, to in pairwise(prices)
    ]


@pytest.mark.parametrize("path", PathChoice)
def test_a_loss_is_asked_about_where_it_may_matter_as_if_it_were_at_each_price(path, monkeypatch):
    """Two or three assets, and limits that are reached now and then."""
    seldom = [run(*some_markets(seed), path=path, **LOSS_LIMITS[seed % 2]) for seed in range(8)]
    monkeypatch.setattr(
        SharedLimits, "_held_back_by_loss",
        lambda self, *_: HeldBack(self._describe("MAX_OPEN_LOSS_USD")),
    )  # fmt: skip
    each = [run(*some_markets(seed), path=path, **LOSS_LIMITS[seed % 2]) for seed in range(8)]
    assert [orders_of(one) for one in seldom] == [orders_of(one) for one in each]
    assert sum(len(orders_of(one)) for one in each) > 100
    assert any("MAX_OPEN_LOSS_USD" in why for one in each for why, _ in refusals_of(one))


LOSS_LIMITS = [{"max_open_loss_usd": D(6), "fee": "0.0025"}, {"max_open_loss_usd": D(25)}]


def some_markets(seed):
    return [
        a_market(symbol, *wandering(seed * 10 + number, 400), cooldown_period=120,
                 safety_order_deviation=D(3))
        for number, symbol in enumerate((BTC, ETH, "LTC/USD")[: 2 + seed % 2])
    ]  # fmt: skip


def test_limits_that_are_never_reached_change_nothing():
    prices = wandering(7, 600)
    markets = [
        a_market(symbol, *prices[shift:], cooldown_period=120)
        for symbol, shift in ((BTC, 0), (ETH, 7))
    ]
    far = {
        "max_buy_usd_per_day": D(10**9),
        "max_position_usd": D(10**9),
        "max_open_cycles": 9,
        "max_open_loss_usd": D(10**9),
        "max_loss_usd_per_day": D(10**9),
        "dump_pause_percent": D(90),
    }
    assert run(*markets, fee="0.0025", **far) == run(*markets, fee="0.0025")
    assert len(orders_of(run(*markets))) > 20
