"""What a planned fault does to the stack, and how it is undone.

Owns: the faults of the account and of the processes. Must never hit a process that is not of this
stack, nor the process of the exchange: it is the judge.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

import mysql.connector
import psutil

from local_stack.chaos.database_faults import DatabaseFaults
from local_stack.chaos.database_line import DatabaseLine
from local_stack.chaos.market_faults import MarketFaults
from local_stack.chaos.plan import ChaosFault, Effect, Planned
from local_stack.chaos.undo import (
    USUAL_CONFIG,
    ChangedExchange,
    Moments,
    UndoList,
    send,
    until,
)
from local_stack.exchange_process import StackError
from local_stack.stack import DAEMON, LocalStack
from models.statements import read_rows
from runtime.process_table import command_line_of, processes_of_stack
from utils.db_utils import DatabaseError

CARETAKERS = ("cooldown_manager", "order_manager", "consistency_checker", "watchdog")


class ChaosFaults:
    """Carries out what is planned, undoes it in time, and counts."""

    def __init__(self, stack: LocalStack, symbols: tuple[str, ...], line: DatabaseLine) -> None:
        self.counts: Counter[str] = Counter()
        self._stack = stack
        self._symbols = symbols
        self._undo = UndoList()
        self._moments = Moments()
        self._changed = ChangedExchange(stack.exchange, self._undo)
        self._database = DatabaseFaults(stack, self._undo, line)
        self.market = MarketFaults(stack, symbols, self._changed, self._moments, self._count)
        self.second_daemon_listeners: list[Callable[[], None]] = []
        self._second_run_dir = stack.folder / "second-run"

    def apply(self, planned: Planned) -> None:
        """Do it now; what lasts is undone by `tick` when its time is over.

        Raises:
            StackError, MariaDBError: the stack itself broke.
        """
        name = planned.fault.name.lower()
        [home] = [one for one in (self, self.market, self._database) if hasattr(one, name)]
        effect: Effect = getattr(home, name)
        if effect(planned, random.Random(planned.chance)):
            self._count(planned.fault)

    def open_waiting_cycles(self) -> None:
        """As the user does in calm times, too: a manual start would not trade without them."""
        fault = ChaosFault.OPEN_CYCLE
        planned = Planned(at_seconds=0.0, fault=fault, for_seconds=0.0, chance=0)
        self._database.open_cycle(planned, random.Random(0))

    def _count(self, fault: ChaosFault) -> None:
        if fault is not ChaosFault.EXCHANGE_FAULT:  # the exchange counts its own
            self.counts[fault.words] += 1

    def tick(self) -> None:
        """Undo what has lasted long enough, and do what has waited for this moment."""
        self._undo.tick()
        self._moments.tick()

    def end(self) -> None:
        """Undo everything now; the database runs afterwards."""
        self._moments.end()
        self._undo.end()
        self._stack.exchange.control("faults", clear=True)
        self._stack.exchange.control("config", **USUAL_CONFIG)
        for process in self._daemons(second=True):
            send(process, psutil.Process.kill)
        for process in self._stack.daemon_processes():
            send(process, psutil.Process.resume)
        if not self._stack.server.is_running():
            self._stack.server.start()

    # The exchange

    def exchange_fault(self, planned: Planned, _chance: random.Random) -> bool:
        assert planned.exchange_fault is not None, "it says which"
        self._changed.arm(planned.for_seconds, **planned.exchange_fault)
        return True

    def duplicate_ids(self, planned: Planned, _chance: random.Random) -> bool:
        self._changed.configure(planned.for_seconds, duplicate_ids_refused=False)
        return True

    def slow_exchange(self, planned: Planned, chance: random.Random) -> bool:
        latency = round(chance.uniform(0.1, 0.6), 2)
        self._changed.configure(planned.for_seconds, latency_seconds=latency)
        return True

    def take_coins(self, _planned: Planned, chance: random.Random) -> bool:
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

    def give_coins(self, planned: Planned, chance: random.Random) -> bool:
        """The user buys beside the bot, and sells again what they bought."""
        exchange, symbol = self._stack.exchange, chance.choice(self._symbols)
        quote = exchange.state()["quotes"].get(symbol)
        if quote is None:
            return False
        amount = f"{chance.uniform(10, 80) / float(quote['ask']):.6f}"
        exchange.control("balance", unit=symbol, add=amount, price=quote["ask"])

        def take_back() -> None:
            with contextlib.suppress(StackError):  # the bot has reserved or sold some of them
                exchange.control("balance", unit=symbol, add=f"-{amount}")

        self._undo.after(planned.for_seconds, take_back)
        return True

    def edit_order(self, _planned: Planned, chance: random.Random) -> bool:
        """The user lowers the price of an open buy a little in the dashboard."""
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

    # Processes

    def _daemons(self, *, second: bool = False) -> list[psutil.Process]:
        return [
            process
            for process in self._stack.daemon_processes()
            if _pid_file_of(process).startswith(str(self._second_run_dir)) is second
        ]

    def _signal_daemons(
        self, daemons: list[psutil.Process], signal: Callable[[psutil.Process], None]
    ) -> bool:
        for process in daemons:
            send(process, signal)
        # The watchdog must start it again at once: without its memory this is no crash loop.
        (self._stack.run_dir / "watchdog.json").unlink(missing_ok=True)
        return bool(daemons)

    def kill_daemon(self, _planned: Planned, _chance: random.Random) -> bool:
        return self._signal_daemons(self._daemons(), psutil.Process.kill)

    def kill_after_order(self, planned: Planned, chance: random.Random) -> bool:
        """Between the acceptance of an order and its first effects on the database."""
        seen = self._stack.exchange.state()["orders"]["total"]
        daemons = self._daemons()
        if not until(lambda: self._stack.exchange.state()["orders"]["total"] > seen):
            return False
        time.sleep(chance.choice((0, 0, 0.01, 0.03, 0.1)))  # it misses other effects each time
        return self._signal_daemons(daemons, psutil.Process.kill)

    def kill_after_peak(self, _planned: Planned, chance: random.Random) -> bool:
        """While a peak is saved and followed, and nothing is sold yet."""
        return self._kill_at("trailing_peak IS NOT NULL AND status = 'watching'", chance)

    def kill_after_stop(self, _planned: Planned, chance: random.Random) -> bool:
        """Between the row that says that a stop loss fired and the booking of its sale."""
        return self._kill_at("stop_loss_fired AND open_asset_id IS NOT NULL", chance)

    def _kill_at(self, state: str, chance: random.Random) -> bool:
        """When a cycle in this state is seen while the daemon trades."""
        daemons = self._daemons()
        if not self._stack.is_trading():
            return False
        query = f"SELECT COUNT(*) AS cycles FROM dca_cycles WHERE {state}"
        try:
            with self._stack.connection() as connection:
                if not until(lambda: bool(read_rows(connection, query)[0]["cycles"])):
                    return False
        except (StackError, DatabaseError, mysql.connector.Error):
            return False  # the database is down
        time.sleep(chance.choice((0, 0, 0.02, 0.1)))  # it misses other effects each time
        return self._signal_daemons(daemons, psutil.Process.kill)

    def suspend_daemon(self, planned: Planned, _chance: random.Random) -> bool:
        daemons = self._daemons()
        for process in daemons:
            self._undo.after(planned.for_seconds, partial(send, process, psutil.Process.resume))
        return self._signal_daemons(daemons, psutil.Process.suspend)

    def second_daemon(self, planned: Planned, chance: random.Random) -> bool:
        """Beside the first one, or as if on another host: with a PID file of its own."""
        if chance.random() < 0.4:
            self._stack.start_daemon(wait=False)
            return True
        for listener in self.second_daemon_listeners:
            listener()
        second = self._stack.spawn_with(
            f"src/{DAEMON}", {"PID_FILE": str(self._second_run_dir / "main_app.pid")}
        )

        def end() -> None:
            if second.poll() is None:
                second.kill()
            second.wait()

        self._undo.after(planned.for_seconds, end)
        return True

    def kill_caretaker(self, planned: Planned, chance: random.Random) -> bool:
        """One that runs, or one started for it."""
        running = [
            process
            for process in processes_of_stack(self._stack.folder)
            if any(Path(part).stem in CARETAKERS for part in command_line_of(process))
        ]
        if running:
            send(chance.choice(running), psutil.Process.kill)
            return True
        child = self._stack.spawn_script(chance.choice(CARETAKERS))
        self._undo.after(planned.for_seconds, child.kill)
        return True


def _pid_file_of(process: psutil.Process) -> str:
    with contextlib.suppress(psutil.Error):
        return process.environ().get("PID_FILE", "")
    return ""
