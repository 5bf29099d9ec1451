"""Work that must not hold anybody up: done in a thread of its own, waited for within a bound.

A thread that hangs is left behind; its request ends by its own time-out, and the program can end
without it.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from utils.db_utils import close_thread_connection

T = TypeVar("T")


class TookTooLong(Exception):
    """No result within the bound."""


class Pending(Generic[T]):
    """The result of `work`, which begins at once. The bound counts from this beginning."""

    def __init__(self, work: Callable[[], T], *, seconds: float) -> None:
        self._results: queue.SimpleQueue[tuple[T | None, BaseException | None]] = (
            queue.SimpleQueue()
        )
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._results.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - handed to the thread that waits
            self._results.put((None, error))
        finally:
            close_thread_connection()

    def result(self) -> T:
        """What `work` returned or raised. To be asked once.

        Raises:
            TookTooLong: it has done neither in time.
        """
        try:
            value, error = self._results.get(timeout=max(0.0, self._deadline - time.monotonic()))
        except queue.Empty:
            raise TookTooLong(f"no answer within {self._seconds:.0f} s") from None
        if error is not None:
            raise error
        return value  # type: ignore[return-value]
