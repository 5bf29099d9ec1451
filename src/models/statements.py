"""One statement each: what the tables' modules read and write with. Errors: `execute_query`'s."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.rows import Row
from utils.db_utils import execute_query


def read_row(db_conn: MySQLConnectionAbstract, query: str, *params: Any) -> Row | None:
    """The first row, or None."""
    row: Row | None = execute_query(query, params, fetch_one=True, db_conn=db_conn)
    return row


def read_rows(db_conn: MySQLConnectionAbstract, query: str, *params: Any) -> list[Row]:
    """Every row."""
    rows: list[Row] = execute_query(query, params, fetch_all=True, db_conn=db_conn)
    return rows


def write(db_conn: MySQLConnectionAbstract, query: str, *params: Any) -> int:
    """The new row's id after an INSERT into a table with one, else the number of rows matched."""
    result: int = execute_query(query, params, commit=True, db_conn=db_conn)
    return result


def insert_row(db_conn: MySQLConnectionAbstract, table: str, values: Mapping[str, Any]) -> int:
    """Insert `values` by column, whose names the caller knows to be ours; the new row's id."""
    return insert_rows(db_conn, table, [values])


def insert_rows(
    db_conn: MySQLConnectionAbstract, table: str, rows: Sequence[Mapping[str, Any]]
) -> int:
    """Insert `rows` of the same columns together; the id of the first."""
    row_marks = ", ".join([f"({marks(rows[0])})"] * len(rows))
    query = f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES {row_marks}"
    return write(db_conn, query, *(value for row in rows for value in row.values()))


def update_row(
    db_conn: MySQLConnectionAbstract, table: str, row_id: int, updates: Mapping[str, Any]
) -> bool:
    """Set columns, whose names the caller knows to be ours; True when the row exists."""
    assignments = ", ".join(f"{column} = %s" for column in updates)
    query = f"UPDATE {table} SET {assignments} WHERE id = %s"
    return write(db_conn, query, *updates.values(), row_id) == 1


def check_columns(table: str, values: Mapping[str, Any], settable: Collection[str]) -> None:
    """Column names become SQL text, so only known ones pass.

    Raises:
        ValueError: for an unknown or read-only column, or no column at all.
    """
    if unknown := [name for name in values if name not in settable]:
        raise ValueError(f"not a column of {table} that can be set: {', '.join(unknown)}")
    if not values:
        raise ValueError("no column to set")


def marks(values: Collection[object]) -> str:
    """One mark for each of `values`, for IN (...) and VALUES (...)."""
    return ", ".join(["%s"] * len(values))
