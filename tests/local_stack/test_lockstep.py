"""The replay does what the real bot does, order by order and to the last digit: recordings through
the daemon's handlers, a real database and the local exchange, and through research.simulate.
"""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from config import get_settings
from domain.asset import DcaAsset, SafetyOrderReference, StartMode, StopLossAction
from fixtures_bot import exchange_of_bot
from local_stack.exchange_process import ExchangeProcess
from local_stack.lockstep.run import Market, verify
from paper_exchange.core.assets import DEFAULT_ASSETS, Asset
from research.quotes import Quotes
from utils.db_utils import execute_query, thread_connection

D = Decimal
BEGIN = datetime(2021, 7, 1, tzinfo=UTC)
BEGIN_MICROS = int(BEGIN.timestamp()) * 1_000_000


# Coarse coins: what an order costs depends on the price.
WHOLE = Asset("WHOLE/USD", "Whole coins", D(1), D(1), D("0.01"))
ASSETS = (*DEFAULT_ASSETS, WHOLE)


@pytest.fixture
def local(bot_environment, db_conn, monkeypatch, tmp_path):
    """The local exchange as lockstep is given it, over sockets, without delays and limits."""
    with exchange_of_bot(
        bot_environment, monkeypatch, latency_seconds=0, rate_limit_per_minute=0, assets=ASSETS
    ) as running:
        process = ExchangeProcess(tmp_path, key="local-key", secret="local-secret")
        process.urls = running.urls.as_dict()
        yield process


def an_asset(symbol="BTC/USD", **columns):
    values = {
        "id": 1,
        "asset_symbol": symbol,
        "is_enabled": True,
        "base_order_amount": D(100),
        "safety_order_amount": D("50.05"),
        "max_safety_orders": 4,
        "safety_order_deviation": D("1.5"),
        "take_profit_percent": D("1.2"),
        "cooldown_period": 30,
    }
    return DcaAsset(**values | columns)


def wandering(seed, *, count=3000, start=63613.46, places=2, percent=0.3, seconds=(1,), begin=0):
    """Quotes so many seconds apart that wander around `start`; now and then one is a spike, or has
    a bid that makes its spread too wide. The first comes `begin` seconds after midnight.
    """
    chance, away, at, rows = random.Random(seed), 0.0, 0, []
    for _ in range(count):
        away = away * 0.997 + chance.gauss(0, percent / 100)
        ask = start * (1 + away)
        bid = ask * (1 - chance.choice((0.0001, 0.0005, 0.002)))
        match chance.randrange(100):
            case 0:
                bid *= 0.96
            case 1:
                bid, ask = bid * 0.8, ask * 0.8
        at += chance.choice(seconds) * 1_000_000
        rows.append((at, int(bid * 10**places), int(ask * 10**places) + 1))
    times, bids, asks = np.array(rows, dtype=np.int64).T
    return Quotes(times + BEGIN_MICROS + begin * 1_000_000, bids, asks, D(1).scaleb(-places))


ON = {"stop_loss_action": StopLossAction.COOLDOWN}
OPTIONS = {
    "plain": {},
    "no safety orders": {"max_safety_orders": 0},
    "volume scale": {"safety_order_volume_scale": D("1.5")},
    "step scale": {"safety_order_step_scale": D("0.7"), "max_safety_orders": 7},
    "both scales": {
        "safety_order_volume_scale": D("0.9"), "safety_order_step_scale": D("1.35"),
        "safety_order_deviation": D("0.8"),
    },
    "below the base order": {"safety_order_reference": SafetyOrderReference.BASE_ORDER},
    "scaled below the base order": {
        "safety_order_reference": SafetyOrderReference.BASE_ORDER,
        "safety_order_volume_scale": D("1.3"), "safety_order_step_scale": D("1.2"),
    },
    "early restart": {"buy_order_price_deviation_percent": D("0.5"), "cooldown_period": 600},
    "no cooldown": {"cooldown_period": 0},
    "fee-aware": {"take_profit_fee_percent": D("0.25")},
    "trailing": {"trailing_take_profit_percent": D("0.4")},
    "trailing far": {"trailing_take_profit_percent": D("1.5"), "cooldown_period": 0},
    "stop loss": {"stop_loss_percent": D("1.3"), **ON},
    "stop loss that disables": {"stop_loss_percent": D("4")},
    "stop loss after seconds": {"stop_loss_percent": D("1.3"), "stop_loss_seconds": 7, **ON},
    "trailing and stop loss": {
        "trailing_take_profit_percent": D("0.3"), "stop_loss_percent": D("2"),
        "stop_loss_seconds": 3, **ON,
    },
    "early restart after a stop loss": {
        "stop_loss_percent": D("1"), "buy_order_price_deviation_percent": D("0.5"),
        "cooldown_period": 300, **ON,
    },
    "highest entry": {"max_entry_price": D("63600.123")},
}  # fmt: skip


@pytest.mark.parametrize("option", OPTIONS)
def test_the_replay_does_what_the_bot_does(local, option):
    market = Market(asset=an_asset(**OPTIONS[option]), quotes=wandering(option))
    verdict = verify(get_settings(), local, [market])
    assert verdict.difference is None
    assert verdict.orders > 5, "a market in which nothing happens proves nothing"


def begin_anew(local, cash_usd):
    """An empty database and an account without coins."""
    for table in ("dca_cycles", "dca_assets", "dca_orders"):
        execute_query(f"DELETE FROM {table}", commit=True, db_conn=thread_connection())
    for symbol in local.state()["balances"]["coins"]:
        local.control("balance", unit=symbol, set="0")
    local.control("balance", unit="USD", set=cash_usd)


# Symbol, where its price begins, the places of its quotes.
COINS = [
    ("BTC/USD", 63613.46, 2),
    ("ETH/USD", 2617.3, 2),
    ("DOGE/USD", 0.12345, 6),
    ("WHOLE/USD", 20.01, 2),
]
CHOICES = {
    "max_safety_orders": [0, 1, 5],
    "safety_order_deviation": [D("0.4"), D("1.7")],
    "take_profit_percent": [D("0.3"), D("1.1")],
    "cooldown_period": [0, 7, 60],
    "buy_order_price_deviation_percent": [None, D("0.7")],
    "take_profit_fee_percent": [None, D("0.25")],
    "safety_order_volume_scale": [D(1), D("1.4")],
    "safety_order_step_scale": [D(1), D("0.8"), D("1.3")],
    "safety_order_reference": list(SafetyOrderReference),
    "trailing_take_profit_percent": [None, D("0.2"), D("0.9")],
    "stop_loss_percent": [None, D("0.8"), D("3")],
    "stop_loss_seconds": [0, 2, 20],
    "stop_loss_action": [StopLossAction.COOLDOWN],
    "max_entry_price": [None],
    "start_mode": [StartMode.AT_ONCE, StartMode.AT_ONCE, StartMode.MANUAL],
}
LIMITS = {
    "max_buy_usd_per_day": [None, None, D(160), D("410.5")],
    "max_position_usd": [None, None, D("155.1")],
    "max_open_cycles": [None, None, 1, 2],
    "max_open_loss_usd": [None, None, D("0.9"), D("2.5")],
    "max_loss_usd_per_day": [None, None, D("0.7"), D("2.1")],
    "dump_pause_percent": [None, None, D("0.8"), D(2)],
    "dump_pause_minutes": [D("0.1"), D("1.5")],
}


def drawn(choices):
    return st.fixed_dictionaries({name: st.sampled_from(few) for name, few in choices.items()})


def seconds_of(opens, begin):
    return tuple(BEGIN + timedelta(seconds=begin + one) for one in opens)


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # each example takes seconds
)
@given(
    seed=st.integers(0, 10**6),
    coins=st.lists(st.sampled_from(COINS), min_size=1, max_size=3, unique=True),
    percent=st.sampled_from([0.15, 0.5]),
    seconds=st.sampled_from([(1,), (0, 1, 5), (2, 30)]),
    columns=st.lists(drawn(CHOICES), min_size=3, max_size=3),
    opens=st.lists(st.lists(st.integers(0, 600), max_size=4), min_size=3, max_size=3),
    cash=st.sampled_from(["100000", "185", "420"]),
    limits=drawn(LIMITS),
    begin=st.sampled_from([0, 86_400 - 150]),
)
def test_on_random_markets_with_every_option_and_limit(
    local, seed, coins, percent, seconds, columns, opens, cash, limits, begin
):
    """Up to three assets share the cash; a day may end meanwhile, and the user opens cycles."""
    markets = []
    for number, (symbol, start, places) in enumerate(coins):
        quotes = wandering(
            seed + number, count=300 // len(coins), start=start, places=places, percent=percent,
            seconds=seconds, begin=begin,
        )  # fmt: skip
        own = seconds_of(opens[number], begin)
        markets.append(Market(asset=an_asset(symbol, **columns[number]), quotes=quotes, opens=own))
    begin_anew(local, cash)
    verdict = verify(replace(get_settings(), **limits), local, markets)
    assert verdict.difference is None


def quotes_of(*rows):
    """Rows of seconds, bid, ask."""
    times, bids, asks = np.array(rows, dtype=np.int64).T
    return Quotes(times * 1_000_000 + BEGIN_MICROS, bids * 100, asks * 100, D("0.01"))


def test_cash_that_another_asset_brings_buys_at_a_later_price_not_at_an_earlier_one(local):
    begin_anew(local, "150")
    eth = quotes_of((0, 1999, 2000), (1, 1999, 2000), (5, 2100, 2101), (9, 2100, 2101))
    btc = quotes_of((2, 59000, 59001), (3, 59002, 59003), (7, 59004, 59005))
    markets = [
        Market(asset=an_asset("ETH/USD", cooldown_period=600), quotes=eth),
        Market(asset=an_asset("BTC/USD"), quotes=btc),
    ]
    verdict = verify(get_settings(), local, markets)
    assert verdict.difference is None
    assert verdict.orders == 3


def test_what_the_account_cannot_pay_is_tried_again_where_the_price_makes_it_cheaper(local):
    """Three whole coins cost 294 USD at 98 and 273 at 91; 280 are left after the base order."""
    begin_anew(local, "580")
    columns = {"base_order_amount": D(300), "safety_order_amount": D(310)}
    quotes = quotes_of((0, 99, 100), (1, 97, 98), (2, 90, 91))
    market = Market(asset=an_asset("WHOLE/USD", **columns), quotes=quotes)
    verdict = verify(get_settings(), local, [market])
    assert verdict.difference is None
    assert verdict.orders == 2


def test_a_difference_is_found_and_shown_from_both_sides(local):
    """An exchange that lost a cent of the cash: the last thing that is compared."""
    begin_anew(local, "1000")
    real = local.state

    def a_cent_less():
        state = real()
        if state["balances"]["coins"]:
            state["balances"]["cash"] = str(D(state["balances"]["cash"]) - D("0.01"))
        return state

    local.state = a_cent_less
    market = Market(asset=an_asset("ETH/USD"), quotes=quotes_of((0, 1999, 2000)))
    found = verify(get_settings(), local, [market]).difference
    assert (found.what, found.names) == ("asset at the end, 1", ("cash_usd",))
    assert found.replay.cash_usd - found.bot.cash_usd == D("0.01")
