"""The table `dca_cycles`: one cycle each. Records and their queries; decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import COLUMNS, CycleStatus, DcaCycle
from models.statements import (
    check_columns,
    insert_row,
    marks,
    read_row,
    read_rows,
    update_row,
    write,
)

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM dca_cycles"
# The identity of a cycle's orders is made of these: only the database sets them.
_SETTABLE = set(COLUMNS) - {"id", "asset_id", "created_at", "updated_at", "order_key"}


def get_latest_cycle(db_conn: MySQLConnectionAbstract, asset_id: int) -> DcaCycle | None:
    """The newest cycle of an asset, or None."""
    row = read_row(db_conn, f"{_SELECT} WHERE asset_id = %s ORDER BY id DESC LIMIT 1", asset_id)
    return DcaCycle.from_row(row) if row else None


def get_cycle(db_conn: MySQLConnectionAbstract, cycle_id: int) -> DcaCycle | None:
    """The cycle with this id, or None."""
    row = read_row(db_conn, f"{_SELECT} WHERE id = %s", cycle_id)
    return DcaCycle.from_row(row) if row else None


def lock_cycle(db_conn: MySQLConnectionAbstract, cycle_id: int) -> DcaCycle | None:
    """The cycle with this id, locked until the end of the transaction, or None."""
    row = read_row(db_conn, f"{_SELECT} WHERE id = %s FOR UPDATE", cycle_id)
    return DcaCycle.from_row(row) if row else None


def get_cycle_by_latest_order(db_conn: MySQLConnectionAbstract, order_id: str) -> DcaCycle | None:
    """The open cycle whose open order has this Alpaca id, or None."""
    query = (
        f"{_SELECT} WHERE latest_order_id = %s AND status NOT IN ('complete', 'error')"
        " ORDER BY id DESC LIMIT 1"
    )
    row = read_row(db_conn, query, order_id)
    return DcaCycle.from_row(row) if row else None


def get_cycles_by_status(
    db_conn: MySQLConnectionAbstract, *statuses: CycleStatus
) -> list[DcaCycle]:
    """Every cycle in one of `statuses`, oldest first."""
    query = f"{_SELECT} WHERE status IN ({marks(statuses)}) ORDER BY id"
    rows = read_rows(db_conn, query, *statuses)
    return [DcaCycle.from_row(row) for row in rows]


def get_ended_cycles(
    db_conn: MySQLConnectionAbstract, asset_id: int, limit: int, before_id: int | None = None
) -> list[DcaCycle]:
    """The newest `limit` cycles of an asset that have ended (of those before `before_id`), newest
    first.
    """
    query = (
        f"{_SELECT} WHERE asset_id = %s AND (%s IS NULL OR id < %s)"
        " AND status IN ('complete', 'error') ORDER BY asset_id DESC, id DESC LIMIT %s"
    )
    rows = read_rows(db_conn, query, asset_id, before_id, before_id, limit)
    return [DcaCycle.from_row(row) for row in rows]


def get_cycles_by_ids(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int]
) -> dict[int, DcaCycle]:
    """The cycles with these ids, as far as they exist."""
    if not cycle_ids:
        return {}
    rows = read_rows(db_conn, f"{_SELECT} WHERE id IN ({marks(cycle_ids)})", *cycle_ids)
    return {row["id"]: DcaCycle.from_row(row) for row in rows}


def add_cycle(db_conn: MySQLConnectionAbstract, asset_id: int, status: str, **columns: Any) -> int:
    """Insert a cycle and return its id; columns left out take the table's defaults.

    Raises:
        DuplicateRow: when the asset has an open cycle already and this one would be open too.
    """
    values = {"asset_id": asset_id, "status": CycleStatus(status), **columns}
    return insert_row(db_conn, "dca_cycles", values)


def create_cycle(
    db_conn: MySQLConnectionAbstract,
    asset_id: int,
    status: str,
    quantity: Decimal = Decimal(0),
    average_purchase_price: Decimal = Decimal(0),
    safety_orders: int = 0,
    latest_order_id: str | None = None,
    last_order_fill_price: Decimal | None = None,
    completed_at: datetime | None = None,
) -> DcaCycle:
    """Insert a cycle and return it with the id, times and order_key that the database gave it.

    Raises:
        DuplicateRow: when the asset has an open cycle already and this one would be open too.
    """
    cycle_id = add_cycle(
        db_conn,
        asset_id,
        status,
        quantity=quantity,
        average_purchase_price=average_purchase_price,
        safety_orders=safety_orders,
        latest_order_id=latest_order_id,
        last_order_fill_price=last_order_fill_price,
        completed_at=completed_at,
    )
    cycle = get_cycle(db_conn, cycle_id)
    assert cycle is not None, "a row just inserted is readable on its own connection"
    return cycle


def save_trailing_peak(db_conn: MySQLConnectionAbstract, cycle: DcaCycle, peak: Decimal) -> bool:
    """Note that the bid of a cycle that trails reached `peak`; True when that is news.

    Never lowers it, and writes nothing where the row moved on since `cycle` was read. A peak is no
    change that a reader of the row must know of, so `updated_at` stays.
    """
    query = (
        "UPDATE dca_cycles SET trailing_peak = %s, updated_at = updated_at"
        " WHERE id = %s AND status = 'watching' AND order_seq = %s AND quantity = %s"
        " AND average_purchase_price = %s AND (trailing_peak IS NULL OR trailing_peak < %s)"
    )
    known = (cycle.id, cycle.order_seq, cycle.quantity, cycle.average_purchase_price)
    return write(db_conn, query, peak, *known, peak) == 1


def forget_trailing_peak(db_conn: MySQLConnectionAbstract, cycle: DcaCycle) -> bool:
    """The peak of `cycle`, or a lower one, is none any more; True when there was one. `updated_at`
    stays, as it does when one is saved.
    """
    query = (
        "UPDATE dca_cycles SET trailing_peak = NULL, updated_at = updated_at"
        " WHERE id = %s AND order_seq = %s AND trailing_peak <= %s"
    )
    return write(db_conn, query, cycle.id, cycle.order_seq, cycle.trailing_peak) == 1


def update_cycle(
    db_conn: MySQLConnectionAbstract, cycle_id: int, updates: Mapping[str, Any]
) -> bool:
    """Set columns of a cycle; True when the cycle exists.

    Raises:
        ValueError: for an unknown or read-only column, or no column at all.
    """
    check_columns("dca_cycles", updates, _SETTABLE)
    return update_row(db_conn, "dca_cycles", cycle_id, updates)


def withdraw_open_request(db_conn: MySQLConnectionAbstract, asset_id: int) -> None:
    """Nobody wants the base order of this asset's cycle any more."""
    query = "UPDATE dca_cycles SET open_requested = FALSE WHERE asset_id = %s AND open_requested"
    write(db_conn, query, asset_id)
