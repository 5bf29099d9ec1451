"""Writes what the exchange says about an order into the database: one locked, checked, whole
transaction.

Owns: finding the cycle that claims an order, and applying a lifecycle change with all its parts.
The only module that changes a cycle while the bot runs. Never decides what a change is (strategy
does) and never asks the exchange.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum
from operator import attrgetter

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Topic
from domain.cycle import CycleStatus, DcaCycle
from domain.events import UNBOOKED_KINDS, Event, EventKind, Severity
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from models.asset_config import update_asset_config
from models.cycle_data import add_cycle, get_cycle_by_latest_order, lock_cycle, update_cycle
from models.events import append_event, append_events, end_alerts, was_written
from models.order_journal import (
    BookedOrder,
    append_journal_entry,
    get_booked_orders,
    get_entries_of_order,
)
from models.trading_state import (
    BookingState,
    load_booking_state,
    load_trading_state_of_cycle,
)
from strategy.booking import CycleChange, compute_order_change
from strategy.lifecycle import Circumstances, ForbiddenTransition, fact_of
from strategy.order_identity import has_our_prefix, parse_client_order_id
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import OwnOrder
from strategy.repairs import compute_correction
from trading.fill_words import words_of_fill
from utils.db_utils import transaction
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


class Applied(Enum):
    """What became of what the exchange said."""

    CHANGED = "changed"
    NOTHING_NEW = "nothing_new"
    CORRECTED = "corrected"
    AHEAD = "ahead"  # an order of a later seq than the row knows: apply the ones between first
    UNCLAIMED = "unclaimed"  # it has our prefix, and no cycle can claim it
    NOT_OURS = "not_ours"
    FORBIDDEN = "forbidden"
    UNRESOLVED = "unresolved"  # it ends the cycle, but an order of the cycle may be on its way


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """The outcome, the cycle as it was before, and the change that was written."""

    applied: Applied
    cycle: DcaCycle | None = None
    change: CycleChange | None = None


def apply_order(
    order: ExchangeOrder,
    rules: AssetRules,
    fee_rate: Decimal,
    now: datetime,
    source: str,
    *,
    find_current: Callable[[DcaCycle], ExchangeOrder | None] | None = None,
) -> Result:
    """Bring the database to what `order` says. Applying the same order again changes nothing.

    An ended order must have been read over REST: its `filled_qty` counts.

    Args:
        find_current: asks the exchange for the one order that the cycle's state can have. A fill
            that comes after its order's end can end a cycle that has sent its next order already:
            that order is applied first. Without `find_current` such a fill is left UNRESOLVED.

    Raises:
        DatabaseError: nothing was written.
        ExchangeError: what `find_current` raises; nothing was written.
    """

    def work(is_alone: bool) -> Result:
        return transaction(
            lambda connection: _apply(connection, order, rules, fee_rate, now, is_alone)
        )

    result = work(is_alone=False)
    if result.applied is Applied.UNRESOLVED and find_current and result.cycle:
        if (current := find_current(result.cycle)) is not None:
            apply_order(current, rules, fee_rate, now, source)
        result = work(is_alone=True)
    _report(result, order, source)
    return result


def _apply(
    connection: MySQLConnectionAbstract,
    order: ExchangeOrder,
    rules: AssetRules,
    fee_rate: Decimal,
    now: datetime,
    is_alone: bool,
) -> Result:
    claim = _lock_claim(connection, order)
    cycle, state = claim.cycle, claim.found.state if claim.found else None
    symbol = state.asset.asset_symbol if state is not None else order.symbol
    own = OwnOrder(
        order=order,
        cycle=cycle if state is not None else None,
        order_seq=claim.order_seq,
        journaled_qty=claim.booked.filled_qty if claim.booked else None,
        other_symbol=symbol if symbol != order.symbol else None,
    )
    action = plan(own).action
    if own.cycle is None or state is None or action is Action.BLOCK:
        return Result(applied=_unclaimed(connection, own, action))
    circumstances = circumstances_of(state, rules, fee_rate, now)
    match action:
        case Action.APPLY_ORDER:
            return _apply_current(connection, claim, own.cycle, order, circumstances)
        case Action.CATCH_UP:
            return Result(applied=Applied.AHEAD, cycle=cycle)
        case Action.BOOK_LATE_FILL:
            journaled = get_entries_of_order(connection, order.id)
            seq = journaled[0].order_seq if journaled else (claim.order_seq or 0)
            change = compute_correction(own.cycle, order, journaled, seq, circumstances)
        case _:
            change = None
    if change is None:
        return Result(applied=Applied.NOTHING_NEW, cycle=cycle)
    if change.next_cycle is not None and not is_alone:
        return Result(applied=Applied.UNRESOLVED, cycle=cycle)
    write_change(connection, own.cycle, change, has_alerts=claim.has_alerts)
    return Result(applied=Applied.CORRECTED, cycle=cycle, change=change)


def _apply_current(
    connection: MySQLConnectionAbstract,
    claim: _Claim,
    cycle: DcaCycle,
    order: ExchangeOrder,
    circumstances: Circumstances,
) -> Result:
    try:
        change = compute_order_change(cycle, order, circumstances)
    except ForbiddenTransition as error:
        reason = f"order {order.client_order_id}: {error}"
        key = f"{order.client_order_id} {fact_of(order)}"
        alert_once(connection, EventKind.TRANSITION_FORBIDDEN, reason, order.symbol, cycle, key=key)
        return Result(applied=Applied.FORBIDDEN, cycle=cycle)
    if change is None:
        return Result(applied=Applied.NOTHING_NEW, cycle=cycle)
    write_change(connection, cycle, change, has_alerts=claim.has_alerts)
    return Result(applied=Applied.CHANGED, cycle=cycle, change=change)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Claim:
    """The cycle that claims an order, locked, and what was read under its lock."""

    cycle: DcaCycle | None
    order_seq: int | None
    found: BookingState | None  # None where the cycle or its asset is gone
    booked: BookedOrder | None

    @property
    def has_alerts(self) -> bool:
        return self.found is None or self.found.has_alerts


def _lock_claim(connection: MySQLConnectionAbstract, order: ExchangeOrder) -> _Claim:
    """As `find_claim`, with the cycle's row locked, and all that a booking needs of the rest.

    Nearly always it is the cycle that the order's own id names: its row is locked first, so what is
    read then holds until the end of the transaction.
    """
    identity = parse_client_order_id(order.client_order_id)
    named = lock_cycle(connection, identity.cycle_id) if identity is not None else None
    found = load_booking_state(connection, named, order.id) if named is not None else None
    if named is not None and found is not None and found.linked_cycle_id in (None, named.id):
        linked = named if found.linked_cycle_id else None
        cycle, seq = find_claim(order, linked, found.booked, {named.id: named}.get)
        if cycle is not None:
            return _Claim(cycle=cycle, order_seq=seq, found=found, booked=found.booked)
    return _lock_claim_of_another(connection, order)


def _lock_claim_of_another(connection: MySQLConnectionAbstract, order: ExchangeOrder) -> _Claim:
    """The order's own id names no cycle, or one that does not claim it."""
    linked = get_cycle_by_latest_order(connection, order.id)
    if linked is not None:
        linked = lock_cycle(connection, linked.id)
    if linked is not None and linked.latest_order_id != order.id:
        linked = None
    booked = get_booked_orders(connection, {order.id}).get(order.id)
    cycle, seq = find_claim(
        order, linked, booked, lambda cycle_id: lock_cycle(connection, cycle_id)
    )
    found = load_booking_state(connection, cycle, order.id) if cycle is not None else None
    return _Claim(cycle=cycle, order_seq=seq, found=found, booked=booked)


def find_claim(
    order: ExchangeOrder,
    linked: DcaCycle | None,
    booked: BookedOrder | None,
    find_cycle: Callable[[int], DcaCycle | None],
) -> tuple[DcaCycle | None, int | None]:
    """The cycle that claims `order`, and which of its orders that is (None: the one it waits for).

    By its link first (orders placed by hand in the plan's tests carry no id of ours), then by the
    journal, then by its own id.
    """
    if linked is not None:
        return linked, None
    if booked is not None:
        return find_cycle(booked.cycle_id), booked.order_seq
    identity = parse_client_order_id(order.client_order_id)
    cycle = find_cycle(identity.cycle_id) if identity is not None else None
    if identity is None or cycle is None or cycle.order_key != identity.order_key:
        return None, None
    return cycle, identity.order_seq


def circumstances_of(
    state: TradingState, rules: AssetRules, fee_rate: Decimal, now: datetime
) -> Circumstances:
    """What a change depends on, from a state that was read in the same transaction."""
    return Circumstances(
        asset=state.asset,
        rules=rules,
        fee_rate=fee_rate,
        now=now,
        cooldown_until=state.cooldown_until,
        after_error=state.previous_status is CycleStatus.ERROR,
        coin_fees=state.coin_fees,
    )


def write_change(
    connection: MySQLConnectionAbstract,
    cycle: DcaCycle,
    change: CycleChange,
    *,
    has_alerts: bool = True,
) -> None:
    """Write every part of `change`; the caller holds the row's lock inside a transaction.
    `has_alerts`: there may be alerts about its order, which are over when it is booked.
    """
    if change.cycle_updates:
        update_cycle(connection, cycle.id, change.cycle_updates)
    if change.asset_updates:
        update_asset_config(connection, cycle.asset_id, change.asset_updates)
    if change.journal is not None:
        append_journal_entry(connection, change.journal)
    if change.journal is not None and has_alerts:
        end_alerts(
            connection, change.journal.alpaca_order_id, UNBOOKED_KINDS, "the order is booked"
        )
    if change.next_cycle is not None:
        add_cycle(connection, cycle.asset_id, change.next_cycle)
    append_events(connection, change.events)


def _unclaimed(connection: MySQLConnectionAbstract, own: OwnOrder, action: Action) -> Applied:
    order, cycle = own.order, own.cycle
    if cycle is not None and own.other_symbol is not None:
        reason = (
            f"order {order.client_order_id} of cycle {cycle.id} is on {order.symbol}, its asset is"
            f" {own.other_symbol}: if asset_symbol was changed, change it back"
        )
        key = own.other_symbol
        alert_once(connection, EventKind.ASSET_RENAMED, reason, order.symbol, cycle, key=key)
    if not has_our_prefix(order.client_order_id):
        return Applied.NOT_OURS
    return Applied.UNCLAIMED if action is Action.BLOCK else Applied.NOTHING_NEW


def apply_to_cycle(
    compute: Callable[[DcaCycle, Circumstances], CycleChange | None],
    *,
    expected: DcaCycle,
    rules: AssetRules,
    fee_rate: Decimal,
    now: datetime,
) -> Result:
    """Apply a change found by comparing, if the row still is as `expected`.

    Raises:
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> Result:
        cycle, change = lock_cycle(connection, expected.id), None
        if cycle is None or not _is_same_state(cycle, expected):
            return Result(applied=Applied.NOTHING_NEW, cycle=cycle)
        if (state := load_trading_state_of_cycle(connection, cycle)) is not None:
            if state.other_symbol:  # what is dust of one coin is a fortune of another
                return Result(applied=Applied.FORBIDDEN, cycle=cycle)
            try:
                change = compute(cycle, circumstances_of(state, rules, fee_rate, now))
            except ForbiddenTransition:
                return Result(applied=Applied.FORBIDDEN, cycle=cycle)
        if change is None:
            return Result(applied=Applied.NOTHING_NEW, cycle=cycle)
        write_change(connection, cycle, change)
        return Result(applied=Applied.CHANGED, cycle=cycle, change=change)

    result = transaction(work)
    if result.change is not None:
        announce(result.change.events)
    return result


def _is_same_state(cycle: DcaCycle, expected: DcaCycle) -> bool:
    state = attrgetter("status", "order_seq", "latest_order_id", "quantity")
    return bool(state(cycle) == state(expected))


def announce(events: tuple[Event, ...]) -> None:
    """One log line for each event, at its severity: an ERROR is mailed."""
    for event in events:
        log_event(
            log,
            LogEvent[event.kind.name],
            level=logging.getLevelNamesMapping()[event.severity.name],
            symbol=event.symbol,
            cycle=event.cycle_id,
            order=event.order_id,
            key=event.dedupe_key,
            reason=event.reason,
        )


def record_event(connection: MySQLConnectionAbstract, event: Event) -> None:
    """Write its row and its log line.

    Raises:
        DatabaseError: nothing was written.
    """
    append_event(connection, event)
    announce((event,))


def alert_once(
    connection: MySQLConnectionAbstract,
    kind: EventKind,
    reason: str,
    symbol: str,
    cycle: DcaCycle | None = None,
    *,
    order_id: str | None = None,
    key: str | None = None,
) -> None:
    """An ERROR with one row and one line, although every sweep finds it again.

    Raises:
        DatabaseError: nothing was written.
    """
    event = Event(
        kind=kind,
        severity=Severity.ERROR,
        reason=reason,
        symbol=symbol,
        cycle_id=cycle.id if cycle else None,
        order_id=order_id,
        dedupe_key=key,
    )
    if not was_written(connection, event):
        record_event(connection, event)


def _report(result: Result, order: ExchangeOrder, source: str) -> None:
    """One line for each change that was committed."""
    if result.change is None or result.cycle is None:
        return
    updates = result.change.cycle_updates
    log_event(
        log,
        LogEvent.CYCLE_CHANGED,
        symbol=order.symbol,
        cycle=result.cycle.id,
        seq=result.cycle.order_seq,
        status=f"{result.cycle.status}>{updates.get('status', result.cycle.status)}",
        side=order.side,
        order_status=order.status,
        filled=order.filled_qty,
        price=order.filled_avg_price,
        quantity=updates.get("quantity"),
        average=updates.get("average_purchase_price"),
        source=source,
        id=order.client_order_id,
        case=str(order.filled_qty),
        topic=Topic.BUYS if order.side is Side.BUY else Topic.SALES,
        words=words_of_fill(result.cycle, result.change),
    )
    announce(result.change.events)
