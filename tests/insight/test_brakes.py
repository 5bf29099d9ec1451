"""The brakes as status shows them, and what counts as an open cycle."""

from __future__ import annotations

from decimal import Decimal

import pytest

from bot_parts import BotParts
from builders import build_asset, build_cycle, build_state
from buy_limits import BuyLimits, Usage
from config import load_settings
from insight.brake_look import look_at_brakes
from models.order_journal import Purpose
from models.trading_state import load_trading_state
from utils.db_utils import thread_connection

REQUIRED = dict.fromkeys(("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "DB_USER", "DB_NAME"), "x")


def usage(bought="0", on_order=None, open_cycles=0):
    return Usage(
        bought_today_usd=Decimal(bought),
        on_order_usd={symbol: Decimal(usd) for symbol, usd in (on_order or {}).items()},
        open_cycles=open_cycles,
    )


def held(quantity="0.001"):
    """Coins for 50 USD; the next safety order costs 50, a base order 100."""
    return build_state(build_asset(), build_cycle(quantity=Decimal(quantity)))


@pytest.mark.parametrize(
    ("setting", "spent", "state", "used", "holds"),
    [
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("350"), held(), "350", False),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("450"), held(), "450", False),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("451"), held(), "451", True),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("400", {"BTC/USD": "90"}), held(), "490", True),
        ({"MAX_BUY_USD_PER_DAY": "500"}, usage("450"), build_state(), "450", True),
        ({"MAX_POSITION_USD": "100"}, usage(), held(), "50", False),
        ({"MAX_POSITION_USD": "99"}, usage(), held(), "50", True),
        ({"MAX_OPEN_CYCLES": "2"}, usage(open_cycles=1), held(), "1", False),
        ({"MAX_OPEN_CYCLES": "2"}, usage(open_cycles=2), held(), "2", True),
    ],
)
def test_a_brake_holds_when_the_next_buy_would_exceed_it(setting, spent, state, used, holds):
    [brake] = look_at_brakes(load_settings(REQUIRED | setting), spent, [state])
    assert (brake.used, brake.holds) == (Decimal(used), holds)


def test_a_brake_that_cannot_be_counted_is_shown_without_figures():
    settings = load_settings(REQUIRED | {"MAX_OPEN_CYCLES": "2", "MAX_BUY_USD_PER_DAY": "5"})
    assert [brake.used for brake in look_at_brakes(settings, None, None)] == [None, None]


async def test_a_buy_that_no_cycle_shows_yet_counts_as_an_open_cycle(
    bot_environment, exchange, db_conn, start, monkeypatch
):
    """Three assets see their first quote in the same second."""
    monkeypatch.setenv("MAX_OPEN_CYCLES", "1")
    from config import get_settings, reset_settings

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
