"""Which open orders are canceled: stale limit buys, stuck sells, orphans, unwanted buys. Pure.

An order counts only when it is on a symbol of ours and older than the limit, which also protects
an order that was placed a moment ago and is not linked to its cycle yet. Only the buy of a cycle
that the user wants closed is canceled at any age. Nothing else is done: the order's end reaches the
cycle as any other end does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from domain.orders import ExchangeOrder, Side
from utils.formatting import span

ASK_AGAIN_SECONDS = 600.0  # an exchange that took the request needs no second one every minute
LONG_CANCEL_SECONDS = 600.0  # canceling takes moments; after this long it is an alert
_BEING_CANCELED = "pending_cancel"


class OrderAction(StrEnum):
    CANCEL = "cancel"
    NOTE = "note"  # somebody else's cancellation is under way: count the time from now
    REPORT = "report"  # a cancellation that does not come to its end


class Fault(StrEnum):
    STALE_BUY = "stale limit buy"
    STUCK_SELL = "stuck sell"  # its coins are sold again
    ORPHAN = "orphan"
    UNWANTED_BUY = "buy of a cycle to be closed"  # at any age: it keeps the sale waiting


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """Orders that cycles claim: the open order of each cycle in buying or selling, by Alpaca's id,
    and the one that each open cycle's state can have, by client_order_id.

    `closing` holds both ids of the cycles that the user wants closed.
    """

    order_ids: frozenset[str] = frozenset()
    client_order_ids: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()

    def include(self, order: ExchangeOrder) -> bool:
        return order.id in self.order_ids or order.client_order_id in self.client_order_ids

    def are_closing(self, order: ExchangeOrder) -> bool:
        """Whether it is an order of a cycle that the user wants closed."""
        return order.id in self.closing or order.client_order_id in self.closing


@dataclass(frozen=True, slots=True)
class AskedSeconds:
    """How many seconds ago a cancellation was first and last asked for (or first seen)."""

    first: float
    last: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What else decides about an order. `now` is the exchange's time, by which orders have ages."""

    now: datetime
    stale_seconds: float
    symbols: frozenset[str]
    claims: Claims = Claims()
    asked: Mapping[str, AskedSeconds] = field(default_factory=dict)  # by Alpaca's order id
    reported: frozenset[str] = frozenset()  # order ids of which an alert was sent


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRepair:
    """One thing to do about one order."""

    action: OrderAction
    order: ExchangeOrder
    fault: Fault
    age_seconds: float

    @property
    def reason(self) -> str:
        """What is wrong, for a person."""
        return (
            f"{self.fault}: {self.order.side} {self.order.client_order_id} is"
            f" {self.order.status} for {span(self.age_seconds)}"
        )


def order_age_seconds(order: ExchangeOrder, now: datetime) -> float:
    """How long the order is open; 0 when it does not say since when, so that nothing is done."""
    since = order.submitted_at or order.created_at
    return (now - since).total_seconds() if since else 0.0


def identify_stale_buy_orders(
    orders: Iterable[ExchangeOrder], now: datetime, stale_seconds: float
) -> list[ExchangeOrder]:
    """Open limit buys that are older than the limit, whoever claims them."""
    return [
        order
        for order in orders
        if order.side is Side.BUY
        and order.order_type == "limit"
        and _is_overdue(order, now, stale_seconds)
    ]


def identify_orphaned_orders(
    orders: Iterable[ExchangeOrder], claims: Claims, now: datetime, stale_seconds: float
) -> list[ExchangeOrder]:
    """Open orders that are older than the limit and that no cycle claims."""
    return [
        order
        for order in orders
        if _is_overdue(order, now, stale_seconds) and not claims.include(order)
    ]


def _is_overdue(order: ExchangeOrder, now: datetime, stale_seconds: float) -> bool:
    return not order.is_ended and order_age_seconds(order, now) > stale_seconds


def plan_order_repairs(
    orders: Iterable[ExchangeOrder], surroundings: Surroundings
) -> list[OrderRepair]:
    """What to do about the open orders, the oldest first."""
    ours = [order for order in orders if order.symbol in surroundings.symbols]
    claims, args = surroundings.claims, (surroundings.now, surroundings.stale_seconds)
    stuck = [one for one in ours if one.side is Side.SELL and _is_overdue(one, *args)]
    buys = [one for one in ours if one.side is Side.BUY and not one.is_ended]
    faults = {one.id: Fault.STUCK_SELL for one in stuck}
    faults |= {one.id: Fault.ORPHAN for one in identify_orphaned_orders(ours, claims, *args)}
    faults |= {one.id: Fault.STALE_BUY for one in identify_stale_buy_orders(ours, *args)}
    faults |= {one.id: Fault.UNWANTED_BUY for one in buys if claims.are_closing(one)}
    repairs = [
        OrderRepair(
            action=action,
            order=order,
            fault=faults[order.id],
            age_seconds=order_age_seconds(order, surroundings.now),
        )
        for order in ours
        if order.id in faults and (action := _action_on(order, surroundings)) is not None
    ]
    return sorted(repairs, key=lambda repair: -repair.age_seconds)


def _action_on(order: ExchangeOrder, surroundings: Surroundings) -> OrderAction | None:
    asked = surroundings.asked.get(order.id)
    if asked is None:
        return OrderAction.NOTE if order.status == _BEING_CANCELED else OrderAction.CANCEL
    if order.status != _BEING_CANCELED and asked.last >= ASK_AGAIN_SECONDS:
        return OrderAction.CANCEL
    if asked.first >= LONG_CANCEL_SECONDS and order.id not in surroundings.reported:
        return OrderAction.REPORT
    return None
