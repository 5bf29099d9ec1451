"""Programs that are started again and again: which of them run now. Never starts one twice.

Owns their processes until they end; when they are due and what they do is their owner's business.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Run:
    process: subprocess.Popen[bytes]
    kill_at: float


class JobRuns:
    """Call `check` often. All times monotonic seconds.

    Args:
        spawn: starts the program of this name.
        on_end: called with the name and the exit code of each that has ended.
    """

    def __init__(
        self,
        spawn: Callable[[str], subprocess.Popen[bytes]],
        on_end: Callable[[str, int], None],
    ) -> None:
        self._spawn, self._on_end = spawn, on_end
        self._runs: dict[str, _Run] = {}

    def __len__(self) -> int:
        return len(self._runs)

    def pids(self) -> set[int]:
        return {run.process.pid for run in self._runs.values()}

    def start(self, name: str, *, max_seconds: float = float("inf")) -> bool:
        """Start it, unless it still runs; what runs for longer than `max_seconds` is killed."""
        if name in self._runs:
            return False
        self._runs[name] = _Run(self._spawn(name), time.monotonic() + max_seconds)
        return True

    def check(self) -> None:
        """Note what has ended, end what takes too long: its next run goes on where it stopped."""
        for name, run in list(self._runs.items()):
            if run.process.poll() is None and time.monotonic() > run.kill_at:
                run.process.kill()
                run.process.wait()
            if run.process.poll() is not None:
                self._note(name, run)

    def stop(self, seconds: float) -> None:
        """Wait for what runs, `seconds` at most, then kill it: that is no failure of its own."""
        deadline = time.monotonic() + seconds
        for name, run in list(self._runs.items()):
            try:
                run.process.wait(max(0.0, deadline - time.monotonic()))
                self._note(name, run)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()
                del self._runs[name]

    def _note(self, name: str, run: _Run) -> None:
        del self._runs[name]
        self._on_end(name, run.process.returncode)
