"""What a chaos run does to the database: kills, restarts, suspensions, also in transactions.

Owns: whether we have taken the database down; then no other fault of it makes sense.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable, Iterator
from functools import partial, wraps
from typing import Any

import mysql.connector
import psutil
from mysql.connector.abstracts import MySQLConnectionAbstract

from local_stack.chaos.database_line import DatabaseLine
from local_stack.chaos.plan import Planned
from local_stack.chaos.undo import UndoList, send, until
from local_stack.stack import LocalStack
from runtime.process_table import servers_below

DatabaseEffect = Callable[["DatabaseFaults", Planned, random.Random], bool]
INNODB_CACHE_SECONDS = 0.15  # read more often, innodb_trx repeats its last answer
_OTHERS = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = %s"
_IN_TRANSACTION = (
    "SELECT t.trx_mysql_thread_id AS id FROM information_schema.innodb_trx t"
    " WHERE t.trx_mysql_thread_id <> CONNECTION_ID()"
)


def _if_up(effect: DatabaseEffect) -> DatabaseEffect:
    @wraps(effect)
    def apply(self: DatabaseFaults, planned: Planned, chance: random.Random) -> bool:
        if self.is_down:
            return False
        try:
            return effect(self, planned, chance)
        except mysql.connector.Error:
            return False  # it went down meanwhile

    return apply


class DatabaseFaults:
    """Faults of the server and its connections, and requests of the user in its tables."""

    def __init__(self, stack: LocalStack, undo: UndoList, line: DatabaseLine) -> None:
        self._stack, self._undo, self._line = stack, undo, line
        self.is_down = False

    @_if_up
    def close_cycle(self, _planned: Planned, chance: random.Random) -> bool:
        """The user's request, at any moment of a cycle that has something to close: scripts/bot
        close refuses others, whose asset would buy nothing until the request is withdrawn.
        """
        with self._stack.connection() as connection:
            ids = _ids(connection, "SELECT id FROM dca_cycles WHERE open_asset_id IS NOT NULL")
            cursor = connection.cursor()
            cursor.execute(
                "UPDATE dca_cycles SET close_requested = TRUE"
                " WHERE id = %s AND (status IN ('buying', 'selling')"
                " OR status = 'watching' AND base_order_price IS NOT NULL)",
                (chance.choice(ids),),
            )
            return bool(cursor.rowcount)

    @_if_up
    def open_cycle(self, _planned: Planned, _chance: random.Random) -> bool:
        """The user opens every cycle that waits for that, as scripts/bot open does."""
        with self._stack.connection() as connection:
            cursor = connection.cursor()
            cursor.execute("START TRANSACTION")
            cursor.execute(
                "SELECT c.id, a.id, a.asset_symbol FROM dca_cycles c"
                " JOIN dca_assets a ON a.id = c.asset_id"
                " WHERE a.start_mode = 'manual' AND c.open_asset_id IS NOT NULL AND c.quantity = 0"
                " AND c.status IN ('watching', 'cooldown')"
                " AND NOT c.open_requested AND NOT c.close_requested FOR UPDATE"
            )
            waiting: list[Any] = cursor.fetchall()
            for cycle_id, asset_id, symbol in waiting:
                cursor.execute(
                    "UPDATE dca_cycles SET open_requested = TRUE WHERE id = %s", (cycle_id,)
                )
                cursor.execute(
                    "INSERT INTO dca_events (kind, severity, asset_id, symbol, cycle_id, reason)"
                    " VALUES ('open_requested', 'info', %s, %s, %s, 'chaos')",
                    (asset_id, symbol, cycle_id),
                )
            connection.commit()
            return bool(waiting)

    @_if_up
    def kill_database(self, planned: Planned, _chance: random.Random) -> bool:
        self._stack.server.kill()
        self._start_database_later(planned)
        return True

    def _start_database_later(self, planned: Planned) -> None:
        self.is_down = True
        self._undo.after(planned.for_seconds, self._start_database)

    def _start_database(self) -> None:
        self._stack.server.start()
        self.is_down = False

    @_if_up
    def restart_database(self, _planned: Planned, _chance: random.Random) -> bool:
        self._stack.server.restart()
        return True

    @_if_up
    def suspend_database(self, planned: Planned, _chance: random.Random) -> bool:
        for server in servers_below(self._stack.server.folder):
            send(server, psutil.Process.suspend)
            self.is_down = True
            self._undo.after(planned.for_seconds, partial(self._resume_database, server))
        return self.is_down

    def _resume_database(self, server: psutil.Process) -> None:
        send(server, psutil.Process.resume)
        self.is_down = False

    @_if_up
    def dead_line(self, planned: Planned, _chance: random.Random) -> bool:
        self._line.cut()
        self._undo.after(planned.for_seconds, self._line.mend)
        return True

    @_if_up
    def kill_connections(self, _planned: Planned, chance: random.Random) -> bool:
        with self._stack.connection() as connection:
            ids = _ids(connection, _OTHERS, self._stack.database)
            chosen = ids if chance.random() < 0.5 else chance.sample(ids, min(1, len(ids)))
            return _kill(connection, chosen)

    @_if_up
    def kill_connection_in_transaction(self, _planned: Planned, chance: random.Random) -> bool:
        with self._transaction_of_others() as (connection, ids):
            return _kill(connection, ids)

    @_if_up
    def kill_database_in_transaction(self, planned: Planned, _chance: random.Random) -> bool:
        with self._transaction_of_others() as (_connection, ids):
            if not ids:
                return False
            self._stack.server.kill()
        self._start_database_later(planned)
        return True

    @contextlib.contextmanager
    def _transaction_of_others(self) -> Iterator[tuple[MySQLConnectionAbstract, list[int]]]:
        """Lock the rows of all cycles until another connection waits for one in a transaction."""
        with self._stack.connection() as connection, self._stack.connection() as holder:
            cursor = holder.cursor()
            cursor.execute("START TRANSACTION")
            cursor.execute("SELECT id FROM dca_cycles FOR UPDATE")
            cursor.fetchall()
            cursor.execute("SELECT CONNECTION_ID()")
            [(own_id,)] = cursor.fetchall()
            ids: list[int] = []

            def another_waits() -> bool:
                ids[:] = [one for one in _ids(connection, _IN_TRANSACTION) if one != own_id]
                return bool(ids)

            until(another_waits, INNODB_CACHE_SECONDS)
            yield connection, ids


def _kill(connection: MySQLConnectionAbstract, ids: list[int]) -> bool:
    for one in ids:
        with contextlib.suppress(mysql.connector.Error):  # it has gone by itself
            connection.cursor().execute(f"KILL CONNECTION {int(one)}")
    return bool(ids)


def _ids(connection: MySQLConnectionAbstract, query: str, *params: str) -> list[int]:
    cursor = connection.cursor()
    cursor.execute(query, params)
    rows: Any = cursor.fetchall()  # this cursor gives tuples; the driver may give dicts as well
    return [row[0] for row in rows]
