"""Who runs the trials of a sweep: this process for a moment, then workers. Knows no Dask."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, Protocol, Self

from research.sweep_trial import Ground, Prepared, Trial

HERE_SECONDS = 2.0  # about what workers take to start
Settings = Mapping[str, Any]


class TrialRunner(Protocol):
    """A cluster (research.cluster), or this process."""

    @property
    def workers(self) -> int: ...

    def run(self, settings: Sequence[Settings]) -> Iterator[tuple[int, Trial]]:
        """The number and the trial of each of these settings, as they come."""


class BeginHere:
    """This process until `seconds` are used up, and whatever `open_runner` gives for the rest: a
    sweep of a moment starts no workers. Use as a context manager.
    """

    def __init__(
        self,
        ground: Ground,
        open_runner: Callable[[], AbstractContextManager[TrialRunner]],
        seconds: float = HERE_SECONDS,
    ) -> None:
        self._prepared = Prepared(ground)
        self._open_runner, self._seconds_left = open_runner, seconds
        self._runner: TrialRunner | None = None
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._opened.__exit__(kind, error, trace)

    @property
    def workers(self) -> int:
        return 1 if self._runner is None else self._runner.workers

    def run(self, settings: Sequence[Settings]) -> Iterator[tuple[int, Trial]]:
        done = 0
        while done < len(settings) and self._seconds_left > 0:
            begun = time.thread_time()
            trial = self._prepared.run(settings[done])
            self._seconds_left -= time.thread_time() - begun
            yield done, trial
            done += 1
        if done == len(settings):
            return
        if self._runner is None:
            self._runner = self._opened.enter_context(self._open_runner())
        for number, trial in self._runner.run(settings[done:]):
            yield done + number, trial
