"""The alerts that are open: their cures, and that the user has seen them.

What an alert is and when it ends is models/events.py and caretakers/plans/alert_endings.py.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from datetime import datetime
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.events import EventRow, Severity
from models.events import acknowledge, get_open_alerts
from operations.refused import Refused
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

ALL = "all"


def acknowledge_alerts(
    connection: MySQLConnectionAbstract, numbers: Collection[str], *, by: str | None = None
) -> list[int]:
    """The user has seen those with these numbers, or ALL; which of them were news. `by`: who, for
    the log.

    Raises:
        Refused: no open alert has one of the numbers.
        DatabaseError.
    """
    open_now = {str(one.id): one for one in get_open_alerts(connection)}
    wanted = set(numbers)
    if wanted != {ALL} and (wrong := wanted - open_now.keys()):
        raise Refused(f"no open alert has the number {', '.join(sorted(wrong))}")
    chosen = [one for number, one in open_now.items() if wanted == {ALL} or number in wanted]
    chosen = [one for one in chosen if not is_seen(one)]
    for one in chosen:
        acknowledge(connection, one)
        log_event(
            log, LogEvent.ALERT_ACKNOWLEDGED, alert=one.kind, symbol=one.symbol, key=one.id, by=by
        )
    return [one.id for one in chosen]


def is_seen(alert: EventRow) -> bool:
    """Whether the user acknowledged it."""
    return alert.severity is not Severity.ERROR


def cure_of(kind: str) -> str:
    """What to do about an event of this kind; empty: nothing."""
    event = LogEvent.__members__.get(kind.upper())
    return event.cure if event is not None else ""


def alert_json(alert: EventRow, now: datetime) -> dict[str, Any]:
    """An open alert, as a program reads it."""
    return {
        "number": alert.id,
        "kind": alert.kind,
        "symbol": alert.symbol,
        "cycle": alert.cycle_id,
        "order": alert.order_id,
        "reason": alert.reason,
        "cure": cure_of(alert.kind),
        "acknowledged": is_seen(alert),
        "age_seconds": round((now - alert.created_at).total_seconds()),
    }
