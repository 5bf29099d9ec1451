"""All cycles of the journal, kept until it has grown: for reports and curves."""

from __future__ import annotations

import threading
import time

from domain.journal import CycleJournal
from models.current_state import load_newest
from models.cycle_journals import load_cycle_journals
from models.meta import check_schema
from monitoring.status.background import Cell
from utils.db_utils import thread_connection

IDLE_SECONDS = 120.0  # of years of cycles, which nobody looks at any more
KEPT_SECONDS = 30.0  # fees are settled, and cycles end, without a row of their own


class Journals:
    """Thread-safe: who comes while they are read waits for them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cell: Cell[list[CycleJournal]] = Cell()
        self._used_at = time.monotonic()

    def load(self, symbol: str | None = None) -> list[CycleJournal]:
        """Of one asset, or of all. Blocking.

        Raises:
            DatabaseError, ForeignDatabase.
        """
        connection = thread_connection()
        check_schema(connection)
        self._used_at = time.monotonic()
        key = load_newest(connection).order_id, time.monotonic() // KEPT_SECONDS
        with self._lock:
            cycles = self._cell.get(key, lambda: load_cycle_journals(connection))
        return cycles if symbol is None else [one for one in cycles if one.symbol == symbol]

    def release(self) -> None:
        """Forget them where nobody asks any more."""
        if time.monotonic() - self._used_at > IDLE_SECONDS:
            self._cell = Cell()
