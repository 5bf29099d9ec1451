"""The result of a chaos run: its figures, and the story of a broken cycle. Writes nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from domain.cycle import CycleStatus
from domain.events import EventKind
from local_stack.audit.invariants import Violation
from local_stack.audit.ledgers import CycleEvidence, match_evidence
from local_stack.chaos.alerts import AlertStory, alert_lines, trace_alerts
from local_stack.chaos.left_buys import Left
from local_stack.chaos.records import ChaosRecords

MAX_LOG_LINES = 120


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryTime:
    """How long it took after a storm until the database agreed with the exchange."""

    storm: int
    seconds: float
    sweeps: int


@dataclass(slots=True, kw_only=True)
class Figures:
    """What happened in a run, counted."""

    seed: int
    minutes: float
    seconds: float = 0.0
    assets: int = 0
    load: int = 0
    orders: int = 0
    fills: int = 0
    cycles_completed: int = 0
    cycles_in_error: int = 0
    corrections: int = 0
    recoveries: int = 0
    kills: int = 0
    exchange_faults: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    checks: int = 0
    recoveries_timed: list[RecoveryTime] = field(default_factory=list)
    left_buys: list[Left] = field(default_factory=list)
    fees_settled: int = 0
    lock_held_by_dead_seconds: float = 0.0
    requests_peak_per_minute: int = 0
    requests_by_route: dict[str, int] = field(default_factory=dict)
    alerts: list[AlertStory] = field(default_factory=list)
    violations: list[Violation] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        return not self.violations

    def count(
        self, records: ChaosRecords, exchange_faults: Mapping[str, int], faults: Counter[str]
    ) -> None:
        """Take the figures from the records."""
        evidence = records.evidence
        self.orders, self.fills = len(evidence.orders), len(evidence.fills)
        self.cycles_completed = sum(row.status is CycleStatus.COMPLETE for row in evidence.rows)
        self.cycles_in_error = sum(row.status is CycleStatus.ERROR for row in evidence.rows)
        self.corrections = sum(one["kind"] == EventKind.FILL_CORRECTED for one in records.events)
        self.alerts = trace_alerts(records.events)
        self.exchange_faults = {name: n for name, n in sorted(exchange_faults.items()) if n}
        self.faults = dict(sorted(faults.items()))
        self.kills = sum(count for name, count in faults.items() if "killed" in name)
        self.requests_peak_per_minute = records.ledger["requests"]["peak_per_minute"]

    def as_json(self) -> dict[str, Any]:
        return {"well": self.is_well, **asdict(self)}


def summary_lines(figures: Figures) -> Iterator[str]:
    """The figures as text."""
    yield (
        f"seed {figures.seed}: {figures.seconds:.0f} s, {figures.assets} assets,"
        f" {figures.orders} orders, {figures.fills} fills, {figures.cycles_completed} cycles"
        f" completed, {figures.cycles_in_error} in error, {figures.corrections} late fills booked"
    )
    total = sum(count for name, count in figures.exchange_faults.items() if name != "skew_clock")
    yield f"faults of the exchange: {total} ({_listed(figures.exchange_faults)})"
    total = sum(figures.faults.values())
    yield f"faults of the stack: {total}, {figures.kills} kills ({_listed(figures.faults)})"
    longest = max(figures.recoveries_timed, key=lambda one: one.seconds, default=None)
    if longest is not None:
        yield (
            f"recoveries {figures.recoveries}; after each of {len(figures.recoveries_timed)} storms"
            f" database and exchange agreed, at the latest {longest.seconds:.1f} s after the faults"
            f" ended ({longest.sweeps} sweeps)"
        )
    sold = [one.sold_seconds for one in figures.left_buys if one.sold_seconds is not None]
    longest_sale = f", after {max(sold):.1f} s at most" if sold else ""
    yield (
        f"buys left behind in a lull: {len(figures.left_buys)}, sold {len(sold)}{longest_sale};"
        f" fees settled days later: {figures.fees_settled}; the account's lock held by dead"
        f" connections for {figures.lock_held_by_dead_seconds:.0f} s"
    )
    yield f"requests: at most {figures.requests_peak_per_minute} in any minute"
    ended = sum(one.end is not None for one in figures.alerts)
    news = sum(not one.lasts for one in figures.alerts)
    count = len(figures.alerts)
    yield f"alerts: {count}, of which {ended} ended and {news} only said what happened"
    yield from alert_lines(figures.alerts)
    verdict = "every one held" if figures.is_well else f"{len(figures.violations)} VIOLATIONS"
    yield f"invariants: checked {figures.checks} times, {verdict}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items())


def story(violation: Violation, records: ChaosRecords, log_dir: Path) -> Iterator[str]:
    """All that is known of the broken cycle: row, orders, journal, events, log lines."""
    yield f"VIOLATION of {violation.rule!r}: {violation.text}"
    matched = match_evidence(records.evidence)
    cycle = next((one for one in matched.cycles if one.row.id == violation.cycle_id), None)
    if cycle is None:
        return
    yield f"row: {cycle.row}"
    yield f"asset: {cycle.asset}"
    yield "orders on the exchange:"
    for order in cycle.orders:
        yield f"  {order}"
    yield "what happened to them:"
    for step in cycle.steps:
        yield f"  {step.at:%H:%M:%S.%f} {step.order_id} {step.event} {step.qty} @ {step.price}"
    yield "journal:"
    for entry in cycle.journal:
        yield f"  {entry}"
    yield "events:"
    for event in records.events:
        if event["cycle_id"] == cycle.row.id:
            yield f"  {event}"
    yield "log lines:"
    lines = list(_log_lines(cycle, log_dir))
    if len(lines) > MAX_LOG_LINES:
        yield f"  ({len(lines) - MAX_LOG_LINES} earlier ones left out)"
    yield from (f"  {line}" for line in lines[-MAX_LOG_LINES:])


def _log_lines(cycle: CycleEvidence, log_dir: Path) -> Iterable[str]:
    marks = (
        f" cycle={cycle.row.id} ",
        f"dca-{cycle.row.id}-{cycle.row.order_key}",
        *(order.id for order in cycle.orders),
    )
    found = [
        f"{line} [{path.stem}]"
        for path in sorted(log_dir.glob("*.log*"))
        for line in path.read_text("utf-8", errors="replace").splitlines()
        if any(mark in f"{line} " for mark in marks)
    ]
    return sorted(found)
