"""Runs the caretaker scripts as cron would, only more often.

Owns: which script is due, and what became of each run. Never starts one that still runs.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass

from local_stack.stack import LocalStack

MAX_RUN_SECONDS = 120.0
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ScheduledScript:
    """`scripts/<name>.py`, started every so many seconds unless it still runs."""

    name: str
    every_seconds: float


@dataclass(slots=True)
class ScriptRecord:
    """How often a script ran, and how often it ended with a code other than 0."""

    name: str
    runs: int = 0
    failures: int = 0


@dataclass(slots=True)
class _Watched:
    record: ScriptRecord
    every_seconds: float
    due_at: float
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0


class CaretakerSchedule:
    """Call `tick` often. All times monotonic seconds."""

    def __init__(self, stack: LocalStack, scripts: Iterable[ScheduledScript]) -> None:
        self._stack, now = stack, time.monotonic()
        self._watched = [
            _Watched(ScriptRecord(one.name), one.every_seconds, due_at=now + one.every_seconds)
            for one in scripts
        ]

    def tick(self, now: float) -> None:
        """Start what is due, note what has ended."""
        for one in self._watched:
            self._check(one, now)
            if one.process is None and now >= one.due_at:
                one.process, one.started_at = self._stack.spawn_script(one.record.name), now
                one.due_at = now + one.every_seconds
                one.record.runs += 1

    def stop(self) -> None:
        """Start nothing more, and wait for what runs, within a bound."""
        deadline = time.monotonic() + END_SECONDS
        for one in self._watched:
            if one.process is None:
                continue
            try:
                code = one.process.wait(max(0.0, deadline - time.monotonic()))
                one.record.failures += code != 0
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            one.process = None

    def records(self) -> list[ScriptRecord]:
        return [one.record for one in self._watched]

    def _check(self, one: _Watched, now: float) -> None:
        if one.process is None:
            return
        if (code := one.process.poll()) is not None:
            one.record.failures += code != 0
            one.process = None
        elif now - one.started_at > MAX_RUN_SECONDS:
            one.process.kill()  # its next run goes on where it stopped
