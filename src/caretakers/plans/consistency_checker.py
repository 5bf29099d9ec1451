"""What consistency_checker finds in one snapshot: the planner's rule for each pair of facts, in
words for a person. Pure.

Nothing is done before two snapshots, some seconds apart, found it in the same state.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar

from caretakers.plans.cooldown_manager import why_endless
from domain.cycle import DcaCycle
from domain.events import EventKind, Severity
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from strategy.reconciliation import Action, Rule, plan
from strategy.reconciliation_facts import (
    CurrentOrder,
    Holding,
    OwnOrder,
    RunningCooldown,
    UnclaimedOrder,
)
from strategy.unclaimed import cure_of_foreign_coins, describe_foreign_coins, describe_unclaimed

_Missing = TypeVar("_Missing", CurrentOrder, Holding)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One difference. `kind` is that of its row in dca_events. `key` names the thing and its state:
    two snapshots with the same key found the same.
    """

    action: Action
    kind: EventKind
    symbol: str
    reason: str
    key: tuple[object, ...]
    severity: Severity = Severity.WARNING
    cycle: DcaCycle | None = None
    order: ExchangeOrder | None = None
    holding: Holding | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything that was read at once. `reported`: (cycle id, kind) of alerts that were sent."""

    now: datetime
    waiting: tuple[CurrentOrder, ...] = ()
    holdings: tuple[Holding, ...] = ()
    orders: tuple[OwnOrder, ...] = ()
    cooldowns: tuple[TradingState, ...] = ()
    reported: frozenset[tuple[int, EventKind]] = frozenset()


def plan_repairs(snapshot: Snapshot, before: Iterable[Finding] | None = None) -> list[Finding]:
    """All findings of one snapshot, each order and each cycle at most once, fills before resets.

    Args:
        before: those of the snapshot before; what is missing for the first time has to wait. None:
            everything was missing before.
    """
    seen = None if before is None else {finding.key for finding in before}
    found = [
        *map(_about_order, snapshot.orders),
        *(
            _about_waiting(_confirmed(one, EventKind.ORDER_MISSING, seen))
            for one in snapshot.waiting
        ),
        *(
            _about_holding(_confirmed(one, EventKind.POSITION_GONE, seen))
            for one in snapshot.holdings
        ),
        *(_about_cooldown(cooldown, snapshot.now) for cooldown in snapshot.cooldowns),
    ]
    fresh = [one for one in found if one and not _is_reported(one, snapshot.reported)]
    return list({one.key: one for one in reversed(fresh)}.values())[::-1]


def confirmed(first: Iterable[Finding], second: Iterable[Finding]) -> list[Finding]:
    """What two snapshots found in the same state."""
    seen = {finding.key for finding in first}
    return [finding for finding in second if finding.key in seen]


def _confirmed(facts: _Missing, kind: EventKind, seen: Collection[object] | None) -> _Missing:
    return replace(facts, is_confirmed=seen is None or _key_of(facts.cycle, kind) in seen)


def _is_reported(finding: Finding, reported: frozenset[tuple[int, EventKind]]) -> bool:
    return (
        finding.action is Action.ALERT
        and finding.cycle is not None
        and (finding.cycle.id, finding.kind) in reported
    )


def _about_order(own: OwnOrder) -> Finding | None:
    order, rule = own.order, plan(own)
    match rule.action:
        case Action.APPLY_ORDER | Action.BOOK_LATE_FILL:
            return _applied(rule, order, own.cycle)
        case Action.CATCH_UP if own.cycle is not None:
            at = f"the database stands at {own.cycle.order_seq}"
            reason = f"the exchange has {order.client_order_id}, {at}"
            key = ("order", order.id, own.cycle.order_seq)
            return _finding(rule, order.symbol, reason, key, cycle=own.cycle, order=order)
        case Action.BLOCK:
            rule = plan(own.unclaimed or UnclaimedOrder(order=order))
    if rule.action not in (Action.ALERT, Action.BLOCK):
        return None
    seen_as = ("order", order.id)
    return _finding(rule, order.symbol, describe_unclaimed(order), seen_as, order=order)


def _about_waiting(waiting: CurrentOrder) -> Finding | None:
    cycle, order, rule = waiting.cycle, waiting.order, plan(waiting)
    match rule.action:
        case Action.APPLY_ORDER if order is not None:
            return _applied(rule, order, cycle)
        case Action.RESET_CYCLE | Action.WAIT if rule.kind:
            reason = (
                f"cycle {cycle.id} is {cycle.status} with order {cycle.latest_order_id},"
                " which does not exist or was booked already"
            )
            key = _key_of(cycle, rule.kind)
            return _finding(rule, waiting.symbol, reason, key, cycle=cycle)
        case _:
            return None


def _about_holding(holding: Holding) -> Finding | None:
    cycle, order, rule = holding.cycle, holding.current_order, plan(holding)
    if order is not None:
        return _applied(rule, order, cycle)
    if not rule.kind:
        return None
    has = holding.position_qty or Decimal(0)
    reason = f"cycle {cycle.id} holds {_plain(cycle.quantity)} coins, the account {_plain(has)}"
    match rule.kind:
        case EventKind.POSITION_UNEXPECTED:
            reason = f"{describe_foreign_coins(has)}: {cure_of_foreign_coins(holding.symbol)}"
        case EventKind.POSITION_SHORT:
            reason += f": {_plain(holding.short_by)} fewer than fees explain"
        case EventKind.POSITION_EXCESS:
            reason += f": {_plain(holding.surplus)} more, which are not the bot's and stay"
    key = _key_of(cycle, rule.kind)
    return _finding(rule, holding.symbol, reason, key, cycle=cycle, holding=holding)


def _about_cooldown(cooldown: TradingState, now: datetime) -> Finding | None:
    endless_because = why_endless(cooldown, now)
    rule = plan(RunningCooldown(endless_because=endless_because))
    if rule.kind is None:
        return None
    reason = f"the cooldown of cycle {cooldown.cycle.id} does not end: {endless_because}"
    key = _key_of(cooldown.cycle, rule.kind)
    return _finding(rule, cooldown.asset.asset_symbol, reason, key, cycle=cooldown.cycle)


def _applied(rule: Rule[Any], order: ExchangeOrder, cycle: DcaCycle | None) -> Finding:
    state = f"filled {order.filled_qty.normalize():f}" if order.is_ended else f"is {order.status}"
    reason = f"{order.side} order {order.client_order_id} {state}, which the database did not know"
    key = ("order", order.id, order.status, order.filled_qty)
    return _finding(rule, order.symbol, reason, key, cycle=cycle, order=order)


def _finding(
    rule: Rule[Any], symbol: str, reason: str, key: tuple[object, ...], **about: Any
) -> Finding:
    assert rule.kind is not None, f"{rule.name}: what is done leaves a row in dca_events"
    return Finding(
        action=rule.action,
        kind=rule.kind,
        severity=rule.severity,
        symbol=symbol,
        reason=reason,
        key=key,
        **about,
    )


def _key_of(cycle: DcaCycle, what: str) -> tuple[object, ...]:
    """A row that was touched between two snapshots is another state."""
    state = cycle.status, cycle.order_seq, cycle.latest_order_id, cycle.quantity
    return what, cycle.id, *state, cycle.updated_at


def _plain(number: Decimal) -> str:
    return f"{number.normalize():f}"
