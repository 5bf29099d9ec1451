"""The journal: one entry for every order that ended, and what it adds up to. Frozen; no I/O."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.cycle import CycleStatus
from domain.orders import Side
from domain.records import Record
from domain.rows import utc_from_db

# The final status of rows behind which no order stands: coins that a user gave to a cycle.
ADOPTED = "adopted"


class Purpose(StrEnum):
    BASE = "base"
    SAFETY = "safety"
    TAKE_PROFIT = "take_profit"
    STOP_LOSS = "stop_loss"


class JournalEntry(Record, frozen=True, kw_only=True):
    """One row of `dca_orders`. Quantities and `fee_qty` in coins; prices and `fee_usd` in USD."""

    asset_id: int
    symbol: str
    cycle_id: int
    order_seq: int
    purpose: Purpose
    side: Side
    alpaca_order_id: str
    client_order_id: str
    requested_qty: Decimal | None
    limit_price: Decimal | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    final_status: str
    submitted_at: datetime | None
    ended_at: datetime | None
    fee_qty: Decimal = Decimal(0)
    fee_usd: Decimal = Decimal(0)
    fee_is_estimated: bool = True
    note: str | None = None

    @classmethod
    def from_row(cls, row: dict[str, Any]) -> JournalEntry:
        known = {name: row[name] for name in COLUMNS}
        known["purpose"] = Purpose(known["purpose"])
        known["side"] = Side(known["side"])
        known["fee_is_estimated"] = bool(known["fee_is_estimated"])
        known["submitted_at"] = utc_from_db(known["submitted_at"])
        known["ended_at"] = utc_from_db(known["ended_at"])
        return cls(**known)

    @property
    def filled_usd(self) -> Decimal:
        return self.filled_qty * (self.filled_avg_price or Decimal(0))


COLUMNS = tuple(spec.name for spec in fields(JournalEntry))


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleJournal:
    """One cycle with its ended orders, oldest first. `status` is None where its row is gone."""

    cycle_id: int
    symbol: str
    entries: tuple[JournalEntry, ...]
    status: CycleStatus | None
    completed_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealisedProfit:
    """Cycles and USD after fees: of all time, and since the moment that was asked for. Estimated:
    the fee of an order in it is not posted yet.
    """

    symbol: str
    cycles: int
    profit_usd: Decimal
    recent_cycles: int
    recent_profit_usd: Decimal
    is_estimated: bool = False
    recent_is_estimated: bool = False


# The note of rows for what an order filled after its end was booked.
LATE_FILL = "late fill of an ended order"
