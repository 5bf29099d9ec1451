"""What the faults of a chaos run share: undoing, waiting for a moment, changing the exchange."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import psutil

from local_stack.exchange_process import ExchangeProcess

WAIT_SECONDS = 3.0  # for the moment that a fault wants: an order, a transaction
POLL_SECONDS = 0.01
MOMENT_SECONDS = 0.1
USUAL_CONFIG: dict[str, Any] = {"duplicate_ids_refused": True, "latency_seconds": 0.005}


class UndoList:
    """Faults that last, and when each is undone."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = itertools.count()

    def after(self, seconds: float, undo: Callable[[], object]) -> None:
        heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), undo))

    def tick(self) -> None:
        """Undo what has lasted long enough."""
        while self._due and self._due[0][0] <= time.monotonic():
            heapq.heappop(self._due)[2]()

    def end(self) -> None:
        """Undo everything now."""
        while self._due:
            heapq.heappop(self._due)[2]()


@dataclass(slots=True)
class _Moment:
    has_come: Callable[[], bool]
    until: float
    next_at: float = 0.0


class Moments:
    """Faults that wait for their moment while the storm goes on."""

    def __init__(self) -> None:
        self._waiting: list[_Moment] = []

    def wait(self, seconds: float, has_come: Callable[[], bool]) -> None:
        """Call `has_come` until it returns True (it has then done its fault), for so long."""
        self._waiting.append(_Moment(has_come, time.monotonic() + seconds))

    def tick(self) -> None:
        now = time.monotonic()
        for one in [each for each in self._waiting if each.next_at <= now]:
            one.next_at = now + MOMENT_SECONDS
            if now > one.until or one.has_come():
                self._waiting.remove(one)

    def end(self) -> None:
        """Forget those that still wait."""
        self._waiting.clear()


def until(condition: Callable[[], bool], pause_seconds: float = POLL_SECONDS) -> bool:
    """Whether it became true within WAIT_SECONDS."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(pause_seconds)  # the pause of a poll with a bound
    return True


def send(process: psutil.Process, signal: Callable[[psutil.Process], None]) -> None:
    """Signal a process that may have ended by itself."""
    with contextlib.suppress(psutil.NoSuchProcess):
        signal(process)


class ChangedExchange:
    """The local exchange: what is changed here is changed back after so many seconds."""

    def __init__(self, exchange: ExchangeProcess, undo: UndoList) -> None:
        self._exchange, self._undo = exchange, undo

    def arm(self, seconds: float, /, **fault: Any) -> str:
        """Switch a fault on; its id."""
        [armed] = self._exchange.control("faults", **fault)["armed"]
        self._undo.after(seconds, partial(self._exchange.control, "faults", clear=armed["id"]))
        return str(armed["id"])

    def configure(self, seconds: float, /, **config: Any) -> None:
        """Change settings of the exchange that are in USUAL_CONFIG."""
        self._exchange.control("config", **config)
        usual = {name: USUAL_CONFIG[name] for name in config}
        self._undo.after(seconds, partial(self._exchange.control, "config", **usual))
