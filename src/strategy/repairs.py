"""Changes of a cycle that no live event makes: what sweeps and caretakers find. Pure.

The same table of transitions decides (see lifecycle); these facts come from comparing, not from the
stream.
"""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal, localcontext
from typing import Any

from domain.cycle import DcaCycle
from domain.events import Event, Severity
from domain.journal import LATE_FILL, JournalEntry, Purpose
from domain.orders import ExchangeOrder, Side
from strategy.booking import CycleChange, build_journal_entry, compute_fill_updates, lead_to
from strategy.lifecycle import Circumstances, Fact, Outcome, outcome_of, target_of
from strategy.sizing import is_dust, round_stored


def compute_missing_order_change(cycle: DcaCycle, around: Circumstances) -> CycleChange:
    """No such order exists: back to rest. `order_seq` stays, because nothing ended.

    Raises:
        ForbiddenTransition: when the cycle waits for no order.
    """
    outcome = Outcome(around=around, quantity=cycle.quantity)
    target = target_of(cycle, Fact.ORDER_MISSING, outcome)
    change = CycleChange(
        cycle_updates={"latest_order_id": None},
        events=(
            Event(
                kind="order_missing",
                severity=Severity.WARNING,
                reason=(
                    f"cycle was {cycle.status} with order {cycle.latest_order_id},"
                    " which does not exist or was booked already"
                ),
                asset_id=cycle.asset_id,
                symbol=around.asset.asset_symbol,
                cycle_id=cycle.id,
            ),
        ),
    )
    return lead_to(target, change, around.now)


def compute_cooldown_over_change(cycle: DcaCycle) -> CycleChange:
    """The rest is over.

    Raises:
        ForbiddenTransition: when the cycle is not in cooldown.
    """
    return CycleChange(cycle_updates={"status": target_of(cycle, Fact.COOLDOWN_OVER)})


def compute_position_gone_change(cycle: DcaCycle, around: Circumstances) -> CycleChange:
    """The exchange holds nothing of what the books say: end in `error` and start anew, a person is
    told.

    Raises:
        ForbiddenTransition: while an order is under way or the cycle has ended.
    """
    target = target_of(cycle, Fact.POSITION_GONE)
    change = CycleChange(
        cycle_updates={"latest_order_id": None},
        events=(
            Event(
                kind="position_gone",
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
    return lead_to(target, change, around.now)


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
    late = replace(order, filled_qty=extra_qty, filled_avg_price=extra_price)
    fact = Fact.BUY_FILLED_LATE if order.side is Side.BUY else Fact.SELL_FILLED_LATE
    target = target_of(cycle, fact, outcome_of(cycle, late, around))
    purpose = journaled[0].purpose if journaled else _purpose_of_late(cycle, order, around)
    entry = build_journal_entry(cycle, late, purpose, around, LATE_FILL)
    if journaled:
        entry = replace(entry, client_order_id=f"{order.client_order_id}/c{len(journaled)}")
    change = CycleChange(
        cycle_updates=_correction_updates(cycle, late, known_qty, around),
        journal=replace(entry, order_seq=order_seq),
        events=(
            Event(
                kind="fill_corrected",
                severity=Severity.ERROR,
                reason=(
                    f"{order.side} order {order.client_order_id} had ended ({order.status}) and"
                    f" filled {extra_qty.normalize():f} more at {extra_price.normalize():f};"
                    f" cycle is {cycle.status}"
                ),
                asset_id=cycle.asset_id,
                symbol=order.symbol,
                cycle_id=cycle.id,
            ),
        ),
    )
    if target is cycle.status:
        return change
    # Left open it would buy again without its rest, on a budget that is spent already.
    ended = replace(
        change,
        cycle_updates={"latest_order_id": None},
        asset_updates={"last_sell_price": order.filled_avg_price},
    )
    return lead_to(target, ended, order.ended_at or around.now)


def _purpose_of_late(cycle: DcaCycle, order: ExchangeOrder, around: Circumstances) -> Purpose:
    if order.side is Side.SELL:
        return Purpose.TAKE_PROFIT
    held = not is_dust(cycle.quantity, around.rules, around.fee_rate)
    return Purpose.SAFETY if held else Purpose.BASE


def _correction_updates(
    cycle: DcaCycle, late: ExchangeOrder, known_qty: Decimal, around: Circumstances
) -> dict[str, Any]:
    if not cycle.is_open:
        return {}
    if late.side is Side.SELL:
        return {"quantity": max(Decimal(0), cycle.quantity - late.filled_qty)}
    held_before = not is_dust(cycle.quantity, around.rules, around.fee_rate)
    updates = compute_fill_updates(
        cycle, late.filled_qty, late.filled_avg_price, held_before, around
    )
    if not is_dust(known_qty, around.rules, around.fee_rate):
        updates.pop("safety_orders", None)  # the order was counted when its first part was booked
    return updates
