"""What `dca_events` holds: repairs, blocks, corrections and alerts. Frozen records; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"  # money or state moved
    WARNING = "warning"  # it healed itself
    ERROR = "error"  # a person is needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of `dca_events`. `kind` is `noun_past_participle`; `reason` one line for a person."""

    kind: str
    severity: Severity
    reason: str
    asset_id: int | None = None
    symbol: str | None = None
    cycle_id: int | None = None


@dataclass(frozen=True, slots=True)
class EventAge:
    """What an event said and how many seconds ago, by the database's clock."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event as it was written; `created_at` is aware UTC."""

    kind: str
    reason: str
    symbol: str | None
    cycle_id: int | None
    created_at: datetime
