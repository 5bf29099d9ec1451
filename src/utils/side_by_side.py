"""Calls that are made meanwhile, in another thread: two reads cost one round trip.

Owns: the helper threads, which are kept for the next time and start last in, first out, so that the
same few stay warm. Knows nothing of what it calls.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar, cast

A = TypeVar("A")
B = TypeVar("B")


class Ahead(Generic[A]):
    """A call that a helper makes meanwhile. It must have a time-out of its own: one whose answer
    nobody wants any more ends by itself.
    """

    def __init__(self, call: Callable[[], A]) -> None:
        self._call: Callable[[], A] | None = call
        self._answer: A | None = None
        self._error: BaseException | None = None
        self._is_going_on = threading.Lock()
        self._is_going_on.acquire()
        try:
            helper = _ready.pop()  # atomic, as is `append`
        except IndexError:
            helper = _Helper()
        helper.begin(self)

    def make(self) -> None:
        """The helper's part."""
        assert self._call is not None
        try:
            self._answer = self._call()
        except BaseException as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self._error = error
        self._call = None  # what it holds need not live as long as the answer

    def end(self) -> None:
        """Now the answer can be had."""
        self._is_going_on.release()

    def error(self) -> BaseException | None:
        """Wait for the end; what the call raised."""
        with self._is_going_on:
            return self._error

    def answer(self) -> A:
        """Wait for the end; raises what the call raised."""
        if (error := self.error()) is not None:
            raise error
        return cast(A, self._answer)


class _Helper:
    """A thread that makes one call at a time for whoever has taken it."""

    def __init__(self) -> None:
        self._work: Ahead[Any] | None = None
        self._has_work = threading.Lock()
        self._has_work.acquire()
        threading.Thread(target=self._run, name="side-by-side", daemon=True).start()

    def begin(self, work: Ahead[Any]) -> None:
        self._work = work
        self._has_work.release()

    def _run(self) -> None:
        while True:
            self._has_work.acquire()
            work, self._work = self._work, None
            assert work is not None
            work.make()
            _ready.append(self)  # first: who hears of the end finds it for the next call
            work.end()
            del work  # an idle helper keeps no answer alive


# As many as were ever busy at once, at most two for each thread that calls; or those made ready.
_ready: list[_Helper] = []
os.register_at_fork(after_in_child=_ready.clear)  # a child process has none of the threads


def make_ready(helpers: int) -> None:
    """See that so many wait for a call: to start one costs the call a third of a millisecond."""
    while len(_ready) < helpers:
        _ready.append(_Helper())


def side_by_side(first: Callable[[], A], second: Callable[[], B]) -> tuple[A, B]:
    """Both answers; `first` runs in the calling thread and `second` meanwhile in a helper's.

    Returns or raises only when both have ended. Each must have a time-out of its own.

    Raises:
        What `first` raised, with a note of what `second` raised, too; else what `second` raised.
    """
    beside = Ahead(second)
    try:
        answer = first()
    except BaseException as error:
        if (other := beside.error()) is not None:
            error.add_note(f"meanwhile: {type(other).__name__}: {other}")
        raise
    return answer, beside.answer()
