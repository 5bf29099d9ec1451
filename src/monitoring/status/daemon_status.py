"""How the daemon is, from its PID file, its process and its heartbeat alone.

The verdict is the watchdog's own, so that both say the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from caretakers.plans.watchdog import Beat, Plan, Verdict, plan_watch
from caretakers.watchdog import limits_of, load_memory, take_snapshot
from config import Settings
from monitoring.status.held_back import HeldBack, load_held
from runtime.daemon_process import age_seconds, find_daemon, load_beat_of
from runtime.env_of_daemon import find_changed_settings
from runtime.operator_flags import is_paused, is_stopped

_NAMES_SHOWN = 4
SHORT_LOSS_SECONDS = 15.0  # a stream that reconnects within this is no problem


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamStatus:
    """One stream of the daemon. `heard_seconds`: since the last message; None: never."""

    is_connected: bool
    lost_seconds: float | None
    heard_seconds: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DaemonStatus:
    """The daemon at one moment. What is None is not known, mostly because it does not run.

    `problem`: what is wrong with it, in one line with the cure.
    """

    verdict: Verdict
    reason: str
    problem: str | None
    is_stopped_on_purpose: bool
    is_paused: bool
    pid: int | None = None
    uptime_seconds: float | None = None
    state: str | None = None
    beat_seconds: float | None = None
    sweep_seconds: float | None = None
    quotes: StreamStatus | None = None
    trade_updates: StreamStatus | None = None
    symbols: tuple[str, ...] = ()
    held_back: tuple[HeldBack, ...] = ()
    assets_fallen: int | None = None  # as the dump guard counts them; None: not known
    assets_needed: int | None = None
    changed_settings: tuple[str, ...] = ()  # those that `.env` has changed since it started

    @property
    def is_held_back(self) -> bool:
        """Whether the daemon as a whole is, not only some assets."""
        return any(held.symbol is None for held in self.held_back)


def load_daemon_status(settings: Settings) -> DaemonStatus:
    """The status now. Reads files and the process table only."""
    process = find_daemon(settings)
    snapshot = take_snapshot(process, settings)
    now = time.monotonic()
    plan = plan_watch(snapshot, load_memory(settings), limits_of(settings), now)
    beat = load_beat_of(process, settings) if process is not None else None
    seen = snapshot.beat
    quotes = updates = None
    if beat is not None and seen is not None:
        quotes = StreamStatus(
            is_connected=beat.data_stream_connected,
            lost_seconds=seen.data_lost_seconds,
            heard_seconds=seen.quote_age_seconds,
        )
        updates = StreamStatus(
            is_connected=beat.trade_stream_connected,
            lost_seconds=seen.trade_lost_seconds,
            heard_seconds=None if beat.last_update_at is None else now - beat.last_update_at,
        )
    problem = _problem_of_verdict(plan, process is not None, seen)
    held_back = load_held(beat, now) if beat is not None else ()
    itself = next((held for held in held_back if held.symbol is None), None)
    if itself is not None and plan.verdict not in (Verdict.RESTART, Verdict.STOPPED):
        problem = itself.line
    return DaemonStatus(
        verdict=plan.verdict,
        reason=plan.reason,
        problem=problem,
        is_stopped_on_purpose=is_stopped(settings.run_dir),
        is_paused=is_paused(settings.run_dir),
        pid=process.pid if process is not None else None,
        uptime_seconds=age_seconds(process) if process is not None else None,
        state=seen.state if seen else None,
        beat_seconds=seen.age_seconds if seen else None,
        sweep_seconds=seen.sweep_age_seconds if seen else None,
        quotes=quotes,
        trade_updates=updates,
        symbols=tuple(beat.symbols) if beat else (),
        held_back=held_back,
        assets_fallen=beat.assets_fallen if beat else None,
        assets_needed=beat.assets_needed if beat else None,
        changed_settings=find_changed_settings(beat.settings) if beat else (),
    )


def describe_changed_settings(names: tuple[str, ...]) -> str | None:
    """What is not in force yet, without its cure, which is a restart; None: nothing."""
    if not names:
        return None
    shown = ", ".join(names[:_NAMES_SHOWN])
    if len(names) > _NAMES_SHOWN:
        shown += f" and {len(names) - _NAMES_SHOWN} more"
    return f".env has changed since the daemon started, which goes on without it: {shown}"


def _problem_of_verdict(plan: Plan, is_running: bool, beat: Beat | None) -> str | None:
    reason = plan.reason
    match plan.verdict:
        case Verdict.WELL | Verdict.STARTING | Verdict.STALLED:
            return None  # STALLED: `held_back` says why
        case Verdict.STOPPED:
            return f"the daemon: {reason} (scripts/bot start)" if is_running else None
        case Verdict.START:
            return "the daemon does not run: scripts/bot start"
        case Verdict.WAIT:
            return f"the daemon does not stay alive, {reason}: see logs/app.log, scripts/doctor"
        case Verdict.RESTART:
            return f"the daemon runs but does not work: {reason} (scripts/bot restart)"
        case Verdict.UNWELL:
            if beat is not None and beat.state == "trading" and _is_short_loss(beat):
                return None
            return f"the daemon runs but is not well: {reason}"


def _is_short_loss(beat: Beat) -> bool:
    lost = [seconds for seconds in (beat.data_lost_seconds, beat.trade_lost_seconds) if seconds]
    return bool(lost) and max(lost) < SHORT_LOSS_SECONDS
