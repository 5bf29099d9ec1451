"""The table `dca_assets`: what to trade and how. Records and their queries; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.asset import COLUMNS, DcaAsset
from models.statements import check_columns, insert_row, read_row, read_rows, update_row

_SETTABLE = set(COLUMNS) - {"id", "created_at", "updated_at"}
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM dca_assets"


def get_asset_config(db_conn: MySQLConnectionAbstract, asset_symbol: str) -> DcaAsset | None:
    """The asset named `asset_symbol` ('BTC/USD'), or None."""
    row = read_row(db_conn, f"{_SELECT} WHERE asset_symbol = %s", asset_symbol)
    return DcaAsset.from_row(row) if row else None


def get_asset_by_id(db_conn: MySQLConnectionAbstract, asset_id: int) -> DcaAsset | None:
    """The asset with this id, or None."""
    row = read_row(db_conn, f"{_SELECT} WHERE id = %s", asset_id)
    return DcaAsset.from_row(row) if row else None


def get_all_enabled_assets(db_conn: MySQLConnectionAbstract) -> list[DcaAsset]:
    """Every enabled asset, by symbol."""
    rows = read_rows(db_conn, f"{_SELECT} WHERE is_enabled ORDER BY asset_symbol")
    return [DcaAsset.from_row(row) for row in rows]


def get_all_assets(db_conn: MySQLConnectionAbstract) -> list[DcaAsset]:
    """Every asset, enabled or not, by symbol."""
    rows = read_rows(db_conn, f"{_SELECT} ORDER BY asset_symbol")
    return [DcaAsset.from_row(row) for row in rows]


def create_asset(db_conn: MySQLConnectionAbstract, values: Mapping[str, Any]) -> DcaAsset:
    """Insert an asset from column values; columns left out take the table's defaults.

    Raises:
        ValueError: for an unknown or read-only column.
        DuplicateRow: when the symbol exists.
    """
    check_columns("dca_assets", values, _SETTABLE)
    asset_id = insert_row(db_conn, "dca_assets", values)
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
    check_columns("dca_assets", updates, _SETTABLE)
    return update_row(db_conn, "dca_assets", asset_id, updates)
