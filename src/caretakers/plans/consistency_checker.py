"""What the books and the exchange disagree about, and what follows from it. Pure.

    the exchange says                             the books say    what follows
    an order has ended, or filled more            not known        its fill is applied
    an order is open                              not linked       it is linked
    neither the order nor the id it would have    buying, selling  the cycle goes back to rest
    the order is open, however old                buying, selling  nothing: order_manager's matter
    404 for the position, or dust                 coins            the cycle ends in error
    fewer coins than fees explain                 coins            a person is told
    more coins than the cycle bought              coins            a person is told
    coins                                         none             a person is told: no base order
    an order with our prefix                      no cycle of it   a person is told

Nothing here is acted on before it was found twice, some seconds apart, in the same state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from caretakers.plans.cooldown_manager import why_endless
from domain.cycle import CycleStatus, DcaCycle
from domain.events import Severity
from domain.orders import ExchangeOrder
from domain.trading_state import Cooldown
from strategy.unclaimed import (
    cure_of_foreign_coins,
    describe_foreign_coins,
    describe_unclaimed,
)


class Action(StrEnum):
    APPLY_ORDER = "apply order"
    CATCH_UP = "catch up"  # the exchange is several orders ahead of the books
    RESET_CYCLE = "reset cycle"
    END_IN_ERROR = "end cycle in error"
    REPORT = "report"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One disagreement. `kind` is that of its row in dca_events.

    Two looks found the same when `key` is the same: it names the thing and the state it was in.
    """

    action: Action
    kind: str
    symbol: str
    reason: str
    key: tuple[object, ...]
    severity: Severity = Severity.WARNING
    cycle: DcaCycle | None = None
    order: ExchangeOrder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingCycle:
    """A cycle in buying or selling, and the order it waits for: None on the exchange's own 404."""

    cycle: DcaCycle
    symbol: str
    order: ExchangeOrder | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A cycle in watching whose coins and the account's differ, as measured on the exchange.

    `position_qty` is None on the exchange's own 404. `short_by` and `surplus` are what fees,
    rounding and the dust of earlier cycles do not explain. `current_order` is the one order that
    the cycle's state can have.
    """

    cycle: DcaCycle
    symbol: str
    books_hold_dust: bool
    position_qty: Decimal | None
    position_is_dust: bool
    short_by: Decimal = Decimal(0)
    surplus: Decimal = Decimal(0)
    open_orders: int = 0
    current_order: ExchangeOrder | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnOrder:
    """An order that carries our prefix or is in our journal, and who can claim it.

    `cycle` is the one that its client_order_id (or the journal) names, None when there is none;
    `order_seq` the number in that id; `journaled_qty` None while the journal does not have it.
    `matters`: of one that nothing claims, as strategy/unclaimed judges.
    """

    order: ExchangeOrder
    cycle: DcaCycle | None
    order_seq: int | None
    journaled_qty: Decimal | None
    is_linked: bool
    matters: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Everything one look has seen. `reported` holds (cycle id, kind) that a person was told of."""

    now: datetime
    waiting: tuple[WaitingCycle, ...] = ()
    holdings: tuple[Holding, ...] = ()
    orders: tuple[OwnOrder, ...] = ()
    cooldowns: tuple[Cooldown, ...] = ()
    reported: frozenset[tuple[int, str]] = frozenset()


def plan_repairs(world: World) -> list[Finding]:
    """All findings of one look, each order and each cycle at most once, fills before resets."""
    found: list[Finding] = []
    for own in world.orders:
        found += _about_order(own)
    for waiting in world.waiting:
        found += _about_waiting(waiting)
    for holding in world.holdings:
        found += _about_holding(holding)
    for cooldown in world.cooldowns:
        found += _about_cooldown(cooldown, world.now)
    fresh = [one for one in found if not _is_reported(one, world.reported)]
    return list({one.key: one for one in reversed(fresh)}.values())[::-1]


def confirmed(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """What two looks found in the same state."""
    seen = {finding.key for finding in first}
    return [finding for finding in second if finding.key in seen]


def _is_reported(finding: Finding, reported: frozenset[tuple[int, str]]) -> bool:
    return (
        finding.action is Action.REPORT
        and finding.cycle is not None
        and (finding.cycle.id, finding.kind) in reported
    )


def _apply(order: ExchangeOrder, cycle: DcaCycle | None) -> Finding:
    state = f"filled {order.filled_qty.normalize():f}" if order.is_ended else f"is {order.status}"
    return Finding(
        action=Action.APPLY_ORDER,
        kind="order_recovered",
        symbol=order.symbol,
        reason=f"{order.side} order {order.client_order_id} {state}, which the books did not know",
        key=("order", order.id, order.status, order.filled_qty),
        cycle=cycle,
        order=order,
    )


def _about_order(own: OwnOrder) -> list[Finding]:
    order, cycle = own.order, own.cycle
    if own.journaled_qty is not None:
        lacks = order.is_ended and order.filled_qty > own.journaled_qty
        return [_apply(order, cycle)] if lacks else []
    if own.is_linked:
        return [_apply(order, cycle)] if order.is_ended else []
    if cycle is not None and own.order_seq is not None and cycle.is_open:
        if own.order_seq == cycle.order_seq:
            return [_apply(order, cycle)]
        if own.order_seq > cycle.order_seq:
            return [_catch_up(order, cycle)]
    if cycle is not None and order.is_ended:
        return [_apply(order, cycle)] if order.filled_qty > 0 else []
    if order.is_ended and (order.filled_qty == 0 or not own.matters):
        return []
    return [_unclaimed(order)]


def _catch_up(order: ExchangeOrder, cycle: DcaCycle) -> Finding:
    return Finding(
        action=Action.CATCH_UP,
        kind="order_recovered",
        symbol=order.symbol,
        reason=f"the exchange has {order.client_order_id}, the books stand at {cycle.order_seq}",
        key=("order", order.id, cycle.order_seq),
        cycle=cycle,
        order=order,
    )


def _unclaimed(order: ExchangeOrder) -> Finding:
    return Finding(
        action=Action.REPORT,
        kind="order_unclaimed",
        symbol=order.symbol,
        reason=describe_unclaimed(order),
        key=("order", order.id),
        severity=Severity.ERROR,
        order=order,
    )


def _about_waiting(waiting: WaitingCycle) -> list[Finding]:
    cycle, order = waiting.cycle, waiting.order
    if order is None:
        return [
            Finding(
                action=Action.RESET_CYCLE,
                kind="order_missing",
                symbol=waiting.symbol,
                reason=f"cycle {cycle.id} is {cycle.status} with order {cycle.latest_order_id},"
                " which does not exist",
                key=_key_of(cycle, Action.RESET_CYCLE),
                cycle=cycle,
            )
        ]
    if order.is_ended or order.id != cycle.latest_order_id:
        return [_apply(order, cycle)]
    return []  # open, however old: order_manager cancels it and its end is booked


def _key_of(cycle: DcaCycle, what: str) -> tuple[object, ...]:
    """A row that was touched between two looks is another state."""
    return (
        what,
        cycle.id,
        cycle.status,
        cycle.order_seq,
        cycle.latest_order_id,
        cycle.quantity,
        cycle.updated_at,
    )


def _about_holding(holding: Holding) -> list[Finding]:
    cycle = holding.cycle
    if holding.current_order is not None:
        return [_apply(holding.current_order, cycle)]
    if holding.open_orders or cycle.status is not CycleStatus.WATCHING:
        return []
    has = holding.position_qty or Decimal(0)
    books = f"cycle {cycle.id} holds {_plain(cycle.quantity)} coins, the account {_plain(has)}"
    if not holding.books_hold_dust and holding.position_is_dust:
        return [_finding_on(holding, Action.END_IN_ERROR, "position_gone", Severity.ERROR, books)]
    if holding.books_hold_dust:
        if holding.surplus <= 0:
            return []
        reason = f"{describe_foreign_coins(has)}: {cure_of_foreign_coins(holding.symbol)}"
        return [_report(holding, "position_unexpected", Severity.ERROR, reason)]
    if holding.short_by > 0:
        reason = f"{books}: {_plain(holding.short_by)} fewer than fees explain"
        return [_report(holding, "position_short", Severity.ERROR, reason)]
    if holding.surplus > 0:
        reason = f"{books}: {_plain(holding.surplus)} more, which are not the bot's and stay"
        return [_report(holding, "position_excess", Severity.WARNING, reason)]
    return []


def _finding_on(
    holding: Holding, action: Action, kind: str, severity: Severity, reason: str
) -> Finding:
    return Finding(
        action=action,
        kind=kind,
        symbol=holding.symbol,
        reason=reason,
        key=_key_of(holding.cycle, kind),
        severity=severity,
        cycle=holding.cycle,
    )


def _report(holding: Holding, kind: str, severity: Severity, reason: str) -> Finding:
    return _finding_on(holding, Action.REPORT, kind, severity, reason)


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"


def _about_cooldown(cooldown: Cooldown, now: datetime) -> list[Finding]:
    reason = why_endless(cooldown, now)
    if reason is None:
        return []
    return [
        Finding(
            action=Action.REPORT,
            kind="cooldown_endless",
            symbol=cooldown.asset_symbol,
            reason=f"cycle {cooldown.cycle.id} rests without end: {reason}",
            key=_key_of(cooldown.cycle, "cooldown_endless"),
            severity=Severity.ERROR,
            cycle=cooldown.cycle,
        )
    ]
