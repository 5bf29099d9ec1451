"""The buy limits and what of them is used. Pure.

A buy limit stops buys when the next one would exceed it, so it can hold before it is used up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from config import Settings
from domain.market import AssetRules
from domain.trading_state import TradingState
from strategy.dump import MIN_ASSETS
from strategy.ladder import compute_next_buy_usd
from strategy.limits import LOSS_PER_DAY, OPEN_LOSS, Usage
from strategy.losses import loss_of
from trading.dump_guard import SETTING as DUMP


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyLimitStatus:
    """One buy limit: its setting, its limit, and what of it is used (None: not known now).

    `holds`: the next buy, or for MAX_POSITION_USD that of some asset, would exceed it. `unit`: of
    both figures. `until`: a pause of buys ends then.
    """

    name: str
    limit: Decimal
    used: Decimal | None
    holds: bool = False
    unit: str = "USD"
    until: datetime | None = None


def buy_limit_statuses(
    settings: Settings,
    usage: Usage | None,
    states: Sequence[TradingState] | None,
    rules: Mapping[str, AssetRules],
) -> tuple[BuyLimitStatus, ...]:
    """Those that are set, as `BuyLimits` counts them. `rules` by symbol, as far as known."""
    limits = {
        "MAX_BUY_USD_PER_DAY": settings.max_buy_usd_per_day,
        "MAX_POSITION_USD": settings.max_position_usd,
        "MAX_OPEN_CYCLES": settings.max_open_cycles,
    }
    used: dict[str, tuple[Decimal, Decimal]] = {}
    if usage is not None and states is not None:
        used = _compute_used(usage, states, rules, settings.taker_fee_rate)
    statuses = []
    for name, limit in limits.items():
        if limit is not None:
            now, then = used.get(name, (None, Decimal(0)))
            unit = "" if name == "MAX_OPEN_CYCLES" else "USD"
            one = BuyLimitStatus(
                name=name, limit=Decimal(limit), used=now, holds=then > limit, unit=unit
            )
            statuses.append(one)
    return tuple(statuses)


def loss_limit_statuses(
    settings: Settings,
    *,
    unrealised_usd: Decimal | None,
    realised_today_usd: Decimal | None,
    assets_fallen: int | None,
    assets_needed: int | None,
    paused_until: datetime | None,
) -> tuple[BuyLimitStatus, ...]:
    """The limits on losses and the dump guard, as far as they are set. What is None is not known.

    Args:
        assets_fallen, assets_needed: as the daemon's dump guard counts them.
        paused_until: when the pause ends that a fall began, if one is under way.
    """
    statuses = []
    for name, limit, result_usd in (
        (OPEN_LOSS, settings.max_open_loss_usd, unrealised_usd),
        (LOSS_PER_DAY, settings.max_loss_usd_per_day, realised_today_usd),
    ):
        if limit is not None:
            used = None if result_usd is None else loss_of(result_usd)
            holds = used is not None and used >= limit
            statuses.append(BuyLimitStatus(name=name, limit=limit, used=used, holds=holds))
    if settings.dump_pause_percent is not None:
        percent = f"{settings.dump_pause_percent.normalize():f}"
        statuses.append(
            BuyLimitStatus(
                name=DUMP,
                limit=Decimal(MIN_ASSETS if assets_needed is None else assets_needed),
                used=None if assets_fallen is None else Decimal(assets_fallen),
                holds=paused_until is not None,
                unit=f"assets {percent} % down",
                until=paused_until,
            )
        )
    return tuple(statuses)


def _compute_used(
    usage: Usage,
    states: Sequence[TradingState],
    rules: Mapping[str, AssetRules],
    fee_rate: Decimal,
) -> dict[str, tuple[Decimal, Decimal]]:
    """What is used of each limit, and what would be after the next buy."""
    zero = Decimal(0)
    invested = {state.asset.asset_symbol: _invested_usd(state, usage) for state in states}
    next_usd = {
        symbol: compute_next_buy_usd(state, rules.get(symbol), fee_rate)
        for symbol, state in ((state.asset.asset_symbol, state) for state in states)
        if state.asset.is_enabled and state.cycle.is_open
    }
    today = usage.bought_today_usd + sum(usage.on_order_usd.values(), zero)
    cycles = Decimal(usage.open_cycles)
    position = max((invested[symbol] + usd for symbol, usd in next_usd.items()), default=zero)
    return {
        "MAX_BUY_USD_PER_DAY": (today, today + min(next_usd.values(), default=zero)),
        "MAX_POSITION_USD": (max(invested.values(), default=zero), position),
        "MAX_OPEN_CYCLES": (cycles, cycles + 1),
    }


def _invested_usd(state: TradingState, usage: Usage) -> Decimal:
    """What stands in the asset: coins at what they cost, and its open buys."""
    cycle = state.cycle
    held_usd = cycle.quantity * cycle.average_purchase_price if cycle.is_open else Decimal(0)
    return held_usd + usage.on_order_usd.get(state.asset.asset_symbol, Decimal(0))
