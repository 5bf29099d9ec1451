"""The newest fills of the journal. A query; decides nothing."""

from __future__ import annotations

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.journal import ADOPTED, COLUMNS, JournalEntry
from models.statements import read_rows


def get_recent_fills(
    db_conn: MySQLConnectionAbstract, count: int, symbol: str | None = None
) -> list[JournalEntry]:
    """The last `count` orders (of `symbol`, or of all) that ended with a fill, newest first."""
    query = (
        f"SELECT {', '.join(COLUMNS)} FROM dca_orders"
        " WHERE filled_qty > 0 AND final_status <> %s AND (%s IS NULL OR symbol = %s)"
        " ORDER BY id DESC LIMIT %s"
    )
    rows = read_rows(db_conn, query, ADOPTED, symbol, symbol, count)
    return [JournalEntry.from_row(row) for row in rows]
