"""Cycles at rest and the end that each rest counts from, read in one query. Decides nothing."""

from __future__ import annotations

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import COLUMNS, CycleStatus, DcaCycle
from domain.rows import Row, utc_from_db
from domain.trading_state import Cooldown
from utils.db_utils import execute_query

# The previous cycle is the ended one that came before by (created_at, id): two rows can carry the
# same time, and a row inserted later with an earlier time must not count.
# The hint and the first column of the order are for MySQL, as in trading_state.
_QUERY = f"""
SELECT {", ".join(f"c.{name}" for name in COLUMNS)},
       a.asset_symbol, a.cooldown_period,
       (SELECT /*+ INDEX(ended ix_asset_completed) */ ended.completed_at FROM dca_cycles ended
         WHERE ended.asset_id = c.asset_id AND ended.status IN ('complete', 'error')
           AND ended.completed_at IS NOT NULL
           AND (ended.created_at < c.created_at
                OR (ended.created_at = c.created_at AND ended.id < c.id))
         ORDER BY ended.asset_id DESC, ended.completed_at DESC, ended.id DESC LIMIT 1)
         AS previous_completed_at
  FROM dca_cycles c
  JOIN dca_assets a ON a.id = c.asset_id
 WHERE c.status = %s
"""


def _from_row(row: Row) -> Cooldown:
    return Cooldown(
        cycle=DcaCycle.from_row(row),
        asset_symbol=row["asset_symbol"],
        cooldown_seconds=row["cooldown_period"],
        previous_completed_at=utc_from_db(row["previous_completed_at"]),
    )


def load_cooldowns(db_conn: MySQLConnectionAbstract) -> list[Cooldown]:
    """Every cycle at rest, oldest first."""
    rows = execute_query(
        f"{_QUERY} ORDER BY c.id", (CycleStatus.COOLDOWN,), fetch_all=True, db_conn=db_conn
    )
    return [_from_row(row) for row in rows]


def load_cooldown(db_conn: MySQLConnectionAbstract, cycle_id: int) -> Cooldown | None:
    """The cycle with this id if it rests, or None."""
    row = execute_query(
        f"{_QUERY} AND c.id = %s", (CycleStatus.COOLDOWN, cycle_id), fetch_one=True, db_conn=db_conn
    )
    return _from_row(row) if row else None
