"""What one fact writes: cycle, asset, journal and the next cycle, together. Pure.

The table of transitions (lifecycle) says where it leads; this says with what figures, and never
chooses a status.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Context, Decimal
from typing import Any

from domain.asset import DcaAsset, StopLossAction
from domain.cycle import WAITING_STATUSES, CycleStatus, DcaCycle
from domain.events import Event, EventKind, Severity
from domain.journal import JournalEntry, Purpose
from domain.orders import ExchangeOrder, Side
from domain.records import Record, field
from strategy.exits import compute_stop_price, get_sale_purpose, may_stop
from strategy.fees import compute_coin_fee, compute_usd_fee
from strategy.lifecycle import SUCCESSORS, Circumstances, Outcome, fact_of, outcome_of, target_of
from strategy.sizing import WIDE, round_stored

_NONE = Decimal(0)
# Looked up once: see strategy.ladder.
_BUY, _BASE, _SAFETY, _COMPLETE = Side.BUY, Purpose.BASE, Purpose.SAFETY, CycleStatus.COMPLETE
_SHORT = Context(prec=10)  # digits of a price in a sentence


class CycleChange(Record, frozen=True, kw_only=True):
    """Everything that one fact writes, together or not at all."""

    cycle_updates: Mapping[str, Any]
    asset_updates: Mapping[str, Any] = field(default_factory=dict)
    journal: JournalEntry | None = None
    next_cycle: CycleStatus | None = None
    events: tuple[Event, ...] = ()


def compute_order_change(
    cycle: DcaCycle, order: ExchangeOrder, circumstances: Circumstances
) -> CycleChange | None:
    """What the state of the cycle's one possible order changes; None when nothing.

    Raises:
        ForbiddenTransition: when the cycle's status cannot have this.
    """
    outcome = outcome_of(cycle, order, circumstances)
    target = target_of(cycle, fact_of(order), outcome)
    if not order.is_ended:
        if target is cycle.status and cycle.latest_order_id == order.id:
            return None
        return CycleChange(cycle_updates={"status": target, "latest_order_id": order.id})
    if order.side is _BUY:
        return _bought(cycle, order, target, circumstances)
    return _sold(cycle, order, target, outcome)


def lead_to(
    cycle: DcaCycle,
    target: CycleStatus,
    circumstances: Circumstances,
    at: datetime,
    cycle_updates: Mapping[str, Any],
    asset_updates: Mapping[str, Any] | None = None,
    journal: JournalEntry | None = None,
    events: tuple[Event, ...] = (),
) -> CycleChange:
    """The change to the status `target`: an end has its time, and a cycle that follows. What ends
    by its stop loss is disabled with it where the asset says so.
    """
    updates, next_cycle = {**cycle_updates, "status": target}, SUCCESSORS.get(target)
    if next_cycle is not None:
        updates["completed_at"] = at
        if cycle.stop_loss_fired and _is_stopped_for_good(circumstances.asset):
            asset_updates = {**(asset_updates or {}), "is_enabled": False}
            events = (*events, _asset_stopped(cycle, circumstances.asset.asset_symbol))
    return CycleChange(
        cycle_updates=updates,
        asset_updates=asset_updates or {},
        journal=journal,
        next_cycle=next_cycle,
        events=events,
    )


def _is_stopped_for_good(asset: DcaAsset) -> bool:
    return asset.stop_loss_action is StopLossAction.DISABLE and asset.is_enabled


def _asset_stopped(cycle: DcaCycle, symbol: str) -> Event:
    reason = (
        f"the stop loss of cycle {cycle.id} has ended it, and the asset is disabled: nothing of it"
        f" is bought until scripts/assets enable {symbol}"
    )
    return build_event(EventKind.ASSET_STOPPED, Severity.ERROR, cycle, symbol, reason)


def compute_stop_loss_change(cycle: DcaCycle, circumstances: Circumstances) -> CycleChange | None:
    """The stop loss fires: from here on the cycle buys nothing and sells all, at any price. None
    where it must not: it fires once, and never beside another sale.
    """
    price, asset = compute_stop_price(circumstances.asset, cycle), circumstances.asset
    if price is None or not may_stop(cycle) or circumstances.is_dust(cycle.quantity):
        return None
    lasted = f" for {asset.stop_loss_seconds} s" if asset.stop_loss_seconds else ""
    percent = (asset.stop_loss_percent or Decimal(0)).normalize()
    is_last = asset.stop_loss_action is StopLossAction.DISABLE
    then = "and the asset is disabled" if is_last else "then it cools down"
    reason = (
        f"the bid was at or below {_SHORT.plus(price):f}{lasted}, {percent:f} % below the average"
        f" price: all coins are sold at the market, {then}"
    )
    kind, severity = EventKind.STOP_LOSS_FIRED, Severity.ERROR
    event = build_event(kind, severity, cycle, asset.asset_symbol, reason)
    return CycleChange(cycle_updates={"stop_loss_fired": True}, events=(event,))


def _after_end(cycle: DcaCycle, order: ExchangeOrder, target: CycleStatus) -> dict[str, Any]:
    """Open order and seq after an order ended. A replaced one goes on as its replacement."""
    goes_on = target in WAITING_STATUSES
    return {
        "order_seq": cycle.order_seq + 1,
        "latest_order_id": order.replaced_by if goes_on else None,
    }


def compute_average_purchase_price(
    average: Decimal, quantity: Decimal, fill_price: Decimal, filled_qty: Decimal
) -> Decimal:
    """The weighted average in USD of what was held and what was filled."""
    if quantity <= 0:
        return fill_price
    cost_usd = WIDE.add(WIDE.multiply(average, quantity), WIDE.multiply(fill_price, filled_qty))
    return round_stored(WIDE.divide(cost_usd, WIDE.add(quantity, filled_qty)))


def _bought(
    cycle: DcaCycle, order: ExchangeOrder, target: CycleStatus, circumstances: Circumstances
) -> CycleChange:
    is_whole = order.qty is not None and order.filled_qty >= order.qty
    held_before = not circumstances.is_dust(cycle.quantity)
    updates = _after_end(cycle, order, target)
    updates |= compute_fill_updates(
        cycle, order, circumstances, held_before=held_before, is_whole=is_whole
    )
    purpose = _SAFETY if held_before else _BASE
    entry = build_journal_entry(cycle, order, purpose, circumstances)
    at = order.ended_at or circumstances.now
    return lead_to(cycle, target, circumstances, at, updates, journal=entry)


def compute_fill_updates(
    cycle: DcaCycle,
    order: ExchangeOrder,
    circumstances: Circumstances,
    *,
    held_before: bool,
    is_whole: bool = False,
) -> dict[str, Any]:
    """What the fills of a buy change: quantity and average always. `held_before`: what the cycle
    had was more than dust.

    A fill that is dust neither counts nor moves a reference price. A safety order that was filled
    whole counts, however coarse its coin: or the same price would buy the next one, down to the
    end of the ladder. The base order's price is that of the buy before which nothing was held.
    """
    filled_qty, fill_price = order.filled_qty, order.filled_avg_price
    if filled_qty <= 0 or fill_price is None:
        return {}
    updates: dict[str, Any] = {
        "quantity": cycle.quantity + filled_qty,
        "average_purchase_price": compute_average_purchase_price(
            cycle.average_purchase_price, cycle.quantity, fill_price, filled_qty
        ),
    }
    if cycle.trailing_peak is not None:
        # The average moves, and the target with it: a peak of before says nothing any more.
        updates["trailing_peak"] = None
    counts = is_whole and held_before
    if counts or not circumstances.is_dust(filled_qty):
        updates["last_order_fill_price"] = fill_price
        if held_before:
            updates["safety_orders"] = cycle.safety_orders + 1
        else:
            updates["base_order_price"] = fill_price
    if cycle.open_requested and not circumstances.is_dust(updates["quantity"]):
        updates["open_requested"] = False  # it is carried out
    return updates


def _sold(
    cycle: DcaCycle, order: ExchangeOrder, target: CycleStatus, outcome: Outcome
) -> CycleChange:
    updates, left = _after_end(cycle, order, target), outcome.quantity
    is_complete, facts = target is _COMPLETE, outcome.circumstances
    note = _note_of_end(cycle, outcome) if is_complete else None
    entry = build_journal_entry(cycle, order, get_sale_purpose(cycle), facts, note)
    at = order.ended_at or facts.now
    if is_complete:
        sold_at = {"last_sell_price": order.filled_avg_price}
        return lead_to(cycle, target, facts, at, updates, sold_at, entry)
    if order.filled_qty > 0:
        updates["quantity"] = left
    events = (_incomplete_sale(cycle, order, left),) if order.status == "filled" else ()
    return lead_to(cycle, target, facts, at, updates, journal=entry, events=events)


def _note_of_end(cycle: DcaCycle, outcome: Outcome) -> str | None:
    left = max(Decimal(0), outcome.quantity - outcome.circumstances.coin_fees)
    notes = ["closed by the user"] if cycle.close_requested else []
    notes += [f"{left.normalize():f} coins could not be sold"] if left > 0 else []
    return "; ".join(notes) or None


def _incomplete_sale(cycle: DcaCycle, order: ExchangeOrder, left: Decimal) -> Event:
    reason = (
        f"sell order {order.client_order_id} was filled with {order.filled_qty.normalize():f}"
        f" coins, {left.normalize():f} of the cycle are left: it goes on with them"
    )
    kind, severity = EventKind.SALE_INCOMPLETE, Severity.WARNING
    return build_event(kind, severity, cycle, order.symbol, reason, order_id=order.id)


def build_event(
    kind: EventKind,
    severity: Severity,
    cycle: DcaCycle,
    symbol: str,
    reason: str,
    **identity: str | None,
) -> Event:
    """The row of dca_events about a change of `cycle`."""
    return Event(
        kind=kind,
        severity=severity,
        reason=reason,
        asset_id=cycle.asset_id,
        symbol=symbol,
        cycle_id=cycle.id,
        **identity,
    )


def build_journal_entry(
    cycle: DcaCycle,
    order: ExchangeOrder,
    purpose: Purpose,
    circumstances: Circumstances,
    note: str | None = None,
) -> JournalEntry:
    """The row of `order`. Its fee is taken of what is received (coins when buying, USD when
    selling) and an estimate until the exchange has posted it.
    """
    buys, fee_rate = order.side is _BUY, circumstances.fee_rate
    qty, price = order.filled_qty, order.filled_avg_price or _NONE
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
        ended_at=order.ended_at or circumstances.now,
        fee_qty=compute_coin_fee(qty, fee_rate) if buys else _NONE,
        fee_usd=_NONE if buys else compute_usd_fee(qty, price, fee_rate),
        note=note,
    )
