"""The process that answers on Telegram, as the watchdog and others see it."""

from __future__ import annotations

from dataclasses import dataclass, field

import psutil

from config import Settings
from runtime.side_process import SideBeat, SideProcess

TELEGRAM = SideProcess(
    name="telegram",
    program="cli.telegram",
    what="what answers on Telegram",
    setting="TELEGRAM_TOKEN",
    decisive=("telegram_", "alpaca_", "db_", "live_", "pid_", "log_dir"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerBeat(SideBeat):
    """What the process knows of itself. `..._at` are monotonic seconds, None: it never happened.

    `trouble`: why it reads no messages now, since `trouble_at`. `shared_at`: when Telegram last
    said that another program asks (409); `is_shared`: it did more than once, so one does.
    `strangers`: how often each chat wrote that may not.
    """

    name: str | None = None
    answered_at: float | None = None
    trouble: str | None = None
    trouble_at: float | None = None
    shared_at: float | None = None
    is_shared: bool = False
    strangers: dict[str, int] = field(default_factory=dict)


def find_poller(settings: Settings) -> psutil.Process | None:
    """The process that answers, if one runs."""
    return TELEGRAM.find(settings)


def load_beat(settings: Settings) -> PollerBeat | None:
    """The last beat, of whichever process; None when there is none or it is unreadable."""
    return TELEGRAM.load_beat(settings, PollerBeat)


def load_beat_of(process: psutil.Process, settings: Settings) -> PollerBeat | None:
    """The last beat of `process`, and of no earlier one with its PID."""
    return TELEGRAM.load_beat_of(process, settings, PollerBeat)


def first_beat(settings: Settings) -> PollerBeat:
    """Of this process."""
    return TELEGRAM.first_beat(settings, PollerBeat)


def save_beat(settings: Settings, beat: PollerBeat) -> None:
    """Raises OSError."""
    TELEGRAM.save_beat(settings, beat)
