"""What the database says beside what the exchange says: one frozen record for each question that
the two can answer differently. Pure.

The daemon's sweep, the recovery and consistency_checker fill them, each in its own way;
strategy/reconciliation says what follows.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import Enum

from domain.cycle import WAITING_STATUSES, DcaCycle
from domain.orders import ExchangeOrder, UnreadableOrder
from strategy.order_identity import has_our_prefix


class Answer(Enum):
    """How the exchange answered a question about one order."""

    GIVEN = "given"  # the order, or its own 404
    NOT_LISTED = "not listed"  # by a list that proves nothing of it
    LIST_LACKS_IT = "list lacks it"  # and reaches back to before it could have been sent
    UNREADABLE = "unreadable"
    NONE = "none"
    NEVER = "never"  # none three times in a row, while its lists are answered


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOrder:
    """The exchange has `order`; the database says which cycle can claim it.

    `cycle` is the one that is linked to it, or that the journal or its client_order_id names.
    `order_seq` is the number there; None: it is linked. `journaled_qty`: None while the journal
    does not have it. `is_linked`: a cycle that waits is linked to it (left False under the row's
    lock: there the lifecycle's table says what is new). `other_symbol`: that of the cycle's asset,
    where it is not the order's. `open_for`: set by the daemon, whose alert it is. `unclaimed`: set
    by consistency_checker; the daemon judges after a sweep.
    """

    order: ExchangeOrder
    open_for: timedelta = timedelta(0)
    cycle: DcaCycle | None
    order_seq: int | None
    journaled_qty: Decimal | None
    is_linked: bool = False
    other_symbol: str | None = None
    unclaimed: UnclaimedOrder | None = None

    @property
    def is_foreign(self) -> bool:
        """Whether it is the user's own."""
        claimed = self.cycle is not None or self.is_linked
        return not claimed and not has_our_prefix(self.order.client_order_id)

    @property
    def is_current(self) -> bool:
        """Whether it is the one order that its cycle's state can have."""
        if self.cycle is None or not self.cycle.is_open:
            return self.is_linked
        return self.order_seq in (None, self.cycle.order_seq)

    @property
    def is_ahead(self) -> bool:
        """Whether its cycle, as the database has it, stands at an earlier order."""
        cycle, seq = self.cycle, self.order_seq or 0
        return cycle is not None and cycle.is_open and seq > cycle.order_seq


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentOrder:
    """The database has an open `cycle`; the exchange was asked for the one order that it can have.

    `order` is None where the exchange has none. `is_booked`: the journal has its end already.
    `is_confirmed`: the exchange said so before, long enough ago. consistency_checker leaves it True
    and acts only on what two snapshots agree on.
    """

    order: ExchangeOrder | None
    answer: Answer = Answer.GIVEN
    is_confirmed: bool = True
    cycle: DcaCycle
    symbol: str = ""
    is_booked: bool = False

    @property
    def is_to_apply(self) -> bool:
        """Whether there is one whose end is not booked."""
        return self.order is not None and not self.is_booked

    @property
    def is_linked_and_open(self) -> bool:
        """Whether the cycle is linked to it, and it has not ended."""
        order = self.order
        return bool(order and not order.is_ended and order.id == self.cycle.latest_order_id)

    @property
    def is_waited_for(self) -> bool:
        """Whether the cycle does nothing until this order ends."""
        return self.cycle.status in WAITING_STATUSES


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A cycle in watching whose coins and the account's differ, as measured on the exchange.

    `position_qty` is None on the exchange's own 404. `short_by` and `surplus` are what fees,
    rounding and the dust of earlier cycles do not explain. `current_order` is the one order that
    the cycle's state can have. `is_confirmed`: so in the snapshot before, too. `ended_lately`: how
    many cycles ended in error within the last hour.
    """

    position_qty: Decimal | None
    position_is_dust: bool
    short_by: Decimal = Decimal(0)
    surplus: Decimal = Decimal(0)
    open_orders: int = 0
    current_order: ExchangeOrder | None = None
    is_confirmed: bool = True
    cycle: DcaCycle
    symbol: str
    database_holds_dust: bool
    ended_lately: int = 0

    @property
    def is_gone(self) -> bool:
        """Whether the database has coins and the account none to speak of."""
        return not self.database_holds_dust and self.position_is_dust


@dataclass(frozen=True, slots=True, kw_only=True)
class UnclaimedOrder:
    """An order with our prefix that no cycle claims, beside the coins of its symbol.
    `may_still_change`: those cannot be counted now. `is_explained`: the cycles have as many.
    """

    order: ExchangeOrder
    may_still_change: bool = False
    is_explained: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableFind:
    """An order that was listed and cannot be read; `linked` are the ids that open cycles are linked
    to, `symbols` those of dca_assets.
    """

    order: UnreadableOrder
    linked: Collection[str]
    symbols: Collection[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamedEnd:
    """The stream says that an order ended; `is_confirmed`: REST says the same."""

    is_confirmed: bool
    is_ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SentOrder:
    """An order was sent, with an unknown outcome, and the exchange has none of its id.
    `is_confirmed`: it said so before, long enough ago.
    """

    is_confirmed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCooldown:
    """A cycle in cooldown. `endless_because`: why it cannot end by itself."""

    endless_because: str | None


Facts = (
    OwnOrder
    | CurrentOrder
    | Holding
    | UnclaimedOrder
    | UnreadableFind
    | StreamedEnd
    | SentOrder
    | RunningCooldown
)
