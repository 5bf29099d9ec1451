"""The buy limits as status shows them, and what counts as an open cycle."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BotParts
from builders import NOW, build_asset, build_cycle, build_rules, build_state
from cli.money_lines import buy_limit_words
from config import get_settings, load_settings, reset_settings
from domain.journal import Purpose
from models.meta import put_meta
from models.trading_state import load_trading_state
from monitoring.status.buy_limit_status import buy_limit_statuses, loss_limit_statuses
from monitoring.status.status import StatusReader
from strategy.limits import Usage
from trading.buy_limits import BuyLimits
from utils.db_utils import thread_connection

REQUIRED = dict.fromkeys(("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "DB_USER", "DB_NAME"), "x")
RULES = {"BTC/USD": build_rules()}


def usage(bought="0", on_order=None, open_cycles=0):
    return Usage(
        bought_today_usd=Decimal(bought),
        on_order_usd={symbol: Decimal(usd) for symbol, usd in (on_order or {}).items()},
        open_symbols=frozenset(f"COIN{number}/USD" for number in range(open_cycles)),
    )


def held(quantity="0.001"):
    """Coins for 50 USD; the next safety order costs 50, a base order 100."""
    return build_state(build_asset(), build_cycle(quantity=Decimal(quantity)))


DUST_STATE = held("0.0001")  # 5 USD that cannot be sold: a base order comes next
USED_UP_STATE = replace(held(), asset=build_asset(max_safety_orders=0))


@pytest.mark.parametrize(
    ("setting", "spent", "state", "used", "holds"),
    [
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("350"), held(), "350", False),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("450"), held(), "450", False),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("451"), held(), "451", True),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("400", {"BTC/USD": "90"}), held(), "490", True),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("450"), build_state(), "450", True),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("400"), DUST_STATE, "400", False),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("401"), DUST_STATE, "401", True),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("450"), USED_UP_STATE, "450", False),
        ({"MAX_POSITION_USD": "100"}, usage(), held(), "50", False),
        ({"MAX_POSITION_USD": "104"}, usage(), DUST_STATE, "5", True),
        ({"MAX_POSITION_USD": "105"}, usage(), DUST_STATE, "5", False),
        ({"MAX_POSITION_USD": "99"}, usage(), held(), "50", True),
        ({"MAX_OPEN_CYCLES": "2"}, usage(open_cycles=1), held(), "1", False),
        ({"MAX_OPEN_CYCLES": "2"}, usage(open_cycles=2), held(), "2", True),
    ],
)
def test_a_brake_holds_when_the_next_buy_would_exceed_it(setting, spent, state, used, holds):
    [buy_limit] = buy_limit_statuses(load_settings(REQUIRED | setting), spent, [state], RULES)
    assert (buy_limit.used, buy_limit.holds) == (Decimal(used), holds)


def test_without_rules_any_coins_wait_for_a_safety_order_as_the_brake_itself_counts_them():
    settings = load_settings(REQUIRED | {"MAX_BUY_USD_PER_DAY": "500"})
    [buy_limit] = buy_limit_statuses(settings, usage("450"), [DUST_STATE], {})
    assert not buy_limit.holds


def test_a_brake_that_cannot_be_counted_is_shown_without_figures():
    settings = load_settings(REQUIRED | {"MAX_OPEN_CYCLES": "2", "MAX_BUY_USD_PER_DAY": "5"})
    assert [buy_limit.used for buy_limit in buy_limit_statuses(settings, None, None, {})] == [
        None,
        None,
    ]


async def test_a_buy_that_no_cycle_shows_yet_counts_as_an_open_cycle(
    bot_environment, exchange, db_conn, start, monkeypatch
):
    """Three assets see their first quote in the same second."""
    monkeypatch.setenv("MAX_OPEN_CYCLES", "1")
    reset_settings()
    start("watching")
    start("watching", symbol="ETH/USD")
    parts = BotParts(get_settings(), exchange)
    limits: BuyLimits = parts.limits
    limits.sent("dca-1-a1b2c3d4-0", "BTC/USD", Decimal(100))
    state = load_trading_state(thread_connection(), "ETH/USD")
    assert limits.load_usage().open_cycles == 1
    blocked = limits.why_no_buys(state, Purpose.BASE, Decimal(100))
    assert "MAX_OPEN_CYCLES=1 is reached" in blocked.reason
    await parts.market.stop()


@pytest.fixture
async def one_cycle(bot_environment, exchange, db_conn, monkeypatch):
    """A bot that may have one open cycle."""
    monkeypatch.setenv("MAX_OPEN_CYCLES", "1")
    reset_settings()
    parts = BotParts(get_settings(), exchange)
    yield parts
    await parts.market.stop()


DUST = {"quantity": Decimal("0.000000001"), "average_purchase_price": Decimal(50000)}
COINS = DUST | {"quantity": Decimal("0.002")}


def why_no_base_order(parts, symbol):
    state = load_trading_state(thread_connection(), symbol)
    block = parts.limits.why_no_buys(state, Purpose.BASE, Decimal(100))
    return block and block.reason


async def test_dust_is_no_open_cycle_and_keeps_no_asset_from_buying(one_cycle, start):
    """A base order that was filled to a few dust coins is bought again, and others may buy, too."""
    start("watching", **DUST)
    start("watching", symbol="ETH/USD")
    for symbol in ("BTC/USD", "ETH/USD"):
        assert why_no_base_order(one_cycle, symbol) is None
    assert one_cycle.limits.load_usage().open_cycles == 0


async def test_an_asset_never_stands_in_its_own_way(one_cycle, start):
    start("watching", **COINS)
    start("watching", symbol="ETH/USD")
    assert why_no_base_order(one_cycle, "BTC/USD") is None
    assert "MAX_OPEN_CYCLES=1 is reached" in why_no_base_order(one_cycle, "ETH/USD")


async def test_a_base_order_that_was_filled_to_dust_is_bought_again_under_the_brake(
    one_cycle, start, exchange
):
    start("watching", **DUST)
    await one_cycle.see(one_cycle.quote_both(50000, 50000))
    [order] = one_cycle.orders()
    assert order.symbol == "BTC/USD"


async def test_coins_of_a_symbol_that_alpaca_knows_no_more_count(one_cycle, start, make_asset):
    start("watching", symbol="NOSUCH/USD", coins="", **DUST)
    start("watching")
    assert "MAX_OPEN_CYCLES=1 is reached" in why_no_base_order(one_cycle, "BTC/USD")


async def test_status_counts_as_the_brake_does(one_cycle, start, settings):
    start("watching", **DUST)
    start("watching", symbol="ETH/USD", quantity=Decimal("0.1"))
    [buy_limit] = StatusReader(get_settings()).load().buy_limits
    assert (buy_limit.name, buy_limit.used) == ("MAX_OPEN_CYCLES", Decimal(1))


# The limits on losses and the dump guard.

LOSS_LIMITS = {
    "MAX_OPEN_LOSS_USD": "10",
    "MAX_LOSS_USD_PER_DAY": "5",
    "DUMP_PAUSE_PERCENT": "5.0",
}
KNOWN = {
    "unrealised_usd": Decimal("-9.99"),
    "realised_today_usd": Decimal(7),
    "assets_fallen": 1,
    "assets_needed": 3,
    "paused_until": None,
}


@pytest.mark.parametrize(
    ("facts", "used", "holds"),
    [
        ({}, ["9.99", "0", "1"], [False, False, False]),
        ({"unrealised_usd": Decimal(-10)}, ["10", "0", "1"], [True, False, False]),
        ({"realised_today_usd": Decimal("-5.01")}, ["9.99", "5.01", "1"], [False, True, False]),
        ({"paused_until": NOW, "assets_fallen": 0}, ["9.99", "0", "0"], [False, False, True]),
        (dict.fromkeys(KNOWN), [None, None, None], [False, False, False]),
    ],
)
def test_what_is_used_of_each_limit_on_losses(facts, used, holds):
    found = loss_limit_statuses(load_settings(REQUIRED | LOSS_LIMITS), **KNOWN | facts)
    assert [one.name for one in found] == list(LOSS_LIMITS)
    assert [one.used for one in found] == [text and Decimal(text) for text in used]
    assert [one.holds for one in found] == holds
    assert loss_limit_statuses(load_settings(REQUIRED), **KNOWN) == ()


def test_status_shows_the_figures_that_the_limits_count(
    bot_environment, exchange, db_conn, start, monkeypatch, capsys
):
    for name, value in LOSS_LIMITS.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    held = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
    start("watching", **held)
    exchange.push_quote("BTC/USD", 45000, 45001)
    put_meta(db_conn, "dump_pause_until", (datetime.now(UTC) + timedelta(minutes=5)).isoformat())
    parts = BotParts(get_settings(), exchange)
    status = StatusReader(get_settings()).load()
    open_loss, day, guard = status.buy_limits
    assert parts.limits.losses.load_losses() == {
        "MAX_OPEN_LOSS_USD": open_loss.used,
        "MAX_LOSS_USD_PER_DAY": day.used,
    }
    assert (open_loss.used, open_loss.holds, guard.holds) == (Decimal("10.455"), True, True)
    words = buy_limit_words(status).plain
    assert "MAX_OPEN_LOSS_USD: 10.46 of 10 USD used, stops the next buy" in words
    assert "MAX_LOSS_USD_PER_DAY: 0.00 of 5 USD used;" in words
    assert (
        f"DUMP_PAUSE_PERCENT: ? assets 5 % down (2 pause buys), stops buys until {guard.until:%H:}"
        in words
    )
