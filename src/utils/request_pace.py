"""When a request may go out: the allowance of any 60 seconds, shared by all our processes.

Owns: the times of the last minute's requests, in one small file of the run folder, so that daemon
and caretakers share one minute and a daemon that starts again does not forget its own. Knows no
endpoint. Source of the allowance: Alpaca counts 200 requests a minute and account, and says in
X-RateLimit headers what is left of its own minute.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from utils.logging_setup import log_event
from utils.state_file import load_state, locked, save_state

log = logging.getLogger(__name__)

FILE_NAME = "requests.json"
USUAL_LIMIT = 200  # until an answer says another one
LARGEST_LIMIT = 100_000  # whatever says more is garbage
MINUTE_SECONDS = 60.0
# Reads wait when so much of the allowance was used in the last 60 seconds: the rest is for orders.
# The exchange's own minutes are no help there: the end of one and the beginning of the next could
# add up to twice the allowance.
SHARE_FOR_READS = 0.8
# Reads also wait when the exchange says that no more than this part of its minute is left: other
# programs of the user are counted in it.
SHARE_KEPT_FOR_ORDERS = 0.1
LONGEST_WAIT_SECONDS = 20.0
# A suspended process can hold the lock: then our own memory must do, or orders would wait for it.
_LOCK_SECONDS = 1.0
_ALONE_SECONDS = 5.0


class AllowanceUsedUp(Exception):
    """The request was not sent: the minute's allowance is used up."""


class RequestPace:
    """Counts what this machine sends to one account, and lets requests wait. For all threads.

    Args:
        path: the shared file; without one, or while it cannot be used, this process counts alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._sent: list[float] = []  # time.monotonic(): the same clock in every process here
        self._limit: int | None = None
        self._remaining: int | None = None
        self._resets_at = 0.0  # monotonic, too: a wrong wall clock must hold nobody back
        self._has_begun = False
        self._is_alone = False
        self._alone_until = 0.0

    def take(self, *, reads: bool) -> None:
        """Count one request that goes out now. A read waits for its turn, an order never does. A
        process's first read has the rights of an order: a start must not hang on what others used.

        Raises:
            AllowanceUsedUp: no turn came within LONGEST_WAIT_SECONDS, or (an order) the whole
                allowance went out in the last minute. Nothing was counted.
        """
        deadline = time.monotonic() + (LONGEST_WAIT_SECONDS if reads else 0.0)
        is_told = False
        while wait_seconds := self._try(reads):
            left = deadline - time.monotonic()
            if left <= 0:
                raise AllowanceUsedUp("this minute's requests are used up")
            if not is_told:
                is_told = True
                log_event(log, logging.WARNING, "requests.paused", seconds=round(wait_seconds, 1))
            time.sleep(min(wait_seconds, left))  # the moment is known: there is nothing to await

    def learn(self, headers: Mapping[str, Any]) -> None:
        """What an answer says of the exchange's own minute; nonsense counts as nothing said."""
        try:
            limit = int(headers.get("X-RateLimit-Limit", USUAL_LIMIT))
            remaining = int(headers["X-RateLimit-Remaining"])
            reset_seconds = float(headers["X-RateLimit-Reset"]) - time.time()
        except (KeyError, TypeError, ValueError):
            return
        if not 0 <= limit <= LARGEST_LIMIT:
            return
        with self._lock:
            self._limit, self._remaining = limit, remaining
            # Its minute ends within a minute, whatever our clock or a header makes of it.
            reset_seconds = min(max(0.0, reset_seconds), MINUTE_SECONDS)
            self._resets_at = time.monotonic() + reset_seconds

    def requests_left(self) -> int | None:
        """How many requests are still allowed now; None when there is no limit."""
        with self._lock:
            limit, now = self._known_limit(), time.monotonic()
            if not limit:
                return None
            ours = limit - len(_within_minute(self._sent, now))
            theirs = self._remaining if now < self._resets_at else None
            return max(0, ours if theirs is None else min(ours, theirs))

    def _known_limit(self) -> int:
        return self._limit if self._limit is not None else USUAL_LIMIT

    def _try(self, reads: bool) -> float:
        """0 when the request was counted, otherwise the seconds until it may be tried again."""
        with self._lock:
            if self._path is None or time.monotonic() < self._alone_until:
                return self._count({}, reads)
            wait_seconds = None
            try:
                with locked(self._path.with_suffix(".lock"), _LOCK_SECONDS):
                    wait_seconds = self._count(load_state(self._path), reads)
                    save_state(self._path, {"limit": self._limit, "sent": self._sent})
                self._is_alone = False
            except OSError as error:
                if not self._is_alone:
                    log_event(log, logging.WARNING, "requests.counted_alone", reason=error)
                self._is_alone = True
                self._alone_until = time.monotonic() + _ALONE_SECONDS
            return self._count({}, reads) if wait_seconds is None else wait_seconds

    def _count(self, shared: Mapping[str, Any], reads: bool) -> float:
        now = time.monotonic()
        self._sent = _within_minute({*_times(shared.get("sent")), *self._sent}, now)
        known = shared.get("limit")
        if self._limit is None and type(known) is int and 0 <= known <= LARGEST_LIMIT:
            self._limit = known
        limit = self._known_limit()
        if not limit:
            return 0.0  # an exchange that does not count
        waits = reads and self._has_begun
        allowed = max(1, int(limit * SHARE_FOR_READS)) if waits else limit
        excess = len(self._sent) - allowed
        wait_seconds = self._sent[excess] + MINUTE_SECONDS - now if excess >= 0 else 0.0
        is_low = self._remaining is not None and self._remaining <= limit * SHARE_KEPT_FOR_ORDERS
        if waits and is_low:
            wait_seconds = max(wait_seconds, self._resets_at - now)
        if wait_seconds <= 0:
            self._sent.append(now)
            self._has_begun = True
        return max(wait_seconds, 0.0)


def _times(saved: object) -> Iterable[float]:
    """What is a time of what stands in the file: anybody could have written there."""
    if not isinstance(saved, list):
        return ()
    return (moment for moment in saved if isinstance(moment, int | float))


def _within_minute(moments: Iterable[float], now: float) -> list[float]:
    """Sorted; those of a clock that began anew with the machine lie in the future and are left."""
    return sorted(moment for moment in moments if now - MINUTE_SECONDS < moment <= now)
