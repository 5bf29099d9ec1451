"""Runs the caretaker scripts as cron would, only more often.

Owns: which script is due, and what became of each run.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from local_stack.stack import LocalStack
from runtime.job_runs import JobRuns

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


class CaretakerSchedule:
    """Call `tick` often. All times monotonic seconds."""

    def __init__(self, stack: LocalStack, scripts: Iterable[ScheduledScript]) -> None:
        now = time.monotonic()
        self._scripts = list(scripts)
        self._due_at = {one.name: now + one.every_seconds for one in self._scripts}
        self._records = {one.name: ScriptRecord(one.name) for one in self._scripts}
        self._runs = JobRuns(stack.spawn_script, self._note_end)

    def tick(self, now: float) -> None:
        """Start what is due, note what has ended."""
        self._runs.check()
        for one in self._scripts:
            due = now >= self._due_at[one.name]
            if due and self._runs.start(one.name, max_seconds=MAX_RUN_SECONDS):
                self._due_at[one.name] = now + one.every_seconds
                self._records[one.name].runs += 1

    def stop(self) -> None:
        """Start nothing more, and wait for what runs, within a bound."""
        self._runs.stop(END_SECONDS)

    def records(self) -> list[ScriptRecord]:
        return list(self._records.values())

    def _note_end(self, name: str, code: int) -> None:
        self._records[name].failures += code != 0
