"""One cycle: a row of `dca_cycles`. A frozen record; no I/O."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from domain.records import Record
from domain.rows import Row, utc_from_db


class CycleStatus(StrEnum):
    WATCHING = "watching"
    BUYING = "buying"
    SELLING = "selling"
    COOLDOWN = "cooldown"
    COMPLETE = "complete"
    ERROR = "error"


OPEN_STATUSES = (
    CycleStatus.WATCHING,
    CycleStatus.BUYING,
    CycleStatus.SELLING,
    CycleStatus.COOLDOWN,
)
WAITING_STATUSES = (CycleStatus.BUYING, CycleStatus.SELLING)  # for the end of an order


class DcaCycle(Record, frozen=True, kw_only=True):
    """One row of `dca_cycles`.

    `quantity` in coins as filled (before the coin fee), prices in USD.
    """

    id: int
    asset_id: int
    status: CycleStatus
    quantity: Decimal = Decimal(0)
    average_purchase_price: Decimal = Decimal(0)
    safety_orders: int = 0
    latest_order_id: str | None = None
    last_order_fill_price: Decimal | None = None
    completed_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    order_seq: int = 0
    order_key: str = ""
    close_requested: bool = False  # the user wants it sold now, at any price, and no more buys
    open_requested: bool = False  # the user wants its base order now (start_mode manual)
    base_order_price: Decimal | None = None
    trailing_peak: Decimal | None = None  # the highest bid since the target was reached
    stop_loss_fired: bool = False  # its stop loss sells it now, at any price; no more buys

    @classmethod
    def from_row(cls, row: Row, prefix: str = "") -> DcaCycle:
        known = {name: row[prefix + name] for name in COLUMNS}
        known["status"] = CycleStatus(known["status"])
        for name in ("close_requested", "open_requested", "stop_loss_fired"):
            known[name] = bool(known[name])
        for name in ("completed_at", "created_at", "updated_at"):
            known[name] = utc_from_db(known[name])
        return cls(**known)

    @property
    def is_open(self) -> bool:
        return self.status in OPEN_STATUSES

    @property
    def sells_now(self) -> bool:
        """Whether the user, or its stop loss, wants it sold now, at any price: no more buys."""
        return self.close_requested or self.stop_loss_fired


COLUMNS = tuple(spec.name for spec in fields(DcaCycle))
