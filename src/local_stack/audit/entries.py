"""When cycles began and buys were sent: a manual start only on request, nothing after a fall.

Pure, like invariants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

from domain.asset import StartMode
from domain.events import EventKind, Severity
from domain.orders import Side
from domain.rows import Row, utc_from_db
from local_stack.audit.invariants import Violation, violation_of
from local_stack.audit.ledgers import Evidence, match_evidence

# A buy that was decided just before the pause may arrive so much later: requests hang for 12
# seconds, a daemon is suspended as long, and the exchange's clock can be 8 seconds off.
ON_ITS_WAY, CLOCKS = timedelta(seconds=22), timedelta(seconds=9)


def find_unrequested_cycles(evidence: Evidence, events: Iterable[Row]) -> Iterator[Violation]:
    """A cycle of an asset with a manual start that sent an order although nobody opened it."""
    manual = {asset.id for asset in evidence.assets if asset.start_mode is StartMode.MANUAL}
    requested = {event["cycle_id"] for event in events if event["kind"] == EventKind.OPEN_REQUESTED}
    for cycle in match_evidence(evidence).cycles:
        if cycle.row.asset_id in manual and cycle.orders and cycle.row.id not in requested:
            text = f"{len(cycle.orders)} orders without a request of the user"
            yield violation_of(cycle, "manual start: on request only", text)


def find_buys_in_a_pause(
    evidence: Evidence, events: Iterable[Row], dump_pause: timedelta
) -> Iterator[Violation]:
    """A buy that was sent while a limit on losses, or a fall of the market, stopped them all. One
    fall does so for `dump_pause`, whenever a database that was away gets the row of its end.
    """
    pauses = list(_pauses(events, {"DUMP_PAUSE_PERCENT": dump_pause}))
    for cycle in match_evidence(evidence).cycles:
        buys = {order.id for order in cycle.orders if order.side is Side.BUY}
        for step in cycle.steps:
            if step.event != "pending_new" or step.order_id not in buys:
                continue
            if any(begin + ON_ITS_WAY < step.at < end - CLOCKS for begin, end in pauses):
                text = f"{step.order_id} was sent while no asset may buy"
                yield violation_of(cycle, "no buys in a pause", text)


def _pauses(
    events: Iterable[Row], longest: Mapping[str, timedelta]
) -> Iterator[tuple[datetime, datetime]]:
    """From each alert that buys are stopped to its end; those that are over."""
    begun: dict[str, datetime] = {}
    for event in events:
        if event["kind"] != EventKind.BUYS_STOPPED:
            continue
        key, at = event["dedupe_key"], utc_from_db(event["created_at"])
        assert at is not None, "the column is NOT NULL"
        if event["severity"] == Severity.ERROR:
            begun.setdefault(key, at)
        elif event["severity"] == Severity.INFO and key in begun:
            begin = begun.pop(key)
            yield begin, min(at, begin + longest[key]) if key in longest else at
