"""Prices and settings for a sweep, made up: a day or a month of minutes that go up and down."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from operations.asset_input import build_asset, read_defaults
from research.backtest import Account, Entrant
from research.bars import PathChoice
from research.feed import make_feed
from research.market_rules import usual_rules
from research.months import SECOND_NS, Month
from research.result import hash_code
from research.series import Bars
from research.sweep_trial import Ground, SweptAsset

FEE = Decimal("0.25")


def made_up_bars(symbol: str, minutes: int, price: int = 30_000) -> Bars:
    """Up and down by 6 % twice a day, in cents."""
    at = np.arange(minutes, dtype=np.int64)
    middle = (price * 100 * (1 + 0.06 * np.sin(at / 360 * 2 * np.pi))).astype(np.int64)
    return Bars(
        symbol=symbol,
        places=2,
        at_ns=Month(2023, 6).begin_ns + at * 60 * SECOND_NS,
        bar_seconds=60,
        open=middle,
        high=middle + 100,
        low=middle - 100,
        close=middle,
    )


def make_ground(minutes: int = 2880) -> Ground:
    """BTC/USD with the defaults, two thirds of the prices as the earlier part."""
    series = made_up_bars("BTC/USD", minutes)
    feed = make_feed(
        series, (), ("a test",), spread_percent=Decimal("0.03"), max_jump_percent=Decimal(10)
    )
    asset = replace(build_asset("BTC/USD", read_defaults(FEE)), id=1)
    entrant = Entrant(
        asset=asset, known=usual_rules("BTC/USD", Decimal(10), Decimal(30_000)), feed=feed
    )
    account = Account(
        cash_usd=Decimal(120),
        fee_percent=FEE,
        max_spread_percent=Decimal(2),
        max_jump_percent=Decimal(10),
    )
    return Ground(
        key="a test",
        code=hash_code(),
        assets=(SweptAsset(entrant, minutes * 2 // 3),),
        account=account,
        has_cash=False,
        path=PathChoice.PESSIMISTIC,
    )


def some_settings(count: int) -> list[dict[str, Decimal]]:
    """So many configurations, all different."""
    return [
        {
            "safety_order_deviation": Decimal("0.5") + Decimal("0.1") * (number % 20),
            "take_profit_percent": Decimal("0.8") + Decimal("0.1") * (number // 20),
        }
        for number in range(count)
    ]
