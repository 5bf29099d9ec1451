"""What consistency_checker does: takes two snapshots, and repairs what both show.

Every change is a lifecycle change as the reconciler makes it, in one guarded transaction, with a
row in dca_events. What cannot be repaired is one alert.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from mysql.connector.abstracts import MySQLConnectionAbstract

from caretakers.alert_endings import AlertEndings
from caretakers.consistency_snapshot import ConsistencySnapshots
from caretakers.plans.consistency_checker import Finding, confirmed, plan_repairs
from caretakers.runner import ScriptRun, StepFailed
from domain.cycle import DcaCycle
from domain.events import Event, EventKind, Severity
from domain.market import AssetRules
from models.cycle_data import get_cycle
from models.events import append_event, get_event_ages, was_written
from strategy.booking import CycleChange
from strategy.lifecycle import Circumstances
from strategy.reconciliation import MAX_ENDED_LATELY, Action, plan
from strategy.repairs import compute_missing_order_change, compute_position_gone_change
from trading.cycle_changes import (
    Applied,
    Result,
    announce,
    apply_order,
    apply_to_cycle,
    record_event,
)
from trading.engine import build_engine
from trading.unclaimed_orders import alert_unclaimed
from utils.alpaca_client_rest import ExchangeRefused
from utils.db_utils import thread_connection, transaction
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

# After this time a fill that is being booked, or a position that lags, is consistent again: what
# two snapshots this far apart agree on is a fact.
SECONDS_BETWEEN_SNAPSHOTS = 10.0
MAX_SNAPSHOTS = 3
HOLD_SECONDS = 3600.0  # see MAX_ENDED_LATELY
HELD_KIND = EventKind.POSITIONS_DOUBTED


def check_consistency(run: ScriptRun) -> None:
    """Compare, repair, report.

    Raises:
        ExchangeError, DatabaseError: not finished; what was repaired stays, the next run goes on.
    """
    ConsistencyChecker(run).work()


class ConsistencyChecker:
    """One run over all cycles."""

    def __init__(self, run: ScriptRun) -> None:
        self._run = run
        self._fee_rate = run.settings.taker_fee_rate
        # One reconciler for the run: it need not read again what it found for another cycle.
        engine = build_engine(run.settings)
        self._rules, self._reconciler = engine.rules, engine.reconciler
        self._snapshots = ConsistencySnapshots(engine.client, self._rules, self._fee_rate)
        losses = engine.limits.losses
        self._endings = AlertEndings(run, engine.client, self._snapshots, HOLD_SECONDS, losses)

    def work(self) -> None:
        """Do what `check_consistency` says."""
        self._repair()
        self._endings.work()

    def _repair(self) -> None:
        findings = self._confirmed_findings()
        for number, finding in enumerate(findings):
            if not self._run.dry_run and _is_one_too_many(finding):
                self._hold_back(findings[number:])
                return
            self._run.step(_described(finding), partial(self._perform, finding))

    def _hold_back(self, findings: list[Finding]) -> None:
        """So many positions do not vanish at once; so many 404s can be an exchange in trouble: a
        person decides before anything else is touched.
        """
        gone = [one for one in findings if one.action is Action.END_IN_ERROR]
        doubted = partial(replace, kind=HELD_KIND, severity=Severity.ERROR)
        events = [doubted(_event_of(one), reason=_doubt(one.symbol)) for one in gone]
        since = datetime.now(UTC) - timedelta(seconds=HOLD_SECONDS)

        def refuse() -> str:
            for event in events:
                if not was_written(thread_connection(), event, since):
                    record_event(thread_connection(), event)
            raise StepFailed("too many cycles ended in error: see dca_events")

        reason = _doubt(", ".join(one.symbol for one in gone))
        step = {"action": Action.HOLD_BACK.value, "reason": reason, "count": len(findings)}
        self._run.step(step, refuse)

    def _confirmed_findings(self) -> list[Finding]:
        """What two snapshots in a row agree on; what changes meanwhile is left to the next run."""
        pause_seconds = min(SECONDS_BETWEEN_SNAPSHOTS, self._run.settings.unknown_outcome_seconds)
        before, sure = self._findings([]), []
        for _ in range(MAX_SNAPSHOTS - 1):
            if not before:
                return []
            time.sleep(pause_seconds)  # for lags of the exchange: there is no condition to await
            now = self._findings(before)
            sure = confirmed(before, now)
            if len(sure) == len(now):
                break
            before = now
        return sure

    def _findings(self, before: list[Finding]) -> list[Finding]:
        found = [one for one in plan_repairs(self._snapshots.take(), before) if not _was_said(one)]
        log_event(log, LogEvent.CONSISTENCY_CHECKED, findings=len(found))
        for one in found:
            log_event(
                log, LogEvent.FINDING_SEEN, action=one.action, symbol=one.symbol, reason=one.reason
            )
        return found

    def _perform(self, finding: Finding) -> str | None:
        match finding.action:
            case Action.APPLY_ORDER | Action.BOOK_LATE_FILL:
                return self._apply(finding)
            case Action.CATCH_UP:
                return self._catch_up(finding)
            case Action.RESET_CYCLE:
                return self._reset(finding)
            case Action.END_IN_ERROR:
                return self._end_in_error(finding)
            case Action.ALERT | Action.BLOCK:
                _alert(finding)
                return None
            case action:
                raise AssertionError(f"{action} is nothing to carry out")

    def _rules_of(self, symbol: str) -> AssetRules:
        try:
            return self._rules.get(symbol)
        except ExchangeRefused as error:
            raise StepFailed(str(error)) from error

    def _apply(self, finding: Finding) -> str | None:
        """The fill, and the row that says that it was found late, in one transaction."""
        order, rules = finding.order, self._rules_of(finding.symbol)
        assert order is not None, "there is an order in every finding about one"

        def work(connection: MySQLConnectionAbstract) -> Result:
            result = apply_order(
                order, rules, self._fee_rate, datetime.now(UTC), source="consistency_checker"
            )
            if result.applied in (Applied.CHANGED, Applied.CORRECTED):
                append_event(connection, _event_of(replace(finding, cycle=result.cycle)))
            return result

        result = transaction(work)
        match result.applied:
            case Applied.CHANGED | Applied.CORRECTED:
                announce((_event_of(replace(finding, cycle=result.cycle)),))
                return None
            case Applied.NOTHING_NEW:
                return "known meanwhile"
            case Applied.AHEAD:
                return self._catch_up(finding)
            case Applied.UNRESOLVED:
                self._reconciler.recover()  # asks the exchange first, which no transaction may
                _alert(finding)
                return None
            case refused:
                if refused is Applied.UNCLAIMED:
                    alert_unclaimed(order)
                raise StepFailed(f"{refused.value}: see dca_events")

    def _catch_up(self, finding: Finding) -> str | None:
        """Ask for one order after the other until the exchange has no more."""
        assert finding.cycle is not None, "only a cycle can be behind"
        if get_cycle(thread_connection(), finding.cycle.id) == finding.cycle:
            self._reconciler.recover()
        after = get_cycle(thread_connection(), finding.cycle.id)
        if after is not None and after.order_seq == finding.cycle.order_seq:
            raise StepFailed("the orders between are missing on the exchange")
        _alert(finding)
        return None

    def _reset(self, finding: Finding) -> str | None:
        assert finding.cycle is not None, "only a cycle can be reset"
        rules = self._rules_of(finding.symbol)
        result = self._apply_to(finding.cycle, compute_missing_order_change, rules)
        if result.applied is Applied.CHANGED and finding.cycle.latest_order_id is None:
            # Nothing of ours writes this: a person or a fault did.
            log_event(
                log,
                LogEvent.CYCLE_ORDERLESS,
                symbol=finding.symbol,
                cycle=finding.cycle.id,
                reason=finding.reason,
            )
        return _said(result)

    def _end_in_error(self, finding: Finding) -> str | None:
        holding = finding.holding
        assert holding is not None, "only coins can be gone"
        rules = self._rules_of(finding.symbol)
        if not self._snapshots.is_still_gone(holding):
            return "there again"
        return _said(self._apply_to(holding.cycle, compute_position_gone_change, rules))

    def _apply_to(
        self,
        cycle: DcaCycle,
        compute: Callable[[DcaCycle, Circumstances], CycleChange],
        rules: AssetRules,
    ) -> Result:
        now = datetime.now(UTC)
        return apply_to_cycle(
            compute, expected=cycle, rules=rules, fee_rate=self._fee_rate, now=now
        )


def _said(result: Result) -> str | None:
    match result.applied:
        case Applied.CHANGED:
            return None
        case Applied.NOTHING_NEW:
            return "changed meanwhile"
        case refused:
            raise StepFailed(f"{refused.value}: see dca_events")


def _is_one_too_many(finding: Finding) -> bool:
    """Whether this cycle would be the third to end in error, of this run and of those before."""
    if finding.action is not Action.END_IN_ERROR or finding.holding is None:
        return False
    ended = get_event_ages(thread_connection(), (finding.kind,), HOLD_SECONDS, Severity.ERROR)
    facts = replace(finding.holding, ended_lately=len(ended))
    return plan(facts).action is Action.HOLD_BACK


def _doubt(symbols: str) -> str:
    return (
        f"{MAX_ENDED_LATELY} cycles ended in error within {HOLD_SECONDS // 60:.0f} minutes, and the"
        f" coins of {symbols} seem to be gone, too: look at Alpaca's dashboard; nothing more is"
        " touched until that time has passed, then it goes on"
    )


def _was_said(finding: Finding) -> bool:
    """Of an order that is no cycle's; the plan knows what was reported of a cycle."""
    return finding.kind == EventKind.ORDER_UNCLAIMED and was_written(
        thread_connection(), _event_of(finding)
    )


def _event_of(finding: Finding) -> Event:
    return Event(
        kind=finding.kind,
        severity=finding.severity,
        reason=finding.reason,
        asset_id=finding.cycle.asset_id if finding.cycle else None,
        symbol=finding.symbol,
        cycle_id=finding.cycle.id if finding.cycle else None,
        order_id=finding.order.id if finding.order else None,
    )


def _alert(finding: Finding) -> None:
    """A row, and a line that is mailed if it is an ERROR."""
    record_event(thread_connection(), _event_of(finding))


def _described(finding: Finding) -> dict[str, object]:
    return {
        "action": finding.action.value,
        "symbol": finding.symbol,
        "reason": finding.reason,
        "kind": finding.kind,
        "severity": finding.severity.value,
        "cycle": finding.cycle.id if finding.cycle else None,
        "order": finding.order.id if finding.order else None,
    }
