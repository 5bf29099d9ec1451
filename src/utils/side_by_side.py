"""Two calls at once, of which neither needs the other's answer: two reads cost one round trip.

Owns: the helper threads, which are kept for the next time and start last in, first out, so that the
same few stay warm. Knows nothing of what it calls.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


class _Helper:
    """A thread that makes one call at a time for whoever has taken it."""

    def __init__(self) -> None:
        self._call: Callable[[], Any] | None = None
        self._answer: Any = None
        self._error: BaseException | None = None
        self._has_work, self._is_done = threading.Lock(), threading.Lock()
        self._has_work.acquire()
        self._is_done.acquire()
        threading.Thread(target=self._run, name="side-by-side", daemon=True).start()

    def begin(self, call: Callable[[], Any]) -> None:
        self._call = call
        self._has_work.release()

    def finish(self) -> tuple[Any, BaseException | None]:
        """Wait for the call's answer, or its error."""
        self._is_done.acquire()
        answer, error = self._answer, self._error
        self._answer = self._error = None  # or they would live until the next call
        return answer, error

    def _run(self) -> None:
        while True:
            self._has_work.acquire()
            assert self._call is not None
            try:
                self._answer = self._call()
            except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
                self._error = error
            self._call = None
            self._is_done.release()


# As many as were ever busy at once, so never more than there are threads that call.
_ready: list[_Helper] = []
os.register_at_fork(after_in_child=_ready.clear)  # a child process has none of the threads


def side_by_side(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Both answers; `first` runs in the calling thread and `second` meanwhile in a helper's.

    Returns or raises only when both have ended. Each must have a time-out of its own.

    Raises:
        What `first` raised, with a note of what `second` raised, too; else what `second` raised.
    """
    try:
        helper = _ready.pop()  # atomic, as is `append`
    except IndexError:
        helper = _Helper()
    helper.begin(second)
    try:
        answer = first()
    except BaseException as error:
        _, other = _finish(helper)
        if other is not None:
            error.add_note(f"meanwhile: {type(other).__name__}: {other}")
        raise
    beside, other = _finish(helper)
    if other is not None:
        raise other
    return answer, beside


def _finish(helper: _Helper) -> tuple[Any, BaseException | None]:
    ended = helper.finish()  # interrupted (Ctrl-C), the helper is not used again
    _ready.append(helper)
    return ended
