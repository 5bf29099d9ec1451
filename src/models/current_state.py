"""Whether what was read of an asset is still so. One small statement; decides nothing.

To read the whole state costs three times as much: its query is long to plan, and the driver spends
as long on its thirty columns.
"""

from __future__ import annotations

from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.trading_state import TradingState
from models.statements import read_row

# `updated_at` changes with every change of its row (schema.sql); the others stand here for rows
# whose times were written by hand. Journal rows come with a change of their cycle, but a posted fee
# takes the place of its estimate without one: so their sums.
_QUERY = """
SELECT (SELECT CONCAT(COALESCE(SUM(o.filled_qty * o.filled_avg_price), 0), ' ',
                      COALESCE(SUM(o.fee_qty), 0))
          FROM dca_orders o
         WHERE o.cycle_id = c.id AND o.asset_id = c.asset_id AND o.side = 'buy') AS sums
  FROM dca_cycles c
  JOIN dca_assets a ON a.id = c.asset_id
 WHERE c.id = %s AND a.id = %s AND c.updated_at <=> %s AND a.updated_at <=> %s
   AND c.status = %s AND c.order_seq = %s AND c.order_key = %s AND c.quantity = %s
   AND c.close_requested = %s AND a.is_enabled = %s AND a.asset_symbol = %s
   AND NOT EXISTS (SELECT 1 FROM dca_cycles newer
                    WHERE newer.asset_id = c.asset_id AND newer.id > c.id)
"""


def is_current(db_conn: MySQLConnectionAbstract, state: TradingState) -> bool:
    """Whether the asset, its latest cycle and what that cycle bought are as `state` says. What went
    before the cycle does not change any more.
    """
    asset, cycle = state.asset, state.cycle
    row = read_row(
        db_conn,
        _QUERY,
        *(cycle.id, asset.id, cycle.updated_at, asset.updated_at),
        *(cycle.status, cycle.order_seq, cycle.order_key, cycle.quantity),
        *(cycle.close_requested, asset.is_enabled, asset.asset_symbol),
    )
    if row is None:
        return False
    bought_usd, coin_fees = map(Decimal, row["sums"].split())
    return (bought_usd, coin_fees) == (state.bought_usd, state.coin_fees)
