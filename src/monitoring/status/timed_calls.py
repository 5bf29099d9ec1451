"""Work that is waited for within a bound, each in a thread of its own.

A thread that hangs is left behind: its request ends by its own time-out, and the program can end
before.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from utils.db_utils import close_thread_connection

T_co = TypeVar("T_co", covariant=True)


class TookTooLong(Exception):
    """No result within the bound."""


class Pending(Generic[T_co]):
    """The result of `work`, which starts at once; so does the bound."""

    def __init__(self, work: Callable[[], T_co], *, seconds: float) -> None:
        self._seconds = seconds
        self._deadline = time.monotonic() + seconds
        self._ended = threading.Event()
        self._value: T_co | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], T_co]) -> None:
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

    def result(self) -> T_co:
        """What `work` returned or raised. May be called repeatedly, by any thread.

        Raises:
            TookTooLong: it has done neither in time.
        """
        if not self._ended.wait(max(0.0, self._deadline - time.monotonic())):
            raise TookTooLong(f"no answer within {self._seconds:.0f} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]
