"""Whole tables for a backup and back: read in one snapshot, made and filled in a database of their
own, swapped with those in use in one statement. Knows no file.

The tables of a copy are made by this program's own `schema.sql`, whatever server the copy came
from: MariaDB's and MySQL's own descriptions of a table do not fit each other.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from models.statements import marks, read_row, read_rows, write
from utils.db_utils import DatabaseError, execute_query

PAGE_ROWS = 1000
_OURS = "dca_assets", "dca_cycles", "dca_events", "dca_meta", "dca_orders"

PlainRow = list[Any]  # None, int, float, text, or {"hex": text}: what JSON can hold


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCopy:
    """What a copy says of a table beside its rows. `columns` are name and type, without computed
    ones; `next_id` is the id that the next row would get: ids of deleted rows are never used again.
    """

    name: str
    columns: tuple[tuple[str, str], ...]
    next_id: int | None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.columns)


@contextmanager
def snapshot(connection: MySQLConnectionAbstract) -> Iterator[None]:
    """Everything read in the block is as it was at one moment, while others go on writing."""
    execute_query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", db_conn=connection)
    execute_query("START TRANSACTION WITH CONSISTENT SNAPSHOT", db_conn=connection)
    yield
    execute_query("COMMIT", db_conn=connection)


def describe_tables(connection: MySQLConnectionAbstract) -> list[TableCopy]:
    """Those of the bot that this database has."""
    query = (
        "SELECT table_name AS t, column_name AS c, column_type AS type FROM"
        " information_schema.columns WHERE table_schema = DATABASE()"
        f" AND table_name IN ({marks(_OURS)}) AND COALESCE(generation_expression, '') = ''"
        " ORDER BY table_name, ordinal_position"
    )
    columns: dict[str, list[tuple[str, str]]] = {}
    for row in read_rows(connection, query, *_OURS):
        columns.setdefault(row["t"], []).append((row["c"], _text(row["type"])))
    return [
        TableCopy(name=name, columns=tuple(found), next_id=_next_id(connection, name))
        for name, found in columns.items()
    ]


def _next_id(connection: MySQLConnectionAbstract, table: str) -> int | None:
    """From the table's own description: MySQL's information_schema may be a day old."""
    row = read_row(connection, f"SHOW CREATE TABLE {table}")
    text = _text(row["Create Table"]) if row else ""
    if "AUTO_INCREMENT" not in text:
        return None
    found = re.search(r"\bAUTO_INCREMENT=(\d+)", text)
    return int(found[1]) if found else 1


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes | bytearray) else value


def read_table(connection: MySQLConnectionAbstract, table: TableCopy) -> Iterator[PlainRow]:
    """Every row, by its id, as what JSON can hold. A page at a time: no table is ever in memory.

    Raises:
        DatabaseError: also for a value that cannot be kept.
    """
    key, names = table.names[0], ", ".join(f"`{name}`" for name in table.names)
    page = f"SELECT {names} FROM {table.name}"
    rest = f"ORDER BY `{key}` LIMIT {PAGE_ROWS}"
    rows = read_rows(connection, f"{page} {rest}")
    while rows:
        yield from ([_plain(value, table.name) for value in row.values()] for row in rows)
        rows = read_rows(connection, f"{page} WHERE `{key}` > %s {rest}", rows[-1][key])


def _plain(value: Any, table: str) -> Any:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case Decimal():
            return format(value, "f")
        case date():  # and datetime
            return str(value)
        case bytes() | bytearray():
            return {"hex": value.hex()}
    raise DatabaseError(f"{table} has a value of type {type(value).__name__}: it cannot be copied")


def make_database(connection: MySQLConnectionAbstract, name: str) -> None:
    """A database for copies; one that is there and empty will do."""
    execute_query(
        f"CREATE DATABASE IF NOT EXISTS `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
        db_conn=connection,
    )


def drop_database(connection: MySQLConnectionAbstract, name: str) -> None:
    """Only for one that holds no row of anybody's any more."""
    execute_query(f"DROP DATABASE IF EXISTS `{name}`", db_conn=connection)


def tables_in(connection: MySQLConnectionAbstract, database: str) -> set[str]:
    """The names of all its tables and views; nothing when there is no such database."""
    query = "SELECT table_name AS t FROM information_schema.tables WHERE table_schema = %s"
    return {row["t"] for row in read_rows(connection, query, database)}


def is_ours(table: str) -> bool:
    """Whether a table of this name is one of the bot's."""
    return table in _OURS


def has_rows(connection: MySQLConnectionAbstract) -> bool:
    """Whether the bot ever wrote anything here: the schema's own version does not count."""
    tables = [one.name for one in describe_tables(connection) if one.name != "dca_meta"]
    return any(read_row(connection, f"SELECT 1 FROM {name} LIMIT 1") for name in tables)


def prepare_table(connection: MySQLConnectionAbstract, table: TableCopy) -> None:
    """An empty table of `schema.sql`, ready for the rows of `table`: columns that the program does
    not know (the user's own, or an older version's) are added, so that nothing is lost.
    """
    if not is_ours(table.name):
        raise DatabaseError(f"{table.name} is no table of this program")
    execute_query("SET foreign_key_checks = 0", db_conn=connection)  # as they were: consistent
    execute_query(f"DELETE FROM {table.name}", db_conn=connection)
    [here] = [one for one in describe_tables(connection) if one.name == table.name]
    for name, kind in table.columns:
        if name not in here.names:
            _check_name(name)
            add = f"ALTER TABLE {table.name} ADD COLUMN `{name}` {kind} NULL"
            execute_query(add, db_conn=connection)


def _check_name(name: str) -> None:
    if not re.fullmatch(r"\w{1,64}", name):
        raise DatabaseError(f"{name!r} cannot be the name of a column")


def insert_rows(
    connection: MySQLConnectionAbstract, table: TableCopy, rows: Sequence[PlainRow]
) -> None:
    """Add `rows`, whose values are in the order of the table's columns."""
    for name in table.names:
        _check_name(name)
    names = ", ".join(f"`{name}`" for name in table.names)
    row_marks = f"({marks(table.names)})"
    values = [_value(one) for row in rows for one in row]
    query = f"INSERT INTO {table.name} ({names}) VALUES {', '.join([row_marks] * len(rows))}"
    write(connection, query, *values)


def _value(plain: Any) -> Any:
    return bytes.fromhex(plain["hex"]) if isinstance(plain, dict) else plain


def set_next_id(connection: MySQLConnectionAbstract, table: str, next_id: int) -> None:
    """No new row gets an id below this."""
    execute_query(f"ALTER TABLE {table} AUTO_INCREMENT = {int(next_id)}", db_conn=connection)


def swap_tables(
    connection: MySQLConnectionAbstract,
    *,
    used: str,
    fresh: str,
    before: str,
    replaced: Iterable[str],
    arriving: Iterable[str],
) -> None:
    """The tables `arriving` go from database `fresh` to `used`, those `replaced` to `before`: all
    or none, in one statement, which the server carries out whole.
    """
    moves = [f"`{used}`.{one} TO `{before}`.{one}" for one in replaced]
    moves += [f"`{fresh}`.{one} TO `{used}`.{one}" for one in arriving]
    execute_query(f"RENAME TABLE {', '.join(moves)}", db_conn=connection)
