"""The demo as it runs: the parts that it starts, watches and ends."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.market import AssetRules
from local_stack.caretaker_schedule import CaretakerSchedule
from local_stack.demo.arguments import DemoPlan
from local_stack.demo.checks import Circumstances
from local_stack.demo.event_feed import Story
from local_stack.demo.records import read_bot, read_exchange
from local_stack.demo.shutdown import close_the_day, finish_orders
from local_stack.demo.snapshot import take_snapshot
from local_stack.demo.summary import Summary, summarise
from local_stack.demo.view import View
from local_stack.exchange_process import fetch_rules
from local_stack.stack import LocalStack
from utils.db_utils import close_quietly

LOOK_SECONDS = 0.5


class Stopper:
    """Ctrl-C, SIGTERM and a closed terminal: the first one ends the demo, a second one at once."""

    def __init__(self) -> None:
        self._wanted = threading.Event()
        self._may_interrupt = True

    def __enter__(self) -> Stopper:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._heard)
        return self

    def __exit__(self, *_reason: object) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    def _heard(self, _number: int, _frame: object) -> None:
        if self._may_interrupt:
            raise KeyboardInterrupt
        self._wanted.set()
        self._may_interrupt = True  # the next one does not wait for the summary

    @contextlib.contextmanager
    def watching(self) -> Iterator[threading.Event]:
        """Inside, the first signal sets the event instead of interrupting."""
        self._may_interrupt = False
        yield self._wanted
        self._may_interrupt = True

    def ignore(self) -> None:
        """From here on everything is being ended anyway."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)


@dataclass(slots=True)
class Demo:
    """One run on one stack."""

    plan: DemoPlan
    stack: LocalStack
    view: View
    stopper: Stopper
    schedule: CaretakerSchedule
    rules: Mapping[str, AssetRules] = field(default_factory=dict)
    seconds: float = 0.0

    def run(self) -> Summary:
        """Start, watch, end the trading, and sum up. The stack is left to be stopped.

        Raises:
            StackError, MariaDBError, DatabaseError: a part could not be started or used.
            KeyboardInterrupt: the user wants no summary.
        """
        self._start()
        db_conn = self.stack.connect()
        try:
            self._watch(db_conn)
            self.view.close()
            self.view.say("ending: the bot finishes its orders, the exchange posts the day's fees")
            return self._end(db_conn)
        finally:
            self.view.close()
            close_quietly(db_conn)

    def _start(self) -> None:
        self.view.say(f"starting: private MariaDB, local exchange ({self.plan.market}), the bot")
        self.stack.start_database()
        self.stack.start_exchange(*self.plan.exchange_arguments)
        for symbol in self.plan.symbols:
            self.stack.add_asset(symbol, **self.plan.columns)
        self.rules = {
            symbol: fetch_rules(self.stack.exchange, symbol) for symbol in self.plan.symbols
        }
        self.stack.start_daemon()
        self.stack.exchange.control("market", paused=False)

    def _watch(self, db_conn: MySQLConnectionAbstract) -> None:
        """Look every half second until the user, the clock or the recording ends it."""
        story = Story(
            self.stack.log_dir, {name: one.price_increment for name, one in self.rules.items()}
        )
        started = time.monotonic()
        limit = self.plan.minutes and self.plan.minutes * 60
        with self.stopper.watching() as stop_wanted:
            while not stop_wanted.wait(LOOK_SECONDS):
                now = time.monotonic()
                self.seconds = now - started
                self.schedule.tick(now)
                snapshot = take_snapshot(self.stack, db_conn, self.rules)
                self.view.show(snapshot, story.news(db_conn), self.seconds)
                if snapshot.market_status == "ended" or (limit and self.seconds >= limit):
                    break

    def _end(self, db_conn: MySQLConnectionAbstract) -> Summary:
        exchange = self.stack.exchange
        self.schedule.stop()
        finish_orders(exchange, db_conn)
        beat = self.stack.heartbeat()
        trades = beat is not None and beat.state == "trading" and beat.age_seconds() < 10
        self.stack.stop_daemon()
        requests_peak = exchange.state()["requests"]["peak_per_minute"]
        close_the_day(self.stack, db_conn)
        return summarise(
            read_bot(db_conn, self.stack.log_dir),
            read_exchange(exchange, self.rules),
            Circumstances(
                requests_peak_per_minute=requests_peak,
                requests_per_minute=self.plan.requests_per_minute,
                daemon_ran_to_the_end=trades,
            ),
        )
