"""The table `dca_events`: repairs, blocks, corrections and alerts. Append-only; decides nothing.

Which rows are the same alert, their columns say (`Event.identity`): nothing here compares a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.events import Event, EventAge, EventKind, EventRow, Severity
from utils.db_utils import execute_query

_IDENTITY = ("kind", "symbol", "cycle_id", "order_id", "dedupe_key")
_IS_LAST_OF_ITS_IDENTITY = (
    "NOT EXISTS (SELECT 1 FROM dca_events later WHERE later.id > e.id AND "
    + " AND ".join(f"later.{column} <=> e.{column}" for column in _IDENTITY)
    + ")"
)


def append_event(db_conn: MySQLConnectionAbstract, event: Event) -> None:
    """Insert `event`; a reason that is too long is cut."""
    execute_query(
        "INSERT INTO dca_events (severity, asset_id, reason, kind, symbol, cycle_id, order_id,"
        " dedupe_key) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
        (event.severity, event.asset_id, event.reason[:500], *event.identity),
        commit=True,
        db_conn=db_conn,
    )


def was_written(
    db_conn: MySQLConnectionAbstract, event: Event, since: datetime | None = None
) -> bool:
    """Whether this same alert was written (since `since`) and was not ended after that, whatever
    its words were.
    """
    row = execute_query(
        "SELECT severity FROM dca_events WHERE "
        + " AND ".join(f"{column} <=> %s" for column in _IDENTITY)
        + " AND (%s IS NULL OR created_at >= %s) ORDER BY id DESC LIMIT 1",
        (*event.identity, since, since),
        fetch_one=True,
        db_conn=db_conn,
    )
    return row is not None and row["severity"] == event.severity


def end_alerts(
    db_conn: MySQLConnectionAbstract, order_id: str, kinds: Sequence[EventKind], reason: str
) -> None:
    """Write down that what a person was needed for about this order is over: a row of the same
    identity that is no ERROR. From then on it would be told anew.
    """
    rows = execute_query(
        "SELECT e.kind, e.asset_id, e.symbol, e.cycle_id, e.order_id, e.dedupe_key"
        f" FROM dca_events e WHERE e.order_id = %s AND e.kind IN ({_marks(kinds)})"
        f" AND e.severity = %s AND {_IS_LAST_OF_ITS_IDENTITY}",
        (order_id, *kinds, Severity.ERROR),
        fetch_all=True,
        db_conn=db_conn,
    )
    for row in rows:
        append_event(db_conn, Event(severity=Severity.INFO, reason=f"over: {reason}", **row))


def get_event_ages(
    db_conn: MySQLConnectionAbstract, kinds: Sequence[EventKind], within_seconds: float
) -> list[EventAge]:
    """Events of these kinds of the last `within_seconds`, oldest first."""
    rows = execute_query(
        "SELECT order_id, TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(6)) AS age"
        " FROM dca_events WHERE created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        f" AND kind IN ({_marks(kinds)}) ORDER BY id",
        (within_seconds, *kinds),
        fetch_all=True,
        db_conn=db_conn,
    )
    return [EventAge(row["order_id"], float(row["age"]) / 1e6) for row in rows]


def get_kinds_by_cycle(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int], kinds: Sequence[EventKind]
) -> set[tuple[int, EventKind]]:
    """Which of `kinds` was ever written about which of these cycles: (cycle_id, kind)."""
    if not cycle_ids:
        return set()
    rows = execute_query(
        "SELECT DISTINCT cycle_id, kind FROM dca_events"
        f" WHERE cycle_id IN ({_marks(cycle_ids)}) AND kind IN ({_marks(kinds)})",
        (*cycle_ids, *kinds),
        fetch_all=True,
        db_conn=db_conn,
    )
    return {(row["cycle_id"], EventKind(row["kind"])) for row in rows}


def _marks(values: Collection[object]) -> str:
    return ", ".join(["%s"] * len(values))


def get_events(db_conn: MySQLConnectionAbstract, limit: int = 50) -> list[dict[str, Any]]:
    """The newest events, newest first, as rows."""
    rows: list[dict[str, Any]] = execute_query(
        "SELECT * FROM dca_events ORDER BY id DESC LIMIT %s",
        (limit,),
        fetch_all=True,
        db_conn=db_conn,
    )
    return rows


def get_error_events(
    db_conn: MySQLConnectionAbstract, within_seconds: float, limit: int
) -> list[EventRow]:
    """What a person was needed for lately and that was not ended since, newest first; the same
    alert only once, as it was told last.
    """
    rows = execute_query(
        "SELECT e.kind, e.reason, e.symbol, e.cycle_id, e.created_at FROM dca_events e"
        " WHERE e.severity = %s AND e.created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        f" AND {_IS_LAST_OF_ITS_IDENTITY} ORDER BY e.id DESC LIMIT %s",
        (Severity.ERROR, within_seconds, limit),
        fetch_all=True,
        db_conn=db_conn,
    )
    return [
        EventRow(**{**row, "created_at": row["created_at"].replace(tzinfo=UTC)}) for row in rows
    ]
