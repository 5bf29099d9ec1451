"""The journal of a replay as CSV: a line for each order, exact numbers, times in UTC."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from io import StringIO

from domain.journal import JournalEntry
from performance.cycle_results import ended_at
from utils.formatting import number

HEADER = (
    "time", "symbol", "cycle", "order", "purpose", "side", "qty", "price", "usd", "fee_coins",
    "fee_usd",
)  # fmt: skip


def journal_csv(entries: Iterable[JournalEntry]) -> str:
    """In the order of time; the cycles are those of the asset, from 1."""
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    for entry in sorted(entries, key=ended_at):
        writer.writerow(
            (
                ended_at(entry).isoformat(),
                entry.symbol,
                entry.cycle_id,
                entry.order_seq,
                entry.purpose.value,
                entry.side.value,
                number(entry.filled_qty),
                number(entry.filled_avg_price),
                number(entry.filled_usd),
                number(entry.fee_qty),
                number(entry.fee_usd),
            )
        )
    return out.getvalue()
