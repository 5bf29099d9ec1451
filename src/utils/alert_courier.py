"""Brings what waits in one outbox to its service: a thread that is there while there is something.

Must never disturb trading: `put` costs one append to a queue, and an end waits for the service
within a bound. What could not be sent stays in the outbox, for this process or the next one. Each
service has a courier of its own, so that none waits for another.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from config import Settings
from utils.alert_outbox import Alert, Batch, Outbox, changed, load_outbox
from utils.alert_services import Outcome
from utils.log_events import LogEvent, log_event

# The handler's, which takes nothing that comes from here: an outage would feed itself.
log = logging.getLogger("utils.notifications")
T = TypeVar("T")

MAX_QUEUED = 500


class Courier:
    """One outbox, and `send`: what became of a batch; it gets the file to note that in, or None."""

    def __init__(
        self,
        settings: Settings,
        outbox_name: str,
        send: Callable[[Batch, Path | None], Outcome],
        *,
        group_seconds: float,
    ) -> None:
        self.group_seconds = group_seconds
        self._settings = settings
        self._outbox_name = outbox_name
        self._send = send
        self._queue: deque[tuple[Alert, str]] = deque(maxlen=MAX_QUEUED)
        self._own_outbox = Outbox()  # while the shared one cannot be written
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        if load_outbox(settings.run_dir, outbox_name).waiting:  # left by another process
            self._ensure_thread()

    def put(self, alert: Alert, line: str) -> None:
        """Queue the line.

        Raises:
            RuntimeError: no more threads; it stays queued.
        """
        self._queue.append((alert, line))
        try:
            self._ensure_thread()
        finally:
            self._wake.set()

    def _ensure_thread(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)
            self._thread.start()

    def begin_to_end(self) -> None:
        """Send what waits now, and nothing later."""
        self._is_closing = True
        self._wake.set()

    def wait_until_ended(self, seconds: float) -> None:
        """Give the thread this time; what is left stays in the outbox."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(seconds)

    def _work(self) -> None:
        while True:
            is_last = self._is_closing
            try:
                wait_seconds = self._deliver(0.0 if is_last else self.group_seconds)
            except Exception:  # noqa: BLE001 - the top of a thread: later alerts must still be sent
                log_event(log, LogEvent.ALERTS_FAILED, traceback=True)
                wait_seconds = None if is_last else self.group_seconds
            if is_last and wait_seconds != 0.0:
                return
            self._wake.wait(wait_seconds)
            self._wake.clear()

    def _deliver(self, group_seconds: float) -> float | None:
        """Put what is queued into the outbox, send what is due; seconds until the next message."""
        queued = [self._queue.popleft() for _ in range(len(self._queue))]

        def until_due(outbox: Outbox) -> float | None:
            return outbox.seconds_until_due(
                time.time(),
                mails_per_hour=self._settings.alert_mails_per_hour,
                group_seconds=group_seconds,
            )

        def take(outbox: Outbox) -> tuple[Batch | None, float | None]:
            for alert, line in queued:
                outbox.add(alert, line, time.time())
            wait_seconds = until_due(outbox)
            return outbox.lease(time.time()) if wait_seconds == 0 else None, wait_seconds

        (batch, wait_seconds), is_shared = self._change(take)
        if batch is None:
            return wait_seconds
        path = self._settings.run_dir / self._outbox_name
        outcome = self._send(batch, path if is_shared else None)

        def note(outbox: Outbox) -> float | None:
            if not outcome.is_noted:
                if outcome.lines:
                    got = Batch(lines=batch.lines[: outcome.lines], held_back=batch.held_back)
                    outbox.mailed(got, time.time())
                else:
                    outbox.failed(time.time(), outcome.retry_after_seconds)
            return until_due(outbox)

        return self._change(note)[0]

    def _change(self, change: Callable[[Outbox], T]) -> tuple[T, bool]:
        """Change the shared outbox, or our own while the shared one cannot be written; whether it
        was the shared one.
        """
        try:
            with changed(self._settings.run_dir, self._outbox_name) as outbox:
                outbox.waiting += self._own_outbox.waiting
                result = change(outbox)
        except OSError as error:
            log_event(log, LogEvent.ALERTS_UNSHARED, reason=error)
            return change(self._own_outbox), False
        self._own_outbox = Outbox()
        return result, True
