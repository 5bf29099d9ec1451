"""When a request may go out: the allowance of any 60 seconds, shared by all our processes.

Owns: when the requests of the last minute allow another one. Their times are kept in the run folder
(request_claims), so that daemon and caretakers share one minute and a restarted daemon remembers
its own. Knows no endpoint. Source of the allowance: Alpaca counts 200 requests a minute for each
account, and says in X-RateLimit headers what is left of its own minute.

The bound: `take` never lets out more than the allowance in any 60 seconds, however many processes
ask at once and wherever one is suspended or killed. Only a process that is suspended after `take`
has returned can send later than it counted: one request for each of its threads.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from email.message import Message
from pathlib import Path
from typing import Any

from utils.log_events import LogEvent, log_event
from utils.request_claims import ClaimsVanished, RequestClaims, compute_period
from utils.state_file import load_state, save_state

log = logging.getLogger(__name__)

FILE_NAME = "requests"  # the stem: see request_claims
LIMIT_FILE_NAME = "request_limit.json"
USUAL_LIMIT = 200  # until an answer says another one
LARGEST_LIMIT = 100_000  # whatever says more is garbage
MINUTE_SECONDS = 60.0
# Reads wait when this part of the allowance was used in the last 60 seconds: what is left is for
# orders. Counting by the exchange's own minutes would not do: the end of one and the beginning of
# the next could add up to twice the allowance.
SHARE_FOR_READS = 0.8
# Of what may ask as much as a person can click: what is left is for the daemon's reads, without
# which it sends no order.
SHARE_BESIDE_THE_DAEMON = 0.5
# Reads also wait when the exchange says that no more than this part of its minute is left: it also
# counts other programs of the user.
SHARE_KEPT_FOR_ORDERS = 0.1
MAX_WAIT_SECONDS = 20.0
# A claimed request goes out within this or is claimed again: a process can be suspended meanwhile.
CLAIM_SECONDS = 1.0
WINDOW_SECONDS = MINUTE_SECONDS + CLAIM_SECONDS  # the first of a minute may have gone out so late
_CLAIM_TRIES = 3
_ALONE_SECONDS = 5.0


class AllowanceUsedUp(Exception):
    """The request was not sent: the minute's allowance is used up."""


class RequestPace:
    """Counts what this machine sends to one account, and lets requests wait. For all threads.

    Args:
        path: folder and stem of the shared files; without, or while they cannot be used, this
            process counts alone.
        share_for_reads: of the allowance; reads wait when so much of it was used, by whomever.
    """

    def __init__(
        self, path: Path | None = None, *, share_for_reads: float = SHARE_FOR_READS
    ) -> None:
        self._share_for_reads = share_for_reads
        self._lock = threading.Lock()
        self._claims = RequestClaims(path, WINDOW_SECONDS) if path else None
        self._limit_path = path.with_name(LIMIT_FILE_NAME) if path else None
        self._sent: list[float] = []  # ours; time.monotonic(), the same clock in every process here
        self._limit: int | None = None
        self._remaining: int | None = None
        self._resets_at = 0.0  # monotonic, too: a wrong wall clock must hold nobody back
        self._has_begun = False
        self._told_at = -MINUTE_SECONDS  # when it was last said that reads wait
        self._is_alone = False
        self._alone_until = 0.0

    def take(self, *, reads: bool) -> None:
        """Count one request that goes out now. A read waits for its turn, an order never does. The
        first read of a process does not wait either: others must not hold up its start.

        Raises:
            AllowanceUsedUp: no turn came within MAX_WAIT_SECONDS, or (an order) the whole
                allowance went out in the last minute. Nothing was counted.
        """
        deadline = time.monotonic() + (MAX_WAIT_SECONDS if reads else 0.0)
        while wait_seconds := self._try(reads):
            left = deadline - time.monotonic()
            if left <= 0:
                raise AllowanceUsedUp("this minute's requests are used up")
            self._tell(wait_seconds)
            time.sleep(min(wait_seconds, left))  # the moment is known: there is nothing to await

    def _tell(self, wait_seconds: float) -> None:
        """Once a minute: a busy minute makes every read wait, and says so once."""
        with self._lock:
            now = time.monotonic()
            if now - self._told_at < MINUTE_SECONDS:
                return
            self._told_at = now
        log_event(log, LogEvent.REQUESTS_PAUSED, seconds=round(wait_seconds, 1))

    def learn(self, headers: Mapping[str, Any] | Message) -> None:
        """Note what an answer says of the exchange's own minute; nonsense is ignored."""
        try:
            limit = int(headers.get("X-RateLimit-Limit", USUAL_LIMIT))
            remaining = int(headers["X-RateLimit-Remaining"])
            reset_seconds = float(headers["X-RateLimit-Reset"]) - time.time()
        except (KeyError, TypeError, ValueError):
            return
        if not 0 <= limit <= LARGEST_LIMIT:
            return
        with self._lock:
            if limit != self._limit:
                self._save_limit(limit)
            self._limit, self._remaining = limit, remaining
            # Its minute ends within a minute, whatever our clock or a header makes of it.
            reset_seconds = min(max(0.0, reset_seconds), MINUTE_SECONDS)
            self._resets_at = time.monotonic() + reset_seconds

    def requests_left(self) -> int | None:
        """How many requests are still allowed now; None when there is no limit."""
        with self._lock:
            now = time.monotonic()
            counted = len(self._counted(now, catches_up=True))
            limit = self._known_limit()
            if not limit:
                return None
            ours = limit - counted
            theirs = self._remaining if now < self._resets_at else None
            return max(0, ours if theirs is None else min(ours, theirs))

    def _known_limit(self) -> int:
        return self._limit if self._limit is not None else USUAL_LIMIT

    def _try(self, reads: bool) -> float:
        """0 when the request was counted, otherwise the seconds until it may be tried again."""
        with self._lock:
            now = time.monotonic()
            # A claim tells what the others have claimed: they need not be asked before.
            wait_seconds = self._wait_seconds(self._counted(now), now, reads)
            if wait_seconds:
                wait_seconds = self._wait_seconds(self._counted(now, catches_up=True), now, reads)
            if wait_seconds or not self._known_limit():
                return wait_seconds
            try:
                if self._claims is not None and not self._is_alone:
                    now, wait_seconds = self._claim(self._claims, reads)
            except OSError as error:
                self._count_alone(error)
            if not wait_seconds:
                self._sent.append(now)
                self._has_begun = True
            return wait_seconds

    def _claim(self, claims: RequestClaims, reads: bool) -> tuple[float, float]:
        """When it was claimed, and 0; or the seconds to wait, with nothing claimed.

        Raises:
            OSError: the files cannot be used.
        """
        for _ in range(_CLAIM_TRIES):
            now = time.monotonic()
            try:
                claims.open(now, self._sent)
                claims.claim(now)
            except ClaimsVanished:
                claims.close()
                continue
            wait_seconds = self._wait_seconds(claims.known(now), now, reads)
            claimed_at = time.monotonic()
            is_late = claimed_at - now > CLAIM_SECONDS
            if not (is_late or compute_period(claimed_at) != compute_period(now) or wait_seconds):
                return now, 0.0
            claims.withdraw(now)
            if wait_seconds:
                return now, wait_seconds
        raise TimeoutError("writing there takes too long")

    def _counted(self, now: float, *, catches_up: bool = False) -> list[float]:
        """The requests of the window, sorted: of all processes, or what we know while alone.

        Without `catches_up`, of the others only what was read before.
        """
        del self._sent[: bisect_right(self._sent, now - WINDOW_SECONDS)]
        if self._claims is None:
            return self._sent
        if now >= self._alone_until:
            try:
                self._claims.open(now, self._sent)
                if catches_up:
                    self._claims.catch_up()
                self._is_alone = False
            except OSError as error:
                self._count_alone(error)
        if self._limit is None:
            self._limit = self._load_limit()
        known = self._claims.known(now)
        return sorted({*known, *self._sent}) if self._is_alone else known

    def _count_alone(self, error: OSError) -> None:
        """For _ALONE_SECONDS: a disk that is full now is still full at the next request."""
        assert self._claims is not None, "only its files can fail"
        if not self._is_alone:
            log_event(log, LogEvent.REQUESTS_COUNTED_ALONE, reason=error)
        self._is_alone = True
        self._alone_until = time.monotonic() + _ALONE_SECONDS
        self._claims.close()

    def _wait_seconds(self, counted: Sequence[float], now: float, reads: bool) -> float:
        """0 when another request may go out after those that are counted."""
        limit = self._known_limit()
        if not limit:
            return 0.0  # an exchange that does not count
        waits = reads and self._has_begun
        allowed = max(1, int(limit * self._share_for_reads)) if waits else limit
        excess = len(counted) - allowed
        wait_seconds = counted[excess] + WINDOW_SECONDS - now if excess >= 0 else 0.0
        is_low = self._remaining is not None and self._remaining <= limit * SHARE_KEPT_FOR_ORDERS
        if waits and is_low:
            wait_seconds = max(wait_seconds, self._resets_at - now)
        return max(wait_seconds, 0.0)

    def _load_limit(self) -> int | None:
        """What the last answer to any of our processes said."""
        known = load_state(self._limit_path).get("limit") if self._limit_path else None
        return known if type(known) is int and 0 <= known <= LARGEST_LIMIT else None

    def _save_limit(self, limit: int) -> None:
        if self._limit_path is not None:
            # Not logged: each process learns the limit with its first answer anyway.
            with contextlib.suppress(OSError):
                save_state(self._limit_path, {"limit": limit})
