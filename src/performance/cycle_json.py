"""A cycle as JSON: its journal, its fills as marks on a chart, its average over time, what it
earned. Decides nothing.
"""

from __future__ import annotations

from typing import Any

from domain.cycle import CycleStatus, DcaCycle
from domain.journal import CycleJournal, JournalEntry, Purpose
from performance.cycle_results import compute_course, compute_figures, ended_at
from utils.fill_view import fill_json
from utils.formatting import coins, marked, moment, plain, price, signed_usd, usd

_NAMES = {
    Purpose.BASE: "base order",
    Purpose.SAFETY: "safety order",
    Purpose.TAKE_PROFIT: "take profit",
    Purpose.STOP_LOSS: "stop loss",
}


def entry_json(entry: JournalEntry) -> dict[str, Any]:
    """One ended order, exact, and in words."""
    return fill_json(entry) | {
        "order_seq": entry.order_seq,
        "status": entry.final_status,
        "requested_qty": plain(entry.requested_qty),
        "limit_price": plain(entry.limit_price),
        "submitted_at": plain(entry.submitted_at),
        "fee_qty": plain(entry.fee_qty),
        "fee_usd": plain(entry.fee_usd),
        "note": entry.note,
        "order_id": entry.alpaca_order_id,
        "words": fill_words(entry),
    }


def fill_words(entry: JournalEntry) -> str:
    """`base order: bought 0.01 at 60,000.00 for 600.00 USD`."""
    if not entry.filled_qty:
        return f"{_NAMES[entry.purpose]}: {entry.final_status}, nothing filled"
    did = "bought" if entry.side.value == "buy" else "sold"
    at, spent = price(entry.filled_avg_price), usd(entry.filled_usd)
    return f"{_NAMES[entry.purpose]}: {did} {coins(entry.filled_qty)} at {at} for {spent} USD"


def markers_json(cycle: CycleJournal) -> list[dict[str, Any]]:
    """What a chart marks: each fill."""
    return [
        {
            "time": plain(ended_at(entry)),
            "side": entry.side.value,
            "purpose": entry.purpose.value,
            "price": plain(entry.filled_avg_price),
            "qty": plain(entry.filled_qty),
            "words": fill_words(entry),
        }
        for entry in cycle.entries
    ]


def averages_json(cycle: CycleJournal) -> list[dict[str, Any]]:
    """Its average price, from each fill on."""
    steps = compute_course(cycle.entries)
    return [{"time": plain(step.at), "price": plain(step.average_price)} for step in steps]


def result_json(cycle: CycleJournal | None, row: DcaCycle | None) -> dict[str, Any]:
    """What became of an ended cycle. `row` is None where its asset was removed, `cycle` where
    nothing was filled.
    """
    figures = None if cycle is None else compute_figures(cycle)
    started_at = min((ended_at(entry) for entry in cycle.entries), default=None) if cycle else None
    status = row.status if row else cycle.status if cycle else None
    ended = row.completed_at if row is not None else None
    if figures is not None:
        ended = figures.completed_at
    profit = None if figures is None else figures.profit_usd
    is_estimated = figures is not None and figures.fees_are_estimated
    return {
        "id": row.id if row is not None else cycle.cycle_id if cycle is not None else None,
        "status": None if status is None else status.value,
        "started_at": plain(started_at or (row.created_at if row is not None else None)),
        "ended_at": plain(ended),
        "profit_usd": plain(profit),
        "fees_usd": None if figures is None else plain(figures.fees_usd),
        "is_estimated": is_estimated,
        "safety_orders": 0 if figures is None else figures.safety_orders,
        "end": _end_of(cycle, status, is_stopped=figures is not None and figures.is_stopped),
        "shown": {
            "profit_usd": marked(signed_usd(profit), is_estimated and profit is not None),
            "fees_usd": None if figures is None else marked(usd(figures.fees_usd), is_estimated),
            "ended_at": None if ended is None else moment(ended),
        },
    }


def _end_of(cycle: CycleJournal | None, status: CycleStatus | None, *, is_stopped: bool) -> str:
    if status is CycleStatus.ERROR:
        return "ended in error"
    if cycle is None or not cycle.entries:
        return "nothing bought"
    if status is not None and status is not CycleStatus.COMPLETE:
        return "open"
    return "stop loss" if is_stopped else "sold"
