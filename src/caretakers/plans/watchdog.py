"""What the watchdog does about what it sees. Pure.

Owns: when a daemon counts as hung, when a crash loop must slow down, when an alert is due. The
daemon heals what it can by itself (reconnects, sweeps); it is restarted only where a new process
helps. In an outage of the exchange or the database a restart would only add harm.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from utils.formatting import span

START_SECONDS = 90.0  # until a daemon that just started must have beaten
STABLE_SECONDS = 60.0  # a daemon that is well at this age is no crash loop
# Before the n-th start since the daemon was last stable; the watchdog itself runs once a minute.
BACK_OFF_SECONDS = (0.0, 0.0, 0.0, 60.0, 120.0, 240.0, 300.0)
CRASH_LOOP_STARTS = 3
REMIND_SECONDS = 6 * 3600.0


class Verdict(StrEnum):
    """What is to be done."""

    WELL = "well"
    STARTING = "starting"
    UNWELL = "unwell"  # runs, but only time or a person can help
    STALLED = "stalled"  # it lives, but something keeps it from trading: the alert is its own
    STOPPED = "stopped"  # on purpose
    START = "start"
    RESTART = "restart"
    WAIT = "wait"  # a crash loop: start it later


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """The heartbeat of the very process that runs. Ages in seconds; None: it never happened."""

    age_seconds: float
    state: str = "trading"
    reason: str | None = None
    has_symbols: bool = True
    data_lost_seconds: float | None = None
    trade_lost_seconds: float | None = None
    quote_age_seconds: float | None = 0.0
    sweep_age_seconds: float | None = 0.0
    stall: str | None = None  # what keeps it, or one of its assets, from trading for too long


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonSnapshot:
    """The daemon at one moment. `process_age_seconds` is None when none runs."""

    process_age_seconds: float | None
    is_stopped_on_purpose: bool = False
    is_suspended: bool = False
    beat: Beat | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The settings that matter here."""

    heartbeat_max_age_seconds: float
    stream_lost_seconds: float
    sweep_overdue_seconds: float  # a younger one says that exchange and database can be reached


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What the watchdog knows from its last runs. `..._at` on the clock that `now` is from."""

    starts: int = 0  # since the daemon was last stable
    last_start_at: float | None = None
    unwell_since: float | None = None
    alerted_at: float | None = None
    ping_trouble: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The verdict and one line why. `is_hung`: it may have come back by the time it is ended."""

    verdict: Verdict
    reason: str
    is_hung: bool = False


def plan_watch(daemon: DaemonSnapshot, memory: Memory, limits: Limits, now: float) -> Plan:
    """What is to be done about the daemon."""
    if daemon.process_age_seconds is None:
        return _plan_absent(daemon, memory, now)
    if daemon.is_stopped_on_purpose:
        reason = "it runs although run/stopped says not to: it would not be started again"
        return Plan(verdict=Verdict.STOPPED, reason=reason)
    if daemon.is_suspended:
        return Plan(verdict=Verdict.RESTART, reason="its process is suspended", is_hung=True)
    beat, age = daemon.beat, daemon.process_age_seconds
    if beat is None:
        if age <= START_SECONDS:
            return Plan(verdict=Verdict.STARTING, reason=f"no heartbeat yet after {span(age)}")
        reason = f"no heartbeat since its start {span(age)} ago"
        return Plan(verdict=Verdict.RESTART, reason=reason, is_hung=True)
    if beat.age_seconds > limits.heartbeat_max_age_seconds:
        reason = f"hung: last heartbeat {span(beat.age_seconds)} ago"
        return Plan(verdict=Verdict.RESTART, reason=reason, is_hung=True)
    return _plan_beating(beat, age, limits)


def _plan_absent(daemon: DaemonSnapshot, memory: Memory, now: float) -> Plan:
    if daemon.is_stopped_on_purpose:
        return Plan(verdict=Verdict.STOPPED, reason="stopped on purpose (run/stopped)")
    pause = BACK_OFF_SECONDS[min(memory.starts, len(BACK_OFF_SECONDS) - 1)]
    waited = now - memory.last_start_at if memory.last_start_at is not None else pause
    if waited < pause:
        reason = f"{memory.starts} starts did not last: next try in {span(pause - waited)}"
        return Plan(verdict=Verdict.WAIT, reason=reason)
    return Plan(verdict=Verdict.START, reason="it does not run")


def _plan_beating(beat: Beat, process_age_seconds: float, limits: Limits) -> Plan:
    if beat.state == "recovering" and process_age_seconds <= START_SECONDS:
        return Plan(verdict=Verdict.STARTING, reason="it recovers")
    found = _stream_trouble(beat, process_age_seconds, limits)
    seconds, trouble, can_heal = found or (0.0, None, False)
    sweep_age = beat.sweep_age_seconds
    can_reach = sweep_age is not None and sweep_age <= limits.sweep_overdue_seconds
    is_long = seconds >= limits.stream_lost_seconds
    if trouble and beat.state == "trading" and is_long and can_heal and can_reach:
        return Plan(verdict=Verdict.RESTART, reason=trouble)
    if beat.stall is not None:
        return Plan(verdict=Verdict.STALLED, reason=beat.stall)
    if beat.state != "trading":
        reason = f"it is {beat.state}: {beat.reason or 'no reason given'}"
        return Plan(verdict=Verdict.UNWELL, reason=reason)
    if trouble:
        return Plan(verdict=Verdict.UNWELL, reason=trouble)
    return Plan(verdict=Verdict.WELL, reason="it trades")


def _stream_trouble(
    beat: Beat, process_age_seconds: float, limits: Limits
) -> tuple[float, str, bool] | None:
    """The worst that is wrong with the streams: for how long, in words, can a restart heal it."""
    lost = [
        (seconds, f"its {name} stream is lost for {span(seconds)}", True)
        for name, seconds in (("trade", beat.trade_lost_seconds), ("data", beat.data_lost_seconds))
        if seconds is not None
    ]
    if lost:
        return max(lost)
    if not beat.has_symbols:
        return None
    # A market can be silent: one restart for that, and not again before there was a quote.
    heard = beat.quote_age_seconds is not None
    silence = beat.quote_age_seconds if heard else process_age_seconds
    if silence is None or silence < limits.stream_lost_seconds:
        return None
    return silence, f"no quote for {span(silence)} although its data stream is connected", heard


def remember(memory: Memory, daemon: DaemonSnapshot, plan: Plan, now: float) -> Memory:
    """What to know at the next run, before anything is done."""
    since = memory.unwell_since if memory.unwell_since is not None else now
    match plan.verdict:
        case Verdict.WELL | Verdict.STALLED:
            is_stalled = plan.verdict is Verdict.STALLED
            is_stable = (daemon.process_age_seconds or 0.0) >= STABLE_SECONDS
            return Memory(
                starts=0 if is_stable else memory.starts,
                last_start_at=None if is_stable else memory.last_start_at,
                ping_trouble=memory.ping_trouble,
                # A crash loop is well between two crashes: it is over when one start has lasted.
                alerted_at=memory.alerted_at if is_stalled or not is_stable else None,
            )
        case Verdict.STOPPED:
            return Memory(ping_trouble=memory.ping_trouble)
        case Verdict.START | Verdict.RESTART:
            return replace(memory, starts=memory.starts + 1, last_start_at=now, unwell_since=since)
        case Verdict.STARTING | Verdict.UNWELL | Verdict.WAIT:
            return replace(memory, unwell_since=since)


def is_alert_due(memory: Memory, now: float) -> bool:
    """Whether an alert is due: none was sent yet, or so long ago that it may be forgotten."""
    return memory.alerted_at is None or now - memory.alerted_at >= REMIND_SECONDS


def is_unwell_for_long(memory: Memory, limits: Limits, now: float) -> bool:
    """Whether what should pass by itself has not."""
    since = memory.unwell_since
    return since is not None and now - since >= limits.stream_lost_seconds
