"""What the limits on losses count of the database, in one statement. Decides nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import OPEN_STATUSES
from domain.holding import HeldCoins
from models.statements import marks, read_rows

# As models/realised_profit counts it, but only of cycles that sold since then.
_REALISED = """
SELECT 'realised' AS kind, NULL AS name, COALESCE(SUM(
         IF(o.side = 'sell', o.filled_qty * o.filled_avg_price - o.fee_usd,
            -o.filled_qty * o.filled_avg_price)), 0) AS amount, 0 AS fees, 0 AS price
  FROM dca_orders o
  JOIN (SELECT DISTINCT s.asset_id, s.cycle_id FROM dca_orders s
          LEFT JOIN dca_cycles c ON c.id = s.cycle_id AND c.asset_id = s.asset_id
         WHERE s.side = 'sell' AND s.filled_qty > 0 AND s.ended_at >= %s
           AND (c.status = 'complete' OR c.id IS NULL)) ended
    ON ended.cycle_id = o.cycle_id AND ended.asset_id = o.asset_id
 WHERE o.filled_qty > 0
"""
_HELD = f"""
SELECT 'held',
       -- Of an asset that was renamed meanwhile: what its fills name.
       COALESCE((SELECT MIN(o.symbol) FROM dca_orders o
                  WHERE o.cycle_id = c.id AND o.asset_id = a.id AND o.filled_qty > 0
                    AND o.symbol <> a.asset_symbol COLLATE utf8mb4_bin),
                a.asset_symbol COLLATE utf8mb4_bin),
       c.quantity,
       (SELECT COALESCE(SUM(o.fee_qty), 0) FROM dca_orders o
         WHERE o.cycle_id = c.id AND o.asset_id = a.id AND o.side = 'buy'),
       c.average_purchase_price
  FROM dca_cycles c
  JOIN dca_assets a ON a.id = c.asset_id
 WHERE c.status IN ({marks(OPEN_STATUSES)}) AND c.quantity > 0
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossRecords:
    """`realised_usd`: of all cycles that sold their last coins since then, together."""

    realised_usd: Decimal
    held: tuple[HeldCoins, ...]


def load_loss_records(db_conn: MySQLConnectionAbstract, since: datetime) -> LossRecords:
    """What cycles earned that ended since `since`, and what the open ones hold."""
    query = " UNION ALL ".join([_REALISED, _HELD])
    realised_usd, held = Decimal(0), list[HeldCoins]()
    for row in read_rows(db_conn, query, since, *OPEN_STATUSES):
        if row["kind"] == "realised":
            realised_usd = Decimal(row["amount"])
            continue
        held.append(
            HeldCoins(
                symbol=row["name"],
                quantity=Decimal(row["amount"]),
                coin_fees=Decimal(row["fees"]),
                average_price=Decimal(row["price"]),
            )
        )
    return LossRecords(realised_usd=realised_usd, held=tuple(held))
