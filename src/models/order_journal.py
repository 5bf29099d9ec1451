"""The table `dca_orders`: one row for every order that ended. Append-only; decides nothing.

Only the fee of a row changes later, once: from the estimate to what the exchange posted.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.journal import ADOPTED, COLUMNS, LATE_FILL, JournalEntry
from domain.rows import utc_from_db
from models.statements import insert_row, marks, read_rows, write

_IDS_AT_ONCE = 1000  # a statement stays small, however long the list
_SELECT = f"SELECT {', '.join(COLUMNS)} FROM dca_orders"


def append_journal_entry(db_conn: MySQLConnectionAbstract, entry: JournalEntry) -> None:
    """Insert `entry`.

    Raises:
        DuplicateRow: when its client_order_id is in the journal already.
    """
    insert_row(db_conn, "dca_orders", {name: getattr(entry, name) for name in COLUMNS})


def get_entries_of_order(db_conn: MySQLConnectionAbstract, order_id: str) -> list[JournalEntry]:
    """The row of an ended order and its corrections, oldest first; empty when it has not ended."""
    rows = read_rows(db_conn, f"{_SELECT} WHERE alpaca_order_id = %s ORDER BY id", order_id)
    return [JournalEntry.from_row(row) for row in rows]


def get_entries_of_cycle(db_conn: MySQLConnectionAbstract, cycle_id: int) -> list[JournalEntry]:
    """Every ended order of a cycle, oldest first."""
    rows = read_rows(db_conn, f"{_SELECT} WHERE cycle_id = %s ORDER BY order_seq, id", cycle_id)
    return [JournalEntry.from_row(row) for row in rows]


def get_entries_ended_since(
    db_conn: MySQLConnectionAbstract, since: datetime
) -> list[JournalEntry]:
    """Every order that ended at or after `since`, oldest first."""
    rows = read_rows(db_conn, f"{_SELECT} WHERE ended_at >= %s ORDER BY id", since)
    return [JournalEntry.from_row(row) for row in rows]


def get_first_submission(
    db_conn: MySQLConnectionAbstract, ended_since: datetime
) -> datetime | None:
    """When the first of the orders that ended at or after `ended_since` was submitted."""
    query = "SELECT MIN(submitted_at) AS first FROM dca_orders WHERE ended_at >= %s"
    [row] = read_rows(db_conn, query, ended_since)
    first: datetime | None = row["first"]
    return utc_from_db(first)


@dataclass(frozen=True, slots=True)
class BookedOrder:
    """What the journal has of one order: `filled_qty` in coins, corrections included."""

    cycle_id: int
    order_seq: int
    filled_qty: Decimal


def get_booked_orders(
    db_conn: MySQLConnectionAbstract, order_ids: Collection[str]
) -> dict[str, BookedOrder]:
    """Those of these orders (Alpaca's ids) that are in the journal."""
    ids = sorted(order_ids)
    found: dict[str, BookedOrder] = {}
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[begin : begin + _IDS_AT_ONCE]
        query = (
            "SELECT alpaca_order_id, MIN(cycle_id) AS cycle_id, MIN(order_seq) AS order_seq,"
            " SUM(filled_qty) AS filled FROM dca_orders"
            f" WHERE alpaca_order_id IN ({marks(some)}) GROUP BY alpaca_order_id"
        )
        for row in read_rows(db_conn, query, *some):
            booked = BookedOrder(row["cycle_id"], row["order_seq"], Decimal(row["filled"]))
            found[row["alpaca_order_id"]] = booked
    return found


def get_previous_submissions(db_conn: MySQLConnectionAbstract) -> dict[int, datetime]:
    """When the order before the current one of each open cycle was submitted, by cycle id, as far
    as the journal has that.
    """
    rows = read_rows(
        db_conn,
        "SELECT c.id, MAX(o.submitted_at) AS submitted_at FROM dca_cycles c"
        " JOIN dca_orders o ON o.cycle_id = c.id AND o.order_seq = c.order_seq - 1"
        " WHERE c.status NOT IN ('complete', 'error') AND o.asset_id = c.asset_id"
        " AND o.submitted_at IS NOT NULL GROUP BY c.id",
    )
    return {row["id"]: utc_from_db(row["submitted_at"]) for row in rows}


def get_bought_usd_since(db_conn: MySQLConnectionAbstract, since: datetime) -> Decimal:
    """USD that the buys of all assets since `since` cost, without adopted coins."""
    query = (
        "SELECT COALESCE(SUM(filled_qty * filled_avg_price), 0) AS usd FROM dca_orders"
        " WHERE side = 'buy' AND ended_at >= %s AND final_status <> %s"
    )
    [row] = read_rows(db_conn, query, since, ADOPTED)
    return Decimal(row["usd"])


def get_journaled_client_ids(
    db_conn: MySQLConnectionAbstract, client_order_ids: set[str]
) -> set[str]:
    """Those of `client_order_ids` that are in the journal."""
    if not client_order_ids:
        return set()
    ids = sorted(client_order_ids)
    query = f"SELECT client_order_id FROM dca_orders WHERE client_order_id IN ({marks(ids)})"
    return {row["client_order_id"] for row in read_rows(db_conn, query, *ids)}


def get_first_estimated_end(
    db_conn: MySQLConnectionAbstract, since: datetime, before: datetime
) -> datetime | None:
    """When the first order that filled in this span and whose fee is still estimated ended."""
    query = (
        "SELECT MIN(ended_at) AS first FROM dca_orders"
        " WHERE ended_at >= %s AND ended_at < %s AND fee_is_estimated AND filled_qty > 0"
    )
    [row] = read_rows(db_conn, query, since, before)
    first: datetime | None = row["first"]
    return utc_from_db(first)


def settle_fee(
    db_conn: MySQLConnectionAbstract, client_order_id: str, fee_qty: Decimal, fee_usd: Decimal
) -> None:
    """Replace the estimated fee of one row by what the exchange posted."""
    query = (
        "UPDATE dca_orders SET fee_qty = %s, fee_usd = %s, fee_is_estimated = FALSE"
        " WHERE client_order_id = %s"
    )
    write(db_conn, query, fee_qty, fee_usd, client_order_id)


def load_leftovers(
    db_conn: MySQLConnectionAbstract, asset_id: int | None = None
) -> dict[int, Decimal]:
    """Coins by asset that its complete cycles bought and did not sell, after the coin fees; of one
    asset, or of all that have any.

    Each time they were too few to be sold; what a later cycle sold of them is subtracted. A cycle
    that ended in `error` left nothing: its coins are gone. What a buy filled after its cycle was
    sold does not count: it was an alert, and the next cycle must not sell it at a target that knows
    nothing of its cost. Read before an order is sent, not with every refresh: it takes longer as
    the journal grows.
    """
    query = (
        "SELECT c.asset_id, SUM(IF(o.side = 'buy', o.filled_qty - o.fee_qty, -o.filled_qty)) AS qty"
        "  FROM dca_cycles c"
        "  JOIN dca_assets a ON a.id = c.asset_id"
        "  JOIN dca_orders o"
        "    ON o.cycle_id = c.id AND o.asset_id = c.asset_id AND o.symbol = a.asset_symbol"
        " WHERE c.status = 'complete' AND (%s IS NULL OR c.asset_id = %s)"
        "   AND NOT (o.side = 'buy' AND o.note <=> %s AND NOT EXISTS"
        "       (SELECT 1 FROM dca_orders s WHERE s.cycle_id = c.id AND s.asset_id = c.asset_id"
        "           AND s.side = 'sell' AND s.id > o.id))"
        " GROUP BY c.asset_id HAVING qty > 0"
    )
    rows = read_rows(db_conn, query, asset_id, asset_id, LATE_FILL)
    return {row["asset_id"]: Decimal(row["qty"]) for row in rows}
