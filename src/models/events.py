"""The table `dca_events`: repairs, blocks, corrections and alerts. Append-only; decides nothing.

Columns decide which rows are the same alert (`Event.identity`): nothing here compares a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.events import Event, EventAge, EventKind, EventRow, Severity
from domain.rows import utc_from_db
from models.statements import insert_rows, marks, read_row, read_rows

_IDENTITY = ("kind", "symbol", "cycle_id", "order_id", "dedupe_key")
_IS_LAST_OF_ITS_IDENTITY = (
    "NOT EXISTS (SELECT 1 FROM dca_events later WHERE later.id > e.id AND "
    + " AND ".join(f"later.{column} <=> e.{column}" for column in _IDENTITY)
    + ")"
)


def append_event(db_conn: MySQLConnectionAbstract, event: Event) -> None:
    """Insert `event`; a reason that is too long is cut."""
    append_events(db_conn, [event])


def append_events(db_conn: MySQLConnectionAbstract, events: Sequence[Event]) -> None:
    """Insert `events`, if there are any, in their order; a reason that is too long is cut."""
    if events:
        insert_rows(db_conn, "dca_events", [_columns_of(event) for event in events])


def _columns_of(event: Event) -> dict[str, Any]:
    values = dict(zip(_IDENTITY, event.identity, strict=True))
    return values | {
        "severity": event.severity,
        "reason": event.reason[:500],
        "asset_id": event.asset_id,
    }


def was_written(
    db_conn: MySQLConnectionAbstract, event: Event, since: datetime | None = None
) -> bool:
    """Whether this same alert was written (since `since`) and was not ended after that."""
    query = (
        f"SELECT severity FROM dca_events WHERE {' <=> %s AND '.join(_IDENTITY)} <=> %s"
        " AND (%s IS NULL OR created_at >= %s) ORDER BY id DESC LIMIT 1"
    )
    row = read_row(db_conn, query, *event.identity, since, since)
    return row is not None and row["severity"] == event.severity


def end_alerts(
    db_conn: MySQLConnectionAbstract, order_id: str, kinds: Sequence[EventKind], reason: str
) -> None:
    """The errors of these kinds about this order are over: each gets a row of the same identity
    that is no ERROR. If it comes back, that is a new alert.
    """
    query = (
        "SELECT e.kind, e.asset_id, e.symbol, e.cycle_id, e.order_id, e.dedupe_key"
        f" FROM dca_events e WHERE e.order_id = %s AND e.kind IN ({marks(kinds)})"
        f" AND e.severity = %s AND {_IS_LAST_OF_ITS_IDENTITY}"
    )
    rows = read_rows(db_conn, query, order_id, *kinds, Severity.ERROR)
    over = [Event(severity=Severity.INFO, reason=f"over: {reason}", **row) for row in rows]
    append_events(db_conn, over)


def get_event_ages(
    db_conn: MySQLConnectionAbstract, kinds: Sequence[EventKind], within_seconds: float
) -> list[EventAge]:
    """Events of these kinds of the last `within_seconds`, oldest first."""
    query = (
        "SELECT order_id, TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(6)) AS age"
        " FROM dca_events WHERE created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        f" AND kind IN ({marks(kinds)}) ORDER BY id"
    )
    rows = read_rows(db_conn, query, within_seconds, *kinds)
    return [EventAge(row["order_id"], float(row["age"]) / 1e6) for row in rows]


def get_kinds_by_cycle(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int], kinds: Sequence[EventKind]
) -> set[tuple[int, EventKind]]:
    """Which of `kinds` was ever written about which of these cycles: (cycle_id, kind)."""
    if not cycle_ids:
        return set()
    query = (
        "SELECT DISTINCT cycle_id, kind FROM dca_events"
        f" WHERE cycle_id IN ({marks(cycle_ids)}) AND kind IN ({marks(kinds)})"
    )
    rows = read_rows(db_conn, query, *cycle_ids, *kinds)
    return {(row["cycle_id"], EventKind(row["kind"])) for row in rows}


def get_events(db_conn: MySQLConnectionAbstract, limit: int = 50) -> list[dict[str, Any]]:
    """The newest events, newest first, as rows."""
    return read_rows(db_conn, "SELECT * FROM dca_events ORDER BY id DESC LIMIT %s", limit)


def get_error_events(
    db_conn: MySQLConnectionAbstract, within_seconds: float, limit: int
) -> list[EventRow]:
    """The errors of late that are not over, newest first; of the same alert the last row."""
    query = (
        "SELECT e.kind, e.reason, e.symbol, e.cycle_id, e.created_at FROM dca_events e"
        " WHERE e.severity = %s AND e.created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        f" AND {_IS_LAST_OF_ITS_IDENTITY} ORDER BY e.id DESC LIMIT %s"
    )
    rows = read_rows(db_conn, query, Severity.ERROR, within_seconds, limit)
    return [EventRow(**row | {"created_at": utc_from_db(row["created_at"])}) for row in rows]
