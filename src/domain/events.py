"""What `dca_events` holds: repairs, blocks, corrections and alerts. Frozen records; no I/O.

What is the same alert is decided by columns (`Event.identity`), never by the words of `reason`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class Severity(StrEnum):
    INFO = "info"  # money or state moved
    WARNING = "warning"  # it healed itself
    ERROR = "error"  # a person is needed


class EventKind(StrEnum):
    """Every kind of row; other programs read the values, so they never change. Each has a log line
    of the same name: that of `order_unclaimed` is `order.unclaimed`.
    """

    ASSET_ADDED = "asset_added"
    ASSET_DISABLED = "asset_disabled"
    ASSET_EDITED = "asset_edited"
    ASSET_ENABLED = "asset_enabled"
    ASSET_REMOVED = "asset_removed"
    ASSET_RENAMED = "asset_renamed"
    ASSET_STOPPED = "asset_stopped"
    BUYING_PAUSE_REQUESTED = "buying_pause_requested"
    BUYING_RESUME_REQUESTED = "buying_resume_requested"
    BUYS_STOPPED = "buys_stopped"
    CLOSE_REQUESTED = "close_requested"
    CLOSE_WITHDRAWN = "close_withdrawn"
    COOLDOWN_ENDLESS = "cooldown_endless"
    CYCLE_ADOPTED = "cycle_adopted"
    DATABASE_RESTORED = "database_restored"
    FEES_IMPLAUSIBLE = "fees_implausible"
    FEES_INCOMPLETE = "fees_incomplete"
    FILL_CORRECTED = "fill_corrected"
    OPEN_REQUESTED = "open_requested"
    OPEN_WITHDRAWN = "open_withdrawn"
    ORDER_CANCEL_LASTING = "order_cancel_lasting"
    ORDER_CANCEL_REFUSED = "order_cancel_refused"
    ORDER_CANCEL_REQUESTED = "order_cancel_requested"
    ORDER_LONG_OPEN = "order_long_open"
    ORDER_MISSING = "order_missing"
    ORDER_RECOVERED = "order_recovered"
    ORDER_UNCLAIMED = "order_unclaimed"
    ORDER_UNREADABLE = "order_unreadable"
    ORDER_UNWRITABLE = "order_unwritable"
    POSITION_EXCESS = "position_excess"
    POSITION_GONE = "position_gone"
    POSITION_SHORT = "position_short"
    POSITION_UNEXPECTED = "position_unexpected"
    POSITIONS_DOUBTED = "positions_doubted"
    SALE_INCOMPLETE = "sale_incomplete"
    STOP_LOSS_FIRED = "stop_loss_fired"
    TRANSITION_FORBIDDEN = "transition_forbidden"


# Alerts about an order that is not booked: they are over when it is.
UNBOOKED_KINDS = (
    EventKind.ORDER_CANCEL_LASTING,
    EventKind.ORDER_LONG_OPEN,
    EventKind.ORDER_UNCLAIMED,
    EventKind.ORDER_UNREADABLE,
    EventKind.ORDER_UNWRITABLE,
)


# Something happened that a person should know of; nothing has to be cured.
NEWS_KINDS = (
    EventKind.ASSET_STOPPED,
    EventKind.FILL_CORRECTED,
    EventKind.POSITION_GONE,
    EventKind.STOP_LOSS_FIRED,
    EventKind.TRANSITION_FORBIDDEN,
)
# Every other ERROR lasts until what it is about is gone. One of a kind of an older version is news.
LASTING_KINDS = tuple(kind for kind in EventKind if kind not in NEWS_KINDS)
NEWS_SECONDS = 3600.0  # so long it counts as something that is wrong now


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One row of `dca_events`. `reason` is one line for a person, and says nothing to a program.

    Events of one `identity` are the same alert, and the newest of them says how it stands: an ERROR
    that is open, a WARNING that was acknowledged, an INFO that is over.
    `order_id` is the exchange's id of the order that it is about; `dedupe_key` is what else makes
    it another than others of its kind: the days of a fee, the status that an order stays in.
    """

    kind: EventKind
    severity: Severity
    reason: str
    asset_id: int | None = None
    symbol: str | None = None
    cycle_id: int | None = None
    order_id: str | None = None
    dedupe_key: str | None = None

    @property
    def identity(self) -> tuple[str | int | None, ...]:
        key = self.dedupe_key and self.dedupe_key[:160]
        return self.kind, self.symbol, self.cycle_id, self.order_id, key


@dataclass(frozen=True, slots=True)
class EventAge:
    """Which order an event was about and how many seconds ago it was, by the database's clock."""

    order_id: str | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """An event as it was written; `created_at` is aware UTC."""

    id: int
    kind: str  # of an older version, maybe
    severity: Severity
    reason: str
    asset_id: int | None
    symbol: str | None
    cycle_id: int | None
    order_id: str | None
    dedupe_key: str | None
    created_at: datetime

    @property
    def lasts(self) -> bool:
        """Whether it is over only when what it is about is gone."""
        return self.kind in LASTING_KINDS

    def is_wrong_now(self, now: datetime) -> bool:
        """Whether an open alert still counts as something that is wrong."""
        return self.lasts or (now - self.created_at).total_seconds() <= NEWS_SECONDS
