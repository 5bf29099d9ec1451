"""The table `dca_cycles`: one cycle each. Records and their queries; decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import COLUMNS, CycleStatus, DcaCycle
from utils.db_utils import execute_query

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM dca_cycles"
# The identity of a cycle's orders hangs on these; only the database sets them.
_READ_ONLY = {"id", "asset_id", "created_at", "updated_at", "order_key"}


def get_latest_cycle(db_conn: MySQLConnectionAbstract, asset_id: int) -> DcaCycle | None:
    """The newest cycle of an asset, or None."""
    row = execute_query(
        f"{_SELECT} WHERE asset_id = %s ORDER BY id DESC LIMIT 1",
        (asset_id,),
        fetch_one=True,
        db_conn=db_conn,
    )
    return DcaCycle.from_row(row) if row else None


def get_cycle(db_conn: MySQLConnectionAbstract, cycle_id: int) -> DcaCycle | None:
    """The cycle with this id, or None."""
    row = execute_query(f"{_SELECT} WHERE id = %s", (cycle_id,), fetch_one=True, db_conn=db_conn)
    return DcaCycle.from_row(row) if row else None


def lock_cycle(db_conn: MySQLConnectionAbstract, cycle_id: int) -> DcaCycle | None:
    """The cycle with this id, locked until the end of the transaction, or None."""
    row = execute_query(
        f"{_SELECT} WHERE id = %s FOR UPDATE", (cycle_id,), fetch_one=True, db_conn=db_conn
    )
    return DcaCycle.from_row(row) if row else None


def get_cycle_by_latest_order(db_conn: MySQLConnectionAbstract, order_id: str) -> DcaCycle | None:
    """The open cycle whose open order has this Alpaca id, or None."""
    row = execute_query(
        f"{_SELECT} WHERE latest_order_id = %s AND status NOT IN ('complete', 'error')"
        " ORDER BY id DESC LIMIT 1",
        (order_id,),
        fetch_one=True,
        db_conn=db_conn,
    )
    return DcaCycle.from_row(row) if row else None


def get_cycles_by_status(
    db_conn: MySQLConnectionAbstract, *statuses: CycleStatus
) -> list[DcaCycle]:
    """Every cycle in one of `statuses`, oldest first."""
    marks = ", ".join(["%s"] * len(statuses))
    rows = execute_query(
        f"{_SELECT} WHERE status IN ({marks}) ORDER BY id",
        statuses,
        fetch_all=True,
        db_conn=db_conn,
    )
    return [DcaCycle.from_row(row) for row in rows]


def get_cycles_by_ids(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int]
) -> dict[int, DcaCycle]:
    """The cycles with these ids, as far as they exist."""
    if not cycle_ids:
        return {}
    rows = execute_query(
        f"{_SELECT} WHERE id IN ({', '.join(['%s'] * len(cycle_ids))})",
        tuple(cycle_ids),
        fetch_all=True,
        db_conn=db_conn,
    )
    return {row["id"]: DcaCycle.from_row(row) for row in rows}


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
    cycle_id = execute_query(
        "INSERT INTO dca_cycles (asset_id, status, quantity, average_purchase_price, safety_orders,"
        " latest_order_id, last_order_fill_price, completed_at)"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            asset_id,
            CycleStatus(status),
            quantity,
            average_purchase_price,
            safety_orders,
            latest_order_id,
            last_order_fill_price,
            completed_at,
        ),
        commit=True,
        db_conn=db_conn,
    )
    cycle = get_cycle(db_conn, cycle_id)
    assert cycle is not None, "a row just inserted is readable on its own connection"
    return cycle


def update_cycle(
    db_conn: MySQLConnectionAbstract, cycle_id: int, updates: Mapping[str, Any]
) -> bool:
    """Set columns of a cycle; True when the cycle exists.

    Raises:
        ValueError: for an unknown or read-only column, or no column at all.
    """
    if unknown := [name for name in updates if name not in COLUMNS or name in _READ_ONLY]:
        raise ValueError(f"not a column of dca_cycles that can be set: {', '.join(unknown)}")
    if not updates:
        raise ValueError("no column to set")
    assignments = ", ".join(f"{column} = %s" for column in updates)
    matched = execute_query(
        f"UPDATE dca_cycles SET {assignments} WHERE id = %s",
        [*updates.values(), cycle_id],
        commit=True,
        db_conn=db_conn,
    )
    return bool(matched == 1)
