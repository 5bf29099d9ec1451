"""Counts the requests of each minute and says when one is too many, as Alpaca's headers do."""

import time
from collections import deque
from collections.abc import Mapping

from paper_exchange.core import errors

_WINDOW_SECONDS = 60


class RequestMeter:
    """The limit counts minutes of the wall clock; the peaks, for the ledger, any sixty seconds.

    `peak_per_minute` is of all requests, `accepted_peak_per_minute` of those within the limit.
    """

    def __init__(self, limit_per_minute: int) -> None:
        self.limit_per_minute = limit_per_minute
        self.total = 0
        self.peak_per_minute = 0
        self.accepted_peak_per_minute = 0
        self._window = 0
        self._used = 0
        self._recent: deque[float] = deque()
        self._accepted: deque[float] = deque()

    def admit(self) -> Mapping[str, str]:
        """Counts a request and returns the headers of its answer. Raises ApiError (429)."""
        headers, is_exceeded = self.count(time.time())
        if is_exceeded:
            refusal = errors.too_many_requests()
            refusal.headers = headers
            raise refusal
        return headers

    def count(self, now_seconds: float) -> tuple[Mapping[str, str], bool]:
        """Counts one request, at seconds since the epoch: the headers of its answer, and whether
        it is one too many. A limit of 0 is none.
        """
        self.total += 1
        self.peak_per_minute = max(self.peak_per_minute, _slide(self._recent, now_seconds))

        window = int(now_seconds // _WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        limit = self.limit_per_minute
        headers = {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(max(0, limit - self._used)),
            "X-RateLimit-Reset": str((window + 1) * _WINDOW_SECONDS),
        }
        is_exceeded = 0 < limit < self._used
        if not is_exceeded:
            accepted = _slide(self._accepted, now_seconds)
            self.accepted_peak_per_minute = max(self.accepted_peak_per_minute, accepted)
        return headers, is_exceeded


def _slide(recent: deque[float], now_seconds: float) -> int:
    """How many there were in the last sixty seconds, this one counted."""
    recent.append(now_seconds)
    while recent[0] <= now_seconds - _WINDOW_SECONDS:
        recent.popleft()
    return len(recent)
