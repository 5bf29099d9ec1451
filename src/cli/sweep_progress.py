"""How far a sweep is, on standard error: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from research.sweep import Progress as Done
from utils.formatting import span

_LINE_SECONDS = 30.0
_RATE_SECONDS = 1.0  # before that a rate says nothing


class SweepProgress:
    """Use as a context manager; it goes away with the answer."""

    def __init__(self, console: Console, name: str, *, is_silent: bool) -> None:
        self._console, self._name, self._is_silent = console, name, is_silent
        self._held = ExitStack()
        self._bar: Progress | None = None
        self._begun_at: float | None = None
        self._told_at = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal and not self._is_silent:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                TextColumn("{task.fields[words]}"),
                console=self._console,
                transient=True,
            )
            self._held.enter_context(self._bar)
            self._task = self._bar.add_task(self._name, total=None, words="reading")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        self._held.close()

    def tell(self, words: str) -> None:
        """What is being done before there is a number."""
        if self._bar is not None:
            self._bar.update(self._task, words=words)

    def show(self, done: Done) -> None:
        """How many of how many, how fast, and how long it takes still."""
        now = time.monotonic()
        if self._begun_at is None and done.fresh:
            self._begun_at = now
        words = self._words(done, now)
        if self._bar is not None:
            self._bar.update(self._task, completed=done.done, total=done.total, words=words)
        elif not self._is_silent and now - self._told_at >= _LINE_SECONDS:
            self._told_at = now
            self._console.print(f"{self._name}: {words}")

    def _words(self, done: Done, now: float) -> str:
        words = f"{done.done:,} of {done.total:,}"
        seconds = 0.0 if self._begun_at is None else now - self._begun_at
        if seconds >= _RATE_SECONDS:
            rate = done.fresh / seconds
            words += f", {rate:,.1f} a second, {span((done.total - done.done) / rate)} left"
        return words
