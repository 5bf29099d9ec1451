"""Who holds the account's lock while connections are dead: the daemon must not take a dead one of
its own for another daemon.

Reads over a direct connection, which the line's death does not affect.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import mysql.connector

from local_stack.audit.invariants import Violation
from local_stack.chaos.database_line import DatabaseLine
from local_stack.exchange_process import StackError
from local_stack.stack import LocalStack
from runtime.account_lock import find_lock_holder
from utils.db_utils import DatabaseError

POLL_SECONDS = 0.25
GAP_SECONDS = 2.0  # readings further apart say nothing about the time between them
SECOND_DAEMON_SECONDS = 25.0  # a second daemon started so long ago may be the one refused
_REFUSED = re.compile(
    r"^(\S+ \S+?)[,.](\d+).* (app\.superseded|app\.refused) .*(another daemon (?:has|trades).*)$"
)


class LockWatch:
    """Remembers when a dead connection held the lock. Call `tick` often."""

    def __init__(self, stack: LocalStack, line: DatabaseLine, account_id: str) -> None:
        self._stack, self._line, self._account_id = stack, line, account_id
        self._held: list[tuple[float, float]] = []
        self._next_at = 0.0
        self._second_daemons: list[float] = []

    def second_daemon_begins(self) -> None:
        """Such a daemon is refused rightly, whoever holds the lock."""
        self._second_daemons.append(time.time())

    def tick(self, now: float) -> None:
        if not self._line.has_died or now < self._next_at:
            return
        self._next_at = now + POLL_SECONDS
        if self._is_held_by_the_dead():
            at = time.time()
            if self._held and at - self._held[-1][1] < GAP_SECONDS:
                self._held[-1] = (self._held[-1][0], at)
            else:
                self._held.append((at, at))

    def _is_held_by_the_dead(self) -> bool:
        try:
            with self._stack.connection() as connection:
                holder = find_lock_holder(connection, self._account_id) or ""
        except (StackError, DatabaseError, mysql.connector.Error):
            return False  # the database is down
        port = holder.rpartition(":")[2]
        return port.isdecimal() and self._line.is_dead_port(int(port))

    @property
    def seconds_held(self) -> float:
        """How long dead connections held the lock in this run."""
        return sum(last - first for first, last in self._held)

    def find_refusals(self) -> Iterator[Violation]:
        """Daemons that gave way to a dead connection although no other daemon ran."""
        for at, line in sorted(_refusals(self._stack.log_dir)):
            was_held = any(first <= at <= last for first, last in self._held)
            beside = any(0 <= at - began < SECOND_DAEMON_SECONDS for began in self._second_daemons)
            if was_held and not beside:
                text = f"a dead connection of the bot's own counted as a daemon: {line}"
                yield Violation(rule="line: no other daemon", text=text)


def _refusals(log_dir: Path) -> Iterator[tuple[float, str]]:
    for path in log_dir.glob("app.log*"):
        for line in path.read_text("utf-8", errors="replace").splitlines():
            if match := _REFUSED.match(line):
                moment = datetime.strptime(match[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
                yield moment.timestamp() + int(match[2]) / 1000, line
