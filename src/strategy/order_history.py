"""What lists of orders prove: which orders exist, and which cannot. Pure.

A list holds every order that was submitted after some moment. The one order that a cycle's state
can have was submitted after the order before it, and never before the cycle's row was made, also
where the database is an old backup. So a list that reaches back far enough and lacks that order's
id is as good as the exchange's own 404 for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from domain.cycle import DcaCycle
from domain.orders import ExchangeOrder, UnreadableOrder
from strategy.order_identity import compute_client_order_id, parse_client_order_id
from strategy.reconciliation_facts import Answer, CurrentOrder

BEGINNING = datetime.min.replace(tzinfo=UTC)
# The clocks of exchange, database and machine differ, and a `created_at` that was written by hand
# can be of another time zone. Orders of one more day cost a page or two.
CLOCKS_APART = timedelta(days=1)


def earliest_submission(
    cycle: DcaCycle,
    previous_submitted_at: datetime | None,
    compared_at: datetime | None,
    now: datetime,
) -> datetime:
    """Before this moment the order that `cycle`'s state can have was certainly not submitted.

    Args:
        previous_submitted_at: when the cycle's order before this one was submitted, as the journal
            has it (the exchange's clock).
        compared_at: when it was certain for the last time that the exchange had no such order.

    `updated_at` proves nothing: a row can be touched while its order is on its way.
    """
    moments = [moment for moment in (previous_submitted_at, compared_at) if moment is not None]
    if cycle.created_at is not None and cycle.created_at <= now + CLOCKS_APART:
        moments.append(cycle.created_at)
    return max(moments) - CLOCKS_APART if moments else BEGINNING


def can_be_of(order: ExchangeOrder, cycles: Mapping[int, DcaCycle]) -> bool:
    """Whether one of these open cycles (by id) waits for `order`, or has yet to book it."""
    identity = parse_client_order_id(order.client_order_id)
    cycle = cycles.get(identity.cycle_id) if identity else None
    if identity is None or cycle is None:
        return False
    return identity.order_key == cycle.order_key and identity.order_seq >= cycle.order_seq


@dataclass(slots=True)
class OrderHistory:
    """Orders that were listed. Every one that matters, was submitted after `reaches` and before
    `read_at`, is here, if only as unreadable. `listed` counts the others, too.
    """

    read_at: datetime
    reaches: datetime
    listed: int = 0
    pages_back: int = 0  # how many were read only to reach further back
    asked: set[str] = field(default_factory=set)  # client_order_ids that were asked for singly
    _by_id: dict[str, ExchangeOrder] = field(default_factory=dict)
    _by_client_id: dict[str, ExchangeOrder] = field(default_factory=dict)
    _unreadable: dict[str, UnreadableOrder] = field(default_factory=dict)

    def add(
        self, orders: Iterable[ExchangeOrder], unreadable: Iterable[UnreadableOrder] = ()
    ) -> None:
        """What was read later takes the place of what was read before."""
        for order in orders:
            self._by_id[order.id] = self._by_client_id[order.client_order_id] = order
            self._unreadable.pop(order.id, None)
        for one in unreadable:
            if one.id not in self._by_id:
                self._unreadable[one.id] = one

    def renewed(self, newest: OrderHistory) -> OrderHistory:
        """This one and `newest`, which overlaps it, as one."""
        self.add(newest.orders(), newest.unreadable())
        self.listed = len(self._by_id)
        self.read_at = newest.read_at
        self.reaches = min(self.reaches, newest.reaches)
        return self

    def orders(self) -> list[ExchangeOrder]:
        """All of them, in the order of their submission."""
        return sorted(self._by_id.values(), key=lambda order: order.submitted_at or BEGINNING)

    def unreadable(self) -> list[UnreadableOrder]:
        """Those that exist and cannot be read."""
        return list(self._unreadable.values())

    def has(self, order_id: str) -> bool:
        """Whether an order with this Alpaca id was listed."""
        return order_id in self._by_id or order_id in self._unreadable

    def get(self, order_id: str | None) -> ExchangeOrder | None:
        """The readable order with this Alpaca id."""
        return self._by_id.get(order_id or "")

    def find(self, client_order_id: str) -> ExchangeOrder | None:
        """The readable order with this client_order_id."""
        return self._by_client_id.get(client_order_id)

    def is_unreadable(self, cycle: DcaCycle) -> bool:
        """Whether the order that `cycle` waits for, or can have, is one that cannot be read."""
        identities = {cycle.latest_order_id, compute_client_order_id(cycle)}
        return any({one.id, one.client_order_id} & identities for one in self.unreadable())

    def say_of(self, cycle: DcaCycle, sent_after: datetime) -> CurrentOrder:
        """What these lists, and the answers to single questions, say about the one order that
        `cycle` can have, which was not submitted before `sent_after`.
        """
        identity = compute_client_order_id(cycle)
        order = self.find(identity)
        if self.is_unreadable(cycle):
            answer = Answer.UNREADABLE
        elif order is not None or identity in self.asked:
            answer = Answer.GIVEN
        else:
            answer = Answer.NOT_LISTED if self.reaches > sent_after else Answer.LIST_LACKS_IT
        return CurrentOrder(cycle=cycle, order=order, answer=answer, is_confirmed=False)
