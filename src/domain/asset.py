"""What to trade and how: a row of `dca_assets`. A frozen record; no I/O."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.records import Record
from domain.rows import Row, utc_from_db


class SafetyOrderReference(StrEnum):
    """What the deviations of safety orders are below."""

    LAST_FILL = "last_fill"
    BASE_ORDER = "base_order"


class StopLossAction(StrEnum):
    """What follows a stop loss."""

    DISABLE = "disable"
    COOLDOWN = "cooldown"


class StartMode(StrEnum):
    """When a cycle's base order comes: at the next price, or when the user says so."""

    AT_ONCE = "at_once"
    MANUAL = "manual"


class DcaAsset(Record, frozen=True, kw_only=True):
    """One row of `dca_assets`.

    Amounts and prices in USD, deviations and percents in percent, `cooldown_period` in seconds,
    scales as factors.
    """

    id: int
    asset_symbol: str
    is_enabled: bool
    base_order_amount: Decimal
    safety_order_amount: Decimal
    max_safety_orders: int
    safety_order_deviation: Decimal
    take_profit_percent: Decimal
    cooldown_period: int
    buy_order_price_deviation_percent: Decimal | None = None
    last_sell_price: Decimal | None = None
    take_profit_fee_percent: Decimal | None = None
    safety_order_volume_scale: Decimal = Decimal(1)
    safety_order_step_scale: Decimal = Decimal(1)
    safety_order_reference: SafetyOrderReference = SafetyOrderReference.LAST_FILL
    trailing_take_profit_percent: Decimal | None = None
    stop_loss_percent: Decimal | None = None
    stop_loss_seconds: int = 0
    stop_loss_action: StopLossAction = StopLossAction.DISABLE
    start_mode: StartMode = StartMode.AT_ONCE
    max_entry_price: Decimal | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Row) -> DcaAsset:
        known = {name: row[name] for name in COLUMNS}
        known["is_enabled"] = bool(known["is_enabled"])
        known["safety_order_reference"] = SafetyOrderReference(known["safety_order_reference"])
        known["stop_loss_action"] = StopLossAction(known["stop_loss_action"])
        known["start_mode"] = StartMode(known["start_mode"])
        known["created_at"] = utc_from_db(known["created_at"])
        known["updated_at"] = utc_from_db(known["updated_at"])
        return cls(**known)


COLUMNS = tuple(spec.name for spec in fields(DcaAsset))
