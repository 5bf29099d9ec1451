"""The table `dca_assets`: what to trade and how. Records and their queries; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.asset import COLUMNS, DcaAsset
from utils.db_utils import execute_query

_READ_ONLY = {"id", "created_at", "updated_at"}


_SELECT = f"SELECT {', '.join(COLUMNS)} FROM dca_assets"


def get_asset_config(db_conn: MySQLConnectionAbstract, asset_symbol: str) -> DcaAsset | None:
    """The asset named `asset_symbol` ('BTC/USD'), or None."""
    row = execute_query(
        f"{_SELECT} WHERE asset_symbol = %s", (asset_symbol,), fetch_one=True, db_conn=db_conn
    )
    return DcaAsset.from_row(row) if row else None


def get_asset_by_id(db_conn: MySQLConnectionAbstract, asset_id: int) -> DcaAsset | None:
    """The asset with this id, or None."""
    row = execute_query(f"{_SELECT} WHERE id = %s", (asset_id,), fetch_one=True, db_conn=db_conn)
    return DcaAsset.from_row(row) if row else None


def get_all_enabled_assets(db_conn: MySQLConnectionAbstract) -> list[DcaAsset]:
    """Every enabled asset, by symbol."""
    rows = execute_query(
        f"{_SELECT} WHERE is_enabled ORDER BY asset_symbol", fetch_all=True, db_conn=db_conn
    )
    return [DcaAsset.from_row(row) for row in rows]


def get_all_assets(db_conn: MySQLConnectionAbstract) -> list[DcaAsset]:
    """Every asset, enabled or not, by symbol."""
    rows = execute_query(f"{_SELECT} ORDER BY asset_symbol", fetch_all=True, db_conn=db_conn)
    return [DcaAsset.from_row(row) for row in rows]


def create_asset(db_conn: MySQLConnectionAbstract, values: Mapping[str, Any]) -> DcaAsset:
    """Insert an asset from column values; columns left out take the table's defaults.

    Raises:
        ValueError: for an unknown or read-only column.
        DuplicateRow: when the symbol exists.
    """
    columns = _checked_columns(values)
    marks = ", ".join(["%s"] * len(columns))
    asset_id = execute_query(
        f"INSERT INTO dca_assets ({', '.join(columns)}) VALUES ({marks})",
        [values[column] for column in columns],
        commit=True,
        db_conn=db_conn,
    )
    asset = get_asset_by_id(db_conn, asset_id)
    assert asset is not None, "a row just inserted is readable on its own connection"
    return asset


def update_asset_config(
    db_conn: MySQLConnectionAbstract, asset_id: int, updates: Mapping[str, Any]
) -> bool:
    """Set columns of an asset; True when the asset exists.

    Raises:
        ValueError: for an unknown or read-only column, or no column at all.
    """
    columns = _checked_columns(updates)
    assignments = ", ".join(f"{column} = %s" for column in columns)
    matched = execute_query(
        f"UPDATE dca_assets SET {assignments} WHERE id = %s",
        [*(updates[column] for column in columns), asset_id],
        commit=True,
        db_conn=db_conn,
    )
    return bool(matched == 1)


def _checked_columns(values: Mapping[str, Any]) -> list[str]:
    """Column names become SQL text, so only known ones pass."""
    if unknown := [name for name in values if name not in COLUMNS or name in _READ_ONLY]:
        raise ValueError(f"not a column of dca_assets that can be set: {', '.join(unknown)}")
    if not values:
        raise ValueError("no column to set")
    return list(values)
