"""What a planned blow does to the stack, and how it is taken back.

Owns: every effect of a chaos run. Must never hit a process that is not of this stack, and never the
exchange itself: it is the judge.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import random
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import mysql.connector
import psutil
from mysql.connector.abstracts import MySQLConnectionAbstract

from local_stack.chaos_plan import Blow, Planned
from local_stack.exchange_process import StackError
from local_stack.processes import processes_of_stack, servers_below
from local_stack.stack import DAEMON, LocalStack
from utils.db_utils import close_quietly

CARETAKERS = ("cooldown_manager", "order_manager", "consistency_checker", "watchdog")
WAIT_SECONDS = 3.0  # for the moment that a blow wants: an order, a transaction
POLL_SECONDS = 0.01
INNODB_CACHE_SECONDS = 0.15  # asked again sooner, innodb_trx gives the same answer for ever
_DATABASE_BLOWS = (
    Blow.CLOSE_CYCLE,
    Blow.KILL_DATABASE,
    Blow.KILL_DATABASE_IN_TRANSACTION,
    Blow.RESTART_DATABASE,
    Blow.SUSPEND_DATABASE,
    Blow.KILL_CONNECTIONS,
    Blow.KILL_CONNECTION_IN_TRANSACTION,
)
_OTHERS = "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND db = %s"
_IN_TRANSACTION = (
    "SELECT t.trx_mysql_thread_id AS id FROM information_schema.innodb_trx t"
    " WHERE t.trx_mysql_thread_id <> CONNECTION_ID()"
)


class Blows:
    """Strikes, remembers what is to be undone and when, and counts."""

    def __init__(self, stack: LocalStack, symbols: tuple[str, ...]) -> None:
        self.counts: Counter[str] = Counter()
        self._stack = stack
        self._symbols = symbols
        self._undo: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._second_run_dir = stack.folder / "second-run"
        self._database_is_down = False

    def strike(self, planned: Planned) -> None:
        """Do it now; what lasts is undone by `tick` when its time is over.

        Raises:
            StackError, MariaDBError: the stack itself broke.
        """
        chance = random.Random(planned.chance)
        effects: Mapping[Blow, Callable[[Planned, random.Random], bool]] = {
            Blow.FAULT: self._arm_fault,
            Blow.KILL_DAEMON: self._kill_daemon,
            Blow.KILL_AFTER_ORDER: self._kill_after_order,
            Blow.SUSPEND_DAEMON: self._suspend_daemon,
            Blow.SECOND_DAEMON: self._start_second_daemon,
            Blow.KILL_CARETAKER: self._kill_caretaker,
            Blow.KILL_DATABASE: self._kill_database,
            Blow.KILL_DATABASE_IN_TRANSACTION: self._kill_database_in_transaction,
            Blow.RESTART_DATABASE: self._restart_database,
            Blow.SUSPEND_DATABASE: self._suspend_database,
            Blow.KILL_CONNECTIONS: self._kill_connections,
            Blow.KILL_CONNECTION_IN_TRANSACTION: self._kill_connection_in_transaction,
            Blow.DUPLICATE_IDS: self._let_duplicates_in,
            Blow.SLOW_EXCHANGE: self._slow_exchange,
            Blow.TAKE_COINS: self._take_coins,
            Blow.GIVE_COINS: self._give_coins,
            Blow.EDIT_ORDER: self._edit_order,
            Blow.CLOSE_CYCLE: self._close_cycle,
        }
        if planned.blow in _DATABASE_BLOWS and self._database_is_down:
            return
        with contextlib.suppress(mysql.connector.Error):  # it went down under our own hands
            if effects[planned.blow](planned, chance) and planned.blow is not Blow.FAULT:
                self.counts[planned.blow.value] += 1

    def tick(self) -> None:
        """Undo what has lasted long enough."""
        while self._undo and self._undo[0][0] <= time.monotonic():
            heapq.heappop(self._undo)[2]()

    def end(self) -> None:
        """Undo everything now, and see that the database runs."""
        while self._undo:
            heapq.heappop(self._undo)[2]()
        self._stack.exchange.control("faults", clear=True)
        self._stack.exchange.control("config", duplicate_ids_refused=True, latency_seconds=0.005)
        for process in self._daemons(second=True):
            _signal(process, psutil.Process.kill)
        for process in self._stack.daemon_processes():
            _signal(process, psutil.Process.resume)
        if not self._stack.server.is_running():
            self._stack.server.start()

    def _later(self, planned: Planned, undo: Callable[[], None]) -> None:
        due_at = time.monotonic() + planned.for_seconds
        heapq.heappush(self._undo, (due_at, next(self._numbers), undo))

    # The exchange

    def _arm_fault(self, planned: Planned, _chance: random.Random) -> bool:
        assert planned.fault is not None, "a fault says which"
        exchange = self._stack.exchange
        [armed] = exchange.control("faults", **planned.fault)["armed"]
        self._later(planned, lambda: exchange.control("faults", clear=armed["id"]))
        return True

    def _let_duplicates_in(self, planned: Planned, _chance: random.Random) -> bool:
        exchange = self._stack.exchange
        exchange.control("config", duplicate_ids_refused=False)
        self._later(planned, lambda: exchange.control("config", duplicate_ids_refused=True))
        return True

    def _slow_exchange(self, planned: Planned, chance: random.Random) -> bool:
        exchange = self._stack.exchange
        exchange.control("config", latency_seconds=round(chance.uniform(0.1, 0.6), 2))
        self._later(planned, lambda: exchange.control("config", latency_seconds=0.005))
        return True

    def _take_coins(self, _planned: Planned, chance: random.Random) -> bool:
        exchange, symbol = self._stack.exchange, chance.choice(self._symbols)
        held = exchange.state()["balances"]["coins"].get(symbol)
        if held is None:
            return False
        part = chance.choice((0.3, 1.0))
        taken = f"{float(held['qty_available']) * part:.9f}"
        with contextlib.suppress(StackError):  # sold meanwhile
            exchange.control("balance", unit=symbol, add=f"-{taken}")
            return True
        return False

    def _give_coins(self, planned: Planned, chance: random.Random) -> bool:
        """The user buys beside the bot, and sells again what they bought."""
        exchange, symbol = self._stack.exchange, chance.choice(self._symbols)
        quote = exchange.state()["quotes"].get(symbol)
        if quote is None:
            return False
        amount = f"{chance.uniform(10, 80) / float(quote['ask']):.6f}"
        exchange.control("balance", unit=symbol, add=amount, price=quote["ask"])

        def take_back() -> None:
            with contextlib.suppress(StackError):  # fewer are there: the bot has a claim on them
                exchange.control("balance", unit=symbol, add=f"-{amount}")

        self._later(planned, take_back)
        return True

    def _edit_order(self, _planned: Planned, chance: random.Random) -> bool:
        """The user moves the price of an open buy down a little in the dashboard."""
        exchange = self._stack.exchange
        buys = [
            one
            for one in exchange.state()["orders"]["open"]
            if one["side"] == "buy" and one["symbol"] in self._symbols and one["limit_price"]
        ]
        if not buys:
            return False
        order = chance.choice(buys)
        lower = f"{float(order['limit_price']) * 0.999:.6g}"
        with contextlib.suppress(StackError):  # it ended meanwhile, or the price has no such step
            exchange.patch(f"/v2/orders/{order['id']}", limit_price=lower)
            return True
        return False

    def _close_cycle(self, _planned: Planned, chance: random.Random) -> bool:
        """The user's wish, at whatever moment of the cycle."""
        with self._connection() as connection:
            ids = _ids(connection, "SELECT id FROM dca_cycles WHERE open_asset_id IS NOT NULL")
            cursor = connection.cursor()
            cursor.execute(
                "UPDATE dca_cycles SET close_requested = TRUE"
                " WHERE id = %s AND status IN ('watching', 'buying', 'selling')",
                (chance.choice(ids),),
            )
            return bool(cursor.rowcount)

    # Processes

    def _daemons(self, *, second: bool = False) -> list[psutil.Process]:
        return [
            process
            for process in self._stack.daemon_processes()
            if (_environment(process).get("PID_FILE", "").startswith(str(self._second_run_dir)))
            is second
        ]

    def _kill_daemon(self, _planned: Planned, _chance: random.Random) -> bool:
        daemons = self._daemons()
        for process in daemons:
            _signal(process, psutil.Process.kill)
        # The watchdog is to start it at once: it cannot know that this is no crash loop.
        (self._stack.run_dir / "watchdog.json").unlink(missing_ok=True)
        return bool(daemons)

    def _kill_after_order(self, planned: Planned, chance: random.Random) -> bool:
        """Between the acceptance of an order and its first effects on the database."""
        seen = self._stack.exchange.state()["orders"]["total"]
        daemons = self._daemons()
        if not _until(lambda: self._stack.exchange.state()["orders"]["total"] > seen):
            return False
        time.sleep(chance.choice((0, 0, 0.01, 0.03, 0.1)))  # which effect it misses is the point
        for process in daemons:
            _signal(process, psutil.Process.kill)
        (self._stack.run_dir / "watchdog.json").unlink(missing_ok=True)
        return bool(daemons)

    def _suspend_daemon(self, planned: Planned, _chance: random.Random) -> bool:
        daemons = self._daemons()
        for process in daemons:
            _signal(process, psutil.Process.suspend)
            self._later(planned, lambda process=process: _signal(process, psutil.Process.resume))
        (self._stack.run_dir / "watchdog.json").unlink(missing_ok=True)
        return bool(daemons)

    def _start_second_daemon(self, planned: Planned, chance: random.Random) -> bool:
        """Beside the first one, or as if on another host: with a PID file of its own."""
        if chance.random() < 0.4:
            self._stack.start_daemon(wait=False)
            return True
        second = self._stack.spawn_with(
            f"src/{DAEMON}", {"PID_FILE": str(self._second_run_dir / "main_app.pid")}
        )

        def end() -> None:
            if second.poll() is None:
                second.kill()
            second.wait()

        self._later(planned, end)
        return True

    def _kill_caretaker(self, planned: Planned, chance: random.Random) -> bool:
        """One that runs, or one started for it."""
        running = [
            process
            for process in processes_of_stack(self._stack.folder)
            if any(Path(part).stem in CARETAKERS for part in _command(process))
        ]
        if running:
            _signal(chance.choice(running), psutil.Process.kill)
            return True
        child = self._stack.spawn_script(chance.choice(CARETAKERS))
        self._later(planned, child.kill)
        return True

    # The database

    def _kill_database(self, planned: Planned, _chance: random.Random) -> bool:
        self._stack.server.kill()
        self._start_database_later(planned)
        return True

    def _start_database_later(self, planned: Planned) -> None:
        self._database_is_down = True
        self._later(planned, self._start_database)

    def _start_database(self) -> None:
        self._stack.server.start()
        self._database_is_down = False

    def _restart_database(self, _planned: Planned, _chance: random.Random) -> bool:
        self._stack.server.restart()
        return True

    def _suspend_database(self, planned: Planned, _chance: random.Random) -> bool:
        for server in servers_below(self._stack.server.folder):
            _signal(server, psutil.Process.suspend)
            self._database_is_down = True
            self._later(planned, lambda server=server: self._resume_database(server))
        return self._database_is_down

    def _resume_database(self, server: psutil.Process) -> None:
        _signal(server, psutil.Process.resume)
        self._database_is_down = False

    def _kill_connections(self, _planned: Planned, chance: random.Random) -> bool:
        with self._connection() as connection:
            ids = _ids(connection, _OTHERS, self._stack.database)
            chosen = ids if chance.random() < 0.5 else chance.sample(ids, min(1, len(ids)))
            return _kill(connection, chosen)

    def _kill_connection_in_transaction(self, _planned: Planned, chance: random.Random) -> bool:
        with self._transaction_of_others() as (connection, ids):
            return _kill(connection, ids)

    def _kill_database_in_transaction(self, planned: Planned, _chance: random.Random) -> bool:
        with self._transaction_of_others() as (_connection, ids):
            if not ids:
                return False
            self._stack.server.kill()
        self._start_database_later(planned)
        return True

    @contextlib.contextmanager
    def _connection(self) -> Any:
        connection = self._stack.connect()
        try:
            yield connection
        finally:
            close_quietly(connection)

    @contextlib.contextmanager
    def _transaction_of_others(self) -> Any:
        """Hold the rows of all cycles until somebody waits for one inside a transaction."""
        with self._connection() as connection, self._connection() as holder:
            cursor = holder.cursor()
            cursor.execute("START TRANSACTION")
            cursor.execute("SELECT id FROM dca_cycles FOR UPDATE")
            cursor.fetchall()
            cursor.execute("SELECT CONNECTION_ID()")
            [(own_id,)] = cursor.fetchall()
            ids: list[int] = []

            def somebody_waits() -> bool:
                ids[:] = [one for one in _ids(connection, _IN_TRANSACTION) if one != own_id]
                return bool(ids)

            _until(somebody_waits, INNODB_CACHE_SECONDS)
            yield connection, ids


def _kill(connection: MySQLConnectionAbstract, ids: list[int]) -> bool:
    for one in ids:
        with contextlib.suppress(mysql.connector.Error):  # it has gone by itself
            connection.cursor().execute(f"KILL CONNECTION {int(one)}")
    return bool(ids)


def _ids(connection: MySQLConnectionAbstract, query: str, *params: Any) -> list[int]:
    cursor = connection.cursor()
    cursor.execute(query, params)
    return [row[0] for row in cursor.fetchall()]


def _until(condition: Callable[[], bool], pause_seconds: float = POLL_SECONDS) -> bool:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_seconds)  # the pause of a poll with a bound
    return True


def _signal(process: psutil.Process, signal: Callable[[psutil.Process], None]) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        signal(process)


def _environment(process: psutil.Process) -> Mapping[str, str]:
    with contextlib.suppress(psutil.Error):
        return process.environ()
    return {}


def _command(process: psutil.Process) -> list[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []
