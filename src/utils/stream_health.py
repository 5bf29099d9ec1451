"""What is known of one stream: whether it is connected, since when it is not, what it dropped.

Owns: the lines that say so, at the edges. Must never reconnect anything.
"""

from __future__ import annotations

import logging
import time

from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


class StreamHealth:
    """What is known of one stream's connection. Times are `time.monotonic()` seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_connected = False
        self.lost_at: float | None = None  # since when it tries in vain; None before it began
        self.connects = 0
        self.last_message_at: float | None = None
        self.is_stopping = False
        self.dropped = 0  # messages that could not be read, or whose handler failed
        self._last_trouble = ""
        self._drops_said: set[type[Exception]] = set()

    def connected(self) -> None:
        self.is_connected = True
        self.lost_at = None
        self.connects += 1
        self._last_trouble = ""
        self._drops_said.clear()
        log_event(log, LogEvent.STREAM_CONNECTED, stream=self.name, connects=self.connects)

    def lost(self, reason: object) -> None:
        trouble = str(reason) or type(reason).__name__
        if self.is_connected or trouble != self._last_trouble:
            event = LogEvent.STREAM_DISCONNECTED
            level = logging.INFO if self.is_stopping else event.level
            log_event(log, event, level=level, stream=self.name, reason=trouble)
        self.is_connected = False
        self.lost_at = self.lost_at or time.monotonic()
        self._last_trouble = trouble

    def heard(self) -> None:
        self.last_message_at = time.monotonic()

    def drop(self, error: Exception) -> None:
        """A message was lost to `error`. Said once for each kind and connection: a stream of
        garbage must not fill the log.
        """
        self.dropped += 1
        if type(error) not in self._drops_said:
            self._drops_said.add(type(error))
            event, dropped = LogEvent.MESSAGE_DROPPED, self.dropped
            log_event(log, event, stream=self.name, dropped=dropped, reason=error, traceback=error)
