"""The limits of the whole account: which of them a buy would exceed, or the losses have reached.
They stop buys, never a sale. Pure: what is counted is an argument, live from the database and the
exchange, in a replay from its journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal

from domain.journal import Purpose
from domain.trading_state import TradingState

OPEN_LOSS, LOSS_PER_DAY = "MAX_OPEN_LOSS_USD", "MAX_LOSS_USD_PER_DAY"


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """The settings of these names; None: no limit."""

    max_buy_usd_per_day: Decimal | None = None
    max_position_usd: Decimal | None = None
    max_open_cycles: int | None = None
    max_open_loss_usd: Decimal | None = None
    max_loss_usd_per_day: Decimal | None = None
    dump_pause_percent: Decimal | None = None
    dump_pause_minutes: Decimal = Decimal(30)

    @classmethod
    def of(cls, settings: object) -> AccountLimits:
        """Those of `settings` (config.Settings), which has an attribute for each."""
        return cls(**{spec.name: getattr(settings, spec.name) for spec in fields(cls)})

    @property
    def set_ones(self) -> dict[str, Decimal | int]:
        """By the name of their setting; the minutes of a pause count as none of their own."""
        names = [spec.name for spec in fields(self) if spec.name != "dump_pause_minutes"]
        values = {name.upper(): getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}

    @property
    def of_losses(self) -> dict[str, Decimal]:
        """USD, by the name of their setting."""
        limits = {OPEN_LOSS: self.max_open_loss_usd, LOSS_PER_DAY: self.max_loss_usd_per_day}
        return {name: limit for name, limit in limits.items() if limit is not None}


NO_LIMITS = AccountLimits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What the buy limits count. `on_order_usd`, by symbol, is not yet in the journal."""

    bought_today_usd: Decimal
    on_order_usd: Mapping[str, Decimal]
    open_symbols: frozenset[str]  # of these something can be sold, or a buy was sent

    @property
    def open_cycles(self) -> int:
        return len(self.open_symbols)


def start_of_day(now: datetime) -> datetime:
    """Midnight UTC, from which a day's buys and losses count."""
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def find_exceeded(
    limits: AccountLimits,
    usage: Usage,
    state: TradingState,
    purpose: Purpose,
    amount_usd: Decimal,
) -> str | None:
    """The name of the buy limit that this buy would exceed."""
    limit = limits.max_buy_usd_per_day
    on_order_usd = sum(usage.on_order_usd.values(), Decimal(0))
    if limit is not None and usage.bought_today_usd + on_order_usd + amount_usd > limit:
        return "MAX_BUY_USD_PER_DAY"
    cycle, limit = state.cycle, limits.max_position_usd
    invested_usd = cycle.quantity * cycle.average_purchase_price
    invested_usd += usage.on_order_usd.get(state.asset.asset_symbol, Decimal(0))
    if limit is not None and invested_usd + amount_usd > limit:
        return "MAX_POSITION_USD"
    most = limits.max_open_cycles
    others = usage.open_symbols - {state.asset.asset_symbol}
    if most is not None and purpose is Purpose.BASE and len(others) >= most:
        return "MAX_OPEN_CYCLES"
    return None


def find_reached(limits: AccountLimits, losses: Mapping[str, Decimal]) -> dict[str, Decimal]:
    """Of these losses in USD, by the name of their setting, those that are as large as their
    limit.
    """
    of_losses = limits.of_losses
    return {name: loss_usd for name, loss_usd in losses.items() if loss_usd >= of_losses[name]}
