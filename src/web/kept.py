"""Answers that are dear, kept for a while: who asks meanwhile waits for the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

MAX_ANSWERS = 32


class KeptAnswers:
    """Of one event loop."""

    def __init__(self) -> None:
        self._answers: dict[object, tuple[float, Any]] = {}
        self._locks: dict[object, asyncio.Lock] = {}

    async def get(self, key: object, seconds: float, ask: Callable[[], Awaitable[Any]]) -> Any:
        """The answer of `key`, not older than `seconds`. What `ask` raises is not kept."""
        async with self._locks.setdefault(key, asyncio.Lock()):
            known = self._answers.get(key)
            if known is None or time.monotonic() - known[0] > seconds:
                answer = await ask()
                self._forget_the_oldest()
                known = self._answers[key] = time.monotonic(), answer
            return known[1]

    def _forget_the_oldest(self) -> None:
        while len(self._answers) >= MAX_ANSWERS:
            oldest = min(self._answers, key=lambda key: self._answers[key][0])
            del self._answers[oldest]
            self._locks.pop(oldest, None)
