"""The table `dca_events`: repairs, blocks, corrections and alerts. Append-only; decides nothing."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.events import Event, EventAge, EventRow, Severity
from utils.db_utils import execute_query


def append_event(db_conn: MySQLConnectionAbstract, event: Event) -> None:
    """Insert `event`; a reason that is too long is cut."""
    execute_query(
        "INSERT INTO dca_events (kind, severity, asset_id, symbol, cycle_id, reason)"
        " VALUES (%s, %s, %s, %s, %s, %s)",
        (
            event.kind,
            event.severity,
            event.asset_id,
            event.symbol,
            event.cycle_id,
            event.reason[:500],
        ),
        commit=True,
        db_conn=db_conn,
    )


def event_exists(
    db_conn: MySQLConnectionAbstract, kind: str, reason: str, since: datetime | None = None
) -> bool:
    """Whether an event of this kind with this very reason was written (since `since`)."""
    row = execute_query(
        "SELECT 1 FROM dca_events WHERE kind = %s AND reason = %s"
        " AND (%s IS NULL OR created_at >= %s) LIMIT 1",
        (kind, reason[:500], since, since),
        fetch_one=True,
        db_conn=db_conn,
    )
    return row is not None


def get_event_ages(
    db_conn: MySQLConnectionAbstract, kinds: Sequence[str], within_seconds: float
) -> list[EventAge]:
    """Events of these kinds of the last `within_seconds`, oldest first."""
    marks = ", ".join(["%s"] * len(kinds))
    rows = execute_query(
        "SELECT reason, TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(6)) AS age"
        " FROM dca_events WHERE created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        f" AND kind IN ({marks}) ORDER BY id",
        (within_seconds, *kinds),
        fetch_all=True,
        db_conn=db_conn,
    )
    return [EventAge(row["reason"], float(row["age"]) / 1e6) for row in rows]


def get_kinds_by_cycle(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int], kinds: Sequence[str]
) -> set[tuple[int, str]]:
    """Which of `kinds` was ever written about which of these cycles: (cycle_id, kind)."""
    if not cycle_ids:
        return set()
    rows = execute_query(
        "SELECT DISTINCT cycle_id, kind FROM dca_events"
        f" WHERE cycle_id IN ({', '.join(['%s'] * len(cycle_ids))})"
        f" AND kind IN ({', '.join(['%s'] * len(kinds))})",
        (*cycle_ids, *kinds),
        fetch_all=True,
        db_conn=db_conn,
    )
    return {(row["cycle_id"], row["kind"]) for row in rows}


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
    """What a person was needed for lately, newest first; the same words only once."""
    rows = execute_query(
        "SELECT kind, reason, symbol, cycle_id, MAX(created_at) AS last_at FROM dca_events"
        " WHERE severity = %s AND created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        " GROUP BY kind, reason, symbol, cycle_id ORDER BY last_at DESC LIMIT %s",
        (Severity.ERROR, within_seconds, limit),
        fetch_all=True,
        db_conn=db_conn,
    )
    return [
        EventRow(
            kind=row["kind"],
            reason=row["reason"],
            symbol=row["symbol"],
            cycle_id=row["cycle_id"],
            created_at=row["last_at"].replace(tzinfo=UTC),
        )
        for row in rows
    ]
