"""Cycles that began after the backup from which a database was restored: their rows are lost, the
exchange knows their orders. Gives a cycle the identity that it had.

The only place that sets `id` and `order_key` of a cycle.
"""

from __future__ import annotations

from datetime import datetime

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import CycleStatus, DcaCycle
from models.statements import write
from models.table_copies import set_next_id


def reserve_cycle_ids(db_conn: MySQLConnectionAbstract, highest: int) -> None:
    """New cycles get the ids after `highest`, or after the highest that there is."""
    set_next_id(db_conn, "dca_cycles", highest + 1)


def take_identity(
    db_conn: MySQLConnectionAbstract,
    cycle: DcaCycle,
    *,
    cycle_id: int,
    order_key: str,
    began_at: datetime,
) -> bool:
    """Make `cycle`, which never had an order, the one with this identity. False: it is not as it
    was, or has had an order; nothing was changed.

    Raises:
        DuplicateRow: there is a cycle with that id.
    """
    query = (
        "UPDATE dca_cycles SET id = %s, order_key = %s, created_at = %s"
        " WHERE id = %s AND order_key = %s AND order_seq = 0 AND latest_order_id IS NULL"
        " AND quantity = 0 AND status IN (%s, %s)"
    )
    values = cycle_id, order_key, began_at, cycle.id, cycle.order_key
    return write(db_conn, query, *values, CycleStatus.WATCHING, CycleStatus.COOLDOWN) == 1
