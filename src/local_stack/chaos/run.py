"""A chaos run: storms over a local stack, and after each one the proof that no invariant broke.

Owns: the order of a run. Chooses no fault (plan) and judges nothing (invariants).
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal

from domain.events import EventKind, Severity
from domain.market import AssetRules
from local_stack.audit.entries import find_buys_in_a_pause, find_unrequested_cycles
from local_stack.audit.holdings import find_blocking_coins, find_touched_holdings, find_unreported
from local_stack.audit.invariants import (
    Violation,
    find_excess_requests,
    find_unresolved,
    find_violations,
)
from local_stack.caretaker_schedule import CaretakerSchedule
from local_stack.chaos.alerts import find_unended
from local_stack.chaos.arguments import ChaosPlan
from local_stack.chaos.database_line import DatabaseLine
from local_stack.chaos.faults import ChaosFaults
from local_stack.chaos.fees import count_settled, find_fee_faults, settle_fees_days_later
from local_stack.chaos.left_buys import is_trailing, take_profit_of
from local_stack.chaos.lock_watch import LockWatch
from local_stack.chaos.lull import Lull
from local_stack.chaos.plan import (
    DUMP_PAUSE_MINUTES,
    USERS_ORDER,
    USERS_SYMBOL,
    asset_columns,
    plan_storm,
    start_mode_of,
)
from local_stack.chaos.records import ChaosRecords, read_records
from local_stack.chaos.report import Figures, RecoveryTime
from local_stack.exchange_process import fetch_rules
from local_stack.stack import LocalStack
from utils.db_utils import execute_query

TICK_SECONDS, POLL_SECONDS, PROGRESS_SECONDS = 0.05, 0.3, 5.0
SWEEPS_TO_RECOVER = 2
RECOVERY_SECONDS = 90.0  # a bound for the worst: no daemon, or one that never sweeps
ALIVE_SECONDS = 60.0
REPORT_SECONDS = 60.0
ALERT_SECONDS = 90.0
_LET_ALL_TRADE = (
    "UPDATE dca_assets SET is_enabled = TRUE",
    "UPDATE dca_events SET created_at = created_at - INTERVAL 1 HOUR"
    f" WHERE kind = '{EventKind.POSITION_GONE}' AND severity = '{Severity.ERROR}'"
    " AND created_at > UTC_TIMESTAMP(6) - INTERVAL 1 HOUR",
)


@dataclass(slots=True)
class Chaos:
    """One run on one stack."""

    plan: ChaosPlan
    stack: LocalStack
    say: Callable[[str], None]
    schedule: CaretakerSchedule
    figures: Figures
    faults: ChaosFaults
    line: DatabaseLine
    rules: dict[str, AssetRules] = field(default_factory=dict)
    users_order: str = ""
    records: ChaosRecords | None = None
    sold_by_hand: list[tuple[str, Decimal]] = field(default_factory=list)
    _started_at: float = 0.0
    _said_at: float = 0.0
    _phase: str = ""
    _lock_watch: LockWatch = field(init=False)

    def run(self) -> None:
        """All storms, each with its proof. Ends at the first violation.

        Raises:
            StackError, MariaDBError, DatabaseError, mysql.connector.Error: the run broke.
        """
        self._start()
        chance = random.Random(f"storms:{self.plan.seed}")
        storms = self.plan.storms
        for number, seconds in enumerate(storms, 1):
            self._phase = f"storm {number} of {len(storms)}"
            self._storm(chance, seconds)
            self._phase = f"calm {number} of {len(storms)}"
            self._prove(number)
            if self.figures.violations:
                return
            self._sell_blocking_coins()
            self._let_all_trade()
            self.stack.exchange.control("market", paused=False)
            self._phase = f"lull {number} of {len(storms)}"
            self._lull(chance)
            if self.figures.violations:
                return
        self._phase = "the end"
        self._check(self._find_unreported())
        if not self.figures.violations:
            self._check(self._find_dead_bot())
        if not self.figures.violations:
            self._check(self._find_unended_alerts())
        if not self.figures.violations:
            self._phase = "days later"
            self._settle_fees()
        self._check(find_excess_requests(self._peak()))

    def _start(self) -> None:
        self.stack.start_database()
        self.stack.start_exchange(*self.plan.exchange_arguments)
        chance = random.Random(f"assets:{self.plan.seed}")
        starts = random.Random(f"starts:{self.plan.seed}")
        for symbol in self.plan.symbols:
            start_mode = start_mode_of(starts)
            self.stack.add_asset(symbol, **asset_columns(chance), start_mode=start_mode)
        exchange = self.stack.exchange
        self.rules = {symbol: fetch_rules(exchange, symbol) for symbol in self.plan.symbols}
        exchange.control("market", paused=False)
        self.users_order = exchange.post("/v2/orders", **USERS_ORDER)["id"]
        self._lock_watch = LockWatch(self.stack, self.line, exchange.ledger()["account_id"])
        self.faults.second_daemon_listeners.append(self._lock_watch.second_daemon_begins)
        self.stack.start_daemon()
        self._started_at = time.monotonic()

    def _storm(self, chance: random.Random, seconds: float) -> None:
        planned = plan_storm(chance, seconds, self.plan.rate)
        begins_at = time.monotonic()
        while (passed := time.monotonic() - begins_at) < seconds:
            self._tick()
            if planned and planned[0].at_seconds <= passed:
                self.faults.apply(planned.pop(0))
            time.sleep(TICK_SECONDS)  # the beat of the storm

    def _tick(self) -> None:
        now = time.monotonic()
        self.schedule.tick(now)
        self.faults.tick()
        self._lock_watch.tick(now)
        if now - self._said_at >= PROGRESS_SECONDS:
            self._said_at = now
            self.say(self._progress())

    def _progress(self) -> str:
        state, beat = self.stack.exchange.state(), self.stack.heartbeat()
        exchange_faults = sum(self._exchange_faults().values())
        return (
            f"{time.monotonic() - self._started_at:5.0f} s  {self._phase}:"
            f" {state['orders']['total']} orders, {exchange_faults} faults of the exchange,"
            f" {sum(self.faults.counts.values())} of the stack; daemon"
            f" {beat.state if beat and beat.age_seconds() < 3 else 'away'},"
            f" {state['requests']['peak_per_minute']} requests a minute at most"
        )

    def _exchange_faults(self) -> dict[str, int]:
        applied: dict[str, int] = self.stack.exchange.faults()["applied"]
        return applied

    # After a storm

    def _prove(self, storm: int) -> None:
        """The faults end, the market stands still, the bot recovers, and everything is compared."""
        self.faults.end()
        self.stack.exchange.control("market", paused=True)
        ended_at = time.monotonic()
        sweeps: set[float] = set()
        unresolved: list[Violation] = []

        def is_over() -> bool:
            nonlocal unresolved
            beat = self.stack.heartbeat()
            if beat is not None and (beat.last_sweep_at or 0.0) > ended_at:
                sweeps.add(beat.last_sweep_at or 0.0)
            self.stack.exchange.control("finish")
            self.records = self._read()
            unresolved = find_unresolved(self.records.evidence)
            # One more: the first one may have begun before the faults ended.
            return not unresolved or len(sweeps) > SWEEPS_TO_RECOVER + 1

        self._tick_until(is_over, RECOVERY_SECONDS)
        seconds = time.monotonic() - ended_at
        recovery = RecoveryTime(storm=storm, seconds=seconds, sweeps=len(sweeps))
        self.figures.recoveries_timed.append(recovery)
        rule = f"resolved within {SWEEPS_TO_RECOVER} sweeps"
        after = f"after {seconds:.0f} s and {len(sweeps)} sweeps"
        self._check(replace(one, rule=rule, text=f"{after}: {one.text}") for one in unresolved)
        assert self.records is not None, "read above"
        self._check(
            [
                *find_violations(self.records.evidence),
                *find_unrequested_cycles(self.records.evidence, self.records.events),
                *find_buys_in_a_pause(
                    self.records.evidence,
                    self.records.events,
                    timedelta(minutes=DUMP_PAUSE_MINUTES),
                ),
                *find_excess_requests(self._peak()),
                *self._lock_watch.find_refusals(),
                *find_touched_holdings(self.records.ledger, USERS_SYMBOL, self.users_order),
            ]
        )

    def _peak(self) -> int:
        return int(self.stack.exchange.state()["requests"]["peak_per_minute"])

    def _lull(self, chance: random.Random) -> None:
        lull = Lull(self.stack, self.faults, self.line, self._tick_until)
        if (left := lull.leave_buy_behind(chance)) is None:
            return
        self.records = self._read()
        evidence = self.records.evidence
        trails = is_trailing(left, evidence)
        traced, found = lull.watch(left, take_profit_of(left, evidence), trails=trails)
        if traced is not None and not traced.was_filled and not trails:
            self.figures.left_buys.append(traced)
        self._check(found)
        self.faults.end()

    def _tick_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Whether it became true in time; the stack goes on meanwhile."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            self._tick()
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
        return True

    def _settle_fees(self) -> None:
        self.stack.exchange.control("market", paused=True)
        self._tick_until(lambda: not find_unresolved(self._read().evidence), RECOVERY_SECONDS)
        self.schedule.stop()  # a running caretaker would keep a second one from running
        settle_fees_days_later(self.stack, self.plan.seed)
        self.records = self._read()
        self.figures.fees_settled = count_settled(self.records.evidence)
        self._check(find_fee_faults(self.records.evidence))

    def _read(self) -> ChaosRecords:
        return read_records(self.stack, self.rules, {self.users_order}, self.sold_by_hand)

    def _sell_blocking_coins(self) -> None:
        """As the user does after an alert: coins that no cycle holds block buys on their symbol."""
        assert self.records is not None, "proven before"
        records = self.records
        for symbol, qty in find_blocking_coins(records.evidence, records.coins, records.events):
            self.stack.exchange.control("balance", unit=symbol, add=f"-{qty:f}")
            self.sold_by_hand.append((symbol, -qty))

    def _let_all_trade(self) -> None:
        """As the user does after a stop loss has disabled an asset; and the hour has passed in
        which consistency_checker ends no third cycle in error.
        """
        with self.stack.connection() as connection:
            for statement in _LET_ALL_TRADE:
                execute_query(statement, commit=True, db_conn=connection)

    def _check(self, found: Iterable[Violation]) -> None:
        self.figures.checks += 1
        known = set(self.figures.violations)
        self.figures.violations += [one for one in found if one not in known]

    def _find_unreported(self) -> list[Violation]:
        """A balance changed behind the bot's back must be reported within REPORT_SECONDS."""
        found: list[Violation] = []

        def is_reported() -> bool:
            nonlocal found
            records = self.records = self._read()
            found = find_unreported(records.evidence, records.coins, records.events)
            return not found

        self.stack.exchange.control("market", paused=True)
        self._tick_until(is_reported, REPORT_SECONDS)
        self.stack.exchange.control("market", paused=False)
        return found

    def _find_unended_alerts(self) -> list[Violation]:
        """The faults are over, and the user did what each alert asked for."""
        found: list[Violation] = []

        def have_ended() -> bool:
            nonlocal found
            self.records = self._read()
            found = find_unended(self.records.events)
            if found:
                self._sell_blocking_coins()
                self._let_all_trade()
            return not found

        self._tick_until(have_ended, ALERT_SECONDS)
        return found

    def _find_dead_bot(self) -> list[Violation]:
        """After all the faults the bot must still trade."""
        before = self._count_orders()

        def trades() -> bool:
            self._let_all_trade()
            self.faults.open_waiting_cycles()
            return self.stack.is_trading() and self._count_orders() > before

        if self._tick_until(trades, ALIVE_SECONDS):
            return []
        return [Violation(rule="alive", text=f"no new order within {ALIVE_SECONDS:.0f} s of calm")]

    def _count_orders(self) -> int:
        return int(self.stack.exchange.state()["orders"]["total"])

    def count(self) -> None:
        """Complete the figures."""
        self.figures.seconds = time.monotonic() - self._started_at
        if self.records is not None:
            self.figures.count(self.records, self._exchange_faults(), self.faults.counts)
        self.figures.lock_held_by_dead_seconds = round(self._lock_watch.seconds_held, 1)
        self.figures.requests_by_route = self.stack.exchange.state()["requests"]["by_route"]
        self.figures.recoveries = sum(
            path.read_text("utf-8", errors="replace").count(" recovery.finished ")
            for path in self.stack.log_dir.glob("app.log*")
        )
