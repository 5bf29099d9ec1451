"""Changes of a cycle that no live event makes: what sweeps and caretakers find. Pure.

The same table of transitions decides (see lifecycle); these facts come from comparing, not from the
stream.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

from domain.cycle import CycleStatus, DcaCycle
from domain.events import Event, EventKind, Severity
from domain.journal import LATE_FILL, JournalEntry, Purpose
from domain.orders import ExchangeOrder, Side
from strategy.booking import (
    Circumstances,
    CycleChange,
    build_journal_entry,
    compute_fill_updates,
    is_closed_without_sale,
    is_sold_out,
    resting_status,
)
from strategy.fees import compute_coin_fee, compute_usd_fee
from strategy.lifecycle import Fact, target_of
from strategy.sizing import is_dust, round_stored


def compute_missing_order_change(cycle: DcaCycle, around: Circumstances) -> CycleChange:
    """No such order exists: back to rest. `order_seq` stays, because nothing ended.

    Raises:
        ForbiddenTransition: when the cycle waits for no order.
    """
    target_of(cycle, Fact.ORDER_MISSING)
    updates: dict[str, Any] = {
        "status": resting_status(cycle.quantity, around),
        "latest_order_id": None,
    }
    is_closed = is_closed_without_sale(cycle, cycle.quantity, around)
    if is_closed:
        updates |= {"status": CycleStatus.COMPLETE, "completed_at": around.now}
    return CycleChange(
        cycle_updates=updates,
        next_cycle=CycleStatus.COOLDOWN if is_closed else None,
        events=(
            Event(
                kind=EventKind.ORDER_MISSING,
                severity=Severity.WARNING,
                reason=(
                    f"cycle was {cycle.status} with order {cycle.latest_order_id},"
                    " which does not exist or was booked already"
                ),
                asset_id=cycle.asset_id,
                symbol=around.asset.asset_symbol,
                cycle_id=cycle.id,
                order_id=cycle.latest_order_id,
            ),
        ),
    )


def compute_cooldown_over_change(cycle: DcaCycle) -> CycleChange:
    """The rest is over.

    Raises:
        ForbiddenTransition: when the cycle is not in cooldown.
    """
    target_of(cycle, Fact.COOLDOWN_OVER)
    return CycleChange(cycle_updates={"status": CycleStatus.WATCHING})


def compute_position_gone_change(cycle: DcaCycle, around: Circumstances) -> CycleChange:
    """The exchange holds nothing of what the books say: end in `error` and start anew, a person is
    told.

    Raises:
        ForbiddenTransition: while an order is under way or the cycle has ended.
    """
    target_of(cycle, Fact.POSITION_GONE)
    return CycleChange(
        cycle_updates={
            "status": CycleStatus.ERROR,
            "completed_at": around.now,
            "latest_order_id": None,
        },
        next_cycle=CycleStatus.WATCHING,
        events=(
            Event(
                kind=EventKind.POSITION_GONE,
                severity=Severity.ERROR,
                reason=(
                    f"the cycle holds {cycle.quantity.normalize():f} coins, the exchange none:"
                    " it ended in error, a new one waits"
                    f" {around.asset.cooldown_period} s before it buys"
                ),
                asset_id=cycle.asset_id,
                symbol=around.asset.asset_symbol,
                cycle_id=cycle.id,
            ),
        ),
    )


def compute_correction(
    cycle: DcaCycle,
    order: ExchangeOrder,
    journaled: list[JournalEntry],
    order_seq: int,
    around: Circumstances,
) -> CycleChange | None:
    """More was filled of an ended order than the journal says: book the difference. None when
    nothing is missing.

    A closed cycle keeps its row: the fill is journaled and a person is told. A late sell that
    leaves only dust completes the cycle, as it would have in time.
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
    completes = (
        cycle.status is CycleStatus.WATCHING
        and order.side is Side.SELL
        and is_sold_out(cycle, extra_qty, around)
    )
    updates = _correction_updates(cycle, order, extra_qty, extra_price, known_qty, around)
    if completes:
        # Left open it would buy again without its rest, on a budget that is spent already.
        updates = {
            "status": CycleStatus.COMPLETE,
            "completed_at": order.ended_at or around.now,
            "latest_order_id": None,
        }
    purpose = journaled[0].purpose if journaled else _purpose_of_late(cycle, order, around)
    buys = order.side is Side.BUY
    entry = build_journal_entry(cycle, order, purpose, around)
    return CycleChange(
        cycle_updates=updates,
        asset_updates={"last_sell_price": order.filled_avg_price} if completes else {},
        next_cycle=CycleStatus.COOLDOWN if completes else None,
        journal=replace(
            entry,
            client_order_id=f"{order.client_order_id}/c{len(journaled)}"
            if journaled
            else order.client_order_id,
            order_seq=order_seq,
            filled_qty=extra_qty,
            filled_avg_price=extra_price,
            # The late part was an execution of its own.
            fee_qty=compute_coin_fee(extra_qty, around.fee_rate) if buys else Decimal(0),
            fee_usd=Decimal(0)
            if buys
            else compute_usd_fee(extra_qty, extra_price, around.fee_rate),
            note=LATE_FILL,
        ),
        events=(
            Event(
                kind=EventKind.FILL_CORRECTED,
                severity=Severity.ERROR,
                reason=(
                    f"{order.side} order {order.client_order_id} had ended ({order.status}) and"
                    f" filled {extra_qty.normalize():f} more at {extra_price.normalize():f};"
                    f" cycle is {cycle.status}"
                ),
                asset_id=cycle.asset_id,
                symbol=order.symbol,
                cycle_id=cycle.id,
                order_id=order.id,
                dedupe_key=f"c{len(journaled)}",  # of one order the second is another alert
            ),
        ),
    )


def _purpose_of_late(cycle: DcaCycle, order: ExchangeOrder, around: Circumstances) -> Purpose:
    if order.side is Side.SELL:
        return Purpose.TAKE_PROFIT
    held = not is_dust(cycle.quantity, around.rules, around.fee_rate)
    return Purpose.SAFETY if held else Purpose.BASE


def _correction_updates(
    cycle: DcaCycle,
    order: ExchangeOrder,
    extra_qty: Decimal,
    extra_price: Decimal,
    known_qty: Decimal,
    around: Circumstances,
) -> dict[str, Any]:
    if not cycle.is_open:
        return {}
    if order.side is Side.SELL:
        return {"quantity": max(Decimal(0), cycle.quantity - extra_qty)}
    held_before = not is_dust(cycle.quantity, around.rules, around.fee_rate)
    updates = compute_fill_updates(cycle, extra_qty, extra_price, held_before, around)
    if not is_dust(known_qty, around.rules, around.fee_rate):
        updates.pop("safety_orders", None)  # the order was counted when its first part was booked
    return updates
