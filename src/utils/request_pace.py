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
MINUTE_SECONDS = 60.0
# Reads wait when so much of the allowance was used in the last 60 seconds: the rest is for orders.
# The exchange's own minutes are no help there: the end of one and the beginning of the next could
# add up to twice the allowance.
SHARE_FOR_READS = 0.8
REQUESTS_KEPT_FOR_ORDERS = 20  # reads wait when the exchange says that so few are left
LONGEST_WAIT_SECONDS = 20.0
_LOCK_SECONDS = 0.5  # a suspended process can hold the lock: then our own memory must do


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
        self._reset_at = 0.0  # wall clock, as the header counts
        self._is_alone = False

    def take(self, *, reads: bool) -> None:
        """Count one request that goes out now. A read waits for its turn, an order never does.

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
        """What an answer says of the exchange's own minute; other programs are counted in it."""
        try:
            limit, remaining, reset_at = (
                max(0, int(headers.get("X-RateLimit-Limit", USUAL_LIMIT))),
                int(headers["X-RateLimit-Remaining"]),
                float(headers["X-RateLimit-Reset"]),
            )
        except (KeyError, TypeError, ValueError):
            return
        with self._lock:
            self._limit, self._remaining, self._reset_at = limit, remaining, reset_at

    def requests_left(self) -> int | None:
        """How many requests are still allowed now; None when there is no limit."""
        with self._lock:
            limit = self._limit if self._limit is not None else USUAL_LIMIT
            if not limit:
                return None
            ours = limit - len(_within_minute(self._sent, time.monotonic()))
            theirs = self._remaining if time.time() < self._reset_at else None
            return max(0, ours if theirs is None else min(ours, theirs))

    def _try(self, reads: bool) -> float:
        """0 when the request was counted, otherwise the seconds until it may be tried again."""
        with self._lock:
            if self._path is None:
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
            return self._count({}, reads) if wait_seconds is None else wait_seconds

    def _count(self, shared: Mapping[str, Any], reads: bool) -> float:
        now = time.monotonic()
        self._sent = _within_minute({*_times(shared.get("sent")), *self._sent}, now)
        known = shared.get("limit")
        if self._limit is None and isinstance(known, int) and known >= 0:
            self._limit = known
        limit = self._limit if self._limit is not None else USUAL_LIMIT
        if not limit:
            return 0.0  # an exchange that does not count
        allowed = max(1, int(limit * SHARE_FOR_READS)) if reads else limit
        excess = len(self._sent) - allowed
        wait_seconds = self._sent[excess] + MINUTE_SECONDS - now if excess >= 0 else 0.0
        if reads:
            wait_seconds = max(wait_seconds, self._until_reset())
        if wait_seconds <= 0:
            self._sent.append(now)
        return max(wait_seconds, 0.0)

    def _until_reset(self) -> float:
        if self._remaining is None or self._remaining > REQUESTS_KEPT_FOR_ORDERS:
            return 0.0
        wait_seconds = self._reset_at - time.time()
        if wait_seconds <= 0:
            self._remaining = None
        return wait_seconds


def _times(saved: object) -> Iterable[float]:
    """What is a time of what stands in the file: anybody could have written there."""
    if not isinstance(saved, list):
        return ()
    return (moment for moment in saved if isinstance(moment, int | float))


def _within_minute(moments: Iterable[float], now: float) -> list[float]:
    """Sorted; those of a clock that began anew with the machine lie in the future and are left."""
    return sorted(moment for moment in moments if now - MINUTE_SECONDS < moment <= now)
