"""`scripts/demo`: starts a whole local stack, shows it, ends it, and says what it came to.

Owns: the order of a run, signals, and the exit code: 0 all is well, 1 a check failed or the demo
could not run, 2 wrong arguments.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mysql.connector.abstracts import MySQLConnectionAbstract
from rich.console import Console

from local_stack.caretaker_schedule import CaretakerSchedule
from local_stack.debian_packages import LOCAL_FOLDER
from local_stack.demo_checks import Circumstances
from local_stack.demo_end import close_the_day, finish_orders
from local_stack.demo_plan import DemoPlan, parse_arguments
from local_stack.demo_records import read_bot, read_exchange
from local_stack.demo_report import print_summary, summary_as_json
from local_stack.demo_snapshot import fetch_rules, take_snapshot
from local_stack.demo_story import Story
from local_stack.demo_summary import Summary, summarise
from local_stack.demo_view import Heading, LiveView, PlainView, View
from local_stack.exchange_process import StackError
from local_stack.mariadb import MariaDBError
from local_stack.scratch import scratch_folder
from local_stack.stack import LocalStack
from models.exchange import AssetRules
from steering.command_line import forget_unwritten
from utils.db_utils import DatabaseError, close_quietly

LOOK_SECONDS = 0.5
LAST_FOLDER = LOCAL_FOLDER / "demo-last"
EXIT_WELL, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


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


def main(arguments: Sequence[str] | None = None) -> int:
    plan = parse_arguments(arguments)
    out = sys.stderr if plan.json else sys.stdout
    console = Console(file=out, highlight=False)
    heading = Heading(
        market=plan.market,
        speed=plan.speed,
        ends_after_seconds=plan.minutes and plan.minutes * 60,
        first_at=plan.recording and plan.recording.first_at,
        last_at=plan.recording and plan.recording.last_at,
    )
    is_plain = plan.plain or not console.is_terminal or bool(os.environ.get("NO_COLOR"))
    view: View = PlainView(out, heading) if is_plain else LiveView(console, heading)
    with Stopper() as stopper:
        try:
            return _run(plan, view, stopper, console)
        except BrokenPipeError:  # whoever read us has seen enough; no summary, so not EXIT_WELL
            forget_unwritten()
            return EXIT_INTERRUPTED
        except (StackError, MariaDBError, DatabaseError, OSError) as error:
            print(f"ERROR: {error}", file=sys.stderr)
            forget_unwritten()
            return EXIT_FAILED
        except KeyboardInterrupt:
            print("stopped; nothing is left running", file=sys.stderr)
            return EXIT_INTERRUPTED


def _run(plan: DemoPlan, view: View, stopper: Stopper, console: Console) -> int:
    with scratch_folder("demo") as folder:
        stack = LocalStack(folder, settings=plan.settings, report=view.say)
        schedule = CaretakerSchedule(stack, plan.schedule)
        demo = Demo(plan, stack, view, stopper, schedule)
        report = None
        try:
            summary = demo.run()
            report = summary_as_json(summary, demo.seconds, plan.market, schedule.records())
        finally:
            stopper.ignore()
            stack.stop()
            _keep(stack.log_dir, report)
    print_summary(console, summary, demo.seconds, schedule.records())
    if plan.json:
        print(json.dumps(report, indent=2))
    if not summary.is_well:
        print(f"ERROR: a check failed; logs and summary: {_shown(LAST_FOLDER)}", file=sys.stderr)
    return EXIT_WELL if summary.is_well else EXIT_FAILED


def _keep(log_dir: Path, report: dict | None) -> None:
    """The logs and the summary of the last demo, for whoever wants to look into them."""
    arriving = LAST_FOLDER.with_name(f"{LAST_FOLDER.name}.{os.getpid()}")
    shutil.copytree(log_dir, arriving / "logs")
    if report is not None:
        (arriving / "summary.json").write_text(json.dumps(report, indent=2), "utf-8")
    shutil.rmtree(LAST_FOLDER, ignore_errors=True)
    with contextlib.suppress(OSError):  # another demo that ended at the same moment was first
        arriving.rename(LAST_FOLDER)
    shutil.rmtree(arriving, ignore_errors=True)


def _shown(path: Path) -> str:
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
