"""Counts requests and says when one is too many.

So many per key and minute, as the X-RateLimit headers tell.
"""

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
    """A window per wall-clock minute for the limit.

    A sliding minute for the peaks in the exchange's records: of all requests, and of those that
    were let in.
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
        """Counts one request at the given epoch.

        With the limit off (0, as the header then says) nothing is ever exceeded.
        """
        self.total += 1
        self.peak_per_minute = max(self.peak_per_minute, _slide(self._recent, now_seconds))

        window = int(now_seconds // _WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        limit = self.limit_per_minute
        if not 0 < limit < self._used:
            accepted = _slide(self._accepted, now_seconds)
            self.accepted_peak_per_minute = max(self.accepted_peak_per_minute, accepted)
        return Allowance(
            limit=limit,
            remaining=max(0, limit - self._used),
            resets_at=(window + 1) * _WINDOW_SECONDS,
            is_exceeded=0 < limit < self._used,
        )


def _slide(recent: deque[float], now_seconds: float) -> int:
    """How many there were in the minute that ends now, this one counted."""
    recent.append(now_seconds)
    while recent[0] <= now_seconds - _WINDOW_SECONDS:
        recent.popleft()
    return len(recent)
