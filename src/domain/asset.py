"""What to trade and how: a row of `dca_assets`. A frozen record; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal

from domain.rows import Row, utc_from_db


@dataclass(frozen=True, slots=True, kw_only=True)
class DcaAsset:
    """One row of `dca_assets`.

    Amounts in USD, deviations in percent, `cooldown_period` in seconds.
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
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @classmethod
    def from_row(cls, row: Row) -> DcaAsset:
        known = {name: row[name] for name in COLUMNS}
        known["is_enabled"] = bool(known["is_enabled"])
        known["created_at"] = utc_from_db(known["created_at"])
        known["updated_at"] = utc_from_db(known["updated_at"])
        return cls(**known)


COLUMNS = tuple(spec.name for spec in fields(DcaAsset))
