"""A cycle computed again from its journal, with the plan's formulas written down a second time.

Pure, and on purpose independent of the bot's lifecycle code, which is checked with it. The journal
itself is checked against the exchange's fills elsewhere (invariants).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

from domain.journal import JournalEntry
from domain.market import AssetRules
from domain.orders import Side
from strategy.sizing import is_dust, is_unsellable, round_stored

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """What the cycle's row must say after some rows of the journal."""

    quantity: Decimal = _ZERO
    average: Decimal = _ZERO
    safety_orders: int = 0
    last_fill_price: Decimal | None = None
    base_price: Decimal | None = None
    base_order_id: str | None = None
    order_seq: int = 0
    coin_fees: Decimal = _ZERO
    is_complete: bool = False


def replay(
    journal: Iterable[JournalEntry],
    rules: AssetRules,
    fee_rate: Decimal,
    late_sale_completes: bool = True,
) -> list[Replayed]:
    """The states before the first row of the journal and after each one.

    A row whose seq has passed already is a correction: fills that came after the order's end. A
    correction that sells everything completes the cycle, unless its next order was open by then.
    """
    states = [Replayed()]
    filled_before: dict[str, Decimal] = {}
    order_prices: dict[str, Decimal] = {}
    for entry in journal:
        state = states[-1]
        is_late = entry.order_seq < state.order_seq or state.is_complete
        known = filled_before.get(entry.alpaca_order_id, _ZERO)
        with localcontext(prec=60):
            if not is_late:
                state = replace(state, order_seq=state.order_seq + 1)
            if entry.filled_qty > 0:
                before = order_prices.get(entry.alpaca_order_id, _ZERO)
                order_prices[entry.alpaca_order_id] = _average(before, known, entry)
            if entry.filled_qty > 0 and not state.is_complete:
                if entry.side is Side.SELL:
                    may_complete = late_sale_completes or not is_late
                    state = _sold(state, entry, rules, fee_rate, may_complete)
                else:
                    counted_before = is_late and not is_dust(known, rules, fee_rate)
                    state = _bought(state, entry, rules, fee_rate, is_late, counted_before)
                    if state.base_order_id == entry.alpaca_order_id:
                        state = replace(state, base_price=order_prices[entry.alpaca_order_id])
        if _ended_beside_a_late_sale(state, entry, rules, fee_rate, is_late):
            state = replace(state, is_complete=True)
        filled_before[entry.alpaca_order_id] = known + entry.filled_qty
        states.append(state)
    return states


def _ended_beside_a_late_sale(
    state: Replayed, entry: JournalEntry, rules: AssetRules, fee_rate: Decimal, is_late: bool
) -> bool:
    """The order that was open when a late sale took all coins has ended, and bought none."""
    return (
        not is_late
        and entry.side is Side.BUY
        and entry.final_status != "replaced"
        and state.quantity > 0
        and state.last_fill_price is not None
        and is_dust(state.quantity, rules, fee_rate)
    )


def _bought(
    state: Replayed,
    entry: JournalEntry,
    rules: AssetRules,
    fee_rate: Decimal,
    is_late: bool,
    counted_before: bool,
) -> Replayed:
    after = replace(
        state,
        quantity=state.quantity + entry.filled_qty,
        average=_average(state.average, state.quantity, entry),
        coin_fees=state.coin_fees + entry.fee_qty,
    )
    held_before = not is_dust(state.quantity, rules, fee_rate)
    is_whole = not is_late and (entry.requested_qty or _ZERO) <= entry.filled_qty
    if is_dust(entry.filled_qty, rules, fee_rate) and not (is_whole and held_before):
        return after
    return replace(
        after,
        last_fill_price=entry.filled_avg_price,
        base_order_id=state.base_order_id if held_before else entry.alpaca_order_id,
        safety_orders=state.safety_orders + (held_before and not counted_before),
    )


def _average(average: Decimal, quantity: Decimal, entry: JournalEntry) -> Decimal:
    """Of `quantity` that was bought at `average` before, and what `entry` bought."""
    price = entry.filled_avg_price
    assert price is not None, "a filled order has a price"
    if quantity <= 0:
        return price
    cost = average * quantity + price * entry.filled_qty
    return round_stored(cost / (quantity + entry.filled_qty))


def _sold(
    state: Replayed,
    entry: JournalEntry,
    rules: AssetRules,
    fee_rate: Decimal,
    may_complete: bool,
) -> Replayed:
    """A completing sale leaves the figures as they were: they say what the cycle was.

    However the order ended, what counts is what is left: when the position lagged, an order that
    filled sold only a part.
    """
    left = max(_ZERO, state.quantity - entry.filled_qty)
    # Fees are rounded up and their rate is an estimate: allow a tenth and a step of the quantity.
    fees = max(state.coin_fees, state.quantity * fee_rate)
    left_in_account = left - fees * Decimal("1.1") - rules.min_trade_increment
    goes_on = entry.final_status == "replaced"
    if may_complete and not goes_on and is_unsellable(left_in_account, rules):
        return replace(state, is_complete=True)
    return replace(state, quantity=left)
