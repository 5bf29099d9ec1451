"""The alerts of a chaos run: what caused each, and whether it ended. Pure.

An alert that nobody can end teaches its reader to look away: at the end of a run, when every fault
is over, none may be open but those that only say what happened.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from domain.events import LASTING_KINDS, Severity
from domain.rows import Row, utc_from_db
from local_stack.audit.invariants import Violation

_IDENTITY = ("kind", "symbol", "cycle_id", "order_id", "dedupe_key")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertStory:
    """One alert from its ERROR to its end. `end` is None while it is open."""

    kind: str
    symbol: str | None
    cycle_id: int | None
    began_at: datetime
    cause: str
    end: str | None = None
    seconds: float | None = None

    @property
    def lasts(self) -> bool:
        """Whether it is over only when what it is about is gone."""
        return self.kind in LASTING_KINDS


def trace_alerts(events: Iterable[Row]) -> list[AlertStory]:
    """Every alert of `events` (rows of dca_events, oldest first), in the order of their begin."""
    told: list[AlertStory] = []
    open_ones: dict[tuple[object, ...], int] = {}
    for row in events:
        identity = tuple(row[column] for column in _IDENTITY)
        at = utc_from_db(row["created_at"])
        assert at is not None, "the column is NOT NULL"
        if row["severity"] == Severity.ERROR and identity not in open_ones:
            open_ones[identity] = len(told)
            told.append(
                AlertStory(
                    kind=row["kind"],
                    symbol=row["symbol"],
                    cycle_id=row["cycle_id"],
                    began_at=at,
                    cause=row["reason"],
                )
            )
        elif row["severity"] == Severity.INFO and identity in open_ones:
            number = open_ones.pop(identity)
            told[number] = _ended(told[number], row["reason"], at)
    return told


def _ended(story: AlertStory, end: str, at: datetime) -> AlertStory:
    return AlertStory(
        kind=story.kind,
        symbol=story.symbol,
        cycle_id=story.cycle_id,
        began_at=story.began_at,
        cause=story.cause,
        end=end,
        seconds=round((at - story.began_at).total_seconds(), 1),
    )


def find_unended(events: Iterable[Row]) -> list[Violation]:
    """The alerts that should be over by now."""
    return [
        Violation(
            rule="every alert ends",
            text=f"{one.kind} of {one.symbol or 'the whole bot'} is still open: {one.cause}",
            cycle_id=one.cycle_id,
        )
        for one in trace_alerts(events)
        if one.lasts and one.end is None
    ]


def alert_lines(stories: Iterable[AlertStory]) -> Iterator[str]:
    """Each alert in one line: what it was, its cause, and what ended it after how long."""
    for one in stories:
        about = f"{one.kind} {one.symbol or ''}".rstrip()
        if one.end is not None:
            yield f"  {about}: {one.cause}; after {one.seconds:.0f} s: {one.end}"
        else:
            yield f"  {about}: {one.cause}; {'still open' if one.lasts else 'news for an hour'}"
