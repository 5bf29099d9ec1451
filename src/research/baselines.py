"""What the same money would have become without a strategy: bought at once, or week by week. Pure.

Same spread, same fees, same steps of the coin. Nothing is sold: coins count at the last bid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal, localcontext

import numpy as np

from domain.market import AssetRules
from research.equity import Change
from research.feed import PriceLine
from research.months import SECOND_NS
from strategy.fees import compute_coin_fee
from strategy.sizing import WIDE, round_to_increment

WEEK_NS = 7 * 24 * 3600 * SECOND_NS


@dataclass(frozen=True, slots=True, kw_only=True)
class Purchase:
    """Money for one asset, to be spent at the asks of its line."""

    line: PriceLine
    rules: AssetRules
    usd: Decimal


@dataclass(frozen=True, slots=True)
class Purchases:
    """What was bought, and its fees at the price that was paid."""

    changes: tuple[Change, ...]
    fees_usd: Decimal


def buy_at_once(wanted: Sequence[Purchase], fee_rate: Decimal) -> Purchases:
    """All of it at the first price of each asset."""
    return _buy([(one, 0, one.usd) for one in wanted], fee_rate)


def buy_weekly(wanted: Sequence[Purchase], fee_rate: Decimal) -> Purchases:
    """In equal parts, at the first price of each week since the first one of the asset. In a week
    without prices nothing is bought: its part stays cash.
    """
    parts = []
    for one in wanted:
        times = one.line.at_ns
        weeks = np.arange(int(times[0]), one.line.end_ns, WEEK_NS)
        usd = one.usd / len(weeks)
        places = np.searchsorted(times, weeks).tolist()
        following = [*weeks[1:].tolist(), one.line.end_ns]
        for place, end_ns in zip(places, following, strict=True):
            if place < len(times) and times[place] < end_ns:
                parts.append((one, place, usd))
    return _buy(parts, fee_rate)


def _buy(parts: Sequence[tuple[Purchase, int, Decimal]], fee_rate: Decimal) -> Purchases:
    changes, fees_usd = [], Decimal(0)
    for one, place, usd in parts:
        ask = one.line.ask(place)
        with localcontext(WIDE):
            # Down: never more than the money.
            qty = round_to_increment(usd / ask, one.rules.min_trade_increment, ROUND_FLOOR)
        fee = compute_coin_fee(qty, fee_rate)
        fees_usd += fee * ask
        at_ns = int(one.line.at_ns[place])
        changes.append(Change(at_ns, one.line.symbol, -qty * ask, qty - fee))
    return Purchases(tuple(changes), fees_usd)
