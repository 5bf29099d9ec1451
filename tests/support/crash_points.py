"""Crashes after each single effect: every SQL commit or write, every POST and DELETE, every event
delivered.

`Crash` is a BaseException, so no handler of the program survives it. What a dead process leaves
behind is made true as well: its open transactions die with its connections.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from alpaca.trading.client import TradingClient
from mysql.connector import errorcode
from mysql.connector.connection import MySQLConnection

from config import reset_settings
from utils import db_utils
from utils.db_utils import close_quietly, execute_query, get_db_connection

_WRITES = ("INSERT", "UPDATE", "DELETE")


class Crash(BaseException):
    """The process is gone, here."""


class Effects:
    """Counts effects; crashes at the given one, before or after it takes place."""

    def __init__(self, crash_at: int | None = None) -> None:
        self.names: list[str] = []
        self._crash_at = crash_at
        self._lock = threading.Lock()

    def point(self, name: str) -> None:
        """A place where a process can die."""
        with self._lock:
            self.names.append(name)
            if len(self.names) == self._crash_at:
                self._crash_at = None
                raise Crash(name)


@contextmanager
def watched(effects: Effects) -> Iterator[None]:
    """Put a point before and after every effect of the program in this process."""

    def wrap(name: str, real: Callable[..., Any], counts: Callable[..., bool]) -> Any:
        def wrapped(self: Any, *args: Any, **kwargs: Any) -> Any:
            if not counts(self, *args):
                return real(self, *args, **kwargs)
            effects.point(f"before {name}")
            result = real(self, *args, **kwargs)
            effects.point(f"after {name}")
            return result

        return wrapped

    def is_single_write(connection: Any, query: str, *_: Any) -> bool:
        return not db_utils._in_transaction and query.lstrip().upper().startswith(_WRITES)

    with (
        patch.object(
            MySQLConnection, "commit", wrap("commit", MySQLConnection.commit, lambda *_: True)
        ),
        patch.object(db_utils, "run", wrap("write", db_utils.run, is_single_write)),
        patch.object(TradingClient, "post", wrap("POST", TradingClient.post, lambda *_: True)),
        patch.object(
            TradingClient, "delete", wrap("DELETE", TradingClient.delete, lambda *_: True)
        ),
    ):
        yield


def end_all_connections() -> None:
    """What the server sees when a process dies.

    Its connections end, its transactions are undone.
    """
    connection = get_db_connection()
    try:
        rows = execute_query(
            "SELECT id FROM information_schema.processlist"
            " WHERE db = DATABASE() AND id <> CONNECTION_ID()",
            fetch_all=True,
            db_conn=connection,
        )
        for row in rows:
            try:
                execute_query(f"KILL {int(row['id'])}", db_conn=connection)
            except db_utils.DatabaseError as error:
                if error.errno != errorcode.ER_NO_SUCH_THREAD:  # it has ended by itself
                    raise
    finally:
        close_quietly(connection)
    db_utils._in_transaction.clear()
    reset_settings()  # a new process has new connections and clients in every thread
