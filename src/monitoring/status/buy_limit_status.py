"""The buy limits on buying and what of them is used. Pure.

A buy limit stops buys when the next one would exceed it, so it can hold before it is used up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from config import Settings
from domain.market import AssetRules
from domain.trading_state import TradingState
from strategy.ladder import compute_next_buy_usd
from trading.buy_limits import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyLimitStatus:
    """One buy limit: its setting, its limit, and what of it is used (None: cannot be told now).

    `holds`: the next buy, or for MAX_POSITION_USD that of some asset, would exceed it.
    """

    name: str
    limit: Decimal
    used: Decimal | None
    holds: bool = False


def buy_limit_statuses(
    settings: Settings,
    usage: Usage | None,
    states: Sequence[TradingState] | None,
    rules: Mapping[str, AssetRules],
) -> tuple[BuyLimitStatus, ...]:
    """Those that are set, as `BuyLimits` counts them. `rules` by symbol, as far as known."""

    def next_buy_usd(state: TradingState) -> Decimal:
        known = rules.get(state.asset.asset_symbol)
        return compute_next_buy_usd(state, known, settings.taker_fee_rate)

    if usage is None or states is None:
        limits = {
            "MAX_BUY_USD_PER_DAY": settings.max_buy_usd_per_day,
            "MAX_POSITION_USD": settings.max_position_usd,
            "MAX_OPEN_CYCLES": settings.max_open_cycles,
        }
        return tuple(
            BuyLimitStatus(name=name, limit=Decimal(limit), used=None)
            for name, limit in limits.items()
            if limit is not None
        )
    buyers = [state for state in states if state.asset.is_enabled and state.cycle.is_open]
    buy_limits = []
    if (limit := settings.max_buy_usd_per_day) is not None:
        used = usage.bought_today_usd + sum(usage.on_order_usd.values(), Decimal(0))
        least = min((next_buy_usd(state) for state in buyers), default=Decimal(0))
        holds = used + least > limit
        buy_limits.append(
            BuyLimitStatus(name="MAX_BUY_USD_PER_DAY", limit=limit, used=used, holds=holds)
        )
    if (limit := settings.max_position_usd) is not None:
        used = max((_invested_usd(state, usage) for state in states), default=Decimal(0))
        holds = any(_invested_usd(state, usage) + next_buy_usd(state) > limit for state in buyers)
        buy_limits.append(
            BuyLimitStatus(name="MAX_POSITION_USD", limit=limit, used=used, holds=holds)
        )
    if settings.max_open_cycles is not None:
        used, limit = Decimal(usage.open_cycles), Decimal(settings.max_open_cycles)
        buy_limits.append(
            BuyLimitStatus(name="MAX_OPEN_CYCLES", limit=limit, used=used, holds=used >= limit)
        )
    return tuple(buy_limits)


def _invested_usd(state: TradingState, usage: Usage) -> Decimal:
    """What stands in the asset: coins at what they cost, and its open buys."""
    cycle = state.cycle
    held_usd = cycle.quantity * cycle.average_purchase_price if cycle.is_open else Decimal(0)
    return held_usd + usage.on_order_usd.get(state.asset.asset_symbol, Decimal(0))
