"""What the watchdog does about a process beside the daemon: what answers on Telegram, what serves
the page. Pure.

It is wanted while its setting is. That what it asks cannot be reached is no reason to restart it:
it asks again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from utils.formatting import span

START_SECONDS = 90.0  # until one that just started must have beaten
MAX_BEAT_SECONDS = 180.0  # it beats before each request and each command, which have their bounds


class Step(StrEnum):
    """What is to be done."""

    START = "start"
    RESTART = "restart"
    END = "end"


@dataclass(frozen=True, slots=True, kw_only=True)
class SideSnapshot:
    """The process at one moment. `process_age_seconds` is None when none runs, `beat_age_seconds`
    when it has not beaten. `has_these_settings`: it was started with those of today.
    `is_by_hand`: its setting was off already when somebody started it.
    """

    is_wanted: bool
    process_age_seconds: float | None = None
    beat_age_seconds: float | None = None
    has_these_settings: bool = True
    is_suspended: bool = False
    is_by_hand: bool = False


def plan_side(side: SideSnapshot, setting: str) -> tuple[Step, str] | None:
    """The step and one line why; None: it is as it should be. `setting` is what wants it."""
    age = side.process_age_seconds
    if not side.is_wanted:
        if age is None or side.is_by_hand:
            return None
        return Step.END, f"{setting} is not set any more"
    if age is None:
        return Step.START, f"{setting} is set and nothing answers there"
    if side.is_suspended:
        return Step.RESTART, "its process is suspended"
    beat = side.beat_age_seconds
    if beat is None:
        if age <= START_SECONDS:
            return None
        return Step.RESTART, f"no sign of life since its start {span(age)} ago"
    if beat > MAX_BEAT_SECONDS:
        return Step.RESTART, f"hung: last sign of life {span(beat)} ago"
    if not side.has_these_settings:
        return Step.RESTART, "the settings have changed"
    return None
