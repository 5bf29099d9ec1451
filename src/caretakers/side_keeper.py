"""Keeps the processes alive that stand beside the daemon: a part of each run of the watchdog.

Effects only: caretakers/plans/side_keeper.py decides. Nothing here touches the daemon, nor does
the daemon know those processes.
"""

from __future__ import annotations

import logging

import psutil

from caretakers.plans.side_keeper import SideSnapshot, Step, plan_side
from caretakers.runner import ScriptRun, StepFailed
from config import Settings
from runtime.daemon_process import DaemonError, age_seconds, is_suspended
from runtime.side_process import SideBeat, SideProcess
from runtime.telegram_poller import TELEGRAM
from runtime.web_page import PAGE
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

SIDES = (TELEGRAM, PAGE)


def keep_sides(run: ScriptRun) -> None:
    """Start each, restart it, end it, or leave it alone."""
    for side in SIDES:
        process = side.find(run.settings)
        plan = plan_side(take_side_snapshot(side, process, run.settings), side.setting)
        if plan is not None:
            _carry_out(run, side, process, *plan)


def take_side_snapshot(
    side: SideProcess, process: psutil.Process | None, settings: Settings
) -> SideSnapshot:
    """What can be seen of it now; `process` is what `side.find` found."""
    try:
        age = None if process is None else age_seconds(process)
    except psutil.Error:  # it has just ended
        process = age = None
    beat = None if process is None else side.load_beat_of(process, settings, SideBeat)
    is_wanted = side.is_wanted(settings)
    has_these_settings = beat is None or beat.settings_key == side.settings_key(settings)
    return SideSnapshot(
        is_wanted=is_wanted,
        process_age_seconds=age,
        beat_age_seconds=None if beat is None else beat.age_seconds(),
        is_suspended=process is not None and is_suspended(process),
        has_these_settings=has_these_settings,
        is_by_hand=beat is not None and has_these_settings and not is_wanted,
    )


def _carry_out(
    run: ScriptRun, side: SideProcess, process: psutil.Process | None, step: Step, reason: str
) -> None:
    shown = {"action": f"{step} {side.name}", "reason": reason}
    if process is not None:
        shown["pid"] = str(process.pid)
    run.step(shown, lambda: _do(run.settings, side, step, reason, process))


def _do(
    settings: Settings, side: SideProcess, step: Step, reason: str, process: psutil.Process | None
) -> str:
    try:
        if process is not None:
            how = side.end(process)
            log_event(
                log, LogEvent.SIDE_ENDED, name=side.name, pid=process.pid, how=how, reason=reason
            )
            if step is Step.END:
                return how
        if side.load_beat(settings, SideBeat) is not None:  # else it never ran: no loss
            log_event(log, LogEvent.SIDE_MISSED, name=side.name, reason=reason)
        return f"PID {side.start(settings)}"
    except DaemonError as error:
        raise StepFailed(f"{side.what}: {error}") from error
