"""What the watchdog does (phase 13): take a snapshot of the daemon, do what the plan says, report.

Owns: the effects and the memory between two runs (`watchdog.json` in the run folder). Decides
nothing: that is caretakers/plans/watchdog.py. Needs neither the database nor the exchange, because
it must work when they do not.
"""

from __future__ import annotations

import http.client
import logging
import socket
import ssl
import time
import urllib.request
from collections.abc import Callable
from dataclasses import asdict, replace
from urllib.parse import urlsplit

import psutil

from caretakers.plans.watchdog import (
    CRASH_LOOP_STARTS,
    Beat,
    DaemonSnapshot,
    Limits,
    Memory,
    Plan,
    Verdict,
    is_alert_due,
    is_unwell_for_long,
    plan_watch,
    remember,
)
from caretakers.runner import ScriptRun, StepFailed
from caretakers.side_keeper import keep_sides
from config import Settings
from runtime.daemon_process import (
    FIRST_BEAT_SECONDS,
    OUTPUT_BYTES,
    TERM_SECONDS,
    DaemonError,
    age_seconds,
    bound_output,
    end_daemon,
    find_daemon,
    is_suspended,
    load_beat_of,
    start_daemon,
    wait_for_newer_beat,
    wait_until_it_beats,
)
from runtime.heartbeat import Heartbeat
from runtime.operator_flags import is_stopped
from utils.formatting import span
from utils.log_events import LogEvent, log_event
from utils.state_file import known_fields, load_state, read_boot_id, save_state

log = logging.getLogger(__name__)

MEMORY_NAME = "watchdog.json"
PING_SECONDS = 5.0
HUNG_TERM_SECONDS = 3.0  # a blocked loop does not hear it anyway
_ABOUT = "daemon"  # the alerts about it and the line that ends them belong together
LAST_CHECK_SECONDS = 6.0  # before a hung one is ended: the machine may just have resumed


def watch(run: ScriptRun) -> None:
    """One run of the watchdog."""
    settings = run.settings
    limits, memory = limits_of(settings), load_memory(settings)
    process = find_daemon(settings)
    daemon = take_snapshot(process, settings)
    plan = plan_watch(daemon, memory, limits, time.monotonic())
    if process is not None and plan.is_hung:
        patience = min(2 * settings.heartbeat_seconds, LAST_CHECK_SECONDS)
        wait_for_newer_beat(process, settings, patience)
        process = find_daemon(settings)
        daemon = take_snapshot(process, settings)
        plan = plan_watch(daemon, memory, limits, time.monotonic())
    if run.dry_run:
        _do(run, plan, process, lambda: None)
        keep_sides(run)
        return
    for path in settings.log_dir.glob("*.out"):
        bound_output(path, max_bytes=OUTPUT_BYTES)
    after = remember(memory, daemon, plan, time.monotonic())
    after = _report(plan, memory, after, limits, process)
    after = _ping(settings, plan, after)
    _save_memory(settings, after)
    _do(run, plan, process, lambda: _start(settings, plan, process, after))
    keep_sides(run)


def limits_of(settings: Settings) -> Limits:
    """The settings that the plan needs."""
    return Limits(
        heartbeat_max_age_seconds=settings.heartbeat_max_age_seconds,
        stream_lost_seconds=settings.stream_lost_seconds,
        sweep_overdue_seconds=settings.sweep_overdue_seconds,
    )


def take_snapshot(process: psutil.Process | None, settings: Settings) -> DaemonSnapshot:
    """What can be seen of the daemon now; `process` is `find_daemon`'s."""
    is_stopped_on_purpose = is_stopped(settings.run_dir)
    if process is None:
        return DaemonSnapshot(process_age_seconds=None, is_stopped_on_purpose=is_stopped_on_purpose)
    beat = load_beat_of(process, settings)
    return DaemonSnapshot(
        process_age_seconds=age_seconds(process),
        is_stopped_on_purpose=is_stopped_on_purpose,
        is_suspended=is_suspended(process),
        beat=_ages(beat, time.monotonic()) if beat is not None else None,
    )


def _ages(beat: Heartbeat, now: float) -> Beat:
    def age(moment: float | None) -> float | None:
        return now - moment if moment is not None else None

    return Beat(
        age_seconds=now - beat.beat_at,
        state=beat.state,
        reason=beat.reason,
        has_symbols=bool(beat.symbols),
        data_lost_seconds=age(beat.data_stream_lost_at),
        trade_lost_seconds=age(beat.trade_stream_lost_at),
        quote_age_seconds=age(beat.last_quote_at),
        sweep_age_seconds=age(beat.last_sweep_at),
        stall=_describe_stalls(beat, now),
    )


def _describe_stalls(beat: Heartbeat, now: float) -> str | None:
    stalls = [
        f"{held.symbol or 'the daemon'} is held back for {span(now - held.since)}: {held.reason}"
        for held in beat.held_back
        if held.is_stalled
    ]
    return "; ".join(stalls) or None


def _report(
    plan: Plan, before: Memory, after: Memory, limits: Limits, process: psutil.Process | None
) -> Memory:
    """Log what was found; as an ERROR, which is mailed, once and not every minute."""
    pid = process.pid if process is not None else None
    match plan.verdict:
        case Verdict.WELL:
            log_event(log, LogEvent.DAEMON_RUNNING, pid=pid, state="trading")
            if before.alerted_at is not None and after.alerted_at is None:
                log_event(log, LogEvent.DAEMON_WELL_AGAIN, mail=True, about=_ABOUT, pid=pid)
        case Verdict.STARTING:
            log_event(log, LogEvent.DAEMON_STARTING, pid=pid, reason=plan.reason)
        case Verdict.STOPPED:
            log_event(log, LogEvent.DAEMON_LEFT_ALONE, pid=pid, reason=plan.reason)
        case Verdict.STALLED:
            log_event(log, LogEvent.DAEMON_STALLED, pid=pid, reason=plan.reason)
        case Verdict.UNWELL | Verdict.WAIT:
            now = time.monotonic()
            is_error = is_unwell_for_long(after, limits, now) and is_alert_due(after, now)
            is_waiting = plan.verdict is Verdict.WAIT
            log_event(
                log,
                LogEvent.DAEMON_WAIT if is_waiting else LogEvent.DAEMON_UNWELL,
                level=logging.ERROR if is_error else None,
                about=_ABOUT,
                pid=pid,
                reason=plan.reason,
            )
            return replace(after, alerted_at=now) if is_error else after
        case Verdict.START | Verdict.RESTART:
            log_event(log, LogEvent.DAEMON_MISSED, pid=pid, reason=plan.reason)
    return after


def _ping(settings: Settings, plan: Plan, memory: Memory) -> Memory:
    """Only when all is well. A ping that fails is logged when it begins and when it ends."""
    if settings.heartbeat_url is None or plan.verdict is not Verdict.WELL:
        return memory
    trouble = ping(settings.heartbeat_url)
    if (trouble is None) != (memory.ping_trouble is None):
        event = LogEvent.PING_ANSWERED if trouble is None else LogEvent.PING_FAILED
        log_event(log, event, reason=trouble)
    return replace(memory, ping_trouble=trouble)


def _do(
    run: ScriptRun, plan: Plan, process: psutil.Process | None, start: Callable[[], str | None]
) -> None:
    """Plan the one step that there is, and do it unless this is a dry run."""
    step = {"action": plan.verdict.value, "reason": plan.reason}
    if process is not None:
        step["pid"] = str(process.pid)
    if plan.verdict in (Verdict.START, Verdict.RESTART):
        run.step(step, start)
    elif plan.verdict is Verdict.WAIT:
        run.step(step, _cannot_start_yet)


def _cannot_start_yet() -> str:
    raise StepFailed("the daemon does not stay alive: see logs/app.log and logs/main_app.out")


def _start(settings: Settings, plan: Plan, process: psutil.Process | None, memory: Memory) -> str:
    """End the old one if there is one, start a new one, and say what came of it."""
    began_at = time.monotonic()
    try:
        if process is not None:
            patience = HUNG_TERM_SECONDS if plan.is_hung else TERM_SECONDS
            how = end_daemon(process, term_seconds=patience)
            log_event(log, LogEvent.DAEMON_ENDED, pid=process.pid, how=how)
        if is_stopped(settings.run_dir):  # since the snapshot
            return "stopped on purpose: not started"
        child = start_daemon(settings)
        started = wait_until_it_beats(child, settings, FIRST_BEAT_SECONDS)
    except DaemonError as error:
        now = time.monotonic()
        is_error = is_alert_due(memory, now)
        log_event(
            log,
            LogEvent.DAEMON_START_FAILED,
            level=logging.ERROR if is_error else None,
            about=_ABOUT,
            because=plan.reason,
            reason=error,
        )
        if is_error:
            _save_memory(settings, replace(memory, alerted_at=now))
        raise StepFailed(str(error)) from error
    seconds = time.monotonic() - began_at
    _report_start(settings, plan, memory, started.pid, seconds)
    return f"PID {started.pid} after {seconds:.1f} s"


def _report_start(settings: Settings, plan: Plan, memory: Memory, pid: int, seconds: float) -> None:
    """Every start is mailed, but of a crash loop only that it is one."""
    is_loop = memory.starts >= CRASH_LOOP_STARTS
    log_event(
        log,
        LogEvent.DAEMON_STARTED if plan.verdict is Verdict.START else LogEvent.DAEMON_RESTARTED,
        mail=not is_loop,
        pid=pid,
        seconds=round(seconds, 1),
        reason=plan.reason,
    )
    now = time.monotonic()
    if is_loop and is_alert_due(memory, now):
        log_event(
            log,
            LogEvent.DAEMON_UNSETTLED,
            about=_ABOUT,
            pid=pid,
            starts=memory.starts,
            reason=plan.reason,
        )
        _save_memory(settings, replace(memory, alerted_at=now))


def load_memory(settings: Settings) -> Memory:
    """What the last run knew; nothing after a reboot, because its clock began anew. Fields that
    another version wrote are left out.
    """
    state = load_state(settings.run_dir / MEMORY_NAME)
    if state.get("boot_id") != read_boot_id():
        return Memory()
    state.setdefault("alerted_at", state.get("told_at"))  # the name in older versions
    return Memory(**known_fields(Memory, state))


def _save_memory(settings: Settings, memory: Memory) -> None:
    """Keep it for the next run. Without a folder to write to there is no lock and no run either."""
    state = {**asdict(memory), "boot_id": read_boot_id()}
    save_state(settings.run_dir / MEMORY_NAME, state)


def find_ping_trouble(url: str) -> str | None:
    """Why nobody could be pinged at `url`, as far as a connection shows; nothing is requested."""
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        with socket.create_connection((parts.hostname or "", port), PING_SECONDS) as line:
            if parts.scheme == "https":
                context = ssl.create_default_context()
                context.wrap_socket(line, server_hostname=parts.hostname).close()
    except OSError as error:
        return f"{type(error).__name__}: {error}"
    return None


def ping(url: str) -> str | None:
    """GET `url`. None when it answered well, else one line why not, without the URL (a secret)."""
    request = urllib.request.Request(url, headers={"User-Agent": "dca-crypto-bot"})
    try:
        with urllib.request.urlopen(request, timeout=PING_SECONDS):
            return None
    # ValueError: what only the HTTP library finds malformed in the URL.
    except (OSError, http.client.HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}".replace(url, "the URL")
