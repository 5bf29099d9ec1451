"""What the buy limits count of the database, in one statement. Decides nothing."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import OPEN_STATUSES, CycleStatus
from domain.journal import ADOPTED
from models.statements import marks, read_rows

_BOUGHT = """
SELECT 'bought' AS kind, NULL AS name, NULL AS status,
       COALESCE(SUM(filled_qty * filled_avg_price), 0) AS amount
  FROM dca_orders WHERE side = 'buy' AND ended_at >= %s AND final_status <> %s
"""
_CYCLES = f"""
SELECT 'cycle', a.asset_symbol COLLATE utf8mb4_bin, c.status, c.quantity
  FROM dca_cycles c
  JOIN dca_assets a ON a.id = c.asset_id
 WHERE c.status IN ({marks(OPEN_STATUSES)}) AND (c.status = 'buying' OR c.quantity > 0)
   AND NOT EXISTS (SELECT 1 FROM dca_cycles newer
                    WHERE newer.asset_id = c.asset_id AND newer.id > c.id)
"""
_ASSETS = """
SELECT 'asset', a.asset_symbol COLLATE utf8mb4_bin, NULL, 0
  FROM dca_assets a
 WHERE a.asset_symbol IN ({}) AND EXISTS (SELECT 1 FROM dca_cycles c WHERE c.asset_id = a.id)
"""
_JOURNALED = """
SELECT 'journaled', o.client_order_id COLLATE utf8mb4_bin, NULL, 0
  FROM dca_orders o WHERE o.client_order_id IN ({})
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuyRecords:
    """`in_cycles`: coins by symbol of the open cycles that hold some; None: a buy is under way.
    `configured`: those of the symbols asked about that are assets with a cycle. `journaled`: those
    of the client_order_ids asked about that have ended.
    """

    bought_usd: Decimal
    in_cycles: dict[str, Decimal | None]
    configured: frozenset[str]
    journaled: frozenset[str]


def load_buy_records(
    db_conn: MySQLConnectionAbstract,
    since: datetime,
    symbols: Collection[str],
    client_order_ids: Collection[str],
) -> BuyRecords:
    """USD that buys since `since` cost (without adopted coins), and the latest cycles."""
    query, params = [_BOUGHT, _CYCLES], [since, ADOPTED, *OPEN_STATUSES]
    for part, asked in ((_ASSETS, symbols), (_JOURNALED, client_order_ids)):
        if asked:
            query.append(part.format(marks(asked)))
            params += asked
    rows = read_rows(db_conn, " UNION ALL ".join(query), *params)
    names: dict[str, set[str]] = {"asset": set(), "journaled": set()}
    bought_usd, in_cycles = Decimal(0), dict[str, Decimal | None]()
    for row in rows:
        match row["kind"]:
            case "bought":
                bought_usd = Decimal(row["amount"])
            case "cycle":
                is_buying = row["status"] == CycleStatus.BUYING
                in_cycles[row["name"]] = None if is_buying else Decimal(row["amount"])
            case kind:
                names[kind].add(row["name"])
    return BuyRecords(
        bought_usd=bought_usd,
        in_cycles=in_cycles,
        configured=frozenset(names["asset"] & set(symbols)),
        journaled=frozenset(names["journaled"]),
    )
