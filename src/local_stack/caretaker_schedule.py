"""Runs the caretaker scripts as cron would, only more often.

Owns: which script is due, and what became of each run. Never starts one that still runs; one that
does not exist is left out.
"""

from __future__ import annotations

import subprocess
import time
from dataclasses import dataclass, field

from local_stack.stack import LocalStack

MAX_RUN_SECONDS = 120.0
END_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ScheduledScript:
    """`scripts/<name>.py`, started every so many seconds unless it still runs."""

    name: str
    every_seconds: float


@dataclass(slots=True)
class _Watched:
    script: ScheduledScript
    due_at: float
    runs: int = 0
    failures: int = 0
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRecord:
    """How often a script ran, and how often it ended with a code other than 0."""

    name: str
    runs: int
    failures: int


@dataclass(slots=True)
class CaretakerSchedule:
    """Call `tick` often. All times monotonic seconds."""

    stack: LocalStack
    scripts: tuple[ScheduledScript, ...]
    _watched: list[_Watched] = field(default_factory=list)

    def __post_init__(self) -> None:
        now = time.monotonic()
        self._watched = [
            _Watched(script, due_at=now + script.every_seconds)
            for script in self.scripts
            if self.stack.has_script(script.name)
        ]

    def tick(self, now: float) -> None:
        """Start what is due, note what has ended."""
        for one in self._watched:
            self._check(one, now)
            if one.process is None and now >= one.due_at:
                one.process, one.started_at = self.stack.spawn_script(one.script.name), now
                one.due_at = now + one.script.every_seconds
                one.runs += 1

    def stop(self) -> None:
        """Start nothing more, and wait for what runs, within a bound."""
        deadline = time.monotonic() + END_SECONDS
        for one in self._watched:
            if one.process is None:
                continue
            try:
                one.failures += one.process.wait(max(0.0, deadline - time.monotonic())) != 0
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
            one.process = None

    def records(self) -> list[ScriptRecord]:
        return [
            ScriptRecord(name=one.script.name, runs=one.runs, failures=one.failures)
            for one in self._watched
        ]

    def _check(self, one: _Watched, now: float) -> None:
        if one.process is None:
            return
        if (code := one.process.poll()) is not None:
            one.failures += code != 0
            one.process = None
        elif now - one.started_at > MAX_RUN_SECONDS:
            one.process.kill()  # its next run goes on where it stopped
