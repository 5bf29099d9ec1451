"""Work that must not hold anybody up: done in a thread of its own, waited for within a bound.

A thread that hangs is left behind; its request ends by its own time-out, and the program can end
without it.
"""

from __future__ import annotations

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
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._ended = threading.Event()
        self._value: T | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], T]) -> None:
        try:
            self._value = work()
        except BaseException as error:  # noqa: BLE001 - handed to the threads that wait
            self._error = error
        finally:
            close_thread_connection()
            self._ended.set()

    @property
    def has_ended(self) -> bool:
        return self._ended.is_set()

    def result(self) -> T:
        """What `work` returned or raised; as often as asked, by any thread.

        Raises:
            TookTooLong: it has done neither in time.
        """
        if not self._ended.wait(max(0.0, self._deadline - time.monotonic())):
            raise TookTooLong(f"no answer within {self._seconds:.0f} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
