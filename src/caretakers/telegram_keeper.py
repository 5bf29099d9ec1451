"""Keeps the process alive that answers on Telegram: a part of each run of the watchdog.

Effects only: caretakers/plans/telegram_keeper.py decides. Nothing here touches the daemon, nor does
the daemon know that process.
"""

from __future__ import annotations

import logging

import psutil

from caretakers.plans.telegram_keeper import PollerSnapshot, Step, plan_poller
from caretakers.runner import ScriptRun, StepFailed
from config import Settings
from runtime.daemon_process import DaemonError, age_seconds, is_suspended
from runtime.telegram_poller import (
    end_poller,
    find_poller,
    load_beat_of,
    settings_key,
    start_poller,
)
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


def keep_poller(run: ScriptRun) -> None:
    """Start it, restart it, end it, or leave it alone."""
    process = find_poller(run.settings)
    plan = plan_poller(take_poller_snapshot(process, run.settings))
    if plan is None:
        return
    step, reason = plan
    shown = {"action": step.value, "reason": reason}
    if process is not None:
        shown["pid"] = str(process.pid)
    run.step(shown, lambda: _do(run.settings, step, reason, process))


def take_poller_snapshot(process: psutil.Process | None, settings: Settings) -> PollerSnapshot:
    """What can be seen of it now; `process` is `find_poller`'s."""
    is_wanted = settings.telegram_token is not None
    try:
        age = None if process is None else age_seconds(process)
    except psutil.Error:  # it has just ended
        process = age = None
    beat = None if process is None else load_beat_of(process, settings)
    return PollerSnapshot(
        is_wanted=is_wanted,
        process_age_seconds=age,
        beat_age_seconds=None if beat is None else beat.age_seconds(),
        is_suspended=process is not None and is_suspended(process),
        has_these_settings=beat is None or beat.settings_key == settings_key(settings),
    )


def _do(settings: Settings, step: Step, reason: str, process: psutil.Process | None) -> str:
    try:
        if process is not None:
            how = end_poller(process)
            log_event(log, LogEvent.POLLER_ENDED, pid=process.pid, how=how, reason=reason)
            if step is Step.END:
                return how
        log_event(log, LogEvent.POLLER_MISSED, reason=reason)
        return f"PID {start_poller(settings)}"
    except DaemonError as error:
        raise StepFailed(f"Telegram: {error}") from error
