"""What one fact writes: cycle, asset, journal and the next cycle, together. Pure.

The table of transitions (lifecycle) says where it leads; this says with what figures.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, localcontext
from typing import Any

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.events import Event, EventKind, Severity
from domain.journal import JournalEntry, Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from strategy.fees import compute_coin_fee, compute_usd_fee
from strategy.lifecycle import Fact, Next, fact_of, target_of
from strategy.sizing import is_dust, is_explained_by_fees, round_stored


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What a change depends on besides cycle and order.

    `coin_fees` are those of the cycle's ended buys.
    """

    asset: DcaAsset
    rules: AssetRules
    fee_rate: Decimal
    now: datetime
    cooldown_until: datetime | None = None
    after_error: bool = False
    coin_fees: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleChange:
    """Everything one fact writes, together or not at all."""

    cycle_updates: Mapping[str, Any]
    asset_updates: Mapping[str, Any] = field(default_factory=dict)
    journal: JournalEntry | None = None
    next_cycle: CycleStatus | None = None
    events: tuple[Event, ...] = ()


def compute_order_change(
    cycle: DcaCycle, order: ExchangeOrder, around: Circumstances
) -> CycleChange | None:
    """What the state of the cycle's one possible order changes; None when nothing.

    Raises:
        ForbiddenTransition: when the cycle's status cannot have this.
    """
    fact = fact_of(order)
    target = target_of(cycle, fact)
    match fact:
        case Fact.BUY_OPENED | Fact.SELL_OPENED:
            return _linked(cycle, order, target)
        case Fact.BUY_ENDED | Fact.BUY_REPLACED:
            return _bought(cycle, order, target, around)
        case _:
            return _sold(cycle, order, target, around)


def _linked(cycle: DcaCycle, order: ExchangeOrder, target: Next) -> CycleChange | None:
    status = cycle.status if target is Next.SAME else CycleStatus(target.value)
    if status is cycle.status and cycle.latest_order_id == order.id:
        return None
    return CycleChange(cycle_updates={"status": status, "latest_order_id": order.id})


def _after_end(
    cycle: DcaCycle, order: ExchangeOrder, target: Next, quantity: Decimal, around: Circumstances
) -> dict[str, Any]:
    """Status, open order and seq after an order ended.

    A replaced one goes on as its replacement.
    """
    updates: dict[str, Any] = {"order_seq": cycle.order_seq + 1, "latest_order_id": None}
    if order.status == "replaced" and order.replaced_by:
        updates["latest_order_id"] = order.replaced_by
        updates["status"] = cycle.status if target is Next.SAME else CycleStatus(target.value)
    else:
        updates["status"] = resting_status(quantity, around)
    return updates


def resting_status(quantity: Decimal, around: Circumstances) -> CycleStatus:
    """A cycle without coins goes on resting while its cooldown is not over (an early restart was
    canceled).
    """
    if (
        not around.after_error
        and around.cooldown_until is not None
        and around.now < around.cooldown_until
        and is_dust(quantity, around.rules, around.fee_rate)
    ):
        return CycleStatus.COOLDOWN
    return CycleStatus.WATCHING


def compute_average_purchase_price(
    average: Decimal, quantity: Decimal, fill_price: Decimal, filled_qty: Decimal
) -> Decimal:
    """The weighted average in USD of what was held and what was filled."""
    total = quantity + filled_qty
    if quantity <= 0 or total <= 0:
        return fill_price
    with localcontext(prec=60):
        return round_stored((average * quantity + fill_price * filled_qty) / total)


def _bought(
    cycle: DcaCycle, order: ExchangeOrder, target: Next, around: Circumstances
) -> CycleChange:
    quantity = cycle.quantity + order.filled_qty
    held_before = not is_dust(cycle.quantity, around.rules, around.fee_rate)
    updates = _after_end(cycle, order, target, quantity, around)
    is_whole = order.qty is not None and order.filled_qty >= order.qty
    updates |= compute_fill_updates(
        cycle, order.filled_qty, order.filled_avg_price, held_before, around, is_whole=is_whole
    )
    purpose = Purpose.SAFETY if held_before else Purpose.BASE
    journal = build_journal_entry(cycle, order, purpose, around)
    goes_on = updates["latest_order_id"] is not None
    if goes_on or not is_closed_without_sale(cycle, quantity, around):
        return CycleChange(cycle_updates=updates, journal=journal)
    updates |= {"status": CycleStatus.COMPLETE, "completed_at": order.ended_at or around.now}
    return CycleChange(cycle_updates=updates, journal=journal, next_cycle=CycleStatus.COOLDOWN)


def is_closed_without_sale(cycle: DcaCycle, quantity: Decimal, around: Circumstances) -> bool:
    """Whether the cycle is over once no order is open: nothing is held, and the user wants it
    closed, or its coins were sold by a fill that came late, beside the order that ended now.

    Back in `watching` the cycle would buy again, or wait for ever for a sale. A reference price is
    only noted by a fill that is more than dust: where dust is left of it, the rest was sold.
    """
    was_sold = cycle.quantity > 0 and cycle.last_order_fill_price is not None
    return (cycle.close_requested or was_sold) and is_dust(quantity, around.rules, around.fee_rate)


def compute_fill_updates(
    cycle: DcaCycle,
    filled_qty: Decimal,
    fill_price: Decimal | None,
    held_before: bool,
    around: Circumstances,
    *,
    is_whole: bool = False,
) -> dict[str, Any]:
    """Quantity and average always.

    A fill that is dust neither counts nor moves the reference price. A safety order that was filled
    whole counts, however coarse its coin: or the same price would buy the next one, down to the
    end of the ladder.
    """
    if filled_qty <= 0 or fill_price is None:
        return {}
    updates: dict[str, Any] = {
        "quantity": cycle.quantity + filled_qty,
        "average_purchase_price": compute_average_purchase_price(
            cycle.average_purchase_price, cycle.quantity, fill_price, filled_qty
        ),
    }
    counts = is_whole and held_before
    if counts or not is_dust(filled_qty, around.rules, around.fee_rate):
        updates["last_order_fill_price"] = fill_price
        if held_before:
            updates["safety_orders"] = cycle.safety_orders + 1
    return updates


def _sold(
    cycle: DcaCycle, order: ExchangeOrder, target: Next, around: Circumstances
) -> CycleChange:
    left = max(Decimal(0), cycle.quantity - order.filled_qty)
    if order.status != "replaced" and is_sold_out(cycle, order.filled_qty, around):
        return _completed(cycle, order, max(Decimal(0), left - around.coin_fees), around)
    updates = _after_end(cycle, order, target, left, around)
    if order.filled_qty > 0:
        updates["quantity"] = left
    return CycleChange(
        cycle_updates=updates,
        journal=build_journal_entry(cycle, order, Purpose.TAKE_PROFIT, around),
        events=(_incomplete_sale(cycle, order, left),) if order.status == "filled" else (),
    )


def is_sold_out(cycle: DcaCycle, sold_qty: Decimal, around: Circumstances) -> bool:
    """Whether `sold_qty` was sold and what is left of the cycle is no more than the coin fees
    explain, or cannot be sold.
    """
    return sold_qty > 0 and is_explained_by_fees(
        cycle.quantity, cycle.quantity - sold_qty, around.coin_fees, around.rules, around.fee_rate
    )


def _incomplete_sale(cycle: DcaCycle, order: ExchangeOrder, left: Decimal) -> Event:
    return Event(
        kind=EventKind.SALE_INCOMPLETE,
        severity=Severity.WARNING,
        reason=(
            f"sell order {order.client_order_id} was filled with"
            f" {order.filled_qty.normalize():f} coins, {left.normalize():f} of the cycle are left:"
            " it goes on with them"
        ),
        asset_id=cycle.asset_id,
        symbol=order.symbol,
        cycle_id=cycle.id,
        order_id=order.id,
    )


def _completed(
    cycle: DcaCycle, order: ExchangeOrder, left: Decimal, around: Circumstances
) -> CycleChange:
    notes = ["closed by the user"] if cycle.close_requested else []
    notes += [f"{left.normalize():f} coins could not be sold"] if left > 0 else []
    return CycleChange(
        cycle_updates={
            "status": CycleStatus.COMPLETE,
            "completed_at": order.ended_at or around.now,
            "latest_order_id": None,
            "order_seq": cycle.order_seq + 1,
        },
        asset_updates={"last_sell_price": order.filled_avg_price},
        journal=build_journal_entry(
            cycle, order, Purpose.TAKE_PROFIT, around, "; ".join(notes) or None
        ),
        next_cycle=CycleStatus.COOLDOWN,
    )


def build_journal_entry(
    cycle: DcaCycle,
    order: ExchangeOrder,
    purpose: Purpose,
    around: Circumstances,
    note: str | None = None,
) -> JournalEntry:
    """The fee is taken from what is received.

    Coins when buying, USD when selling. Estimated until posted.
    """
    buys = order.side is Side.BUY
    qty, price = order.filled_qty, order.filled_avg_price or Decimal(0)
    return JournalEntry(
        asset_id=cycle.asset_id,
        symbol=order.symbol,
        cycle_id=cycle.id,
        order_seq=cycle.order_seq,
        purpose=purpose,
        side=order.side,
        alpaca_order_id=order.id,
        client_order_id=order.client_order_id,
        requested_qty=order.qty,
        limit_price=order.limit_price,
        filled_qty=order.filled_qty,
        filled_avg_price=order.filled_avg_price,
        final_status=order.status,
        submitted_at=order.submitted_at,
        ended_at=order.ended_at or around.now,
        fee_qty=compute_coin_fee(qty, around.fee_rate) if buys else Decimal(0),
        fee_usd=Decimal(0) if buys else compute_usd_fee(qty, price, around.fee_rate),
        note=note,
    )
