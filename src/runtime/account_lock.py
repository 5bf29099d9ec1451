"""One daemon per Alpaca account and database, on whatever host: a named lock of the database
server.

The server frees it when the connection ends, so a crash never leaves it behind. Where the line dies
silently, no end arrives and the dead session keeps it for LOCK_IDLE_SECONDS more. Therefore a
holder also takes a second lock under a token that nobody else has: whoever finds that one session
has both knows that it is his own of before, and ends it. The server itself answers that, so that a
connection id which another daemon has been given since (they begin anew with the server) is never
taken for ours.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from pathlib import Path

import mysql.connector
from mysql.connector.abstracts import MySQLConnectionAbstract

from config import get_settings
from utils.db_utils import (
    DatabaseError,
    DatabaseUnavailable,
    close_quietly,
    execute_query,
    get_db_connection,
)
from utils.log_events import LogEvent, log_event
from utils.state_file import read_boot_id

log = logging.getLogger(__name__)

LOCK_IDLE_SECONDS = 60
# A line counts as dead after this. Asked every quarter of LOCK_IDLE_SECONDS, with as much for a new
# connection, we know of a loss before the server gives the lock to another.
ANSWER_SECONDS = 10
FILE_NAME = "account_lock"
_KILLED_SECONDS = 5  # by then the server has ended a session that it was told to


class AccountLock:
    """Held on a connection of its own. Calls must not overlap.

    Args:
        run_dir: where the token stands for a process that starts again; the settings' when None.
    """

    def __init__(self, account_id: str, run_dir: Path | None = None) -> None:
        self._name = _lock_name(account_id)
        self._run_dir = run_dir
        self._token: OwnToken | None = None
        self._connection: MySQLConnectionAbstract | None = None

    def hold(self) -> bool:
        """Take the lock, or make sure that we still have it. False when another daemon holds it.

        To be called more often than every LOCK_IDLE_SECONDS.

        Raises:
            DatabaseError: cannot tell now; the lock may be lost.
        """
        if self._connection is not None and self._is_ours(self._connection):
            return True
        self._disconnect()
        if self._token is None:
            self._token = OwnToken((self._run_dir or get_settings().run_dir) / FILE_NAME)
        self._connection = get_db_connection(statement_seconds=ANSWER_SECONDS)
        execute_query(f"SET SESSION wait_timeout = {LOCK_IDLE_SECONDS}", db_conn=self._connection)
        if self._take(self._connection, self._token.name):
            return True
        self._disconnect()
        return False

    def _take(self, connection: MySQLConnectionAbstract, own_name: str) -> bool:
        """Whether the lock is ours now, taken from our own dead session where that has it."""
        if not _get_lock(connection, self._name, 0) and not self._retake(connection, own_name):
            return False
        # A holder without it is merely not known again.
        _get_lock(connection, own_name, _KILLED_SECONDS)
        return True

    def _retake(self, connection: MySQLConnectionAbstract, own_name: str) -> bool:
        if (holder := self._find_own_session(connection, own_name)) is not None:
            reason = "our own session of before: its line died"
            log_event(log, LogEvent.ACCOUNT_RETAKEN, connection=holder, reason=reason)
            _kill(connection, holder)
            if _get_lock(connection, self._name, _KILLED_SECONDS):
                return True
            if self._find_own_session(connection, own_name) is not None:
                raise DatabaseUnavailable("our own session of before still holds the account")
        # Another's; or its session ended between two of these questions, and it is nobody's.
        return _get_lock(connection, self._name, 0)

    def _find_own_session(self, connection: MySQLConnectionAbstract, own_name: str) -> int | None:
        """The id of the session that holds the account, if it is one of ours."""
        row = execute_query(
            "SELECT IS_USED_LOCK(%s) AS holder, IS_USED_LOCK(%s) AS ours",
            (self._name, own_name),
            fetch_one=True,
            db_conn=connection,
        )
        return row["holder"] if row["holder"] == row["ours"] else None

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
        self._disconnect()
        if self._token is not None:
            self._token.close()
            self._token = None

    def _disconnect(self) -> None:
        if self._connection is not None:
            connection, self._connection = self._connection, None
            close_quietly(connection)


class OwnToken:
    """A name that only this process uses, and before it only processes of its file that are dead.

    The file is locked while its user lives, and the kernel frees it however he ends. What stands in
    it counts only in the very file and boot in which it was written: the user of a copied folder or
    of a copied disk is another one, and may be alive.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"dca-own-{secrets.token_hex(16)}"
        self._file = -1
        try:
            self._share(path)
        except OSError as error:  # also: its user lives. Then nobody needs to know us again
            log_event(log, LogEvent.LOCK_UNKNOWN, reason=error)

    def _share(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(self._file)
        boot = read_boot_id() or secrets.token_hex(4)  # where no boot has a name, nobody is known
        here = f"{boot}/{status.st_dev}/{status.st_ino}"
        words = os.read(self._file, 200).decode("ascii", "replace").split()
        if len(words) == 2 and words[1] == here and words[0].startswith("dca-own-"):
            self.name = words[0]
            return
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{self.name} {here}\n".encode("ascii"), 0)

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """From now on another process may use the name."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def _get_lock(connection: MySQLConnectionAbstract, name: str, seconds: int) -> bool:
    query = "SELECT GET_LOCK(%s, %s) AS taken"
    row = execute_query(query, (name, seconds), fetch_one=True, db_conn=connection)
    return bool(row["taken"] == 1)


def _kill(connection: MySQLConnectionAbstract, holder: int) -> None:
    """Everybody may end the sessions of his own database user."""
    try:
        execute_query(f"KILL CONNECTION {int(holder)}", db_conn=connection)
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:  # it has just ended, or was another user's: the lock will tell
        log_event(log, LogEvent.LOCK_KILL_FAILED, reason=error)


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
