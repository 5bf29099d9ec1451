"""The state file: the account, its orders, ids and activities outlive the process.

Each turn of the exchange is one transaction, committed before anything of it is sent: kill -9 at
any moment leaves the file as of the last whole turn. Faults, switches and prices are not kept. The
file is SQLite, locked by the exchange that has it open.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

from paper_exchange.core.activities import ExecutionRecord
from paper_exchange.core.orders import Order
from paper_exchange.core.records import Codec
from paper_exchange.core.state import State

_FORMAT = 1
_APPLICATION_ID = 0x41504558
_SCHEMA = """
CREATE TABLE one (name TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE orders (ordinal INTEGER PRIMARY KEY, record TEXT NOT NULL, reservation TEXT NOT NULL);
CREATE TABLE log (kind TEXT, number INTEGER, record TEXT NOT NULL,
                  PRIMARY KEY (kind, number)) WITHOUT ROWID;
CREATE TABLE equity (minute INTEGER PRIMARY KEY, usd TEXT NOT NULL);
"""
_APPENDED = ("all", "executions")
"""What the activity log appends to; the rest of it is small and kept whole."""


class StateFileError(Exception):
    """The state file cannot be used; one line says why."""


class Journal:
    def __init__(
        self,
        path: Path,
        *,
        account_id: str,
        on_failure: Callable[[StateFileError], None] = lambda _error: None,
    ) -> None:
        """Opens the file, or makes it. Raises StateFileError, the file untouched."""
        self._path = path
        self._on_failure = on_failure
        self._executions: dict[str, ExecutionRecord] = {}
        self._codec = Codec(self._executions)
        self._touched: dict[int, Order] = {}
        self._kept: dict[str, int] = {}
        self._ones: dict[str, str] = {}
        self._seen: tuple[object, ...] = ()
        with self._as_state_file_error(KeyError, TypeError, ValueError):
            self._db = sqlite3.connect(path, isolation_level=None, timeout=0)
            try:
                self._open(account_id)
            except BaseException:
                self._db.close()
                raise

    @property
    def seed(self) -> int | None:
        """The seed of the exchange that made the file; None: it is new."""
        seed = self._one("seed")
        return seed if isinstance(seed, int) else None

    def attach(self, state: State) -> None:
        """Puts what the file holds into a new state and saves every turn from now on."""
        with self._as_state_file_error(KeyError, TypeError, ValueError, AttributeError):
            if self.seed is not None:
                self._restore(state)
        self._state = state
        state.book.put_listeners.append(self._touch)
        state.turn_listeners.append(self._end_turn)
        self._end_turn()

    def close(self) -> None:
        self._db.close()

    def _end_turn(self) -> None:
        """What cannot be saved is not confirmed: it raises, and `on_failure` ends the exchange."""
        try:
            self._save()
        except StateFileError as error:
            self._on_failure(error)
            raise

    def _save(self) -> None:
        """Raises StateFileError when the file cannot be written."""
        state, curve = self._state, self._state.equity_curve
        logs = self._logs(state)
        seen = (
            curve.minute,
            state.profile.last_equity,
            id(state.profile.configurations),
            state.id_counts.total(),
            *map(len, logs.values()),
        )
        if not self._touched and seen == self._seen:
            return  # a quote that moved nothing
        with self._as_state_file_error(), self._transaction():
            for order in self._touched.values():
                texts = map(self._codec.text, (order, state.account.reservation(order.id)))
                self._db.execute("REPLACE INTO orders VALUES (?, ?, ?)", (order.ordinal, *texts))
            for kind, records in logs.items():
                for number in range(self._kept.get(kind, 0), len(records)):
                    self._put("INSERT INTO log VALUES (?, ?, ?)", kind, number, records[number])
            if curve.samples:
                minute, usd = next(reversed(curve.samples.items()))
                self._db.execute("REPLACE INTO equity VALUES (?, ?)", (minute, str(usd)))
                oldest = next(iter(curve.samples))
                self._db.execute("DELETE FROM equity WHERE minute < ?", (oldest,))
            for name, value in self._current(state).items():
                text = self._codec.text(value)
                if self._ones.get(name) != text:
                    self._db.execute("REPLACE INTO one VALUES (?, ?)", (name, text))
                    self._ones[name] = text
        self._touched.clear()
        self._kept = {kind: len(records) for kind, records in logs.items()}
        self._seen = seen

    def _touch(self, order: Order) -> None:
        self._touched[order.ordinal] = order

    def _put(self, statement: str, *values: object) -> None:
        *keys, record = values
        self._db.execute(statement, (*keys, self._codec.text(record)))

    @staticmethod
    def _logs(state: State) -> dict[str, list[Any]]:
        return {
            "executions": state.activities.executions,
            "activities": state.activities.all,
            "steps": state.steps,
            "adjustments": state.adjustments,
        }

    @staticmethod
    def _current(state: State) -> dict[str, object]:
        """What is small and kept whole."""
        account, activities = state.account, vars(state.activities)
        return {
            "seed": state.seed,
            "initial cash": state.initial_cash,
            "profile": state.profile,
            "cash": account.cash,
            "positions": account.positions(),
            "id counts": dict(state.id_counts),
            "unposted": {
                name: value for name, value in activities.items() if name not in _APPENDED
            },
        }

    # Opening

    def _open(self, account_id: str) -> None:
        db = self._db
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        (application,) = db.execute("PRAGMA application_id").fetchone()
        is_new = not db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
        if not is_new and application != _APPLICATION_ID:
            raise StateFileError("it is no state file of an exchange")
        # A killed process loses nothing, a machine without power the last turns.
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            if is_new:
                db.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                for name, value in (("format", _FORMAT), ("account", account_id)):
                    self._put("INSERT INTO one VALUES (?, ?)", name, value)
        if self._one("format") != _FORMAT:
            raise StateFileError("another version of the exchange made it")
        if self._one("account") != account_id:
            raise StateFileError("it holds the account of another key")

    def _one(self, name: str) -> Any:
        row = self._db.execute("SELECT record FROM one WHERE name = ?", (name,)).fetchone()
        return None if row is None else self._codec.read(row[0])

    def _restore(self, state: State) -> None:
        logs, db = self._logs(state), self._db
        for kind, records in logs.items():
            records.clear()
            rows = db.execute("SELECT record FROM log WHERE kind = ? ORDER BY number", (kind,))
            for (text,) in rows:
                record = self._codec.read(text)
                if isinstance(record, ExecutionRecord):
                    self._executions[record.execution_id] = record
                records.append(record)
        for texts in db.execute("SELECT record, reservation FROM orders ORDER BY ordinal"):
            order, reservation = map(self._codec.read, texts)
            state.book.add(order)
            if reservation is not None:
                state.account.reserve(order.id, reservation)
        for minute, usd in db.execute("SELECT minute, usd FROM equity ORDER BY minute"):
            state.equity_curve.samples[minute] = Decimal(usd)
        state.initial_cash = self._one("initial cash")
        state.account.restore(self._one("cash"), self._one("positions"))
        state.id_counts.update(self._one("id counts"))
        profile = self._one("profile")
        for name in ("created_at_ns", "last_equity", "configurations"):
            setattr(state.profile, name, getattr(profile, name))
        vars(state.activities).update(self._one("unposted"))
        # Every reading from now on is later than the last one of the earlier process.
        readings = (step.true_ns for step in state.steps)
        state.clock.last_true_ns = max([state.clock.last_true_ns, *readings])
        self._kept = {kind: len(records) for kind, records in logs.items()}

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN EXCLUSIVE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    @contextmanager
    def _as_state_file_error(self, *unreadable: type[Exception]) -> Iterator[None]:
        broken: tuple[type[Exception], ...] = (sqlite3.Error, *unreadable)
        try:
            yield
        except StateFileError as error:
            raise StateFileError(f"state file {self._path}: {error}") from None
        except sqlite3.OperationalError as error:
            reason = "another exchange has it open" if "locked" in str(error) else error
            raise StateFileError(f"state file {self._path}: {reason}") from None
        except broken as error:
            raise StateFileError(f"state file {self._path}: it cannot be read: {error}") from None
