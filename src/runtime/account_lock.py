"""One daemon per Alpaca account and database, on any host: a named lock of the database server.

The server frees the lock when its connection ends, so a crash never leaves it behind. But when the
line dies silently, the server does not notice, and the dead session keeps the lock for
LOCK_IDLE_SECONDS more. A holder therefore takes a second lock, named after a token of its own: a
session that holds both locks is this daemon's own earlier one and may be ended. The server itself
compares the two holders; a connection id alone proves nothing, because a restarted server gives the
same ids to others.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
from contextlib import closing
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
# A line counts as dead after this. The lock is checked every quarter of LOCK_IDLE_SECONDS: even if
# a new connection takes as long again, a loss is known before the server frees the lock.
ANSWER_SECONDS = 10
FILE_NAME = "account_lock"
_KILLED_SECONDS = 5  # by then the server has ended a session that was killed


class AccountLock:
    """Held on a connection of its own. Calls must not overlap.

    Args:
        run_dir: where the token is kept for the next process; the settings' when None.
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
            DatabaseError: not known now; the lock may be lost.
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
        # Without it the lock holds all the same; only its dead session will not be recognised.
        _get_lock(connection, own_name, _KILLED_SECONDS)
        return True

    def _retake(self, connection: MySQLConnectionAbstract, own_name: str) -> bool:
        if (holder := self._find_own_session(connection, own_name)) is not None:
            reason = "held by our own earlier session, whose line died"
            log_event(log, LogEvent.ACCOUNT_RETAKEN, connection=holder, reason=reason)
            _kill(connection, holder)
            if _get_lock(connection, self._name, _KILLED_SECONDS):
                return True
            if self._find_own_session(connection, own_name) is not None:
                raise DatabaseUnavailable("our own earlier session still holds the account")
        # It is another daemon's, or its session ended between these questions and it is free.
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
            # Not execute_query: it would reconnect and hide the loss.
            with closing(connection.cursor()) as cursor:
                cursor.execute("SELECT IS_USED_LOCK(%s) = CONNECTION_ID()", (self._name,))
                return bool(cursor.fetchall() == [(1,)])
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
    """A name used by this process alone, and before it by dead processes that used the same file.

    The file is locked while its user lives; the kernel frees it however that process ends. Its
    content counts only in the very file and boot in which it was written: a copied folder or disk
    belongs to another daemon, which may be alive.
    """

    def __init__(self, path: Path) -> None:
        self.name = f"dca-own-{secrets.token_hex(16)}"
        self._file = -1
        try:
            self._share(path)
        except OSError as error:  # or its user lives: then the name is of this process only
            log_event(log, LogEvent.LOCK_UNKNOWN, reason=error)

    def _share(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        status = os.fstat(self._file)
        boot = read_boot_id() or secrets.token_hex(4)  # without boot ids no earlier name counts
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
    """Needs no privilege: a database user may end its own sessions."""
    try:
        execute_query(f"KILL CONNECTION {int(holder)}", db_conn=connection)
    except DatabaseUnavailable:
        raise
    except DatabaseError as error:  # it has just ended, or is another user's: the lock decides
        log_event(log, LogEvent.LOCK_KILL_FAILED, reason=error)


def find_lock_holder(db_conn: MySQLConnectionAbstract, account_id: str) -> str | None:
    """Where the daemon that holds the account is connected from ('host:port'); None: no daemon."""
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
