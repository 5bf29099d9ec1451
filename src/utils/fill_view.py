"""A fill as JSON, which status, report and page share. Decides nothing."""

from __future__ import annotations

from typing import Any

from domain.journal import JournalEntry
from utils.formatting import plain


def fill_json(fill: JournalEntry) -> dict[str, Any]:
    """One fill, exact."""
    names = (
        "symbol",
        "cycle_id",
        "purpose",
        "side",
        "filled_qty",
        "filled_avg_price",
        "filled_usd",
    )
    shown = {name: plain(getattr(fill, name)) for name in names}
    return shown | {"ended_at": plain(fill.ended_at), "fee_is_estimated": fill.fee_is_estimated}
