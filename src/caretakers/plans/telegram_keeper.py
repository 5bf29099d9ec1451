"""What the watchdog does about the process that answers on Telegram. Pure.

It is wanted while TELEGRAM_TOKEN is set. That Telegram cannot be reached is no reason to restart
it: it asks again by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from utils.formatting import span

START_SECONDS = 90.0  # until one that just started must have beaten
MAX_BEAT_SECONDS = 180.0  # it beats before each request and each command, which have their bounds


class Step(StrEnum):
    """What is to be done."""

    START = "start telegram"
    RESTART = "restart telegram"
    END = "end telegram"


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerSnapshot:
    """The process at one moment. `process_age_seconds` is None when none runs, `beat_age_seconds`
    when it has not beaten. `has_these_settings`: it was started with those of today.
    """

    is_wanted: bool
    process_age_seconds: float | None = None
    beat_age_seconds: float | None = None
    has_these_settings: bool = True
    is_suspended: bool = False


def plan_poller(poller: PollerSnapshot) -> tuple[Step, str] | None:
    """The step and one line why; None: it is as it should be."""
    age = poller.process_age_seconds
    if not poller.is_wanted:
        return None if age is None else (Step.END, "TELEGRAM_TOKEN is not set any more")
    if age is None:
        return Step.START, "TELEGRAM_TOKEN is set and nothing answers there"
    if poller.is_suspended:
        return Step.RESTART, "its process is suspended"
    beat = poller.beat_age_seconds
    if beat is None:
        if age <= START_SECONDS:
            return None
        return Step.RESTART, f"no sign of life since its start {span(age)} ago"
    if beat > MAX_BEAT_SECONDS:
        return Step.RESTART, f"hung: last sign of life {span(beat)} ago"
    if not poller.has_these_settings:
        return Step.RESTART, "the settings have changed"
    return None
