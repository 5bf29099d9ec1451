"""What complete cycles earned, from the journal alone. A record and its query; decides nothing.

Profit of a cycle = sells - their USD fees - buys. The coin fee shows as coins that could not be
sold, dust is worth nothing. A cycle counts when it is complete, at the time of its last sell; of a
cycle whose row is gone (its asset was removed) when anything of it was sold.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.journal import RealisedProfit
from models.statements import read_rows

_QUERY = """
SELECT symbol, COUNT(*) AS cycles, SUM(profit_usd) AS profit_usd,
       SUM(sold_at >= %s) AS recent_cycles, SUM(IF(sold_at >= %s, profit_usd, 0)) AS recent_usd,
       MAX(estimated) AS estimated, MAX(IF(sold_at >= %s, estimated, 0)) AS recent_estimated
  FROM (SELECT MIN(o.symbol) AS symbol,
               MAX(IF(o.side = 'sell', o.ended_at, NULL)) AS sold_at,
               MAX(o.fee_is_estimated) AS estimated,
               SUM(IF(o.side = 'sell', o.filled_qty * o.filled_avg_price - o.fee_usd,
                      -o.filled_qty * o.filled_avg_price)) AS profit_usd
          FROM dca_orders o
          LEFT JOIN dca_cycles c ON c.id = o.cycle_id AND c.asset_id = o.asset_id
         WHERE o.filled_qty > 0 AND (c.status = 'complete' OR c.id IS NULL)
         GROUP BY o.asset_id, o.cycle_id
        HAVING sold_at IS NOT NULL) cycles
 GROUP BY symbol ORDER BY symbol
"""


def get_realised_profits(
    db_conn: MySQLConnectionAbstract, since: datetime
) -> dict[str, RealisedProfit]:
    """The complete cycles of each symbol that has any; `recent`: sold at or after `since`."""
    rows = read_rows(db_conn, _QUERY, since, since, since)
    return {
        row["symbol"]: RealisedProfit(
            symbol=row["symbol"],
            cycles=int(row["cycles"]),
            profit_usd=Decimal(row["profit_usd"]),
            recent_cycles=int(row["recent_cycles"]),
            recent_profit_usd=Decimal(row["recent_usd"]),
            is_estimated=bool(row["estimated"]),
            recent_is_estimated=bool(row["recent_estimated"]),
        )
        for row in rows
    }
