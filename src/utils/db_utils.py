"""Connections, queries and transactions on the bot's database.

Owns: how we connect (UTC, autocommit, strict, READ COMMITTED), what counts as a lost connection,
and the replay of whole transactions. Must never hold a business rule, and never repeats half a
transaction.

A connection belongs to one thread at a time. Model functions take a `db_conn`; the rest of the bot
lets `transaction()` hand out the connection of its thread.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any, TypeVar
from uuid import UUID

import mysql.connector
from mysql.connector import errorcode
from mysql.connector.abstracts import MySQLConnectionAbstract
from mysql.connector.constants import ClientFlag

from config import Settings, get_settings
from domain.rows import Row
from utils.db_connection import DatabaseConnection, looks_lost, run
from utils.log_events import LogEvent, log_event
from utils.private_database import is_private_database

log = logging.getLogger(__name__)
T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 5
STATEMENT_TIMEOUT_SECONDS = 30
_REPLAY_WAITS_SECONDS = (0.05, 0.25, 1.0)
_LOST_CONNECTION = {-1, 1053, 1927, 2000, 2002, 2003, 2005, 2006, 2013, 2014, 2055, 3169, 4031}
# Trouble of the server, not of the statement: it was interrupted (KILL QUERY, a time limit of
# MariaDB's or MySQL's; 3024 is also the driver's own read time-out), or the server has no space, no
# memory or no permission to write now. Each passes, and none says anything about the row.
_INTERRUPTED = {1028, errorcode.ER_QUERY_INTERRUPTED, 1969, errorcode.ER_QUERY_TIMEOUT}
_CANNOT_WRITE_NOW = {
    1021,  # disk full
    errorcode.ER_OUTOFMEMORY,
    errorcode.ER_OUT_OF_SORTMEMORY,
    errorcode.ER_OUT_OF_RESOURCES,
    errorcode.ER_RECORD_FILE_FULL,  # InnoDB's word for a full disk
    errorcode.ER_LOCK_TABLE_FULL,
    errorcode.ER_OPTION_PREVENTS_STATEMENT,  # --read-only: a replica, or a fail-over
    errorcode.ER_READ_ONLY_MODE,
}
_TO_BE_TRIED_AGAIN = _LOST_CONNECTION | _INTERRUPTED | _CANNOT_WRITE_NOW
_CONFLICT = {errorcode.ER_LOCK_DEADLOCK, errorcode.ER_LOCK_WAIT_TIMEOUT}
_REFUSED_SETTINGS = {
    errorcode.ER_BAD_DB_ERROR: "DB_NAME",
    errorcode.ER_DBACCESS_DENIED_ERROR: "DB_NAME or DB_USER",  # this user may not use it
    errorcode.ER_ACCESS_DENIED_ERROR: "DB_USER and DB_PASSWORD",
    errorcode.ER_ACCESS_DENIED_NO_PASSWORD_ERROR: "DB_USER and DB_PASSWORD",
}
_SQL_MODE = (
    "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,"
    "NO_ENGINE_SUBSTITUTION"
)


IDLE_TRANSACTION_SECONDS = 10
# A line that dies silently leaves its session behind, and the rows locked by its transaction: the
# server must end it, or their cycles could not be changed for hours. Our transactions never wait
# for anything but the database. MySQL has a limit for all idle sessions only; ours are opened again
# when they are found dead. Each server reads its own half and takes the other's for a comment.
_SESSION = (
    "SET SESSION /*M!100300 tx_isolation = 'READ-COMMITTED',"
    f" idle_transaction_timeout = {IDLE_TRANSACTION_SECONDS} */"
    "/*!80000 transaction_isolation = 'READ-COMMITTED', wait_timeout = 60 */"
)


class DatabaseError(Exception):
    """A statement failed. `errno` is the server's or the driver's number."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno


class DatabaseUnavailable(DatabaseError):
    """No connection, it was lost, or the server did not finish the statement for a reason of its
    own: the outcome of what ran is unknown. Worth trying again.
    """


class TransactionConflict(DatabaseError):
    """Deadlock or lock timeout: the server undid the transaction. Worth trying again at once."""


class DuplicateRow(DatabaseError):
    """A unique index refused the row."""


def _wrapped(error: mysql.connector.Error) -> DatabaseError:
    errno = error.errno if error.errno is not None else -1
    text = " ".join(f"database: {error.msg or error}".split())  # without the driver's line breaks
    if errno in _TO_BE_TRIED_AGAIN:
        return DatabaseUnavailable(text, errno)
    if errno in _CONFLICT:
        return TransactionConflict(text, errno)
    if errno == errorcode.ER_DUP_ENTRY:
        return DuplicateRow(text, errno)
    return DatabaseError(text, errno)


def get_db_connection(
    *, statement_seconds: int = STATEMENT_TIMEOUT_SECONDS
) -> MySQLConnectionAbstract:
    """A new connection as DB_* say: autocommit, UTC session, READ COMMITTED, strict types.

    Args:
        statement_seconds: how long a statement may go without an answer before the line counts as
            lost.

    Raises:
        DatabaseUnavailable: with one line that names the server, the reason and the cure, never
            the password.
    """
    settings = get_settings()
    where = settings.db_socket or f"{settings.db_host}:{settings.db_port}"
    address: dict[str, Any] = (
        {"unix_socket": settings.db_socket}
        if settings.db_socket
        else {"host": settings.db_host, "port": settings.db_port}
    )
    try:
        return DatabaseConnection(  # pure: the C extension does not load beside ssl on Debian 12
            **address,
            user=settings.db_user,
            password=settings.db_password,
            database=settings.db_name,
            autocommit=True,
            time_zone="+00:00",
            sql_mode=_SQL_MODE,
            charset="utf8mb4",
            collation="utf8mb4_unicode_ci",
            client_flags=[ClientFlag.FOUND_ROWS],  # an UPDATE to the same value counts its row
            init_command=_SESSION,
            connection_timeout=CONNECT_TIMEOUT_SECONDS,
            read_timeout=statement_seconds,
            write_timeout=statement_seconds,
        )
    except mysql.connector.Error as error:
        raise DatabaseUnavailable(
            f"cannot use database {settings.db_name!r} at {where} as {settings.db_user!r}: "
            f"{error.msg or error}: {_cure(settings, error.errno or -1)}",
            error.errno or -1,
        ) from None


def _cure(settings: Settings, errno: int) -> str:
    if errno in _LOST_CONNECTION and is_private_database(settings):
        return "run scripts/database start"
    return refusal_cure(settings, errno) or "run scripts/doctor"


def refusal_cure(settings: Settings, errno: int) -> str | None:
    """Which settings to correct where the server runs and refuses them; else None."""
    names = _REFUSED_SETTINGS.get(errno)
    if names is None:
        return None
    hint = " (scripts/database env prints the lines)" if is_private_database(settings) else ""
    return f"correct {names} in .env{hint}"


class _ThreadConnection(threading.local):
    connection: MySQLConnectionAbstract | None = None
    settings: Settings | None = None


_thread = _ThreadConnection()
# The ids of the connections inside `transaction()`; each belongs to one thread.
_in_transaction: set[int] = set()
# Connections that died inside a transaction and whose owner got the error: the next statement may
# open them again. Without this they would stay dead: the driver goes on saying `in_transaction`.
_lost_reported: weakref.WeakSet[MySQLConnectionAbstract] = weakref.WeakSet()


def thread_connection() -> MySQLConnectionAbstract:
    """This thread's own connection, opened at its first use and after the settings changed."""
    settings = get_settings()
    if _thread.connection is None or _thread.settings is not settings:
        close_thread_connection()
        _thread.connection = get_db_connection()
        _thread.settings = settings
    return _thread.connection


def close_thread_connection() -> None:
    """Close this thread's connection if it has one."""
    if _thread.connection is not None:
        connection, _thread.connection = _thread.connection, None
        close_quietly(connection)


def close_quietly(connection: MySQLConnectionAbstract) -> None:
    """Close `connection`; if its server is gone, it is closed already."""
    try:
        connection.close()
    except mysql.connector.Error as error:
        log_event(log, LogEvent.CLOSE_FAILED, reason=error)


_PLAIN = frozenset({str, int, float, Decimal, bool, bytes, type(None)})
_REPEATABLE = ("SELECT", "SHOW", "START")


def _may_be_repeated(query: str) -> bool:
    """Whether doing it twice, on two connections, is doing it once. A lock belongs to its own."""
    return query.lstrip().upper().startswith(_REPEATABLE) and "GET_LOCK" not in query


def _adapt(value: Any) -> Any:
    """Python value to driver value: the driver drops time zones and rejects UUID and Enum."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).replace(tzinfo=None)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, UUID):
        return str(value)
    return value


def _run(
    connection: MySQLConnectionAbstract, query: str, params: Sequence[Any] = ()
) -> tuple[dict[str, Any], list[Row]]:
    """Run one statement; a connection that is found lost is opened again.

    Never inside a transaction: its first half would be lost and the second half committed. Outside
    one a read is repeated, once. A write cannot be: nobody knows whether it happened. So it alone
    asks the server first; what else is not seen on the idle line, the statement's error shows.
    """
    if id(connection) in _in_transaction:
        return run(connection, query, params)
    if connection.in_transaction and connection not in _lost_reported:
        return _run_in_transaction_by_hand(connection, query, params)
    is_repeatable = _may_be_repeated(query)
    if looks_lost(connection) or not (is_repeatable or connection.is_connected()):
        _reconnect(connection)
    try:
        return run(connection, query, params)
    except mysql.connector.Error as error:
        if not (is_repeatable and _is_lost(connection, error)):
            raise
        log_event(log, LogEvent.STATEMENT_REPEATED, reason=_wrapped(error))
    _reconnect(connection)
    return run(connection, query, params)


def _run_in_transaction_by_hand(
    connection: MySQLConnectionAbstract, query: str, params: Sequence[Any]
) -> tuple[dict[str, Any], list[Row]]:
    try:
        return run(connection, query, params)
    except mysql.connector.Error as error:
        if _is_lost(connection, error):
            connection.shutdown()
            _lost_reported.add(connection)
        raise


def _is_lost(connection: MySQLConnectionAbstract, error: mysql.connector.Error) -> bool:
    return error.errno in _LOST_CONNECTION or looks_lost(connection)


def _reconnect(connection: MySQLConnectionAbstract) -> None:
    connection.reconnect(attempts=1)
    _lost_reported.discard(connection)


def execute_query(
    query: str,
    params: Sequence[Any] | None = None,
    fetch_one: bool = False,
    fetch_all: bool = False,
    commit: bool = False,
    *,
    db_conn: MySQLConnectionAbstract | None = None,
) -> Any:
    """Run one parameterised statement.

    Connections are autocommit, so a write is durable when this returns, unless a `transaction()` is
    open on the connection: then it is durable with it. `commit=True` also ends a transaction that
    the caller began by hand.

    Returns:
        The row as a dict or None (`fetch_one`), a list of rows (`fetch_all`), the new row's id
        after an INSERT into a table with one, else the number of rows matched.

    Raises:
        DatabaseUnavailable: no connection, lost on the way or interrupted; a write may or may not
            have happened, a read outside a transaction was done again once.
        DatabaseError: the statement was refused.
    """
    connection = db_conn if db_conn is not None else thread_connection()
    try:
        answer, rows = _run(connection, query, [_adapt(value) for value in params or ()])
        if commit and connection.in_transaction and id(connection) not in _in_transaction:
            connection.commit()
    except mysql.connector.Error as error:
        raise _wrapped(error) from error
    if fetch_one:
        return rows[0] if rows else None
    if fetch_all:
        return rows
    return answer.get("insert_id") or answer.get("affected_rows", len(rows))


def transaction(
    work: Callable[[MySQLConnectionAbstract], T], db_conn: MySQLConnectionAbstract | None = None
) -> T:
    """Run `work(connection)` as one transaction and commit it; called inside another, it joins that
    one.

    After a lost connection or a deadlock the whole of `work` runs again on a fresh transaction. A
    commit whose answer was lost may have happened, so `work` must check the state it starts from
    (lock the row, compare `order_seq`) and have no effects outside the database.

    Raises:
        DatabaseUnavailable, TransactionConflict: after bounded replays. Other errors at once.
    """
    connection = db_conn if db_conn is not None else thread_connection()
    if id(connection) in _in_transaction:
        return work(connection)
    for wait_seconds in (*_REPLAY_WAITS_SECONDS, None):
        try:
            return _run_once(work, connection)
        except (DatabaseUnavailable, TransactionConflict) as error:
            if wait_seconds is None:
                raise
            log_event(log, LogEvent.TRANSACTION_REPLAYED, reason=error)
            time.sleep(wait_seconds)  # a bounded pause between tries, not a wait for a condition
    raise AssertionError("unreachable")


def _run_once(
    work: Callable[[MySQLConnectionAbstract], T], connection: MySQLConnectionAbstract
) -> T:
    try:
        if connection.in_transaction:
            if not looks_lost(connection):
                raise mysql.connector.ProgrammingError("Transaction already in progress")
            _reconnect(connection)
        _run(connection, "START TRANSACTION")
        _in_transaction.add(id(connection))
        try:
            result = work(connection)
        except BaseException:
            _rollback_quietly(connection)
            raise
        finally:
            _in_transaction.discard(id(connection))
        connection.commit()
        return result
    except mysql.connector.Error as error:
        _rollback_quietly(connection)
        raise _wrapped(error) from error


def _rollback_quietly(connection: MySQLConnectionAbstract) -> None:
    """Undo; if the connection is gone, the server has undone it already."""
    try:
        connection.rollback()
    except mysql.connector.Error as error:
        log_event(log, LogEvent.ROLLBACK_FAILED, reason=error)
        close_quietly(connection)
        _lost_reported.add(connection)
