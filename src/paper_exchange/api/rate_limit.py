"""Counts the requests of each minute and says when one is too many, as Alpaca's headers do."""

from collections import deque
from dataclasses import dataclass

_WINDOW_SECONDS = 60


@dataclass(frozen=True, slots=True)
class Allowance:
    limit: int
    remaining: int
    resets_at: int
    is_exceeded: bool

    @property
    def headers(self) -> dict[str, str]:
        return {
            "X-RateLimit-Limit": str(self.limit),
            "X-RateLimit-Remaining": str(self.remaining),
            "X-RateLimit-Reset": str(self.resets_at),
        }


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

    def count(self, now_seconds: float) -> Allowance:
        """Counts one request, at seconds since the epoch. A limit of 0 is none."""
        self.total += 1
        self.peak_per_minute = max(self.peak_per_minute, _slide(self._recent, now_seconds))

        window = int(now_seconds // _WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        limit = self.limit_per_minute
        is_exceeded = 0 < limit < self._used
        if not is_exceeded:
            accepted = _slide(self._accepted, now_seconds)
            self.accepted_peak_per_minute = max(self.accepted_peak_per_minute, accepted)
        remaining = max(0, limit - self._used)
        return Allowance(limit, remaining, (window + 1) * _WINDOW_SECONDS, is_exceeded)


def _slide(recent: deque[float], now_seconds: float) -> int:
    """How many there were in the last sixty seconds, this one counted."""
    recent.append(now_seconds)
    while recent[0] <= now_seconds - _WINDOW_SECONDS:
        recent.popleft()
    return len(recent)
