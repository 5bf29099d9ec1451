"""What a sweep or a recovery did, and the one line that says so."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from domain.orders import ExchangeOrder
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

EVENT_DUE = timedelta(seconds=15)  # an event this late was not late but lost


@dataclass(slots=True)
class SweepResult:
    """Orders whose change it wrote, cycles that it reset, and cycles that it could not resolve."""

    changed: list[ExchangeOrder] = field(default_factory=list)
    reset_cycles: int = 0
    unresolved_cycles: int = 0
    orders_seen: int = 0


def find_missed(orders: list[ExchangeOrder], now: datetime) -> list[ExchangeOrder]:
    """Those whose last event was not late but lost."""
    moments = [(order, order.ended_at or order.submitted_at) for order in orders]
    return [order for order, at in moments if at is not None and now - at > EVENT_DUE]


def log_sweep(result: SweepResult, source: str, now: datetime) -> None:
    """One line, if the sweep did anything. What happened a moment ago was no repair: its event was
    about to be booked when the list was read.
    """
    missed = result.changed if source == "recovery" else find_missed(result.changed, now)
    if missed or result.reset_cycles:
        event = LogEvent.SWEEP_REPAIRED
    elif result.changed:
        event = LogEvent.EVENTS_OVERTAKEN
    elif result.unresolved_cycles:
        event = LogEvent.SWEEP_UNRESOLVED
    else:
        return
    log_event(
        log,
        event,
        source=source,
        orders=result.orders_seen,
        changed=len(result.changed),
        reset=result.reset_cycles,
        unresolved=result.unresolved_cycles,
    )
