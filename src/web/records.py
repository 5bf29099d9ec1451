"""What happened, from `dca_events` and the daemon's log, in one form and one order.

Reads only. A log line that is an alert's stands in `dca_events` already and is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from config import Settings
from domain.events import EventKind, Severity
from models.events import (
    EventFilter,
    EventStory,
    find_events,
    get_event_time,
    get_newest_event_id,
)
from monitoring.log_lines import LogLine
from monitoring.log_tail import NewLines, newest_lines
from operations.alerts import cure_of
from runtime.daemon_process import LOG_NAME
from utils.db_utils import thread_connection
from utils.formatting import plain

PAGE_ITEMS = 100
NEWS_ITEMS = 50
LEVELS = {"info": tuple(Severity), "warning": (Severity.WARNING, Severity.ERROR)}
LEVELS["error"] = (Severity.ERROR,)
_LOG_ID = re.compile(r"log-([0-9]{10,15})-([0-9]{1,6})", re.ASCII)
_KINDS = frozenset(kind.value for kind in EventKind)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which of them; None lets all pass. Without a `level` the log's INFO lines are left out."""

    kind: str | None = None
    symbol: str | None = None
    level: str | None = None
    text: str | None = None
    before: str | None = None


def load_page(settings: Settings, wanted: Wanted) -> tuple[list[dict[str, Any]], bool]:
    """The newest that pass, newest first, and whether there are more. Blocking.

    Raises:
        ValueError: `before` is no id of an item.
        DatabaseError.
    """
    connection = thread_connection()
    rows = EventFilter(
        kind=None if wanted.kind is None else wanted.kind.replace(".", "_"),
        symbol=wanted.symbol,
        severities=LEVELS[wanted.level or "info"],
        text=wanted.text,
    )
    log_before: tuple[datetime, int] | None = None
    if wanted.before is not None:
        if (match := _LOG_ID.fullmatch(wanted.before)) is not None:
            log_before = _EPOCH + timedelta(milliseconds=int(match[1])), int(match[2])
            rows = replace(rows, before_at=log_before[0])
        elif wanted.before.isascii() and wanted.before.isdigit() and len(wanted.before) < 19:
            number = int(wanted.before)
            at = get_event_time(connection, number)
            if at is None:
                raise ValueError("before: there is no such event")
            rows, log_before = replace(rows, before_id=number), (at, -1)
        else:
            raise ValueError("before: expected the id of an item")
    found = [_event_item(one) for one in find_events(connection, rows, PAGE_ITEMS + 1)]
    found += islice(_log_items(settings, wanted, log_before), PAGE_ITEMS + 1)
    found.sort(key=lambda item: str(item["at"]), reverse=True)
    return found[:PAGE_ITEMS], len(found) > PAGE_ITEMS


class NewRecords:
    """What was written since the last call; nothing at the first."""

    def __init__(self, settings: Settings) -> None:
        self._log = NewLines(settings.log_dir / LOG_NAME)
        self._event_id: int | None = None

    def read(self) -> list[dict[str, Any]]:
        """Oldest first.

        Raises:
            DatabaseError.
        """
        connection = thread_connection()
        if self._event_id is None:
            self._event_id = get_newest_event_id(connection)
            self._log.read()
            return []
        rows = find_events(connection, EventFilter(after_id=self._event_id), NEWS_ITEMS)
        if rows:
            self._event_id = rows[0].row.id
        items = [_event_item(one) for one in reversed(rows)]
        counted = list(_counted(reversed(self._log.read()[-NEWS_ITEMS:])))
        fitting = [one for one in reversed(counted) if _is_shown(one[0], Wanted())]
        return items + [_log_item(line, count) for line, count in fitting]


def _event_item(story: EventStory) -> dict[str, Any]:
    row = story.row
    return {
        "id": str(row.id),
        "at": _time(row.created_at),
        "source": "alert" if row.severity is Severity.ERROR else "event",
        "level": row.severity.value,
        "kind": row.kind,
        "symbol": row.symbol,
        "words": row.reason,
        "cure": cure_of(row.kind) or None,
        "ended_at": None if story.ended_at is None else _time(story.ended_at),
        "acknowledged": story.is_acknowledged or row.severity is Severity.WARNING,
        "cycle_id": row.cycle_id,
        "order_id": row.order_id,
    }


def _log_items(
    settings: Settings, wanted: Wanted, before: tuple[datetime, int] | None
) -> Iterator[dict[str, Any]]:
    """Newest first."""
    for line, count in _counted(newest_lines(settings.log_dir / LOG_NAME)):
        if before is not None and not (
            line.at < before[0] or (line.at == before[0] and count > before[1] >= 0)
        ):
            continue
        if _is_shown(line, wanted):
            yield _log_item(line, count)


def _counted(lines: Iterable[LogLine]) -> Iterator[tuple[LogLine, int]]:
    """Lines of one millisecond, newest first, are counted: so each has an id of its own."""
    last, count = None, 0
    for line in lines:
        count = count + 1 if line.at == last else 0
        last = line.at
        yield line, count


def _is_shown(line: LogLine, wanted: Wanted) -> bool:
    if not line.is_at_least((wanted.level or "warning").upper()):
        return False
    name = line.event.replace(".", "_")
    if line.is_at_least("ERROR") and name in _KINDS:
        return False
    if wanted.kind is not None and wanted.kind.replace(".", "_") != name:
        return False
    if wanted.symbol is not None and not line.is_about(wanted.symbol):
        return False
    return wanted.text is None or wanted.text.lower() in line.text.lower()


def _log_item(line: LogLine, count: int) -> dict[str, Any]:
    milliseconds = (line.at - _EPOCH) // timedelta(milliseconds=1)
    return {
        "id": f"log-{milliseconds}-{count}",
        "at": _time(line.at),
        "source": "log",
        "level": {"CRITICAL": "error"}.get(line.level, line.level.lower()),
        "kind": line.event,
        "symbol": line.fields.get("symbol"),
        "words": line.text.partition(f" {line.event}")[2].strip() or line.event,
        "cure": cure_of(line.event.replace(".", "_")) or None,
        "ended_at": None,
        "acknowledged": False,
        "cycle_id": None,
        "order_id": None,
    }


def _time(at: datetime) -> str:
    """With microseconds always, so that text sorts as time."""
    return str(plain(at.astimezone(UTC).isoformat(timespec="microseconds")))
