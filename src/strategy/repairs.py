"""Changes of a cycle that no live event makes: what sweeps and caretakers find by comparing. Pure.

The same table of transitions decides (see lifecycle).
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

from domain.cycle import DcaCycle
from domain.events import EventKind, Severity
from domain.journal import LATE_FILL, JournalEntry, Purpose
from domain.orders import ExchangeOrder, Side
from strategy.booking import (
    CycleChange,
    build_event,
    build_journal_entry,
    compute_average_purchase_price,
    compute_fill_updates,
    lead_to,
)
from strategy.exits import get_sale_purpose
from strategy.lifecycle import Circumstances, Fact, Outcome, outcome_of, target_of
from strategy.sizing import round_stored


def compute_missing_order_change(cycle: DcaCycle, circumstances: Circumstances) -> CycleChange:
    """No such order exists: the cycle waits no more. `order_seq` stays, because nothing ended.

    Raises:
        ForbiddenTransition: when the cycle waits for no order.
    """
    outcome = Outcome(circumstances=circumstances, quantity=cycle.quantity)
    target = target_of(cycle, Fact.ORDER_MISSING, outcome)
    symbol, order_id = circumstances.asset.asset_symbol, cycle.latest_order_id
    reason = (
        f"cycle was {cycle.status} with order {order_id},"
        " which does not exist or was booked already"
    )
    kind, severity = EventKind.ORDER_MISSING, Severity.WARNING
    event = build_event(kind, severity, cycle, symbol, reason, order_id=order_id)
    unlinked = {"latest_order_id": None}
    return lead_to(cycle, target, circumstances, circumstances.now, unlinked, events=(event,))


def compute_cooldown_over_change(cycle: DcaCycle) -> CycleChange:
    """Back to `watching`.

    Raises:
        ForbiddenTransition: when the cycle is not in cooldown.
    """
    return CycleChange(cycle_updates={"status": target_of(cycle, Fact.COOLDOWN_OVER)})


def compute_position_gone_change(cycle: DcaCycle, circumstances: Circumstances) -> CycleChange:
    """The exchange holds nothing of what the database says: an alert, the end in `error`, and a new
    cycle.

    Raises:
        ForbiddenTransition: while an order is under way or the cycle has ended.
    """
    target = target_of(cycle, Fact.POSITION_GONE)
    asset = circumstances.asset
    reason = (
        f"the cycle holds {cycle.quantity.normalize():f} coins, the exchange none: it ended in"
        f" error, a new one waits {asset.cooldown_period} s before it buys"
    )
    kind, severity = EventKind.POSITION_GONE, Severity.ERROR
    event = build_event(kind, severity, cycle, asset.asset_symbol, reason)
    unlinked = {"latest_order_id": None}
    return lead_to(cycle, target, circumstances, circumstances.now, unlinked, events=(event,))


def compute_correction(
    cycle: DcaCycle,
    order: ExchangeOrder,
    journaled: list[JournalEntry],
    order_seq: int,
    circumstances: Circumstances,
) -> CycleChange | None:
    """More was filled of an ended order than the journal says: book the difference, with an alert.
    None when nothing is missing.

    Of a closed cycle only the journal changes. A late sell that leaves only dust completes the
    cycle, as it would have in time.
    """
    known_qty = sum((entry.filled_qty for entry in journaled), Decimal(0))
    extra_qty = order.filled_qty - known_qty
    if extra_qty <= 0 or order.filled_avg_price is None:
        return None
    known_usd = sum((entry.filled_usd for entry in journaled), Decimal(0))
    with localcontext(prec=60):
        extra_price = round_stored(
            (order.filled_qty * order.filled_avg_price - known_usd) / extra_qty
        )
    if extra_price <= 0:  # both averages were rounded, and their difference was multiplied
        extra_price = order.filled_avg_price
    late = replace(order, filled_qty=extra_qty, filled_avg_price=extra_price)
    fact = Fact.BUY_FILLED_LATE if order.side is Side.BUY else Fact.SELL_FILLED_LATE
    target = target_of(cycle, fact, outcome_of(cycle, late, circumstances))
    purpose = journaled[0].purpose if journaled else _purpose_of_late(cycle, order, circumstances)
    entry = build_journal_entry(cycle, late, purpose, circumstances, LATE_FILL)
    if journaled:
        entry = replace(entry, client_order_id=f"{order.client_order_id}/c{len(journaled)}")
    reason = (
        f"{order.side} order {order.client_order_id} had ended ({order.status}) and filled"
        f" {extra_qty.normalize():f} more at {extra_price.normalize():f}; cycle is {cycle.status}"
    )
    kind, severity = EventKind.FILL_CORRECTED, Severity.ERROR
    key = f"c{len(journaled)}"  # of one order the second is another alert
    event = build_event(
        kind, severity, cycle, order.symbol, reason, order_id=order.id, dedupe_key=key
    )
    entry = replace(entry, order_seq=order_seq)
    if target is cycle.status:
        updates = _correction_updates(cycle, late, journaled, circumstances)
        return CycleChange(cycle_updates=updates, journal=entry, events=(event,))
    # Left open it would buy again without its cooldown, on a budget that is spent already.
    return lead_to(
        cycle,
        target,
        circumstances,
        order.ended_at or circumstances.now,
        {"latest_order_id": None},
        {"last_sell_price": order.filled_avg_price},
        entry,
        (event,),
    )


def _purpose_of_late(
    cycle: DcaCycle, order: ExchangeOrder, circumstances: Circumstances
) -> Purpose:
    if order.side is Side.SELL:
        return get_sale_purpose(cycle)
    return Purpose.BASE if circumstances.is_dust(cycle.quantity) else Purpose.SAFETY


def _correction_updates(
    cycle: DcaCycle,
    late: ExchangeOrder,
    journaled: list[JournalEntry],
    circumstances: Circumstances,
) -> dict[str, Any]:
    if not cycle.is_open:
        return {}
    if late.side is Side.SELL:
        return {"quantity": max(Decimal(0), cycle.quantity - late.filled_qty)}
    held_before = not circumstances.is_dust(cycle.quantity)
    updates = compute_fill_updates(cycle, late, circumstances, held_before=held_before)
    known_price, known_qty = _weighted(journaled)
    counted = not circumstances.is_dust(known_qty)
    if counted:
        updates.pop("safety_orders", None)  # the order was counted when its first part was booked
    is_base = counted and journaled[0].purpose is Purpose.BASE
    if "base_order_price" in updates or (is_base and cycle.base_order_price == known_price):
        assert late.filled_avg_price is not None, "a late fill has a price"
        updates["base_order_price"] = compute_average_purchase_price(
            known_price, known_qty, late.filled_avg_price, late.filled_qty
        )
    return updates


def _weighted(journaled: list[JournalEntry]) -> tuple[Decimal, Decimal]:
    """Average price and coins of the parts of an order, in the order in which they were booked."""
    price = qty = Decimal(0)
    for entry in journaled:
        if entry.filled_qty > 0 and entry.filled_avg_price is not None:
            price = compute_average_purchase_price(
                price, qty, entry.filled_avg_price, entry.filled_qty
            )
            qty += entry.filled_qty
    return price, qty
