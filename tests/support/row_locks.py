"""A row of a cycle that somebody else has locked, for as long as a test needs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from domain.cycle import DcaCycle
from models.cycle_data import lock_cycle
from utils.db_utils import execute_query, get_db_connection


@contextmanager
def locked_row(cycle: DcaCycle) -> Iterator[None]:
    """In a session of its own, which the server does not end after seconds for doing nothing: on a
    busy machine what the test waits for came later than that.
    """
    with closing(get_db_connection()) as holder:
        execute_query("SET SESSION idle_transaction_timeout = 0", db_conn=holder)
        holder.start_transaction()
        lock_cycle(holder, cycle.id)
        yield
        holder.rollback()
