"""What a person is told of a fill that was booked. Pure; decides nothing."""

from __future__ import annotations

from decimal import Decimal

from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry, Purpose
from domain.orders import Side
from strategy.booking import CycleChange
from utils.formatting import coins, marked, price, signed_usd, usd


def words_of_fill(cycle: DcaCycle, change: CycleChange) -> str | None:
    """One line on what `change` booked of `cycle`, which is as it was before; None: no fill."""
    entry = change.journal
    if entry is None or entry.filled_qty <= 0 or entry.filled_avg_price is None:
        return None
    done = "bought" if entry.side is Side.BUY else "sold"
    if entry.purpose is Purpose.STOP_LOSS:
        done = "stop loss sold"
    what = f"{entry.symbol}: {done} {coins(entry.filled_qty)} at {price(entry.filled_avg_price)}"
    paid = f"{usd(entry.filled_usd)} USD"
    if entry.side is Side.BUY:
        return f"{what} for {paid} ({_which(entry)} of cycle {cycle.id})"
    profit = marked(signed_usd(_profit_usd(cycle, change, entry)), entry.fee_is_estimated)
    status = change.cycle_updates.get("status", cycle.status)
    end = "is complete" if status == CycleStatus.COMPLETE else "goes on"
    return f"{what} for {paid}, profit {profit} USD after fees (cycle {cycle.id} {end})"


def _which(entry: JournalEntry) -> str:
    return "base order" if entry.purpose is Purpose.BASE else "safety order"


def _profit_usd(cycle: DcaCycle, change: CycleChange, entry: JournalEntry) -> Decimal:
    """A sale that completes its cycle bears the cost of all that was held: of the coins that went
    for fees, too. So the sales of a cycle add up to what the report says of it.
    """
    qty = cycle.quantity if change.next_cycle is not None else entry.filled_qty
    return entry.filled_usd - entry.fee_usd - qty * cycle.average_purchase_price
