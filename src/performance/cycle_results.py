"""What one cycle cost, earned and bound, from its rows in the journal. Pure.

Profit = sells - their USD fees - buys. The coin fee shows as coins that could not be sold, dust is
worth nothing. A cycle counts when it is complete, on the day of its last sell.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.cycle import CycleStatus
from domain.journal import ADOPTED, CycleJournal, JournalEntry, Purpose
from domain.orders import Side
from strategy.booking import compute_average_purchase_price

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleResult:
    """USD, and coins where it says so. `fees_usd` counts coin fees at what the coins cost."""

    cycle_id: int
    symbol: str
    opened_at: datetime
    completed_at: datetime
    safety_orders: int
    orders: int
    cost_usd: Decimal
    proceeds_usd: Decimal
    sell_fees_usd: Decimal
    coin_fees_usd: Decimal
    fees_are_estimated: bool
    notes: tuple[str, ...] = ()
    is_stopped: bool = False  # by its stop loss

    @property
    def profit_usd(self) -> Decimal:
        return self.proceeds_usd - self.sell_fees_usd - self.cost_usd

    @property
    def fees_usd(self) -> Decimal:
        return self.sell_fees_usd + self.coin_fees_usd

    @property
    def holding_seconds(self) -> float:
        return (self.completed_at - self.opened_at).total_seconds()

    @property
    def is_won(self) -> bool:
        return self.profit_usd > 0


@dataclass(frozen=True, slots=True)
class CapitalStep:
    """From `at` on, `change_usd` more (or less) is bound in coins."""

    at: datetime
    change_usd: Decimal


def find_completion(cycle: CycleJournal) -> datetime | None:
    """When a complete cycle sold last. A cycle whose row is gone (the asset was removed) counts as
    complete where anything was sold of it.
    """
    if cycle.status not in (CycleStatus.COMPLETE, None):
        return None
    ends = [ended_at(entry) for entry in cycle.entries if entry.side is Side.SELL]
    return max(ends) if ends else None


def compute_figures(cycle: CycleJournal) -> CycleResult | None:
    """The figures of a complete cycle; None while it is open, or when it ended in error."""
    completed_at = find_completion(cycle)
    if completed_at is None:
        return None
    buys = [entry for entry in cycle.entries if entry.side is Side.BUY]
    sells = [entry for entry in cycle.entries if entry.side is Side.SELL]
    safety = {entry.alpaca_order_id for entry in buys if entry.purpose is Purpose.SAFETY}
    notes = {entry.note: None for entry in cycle.entries if entry.note}
    return CycleResult(
        cycle_id=cycle.cycle_id,
        symbol=cycle.symbol,
        opened_at=min((ended_at(entry) for entry in buys), default=completed_at),
        completed_at=completed_at,
        safety_orders=len(safety),
        orders=len({entry.alpaca_order_id for entry in cycle.entries}),
        cost_usd=sum((entry.filled_usd for entry in buys), _ZERO),
        proceeds_usd=sum((entry.filled_usd for entry in sells), _ZERO),
        sell_fees_usd=sum((entry.fee_usd for entry in sells), _ZERO),
        coin_fees_usd=sum(
            (
                entry.fee_qty * (entry.filled_avg_price or _ZERO)
                for entry in buys
                if entry.final_status != ADOPTED  # what its fee says was not paid to us
            ),
            _ZERO,
        ),
        fees_are_estimated=any(entry.fee_is_estimated for entry in cycle.entries),
        notes=tuple(notes),
        is_stopped=any(entry.purpose is Purpose.STOP_LOSS for entry in sells if entry.filled_qty),
    )


def compute_capital_steps(cycle: CycleJournal) -> list[CapitalStep]:
    """What the cycle bound, over time: each buy binds what it cost, a sell frees its share of that.

    What is still bound when the cycle ends, in whatever way, is freed then.
    """
    steps: list[CapitalStep] = []
    bound, held = _ZERO, _ZERO
    end = _freed_at(cycle)
    for entry in cycle.entries:
        at = ended_at(entry) if end is None else min(ended_at(entry), end)
        if entry.side is Side.BUY:
            held += entry.filled_qty
            bound += entry.filled_usd
            steps.append(CapitalStep(at, entry.filled_usd))
        elif held > 0:
            share = min(Decimal(1), entry.filled_qty / held)
            steps.append(CapitalStep(at, -bound * share))
            held -= held * share
            bound -= bound * share
    if end is not None and bound:
        steps.append(CapitalStep(end, -bound))
    return steps


@dataclass(frozen=True, slots=True)
class CourseStep:
    """From `at` on: what one coin cost on average, and how many are held (coins as filled)."""

    at: datetime
    average_price: Decimal
    quantity: Decimal


def compute_course(entries: Iterable[JournalEntry]) -> list[CourseStep]:
    """Average price and coins after each fill of a cycle, in the order of `entries`."""
    steps: list[CourseStep] = []
    average, quantity = _ZERO, _ZERO
    for entry in entries:
        price = entry.filled_avg_price or _ZERO
        if entry.side is Side.BUY:
            average = compute_average_purchase_price(average, quantity, price, entry.filled_qty)
            quantity += entry.filled_qty
        else:
            quantity = max(_ZERO, quantity - entry.filled_qty)
        steps.append(CourseStep(ended_at(entry), average, quantity))
    return steps


def _freed_at(cycle: CycleJournal) -> datetime | None:
    """When nothing of the cycle is bound any more; None while it is open."""
    if (completed_at := find_completion(cycle)) is not None:
        return completed_at
    if cycle.status in (CycleStatus.ERROR, CycleStatus.COMPLETE):
        return cycle.completed_at or ended_at(cycle.entries[-1])
    return ended_at(cycle.entries[-1]) if cycle.status is None else None


def ended_at(entry: JournalEntry) -> datetime:
    """When the order ended; when it was submitted where no end is noted."""
    moment = entry.ended_at or entry.submitted_at
    assert moment is not None, "an order that ended has a time"
    return moment
