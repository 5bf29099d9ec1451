"""Every cycle that the journal knows, open or ended: its orders, and how its row stands.

A record and its query; what a cycle earned, others compute.
"""

from __future__ import annotations

from collections.abc import Collection

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import CycleStatus
from domain.journal import COLUMNS, CycleJournal, JournalEntry
from domain.rows import Row, utc_from_db
from models.statements import marks, read_rows

_ORDERS = ", ".join(f"o.{name}" for name in COLUMNS)
_QUERY = """
SELECT {orders},
       c.status AS cycle_status, c.completed_at AS cycle_completed_at
  FROM dca_orders o
  LEFT JOIN dca_cycles c ON c.id = o.cycle_id AND c.asset_id = o.asset_id
 WHERE o.filled_qty > 0 AND {which}
 ORDER BY o.asset_id, o.cycle_id, o.ended_at, o.id
"""
_OF_SYMBOL_OR_CYCLE = "(%s IS NULL OR o.symbol = %s) AND (%s IS NULL OR o.cycle_id = %s)"


def load_cycle_journals(
    db_conn: MySQLConnectionAbstract, symbol: str | None = None, cycle_id: int | None = None
) -> list[CycleJournal]:
    """Every cycle of which anything was filled, in one query; of one symbol or one cycle only."""
    query = _QUERY.format(orders=_ORDERS, which=_OF_SYMBOL_OR_CYCLE)
    return _cycle_journals(read_rows(db_conn, query, symbol, symbol, cycle_id, cycle_id))


def load_journals_of_cycles(
    db_conn: MySQLConnectionAbstract, cycle_ids: Collection[int]
) -> dict[int, CycleJournal]:
    """Those of these cycles of which anything was filled, by id, in one query."""
    if not cycle_ids:
        return {}
    query = _QUERY.format(orders=_ORDERS, which=f"o.cycle_id IN ({marks(cycle_ids)})")
    return {one.cycle_id: one for one in _cycle_journals(read_rows(db_conn, query, *cycle_ids))}


def _cycle_journals(rows: list[Row]) -> list[CycleJournal]:
    found: dict[tuple[int, int], list[Row]] = {}
    for row in rows:
        found.setdefault((row["asset_id"], row["cycle_id"]), []).append(row)
    return [_cycle_journal(rows) for rows in found.values()]


def _cycle_journal(rows: list[Row]) -> CycleJournal:
    entries = tuple(JournalEntry.from_row(row) for row in rows)
    status, completed_at = rows[0]["cycle_status"], rows[0]["cycle_completed_at"]
    return CycleJournal(
        cycle_id=entries[0].cycle_id,
        symbol=entries[0].symbol,
        entries=entries,
        status=CycleStatus(str(status)) if status else None,
        completed_at=utc_from_db(completed_at),
    )
