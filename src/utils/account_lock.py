"""One daemon per Alpaca account and database, on whatever host: a named lock of the database
server.

The server frees it when the connection ends, so a crash never leaves it behind; when this whole
machine is gone and no end can arrive, after LOCK_IDLE_SECONDS without a word from us.
"""

from __future__ import annotations

import logging

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from utils.db_utils import close_quietly, execute_query, get_db_connection

log = logging.getLogger(__name__)

LOCK_IDLE_SECONDS = 60


class AccountLock:
    """Held on a connection of its own. Calls must not overlap."""

    def __init__(self, account_id: str) -> None:
        self._name = _lock_name(account_id)
        self._connection: MySQLConnectionAbstract | None = None

    def hold(self) -> bool:
        """Take the lock, or make sure that we still have it. False when another daemon holds it.

        To be called more often than every LOCK_IDLE_SECONDS.

        Raises:
            DatabaseError: cannot tell now; the lock may be lost.
        """
        if self._connection is not None and self._is_ours(self._connection):
            return True
        self.release()
        self._connection = get_db_connection()
        execute_query(f"SET SESSION wait_timeout = {LOCK_IDLE_SECONDS}", db_conn=self._connection)
        row = execute_query(
            "SELECT GET_LOCK(%s, 0) AS taken",
            (self._name,),
            fetch_one=True,
            db_conn=self._connection,
        )
        if row["taken"] == 1:
            return True
        self.release()
        return False

    def _is_ours(self, connection: MySQLConnectionAbstract) -> bool:
        try:
            cursor = connection.cursor()  # not execute_query: it would reconnect and hide the loss
            try:
                cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (self._name,))
                return bool(cursor.fetchall() == [(1,)])
            finally:
                cursor.close()
        except mysql.connector.Error:
            return False

    def release(self) -> None:
        """Give the lock back."""
        if self._connection is not None:
            connection, self._connection = self._connection, None
            close_quietly(connection)


def find_lock_holder(db_conn: MySQLConnectionAbstract, account_id: str) -> str | None:
    """From where the daemon that has the account is connected ('host:port'); None: nobody is."""
    row = execute_query(
        "SELECT holder.id AS id, process.HOST AS host"
        " FROM (SELECT IS_USED_LOCK(%s) AS id) holder"
        " LEFT JOIN information_schema.PROCESSLIST process ON process.ID = holder.id",
        (_lock_name(account_id),),
        fetch_one=True,
        db_conn=db_conn,
    )
    return None if row["id"] is None else (row["host"] or "another user's connection")


def _lock_name(account_id: str) -> str:
    return f"dca-bot-{account_id}"[:64]
