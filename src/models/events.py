"""The table `dca_events`: repairs, blocks, corrections and alerts. Append-only; decides nothing.

Columns decide which rows are the same alert (`Event.identity`): nothing here compares a reason.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.events import LASTING_KINDS, Event, EventAge, EventKind, EventRow, Severity
from domain.rows import Row, utc_from_db
from models.statements import insert_row, insert_rows, marks, read_row, read_rows

_IDENTITY = ("kind", "symbol", "cycle_id", "order_id", "dedupe_key")
_IS_LAST_OF_ITS_IDENTITY = (
    "NOT EXISTS (SELECT 1 FROM dca_events later WHERE later.id > e.id AND "
    + " AND ".join(f"later.{column} <=> e.{column}" for column in _IDENTITY)
    + ")"
)
_HAD_AN_ERROR = (
    "EXISTS (SELECT 1 FROM dca_events first WHERE first.severity = 'error' AND "
    + " AND ".join(f"first.{column} <=> e.{column}" for column in _IDENTITY)
    + ")"
)
_COLUMNS = "e.id, e.severity, e.reason, e.asset_id, e.created_at, " + ", ".join(
    f"e.{column}" for column in _IDENTITY
)
# A WARNING of an identity that never was an ERROR is no alert.
_OPEN_ALERTS = (
    f"SELECT {_COLUMNS} FROM dca_events e WHERE e.severity IN ('error', 'warning')"
    f" AND {_IS_LAST_OF_ITS_IDENTITY} AND (e.severity = 'error' OR {_HAD_AN_ERROR})"
)
_ACKNOWLEDGED = Severity.WARNING


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
    """Whether this same alert was written (since `since`) and was not ended after that. One that
    was acknowledged is not written again.
    """
    query = (
        f"SELECT severity FROM dca_events WHERE {' <=> %s AND '.join(_IDENTITY)} <=> %s"
        " AND (%s IS NULL OR created_at >= %s) ORDER BY id DESC LIMIT 1"
    )
    row = read_row(db_conn, query, *event.identity, since, since)
    known = {event.severity}
    if event.severity is Severity.ERROR:
        known.add(_ACKNOWLEDGED)
    return row is not None and row["severity"] in known


def end_alerts(
    db_conn: MySQLConnectionAbstract, order_id: str, kinds: Sequence[EventKind], reason: str
) -> None:
    """The alerts of these kinds about this order are over. If one comes back, it is a new alert."""
    query = f"{_OPEN_ALERTS} AND e.order_id = %s AND e.kind IN ({marks(kinds)})"
    for row in read_rows(db_conn, query, order_id, *kinds):
        end_alert(db_conn, _event_row(row), reason)


def end_alert(db_conn: MySQLConnectionAbstract, alert: EventRow, reason: str) -> None:
    """It is over: it gets a row of the same identity that is no ERROR."""
    _append_like(db_conn, alert, Severity.INFO, f"over: {reason}")


def acknowledge(db_conn: MySQLConnectionAbstract, alert: EventRow) -> None:
    """The user has seen it: it is called wrong no more, and does not come again before it ended."""
    _append_like(db_conn, alert, _ACKNOWLEDGED, alert.reason)


def _append_like(
    db_conn: MySQLConnectionAbstract, alert: EventRow, severity: Severity, reason: str
) -> None:
    values = {column: getattr(alert, column) for column in (*_IDENTITY, "asset_id")}
    insert_row(db_conn, "dca_events", values | {"severity": severity, "reason": reason[:500]})


def get_open_alerts(db_conn: MySQLConnectionAbstract) -> list[EventRow]:
    """The newest row of each alert that is not over, newest first; with those acknowledged."""
    rows = read_rows(db_conn, f"{_OPEN_ALERTS} ORDER BY e.id DESC")
    return [_event_row(row) for row in rows]


def get_ends_after(db_conn: MySQLConnectionAbstract, event_id: int) -> list[EventRow]:
    """The rows after `event_id` that ended an alert, oldest first, each with the severity that the
    alert had until then: a WARNING had been acknowledged.
    """
    before = (
        "(SELECT MAX(b.id) FROM dca_events b WHERE b.id < e.id AND "
        + " AND ".join(f"b.{column} <=> e.{column}" for column in _IDENTITY)
        + ")"
    )
    query = (
        f"SELECT {_COLUMNS.replace('e.severity', 'was.severity')} FROM dca_events e"
        f" JOIN dca_events was ON was.id = {before}"
        " WHERE e.id > %s AND e.severity = 'info' AND was.severity IN ('error', 'warning')"
        f" AND {_HAD_AN_ERROR} ORDER BY e.id"
    )
    return [_event_row(row) for row in read_rows(db_conn, query, event_id)]


def get_newest_event_id(db_conn: MySQLConnectionAbstract) -> int:
    """The id of the last row; 0 where there is none."""
    row = read_row(db_conn, "SELECT MAX(id) AS id FROM dca_events")
    return int(row["id"] or 0) if row else 0


def _event_row(row: Row) -> EventRow:
    times = {"created_at": utc_from_db(row["created_at"])}
    return EventRow(**row | times | {"severity": Severity(row["severity"])})


def get_event_ages(
    db_conn: MySQLConnectionAbstract,
    kinds: Sequence[EventKind],
    within_seconds: float,
    severity: Severity | None = None,
) -> list[EventAge]:
    """Events of these kinds of the last `within_seconds`, oldest first.

    Args:
        severity: only those. ERROR: without the rows that acknowledged or ended one.
    """
    query = (
        "SELECT order_id, TIMESTAMPDIFF(MICROSECOND, created_at, UTC_TIMESTAMP(6)) AS age"
        " FROM dca_events WHERE created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND"
        f" AND kind IN ({marks(kinds)}) AND (%s IS NULL OR severity = %s) ORDER BY id"
    )
    rows = read_rows(db_conn, query, within_seconds, *kinds, severity, severity)
    return [EventAge(row["order_id"], float(row["age"]) / 1e6) for row in rows]


def get_kinds_by_cycle(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int], kinds: Sequence[EventKind]
) -> set[tuple[int, EventKind]]:
    """Which of `kinds` was written about which of these cycles and is not over: (id, kind)."""
    if not cycle_ids:
        return set()
    query = (
        "SELECT DISTINCT e.cycle_id, e.kind FROM dca_events e"
        f" WHERE e.cycle_id IN ({marks(cycle_ids)}) AND e.kind IN ({marks(kinds)})"
        f" AND e.severity <> 'info' AND {_IS_LAST_OF_ITS_IDENTITY}"
    )
    rows = read_rows(db_conn, query, *cycle_ids, *kinds)
    return {(row["cycle_id"], EventKind(row["kind"])) for row in rows}


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which rows: None lets all pass. `text` is what the reason must contain."""

    kind: str | None = None
    symbol: str | None = None
    severities: tuple[Severity, ...] = tuple(Severity)
    text: str | None = None
    before_id: int | None = None
    before_at: datetime | None = None
    after_id: int = 0


@dataclass(frozen=True, slots=True)
class EventStory:
    """A row, and what became of the alert that it is, where it is one."""

    row: EventRow
    ended_at: datetime | None
    is_acknowledged: bool


def find_events(
    db_conn: MySQLConnectionAbstract, wanted: EventFilter, limit: int
) -> list[EventStory]:
    """The newest rows that pass, newest first, as far as `limit`."""
    same = " AND ".join(f"later.{column} <=> e.{column}" for column in _IDENTITY)
    later = f"FROM dca_events later WHERE later.id > e.id AND {same} AND later.severity"
    pattern = None if wanted.text is None else f"%{_escaped(wanted.text)}%"
    query = (
        f"SELECT {_COLUMNS},"
        f" IF(e.severity = 'info', NULL, (SELECT MIN(later.created_at) {later} = 'info')) AS ended,"
        f" IF(e.severity = 'error', EXISTS (SELECT 1 {later} = 'warning'), FALSE) AS seen"
        " FROM dca_events e WHERE e.id > %s AND (%s IS NULL OR e.id < %s)"
        " AND (%s IS NULL OR e.created_at <= %s) AND (%s IS NULL OR e.kind = %s)"
        " AND (%s IS NULL OR e.symbol = %s) AND (%s IS NULL OR e.reason LIKE %s)"
        f" AND e.severity IN ({marks(wanted.severities)}) ORDER BY e.id DESC LIMIT %s"
    )
    given = (wanted.before_id, wanted.before_at, wanted.kind, wanted.symbol, pattern)
    twice = [one for value in given for one in (value, value)]
    rows = read_rows(db_conn, query, wanted.after_id, *twice, *wanted.severities, limit)
    return [
        EventStory(
            _event_row(
                {name: value for name, value in row.items() if name not in ("ended", "seen")}
            ),
            utc_from_db(row["ended"]),
            bool(row["seen"]),
        )
        for row in rows
    ]


def get_event_time(db_conn: MySQLConnectionAbstract, event_id: int) -> datetime | None:
    """When a row was written; None where there is none."""
    row = read_row(db_conn, "SELECT created_at FROM dca_events WHERE id = %s", event_id)
    return utc_from_db(row["created_at"]) if row else None


def _escaped(text: str) -> str:
    for sign in ("\\", "%", "_"):
        text = text.replace(sign, f"\\{sign}")
    return text


def get_events(db_conn: MySQLConnectionAbstract, limit: int = 50) -> list[dict[str, Any]]:
    """The newest events, newest first, as rows."""
    return read_rows(db_conn, "SELECT * FROM dca_events ORDER BY id DESC LIMIT %s", limit)


def get_error_events(
    db_conn: MySQLConnectionAbstract, within_seconds: float, limit: int
) -> list[EventRow]:
    """The alerts that are open and not acknowledged, newest first; news only of late."""
    query = (
        f"{_OPEN_ALERTS} AND e.severity = 'error' AND (e.kind IN ({marks(LASTING_KINDS)})"
        " OR e.created_at >= UTC_TIMESTAMP(6) - INTERVAL %s SECOND) ORDER BY e.id DESC LIMIT %s"
    )
    rows = read_rows(db_conn, query, *LASTING_KINDS, within_seconds, limit)
    return [_event_row(row) for row in rows]
