"""When a daemon is started, restarted, left alone, and when an alert is due: tables only."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from caretakers.plans.watchdog import (
    BACK_OFF_SECONDS,
    REMIND_SECONDS,
    START_SECONDS,
    Beat,
    DaemonSnapshot,
    Limits,
    Memory,
    Verdict,
    is_alert_due,
    is_unwell_for_long,
    plan_watch,
    remember,
)

LIMITS = Limits(heartbeat_max_age_seconds=30, stream_lost_seconds=600, sweep_overdue_seconds=150)
NOW = 50_000.0
FRESH = Beat(age_seconds=2)
RUNS = DaemonSnapshot(process_age_seconds=3600, beat=FRESH)
GONE = DaemonSnapshot(process_age_seconds=None)


def beating(**changes: object) -> DaemonSnapshot:
    return replace(RUNS, beat=replace(FRESH, **changes))


@pytest.mark.parametrize(
    ("daemon", "verdict", "is_hung"),
    [
        (RUNS, Verdict.WELL, False),
        (GONE, Verdict.START, False),
        (replace(GONE, is_stopped_on_purpose=True), Verdict.STOPPED, False),
        (replace(RUNS, is_stopped_on_purpose=True), Verdict.STOPPED, False),
        (replace(RUNS, is_stopped_on_purpose=True, beat=None), Verdict.STOPPED, False),
        (replace(RUNS, is_suspended=True), Verdict.RESTART, True),
        (DaemonSnapshot(process_age_seconds=START_SECONDS), Verdict.STARTING, False),
        (DaemonSnapshot(process_age_seconds=START_SECONDS + 1), Verdict.RESTART, True),
        (beating(age_seconds=30), Verdict.WELL, False),
        (beating(age_seconds=31), Verdict.RESTART, True),
        (replace(beating(state="recovering"), process_age_seconds=20), Verdict.STARTING, False),
        (beating(state="recovering"), Verdict.UNWELL, False),
        (beating(state="halted", reason="no database"), Verdict.UNWELL, False),
        (beating(trade_lost_seconds=1), Verdict.UNWELL, False),
        (beating(data_lost_seconds=599), Verdict.UNWELL, False),
        (beating(trade_lost_seconds=600), Verdict.RESTART, False),
        (beating(data_lost_seconds=600), Verdict.RESTART, False),
        (beating(data_lost_seconds=600, has_symbols=False), Verdict.RESTART, False),
        # No sweep comes through: exchange or database are away, a new process would not help.
        (beating(trade_lost_seconds=4000, sweep_age_seconds=200), Verdict.UNWELL, False),
        (beating(trade_lost_seconds=4000, sweep_age_seconds=None), Verdict.UNWELL, False),
        (beating(trade_lost_seconds=4000, state="halted"), Verdict.UNWELL, False),
        # It lives and something keeps it from trading: the alert is its own, no start heals it.
        (beating(stall="no market"), Verdict.STALLED, False),
        (beating(stall="no exchange", state="halted"), Verdict.STALLED, False),
        (beating(stall="no exchange", state="recovering"), Verdict.STALLED, False),
        (beating(stall="no market", data_lost_seconds=599), Verdict.STALLED, False),
        (beating(stall="no market", data_lost_seconds=600), Verdict.RESTART, False),
        (beating(stall="no market", age_seconds=31), Verdict.RESTART, True),
        # Connected but silent: once, because a market can be silent.
        (beating(quote_age_seconds=599), Verdict.WELL, False),
        (beating(quote_age_seconds=600), Verdict.RESTART, False),
        (beating(quote_age_seconds=None), Verdict.UNWELL, False),
        (replace(beating(quote_age_seconds=None), process_age_seconds=300), Verdict.WELL, False),
        (beating(quote_age_seconds=None, has_symbols=False), Verdict.WELL, False),
        (beating(quote_age_seconds=4000, has_symbols=False), Verdict.WELL, False),
    ],
)
def test_what_is_seen_decides_what_is_done(daemon: DaemonSnapshot, verdict: Verdict, is_hung: bool):
    plan = plan_watch(daemon, Memory(), LIMITS, NOW)
    assert (plan.verdict, plan.is_hung) == (verdict, is_hung), plan.reason
    assert plan.reason


def run_every_minute(minutes: int, snapshots: object) -> list[Verdict]:
    """The verdicts of a watchdog run by cron, which takes one snapshot after another."""
    memory, seen = Memory(), []
    for minute in range(minutes):
        now = NOW + 60 * minute
        daemon = snapshots(minute) if callable(snapshots) else snapshots
        plan = plan_watch(daemon, memory, LIMITS, now)
        memory = remember(memory, daemon, plan, now)
        seen.append(plan.verdict)
    return seen


def test_a_daemon_that_dies_at_once_is_tried_again_at_growing_intervals_for_ever():
    seen = run_every_minute(60, GONE)
    starts = [minute for minute, verdict in enumerate(seen) if verdict is Verdict.START]
    assert starts[:6] == [0, 1, 2, 3, 5, 9]
    assert {later - earlier for earlier, later in itertools.pairwise(starts[5:])} == {5}
    assert set(seen) == {Verdict.START, Verdict.WAIT}
    assert max(BACK_OFF_SECONDS) == 300


def test_one_that_was_well_for_a_minute_is_started_again_at_once():
    well = replace(RUNS, process_age_seconds=61)
    seen = run_every_minute(60, lambda minute: GONE if minute % 2 == 0 else well)
    assert Verdict.WAIT not in seen


def test_one_that_beats_but_never_lives_for_a_minute_is_a_crash_loop():
    young = replace(RUNS, process_age_seconds=40)
    seen = run_every_minute(60, lambda minute: GONE if minute % 2 == 0 else young)
    assert Verdict.WAIT in seen


def test_a_stop_on_purpose_ends_the_memory_of_failures():
    memory = Memory(starts=9, last_start_at=NOW - 5, unwell_since=NOW - 5, alerted_at=NOW - 5)
    daemon = replace(GONE, is_stopped_on_purpose=True)
    memory = remember(memory, daemon, plan_watch(daemon, memory, LIMITS, NOW), NOW)
    assert memory == Memory()
    assert plan_watch(GONE, memory, LIMITS, NOW).verdict is Verdict.START


def test_what_does_not_pass_is_an_alert_once_and_again_when_it_may_be_forgotten():
    daemon = beating(state="halted", reason="no database")
    memory, told_at_minutes = Memory(), []
    for minute in range(0, 800):
        now = NOW + 60 * minute
        memory = remember(memory, daemon, plan_watch(daemon, memory, LIMITS, now), now)
        if is_unwell_for_long(memory, LIMITS, now) and is_alert_due(memory, now):
            memory = replace(memory, alerted_at=now)
            told_at_minutes.append(minute)
    assert told_at_minutes == [10, 10 + REMIND_SECONDS / 60, 10 + 2 * REMIND_SECONDS / 60]


def test_a_stall_is_no_alert_of_the_watchdog_and_ends_no_memory_of_those_it_sent():
    stalled, memory = beating(stall="no market"), Memory()
    for minute in range(600):
        now = NOW + 60 * minute
        memory = remember(memory, stalled, plan_watch(stalled, memory, LIMITS, now), now)
        assert not is_unwell_for_long(memory, LIMITS, now)
    assert memory == Memory()
    alerted = Memory(unwell_since=NOW - 700, alerted_at=NOW - 50)
    memory = remember(alerted, stalled, plan_watch(stalled, alerted, LIMITS, NOW), NOW)
    assert memory == Memory(alerted_at=NOW - 50), "its end is still to be logged"


def test_trouble_that_passes_is_forgotten():
    memory = remember(
        Memory(), GONE, plan_watch(beating(trade_lost_seconds=1), Memory(), LIMITS, NOW), NOW
    )
    assert memory.unwell_since == NOW
    memory = remember(memory, RUNS, plan_watch(RUNS, memory, LIMITS, NOW + 60), NOW + 60)
    assert memory == Memory()
