"""How it stands with Telegram: the sign of life of this process, and what is logged of trouble.

Edges, not levels: what is wrong is logged when it begins and when it ends.
"""

from __future__ import annotations

import contextlib
import logging
import time
from dataclasses import replace
from typing import Any

from config import Settings
from runtime.telegram_poller import first_beat, save_beat
from utils.log_events import LogEvent, log_event
from utils.telegram_client import Shared, TelegramError, TokenRefused, TooManyRequests

log = logging.getLogger(__name__)

PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0)  # after one failed request, two, ...
REFUSED_PAUSE_SECONDS = 60.0
SHARED_SECONDS = 600.0  # two 409 within this are another program; one is our own killed request
_ABOUT = "telegram"  # the alerts about it and the line that ends them belong together


class Health:
    """Written with each change, for the watchdog, status and doctor."""

    def __init__(self, settings: Settings, strangers: dict[str, int]) -> None:
        self._settings = settings
        self._failures = 0
        self._kind: type[TelegramError] | None = None  # of the trouble that was logged
        self._is_alerted = False  # of something whose end is told as well
        self._beat = replace(first_beat(settings), strangers=strangers)

    def note(self, **changes: Any) -> None:
        """It lives. `changes`: of its PollerBeat."""
        self._beat = replace(self._beat, **changes, beat_at=time.monotonic())
        with contextlib.suppress(OSError):  # the watchdog will take it for hung, and say so
            save_beat(self._settings, self._beat)

    def note_answer(self) -> None:
        """Telegram let us wait for messages, to the end."""
        now = time.monotonic()
        is_recent = now - (self._beat.shared_at or 0.0) < SHARED_SECONDS
        is_shared = self._beat.is_shared and is_recent
        is_end = self._is_alerted and not is_shared
        if is_end or (self._beat.trouble is not None and not is_shared):
            log_event(log, LogEvent.TELEGRAM_FOUND, mail=is_end, about=_ABOUT)
        self._is_alerted = self._is_alerted and is_shared
        self._failures, self._kind = 0, None
        self.note(answered_at=now, trouble=None, trouble_at=None, is_shared=is_shared)

    def note_failure(self, error: TelegramError) -> float:
        """For how many seconds nothing is to be asked."""
        now, kind = time.monotonic(), _kind_of(error)
        is_new, self._kind = kind is not self._kind, kind
        seconds = PAUSES_SECONDS[min(self._failures, len(PAUSES_SECONDS) - 1)]
        self._failures += 1
        if isinstance(error, Shared):
            before, was_shared = self._beat.shared_at, self._beat.is_shared
            self.note(shared_at=now)
            if before is None or now - before > SHARED_SECONDS:
                return seconds
            if not was_shared:
                self._alert(LogEvent.TELEGRAM_SHARED, error)
            self.note(is_shared=True)
        elif isinstance(error, TokenRefused):
            seconds = REFUSED_PAUSE_SECONDS
            if is_new:
                self._alert(LogEvent.TELEGRAM_REFUSED, error)
        else:
            if isinstance(error, TooManyRequests):
                seconds = error.retry_after_seconds
            if is_new:
                log_event(log, LogEvent.TELEGRAM_LOST, reason=error)
        self.note(trouble=str(error), trouble_at=self._beat.trouble_at or now)
        return seconds

    def _alert(self, event: LogEvent, error: TelegramError) -> None:
        self._is_alerted = True
        log_event(log, event, about=_ABOUT, reason=error)


def _kind_of(error: TelegramError) -> type[TelegramError]:
    """What needs another cure is another trouble."""
    return type(error) if isinstance(error, Shared | TokenRefused) else TelegramError
