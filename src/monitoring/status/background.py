"""What somebody who looks every few seconds keeps in between: answers of the exchange, fetched in
the background and never waited for longer than a moment, and values that are read again only when
what they depend on has changed. Knows no question.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYet
from dataclasses import KW_ONLY, dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

RETRY_SECONDS = 5.0  # what failed is asked again, so that its end is seen


@dataclass(slots=True, eq=False)
class Background(Generic[T]):
    """One question and its last answer. Of one thread.

    Args:
        fetch: asks. Runs in a thread of `threads`; never twice at once.
        failures: what it raises when nothing certain was answered.
        every_seconds: between two questions, at least.
        kept_seconds: an answer counts for so long while no newer one comes.
    """

    fetch: Callable[[], T]
    threads: ThreadPoolExecutor
    failures: tuple[type[Exception], ...]
    _: KW_ONLY
    every_seconds: float
    kept_seconds: float
    problem: str | None = None
    last: T | None = None  # the last answer
    answered_at: float = float("-inf")
    _pending: Future[T] | None = None
    _asked_at: float = float("-inf")

    def get(self, *, wait_seconds: float, within_seconds: float | None = None) -> T | None:
        """The last answer; a new one if it comes within `wait_seconds`. None: there is none, and
        `problem` says why where that is known. `within_seconds`: this once it
        must not be older than that.
        """
        now, every = time.monotonic(), self.every_seconds
        if within_seconds is not None:
            every = min(every, within_seconds)
        if self.problem is not None:
            every = min(every, RETRY_SECONDS)
        if self._pending is None and now - self._asked_at >= every:
            self._asked_at = now
            self._pending = self.threads.submit(self.fetch)
            self._take(self._pending, wait_seconds)
        elif self._pending is not None:  # it was waited for
            self._take(self._pending, 0.0)
        if time.monotonic() - self.answered_at > self.kept_seconds:
            self.last = None
        return self.last

    def _take(self, pending: Future[T], wait_seconds: float) -> None:
        try:
            self.last = pending.result(wait_seconds)
        except NotYet:
            if time.monotonic() - self._asked_at > self.kept_seconds:
                self.problem = f"no answer within {self.kept_seconds:.0f} s"
            return
        except self.failures as error:
            self.problem = str(error)
        else:
            self.problem, self.answered_at = None, time.monotonic()
        self._pending = None


class Cell(Generic[T]):
    """One value that is read again when its key differs."""

    def __init__(self) -> None:
        self._known: tuple[object, T] | None = None

    def get(self, key: object, load: Callable[[], T]) -> T:
        """The value of `key`. What `load` raises leaves it unknown."""
        if self._known is None or self._known[0] != key:
            self._known = None
            self._known = key, load()
        return self._known[1]
