"""A running demo: starts the stack, shows it, ends the trading and sums up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import load_settings, use_settings
from domain.market import AssetRules
from local_stack.caretaker_schedule import CaretakerSchedule
from local_stack.demo.arguments import DemoPlan
from local_stack.demo.checks import Circumstances
from local_stack.demo.event_feed import EventFeed, Line
from local_stack.demo.page import open_page, start_page
from local_stack.demo.past_prices import give_past
from local_stack.demo.records import read_records
from local_stack.demo.shutdown import close_the_day, finish_orders
from local_stack.demo.summary import Summary, summarise
from local_stack.exchange_process import fetch_rules
from local_stack.stack import LocalStack
from local_stack.stopper import Stopper
from monitoring.status.status import Status, StatusReader
from monitoring.status.timed_calls import Pending
from utils.formatting import moment, stopwatch

POLL_SECONDS = 0.5
STATUS_SECONDS = 5.0  # as --watch: it shares the bot's allowance of requests
MAX_STATUS_SECONDS = 60.0


class View(Protocol):
    """A terminal or a stream of lines."""

    def say(self, text: str) -> None:
        """One line about the demo itself."""

    def show(self, heading: str, status: Status, news: Sequence[Line]) -> None:
        """The status, and what has happened since the last call."""

    def close(self) -> None:
        """Leave the last picture on the screen."""


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
    page: str | None = None  # the link that opens it

    def run(self) -> Summary:
        """Start, watch, end the trading, and sum up. The stack is left to be stopped.

        Raises:
            StackError, MariaDBError, DatabaseError: a part could not be started or used.
            KeyboardInterrupt: the user wants no summary.
        """
        self._start()
        with self.stack.connection() as db_conn, contextlib.closing(self.view):
            self._watch(db_conn)
            self.view.close()
            self.view.say("ending: the bot finishes its orders, the exchange posts the day's fees")
            return self._end(db_conn)

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
        if self.plan.web:
            self.page = start_page(self.stack)
            self.view.say(f"the page: {self.page}")
            open_page(self.page)
        else:  # as cron would have by now: status misses it otherwise
            self.stack.run_script("watchdog")
        self.stack.exchange.control("market", paused=False)
        if self.plan.web and self.plan.recording is None:
            give_past(self.stack, self.plan.symbols)

    def _watch(self, db_conn: MySQLConnectionAbstract) -> None:
        """Show the state every half second until the user, the clock or the recording ends it."""
        feed = EventFeed(self.stack.log_dir)
        settings = load_settings(self.stack.settings())
        use_settings(settings)
        reader = StatusReader(settings)
        status: Status | None = None
        pending, ask_at = None, 0.0
        started = time.monotonic()
        limit = self.plan.minutes and self.plan.minutes * 60
        with self.stopper.watching() as stop_wanted:
            while not stop_wanted.wait(POLL_SECONDS):
                now = time.monotonic()
                self.seconds = now - started
                self.schedule.tick(now)
                if pending is None and now >= ask_at:
                    # In a thread: a slow answer of the exchange must not delay the caretakers.
                    pending = Pending(reader.load, seconds=MAX_STATUS_SECONDS)
                    ask_at = now + STATUS_SECONDS
                if pending is not None and pending.has_ended:
                    status, pending = pending.result(), None
                market = self.stack.exchange.state()["market"]
                if status is not None:
                    self.view.show(self._heading(market), status, feed.news(db_conn))
                if market["status"] == "ended" or (limit and self.seconds >= limit):
                    break
        market = self.stack.exchange.state()["market"]
        self.view.show(self._heading(market), reader.load(), feed.news(db_conn))

    def _heading(self, market: Mapping[str, Any]) -> str:
        """Which market, how fast, for how long, and how much of a recording is over."""
        plan, text = self.plan, stopwatch(self.seconds)
        if plan.minutes is not None:
            text += f" of {stopwatch(plan.minutes * 60)}"
        if plan.recording is not None and isinstance(market["position"], str):
            at, (first_at, last_at) = datetime.fromisoformat(market["position"]), plan.recording
            whole = last_at - first_at
            done = (at - first_at) / whole if whole else 1.0
            text += f", {moment(at)} ({done:.0%})"
        heading = f"demo  {plan.market} at {plan.speed:g}x  {text}"
        return heading if self.page is None else f"{heading}\n{self.page}"

    def _end(self, db_conn: MySQLConnectionAbstract) -> Summary:
        exchange = self.stack.exchange
        self.schedule.stop()
        finish_orders(exchange, db_conn)
        trades = self.stack.is_trading(max_age_seconds=10.0)
        self.stack.stop_daemon()
        requests_peak = exchange.state()["requests"]["peak_per_minute"]
        close_the_day(self.stack, db_conn)
        circumstances = Circumstances(
            requests_peak_per_minute=requests_peak,
            requests_per_minute=self.plan.requests_per_minute,
            daemon_ran_to_the_end=trades,
        )
        records = read_records(db_conn, self.stack.log_dir, exchange, self.rules)
        return summarise(records, circumstances)
