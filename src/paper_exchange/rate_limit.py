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

    A sliding minute for the peak in the exchange's records.
    """

    def __init__(self, limit_per_minute: int) -> None:
        self.limit_per_minute = limit_per_minute
        self.total = 0
        self.peak_per_minute = 0
        self._window = 0
        self._used = 0
        self._recent: deque[float] = deque()

    def count(self, now_seconds: float) -> Allowance:
        """Counts one request at the given epoch.

        With the limit off (0) nothing is ever exceeded.
        """
        self.total += 1
        self._recent.append(now_seconds)
        while self._recent[0] <= now_seconds - _WINDOW_SECONDS:
            self._recent.popleft()
        self.peak_per_minute = max(self.peak_per_minute, len(self._recent))

        window = int(now_seconds // _WINDOW_SECONDS)
        if window != self._window:
            self._window, self._used = window, 0
        self._used += 1
        limit = self.limit_per_minute
        return Allowance(
            limit=limit,
            remaining=max(0, limit - self._used),
            resets_at=(window + 1) * _WINDOW_SECONDS,
            is_exceeded=0 < limit < self._used,
        )
