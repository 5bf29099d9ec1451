"""A process beside the daemon that the watchdog keeps while a setting wants it: find it, start it,
end it, and what it says of itself.

Owns its PID file, which lets one such process at a time run here, and its sign of life. Decides
nothing.
"""

from __future__ import annotations

import hashlib
import math
import os
import subprocess
import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import psutil

from config import PROJECT_ROOT, Settings
from runtime.daemon_process import (
    OUTPUT_BYTES,
    DaemonError,
    age_seconds,
    bound_output,
    end_daemon,
    last_line,
    project_python,
)
from runtime.pid_file import read_pid_file
from utils.state_file import known_fields, load_state, read_boot_id, save_state

START_WAIT_SECONDS = 10.0
END_SECONDS = 4.0
_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class SideBeat:
    """What every such process knows of itself. `beat_at` is in monotonic seconds."""

    pid: int
    boot_id: str
    beat_at: float
    settings_key: str

    def age_seconds(self) -> float:
        return time.monotonic() - self.beat_at if self.boot_id == read_boot_id() else float("inf")


B = TypeVar("B", bound=SideBeat)


@dataclass(frozen=True, slots=True, kw_only=True)
class SideProcess:
    """One kind of them. `name` is that of its files in the run folder and in LOG_DIR, `program` the
    module that it runs, `what` its name for a person. It is wanted while `setting` is set; it must
    not go on with those settings of an older `.env` that begin as `decisive` says.
    """

    name: str
    program: str
    what: str
    setting: str
    decisive: tuple[str, ...]

    def is_wanted(self, settings: Settings) -> bool:
        return bool(getattr(settings, self.setting.lower()))

    def pid_path(self, settings: Settings) -> Path:
        return settings.run_dir / f"{self.name}.pid"

    def find(self, settings: Settings) -> psutil.Process | None:
        """The process, if one runs."""
        record = read_pid_file(self.pid_path(settings))
        return record.process(self.program) if record else None

    def settings_key(self, settings: Settings) -> str:
        """Differs when a setting does that decides where it listens or acts. Tells none of them."""
        names = [spec.name for spec in fields(settings) if spec.name.startswith(self.decisive)]
        text = repr([(name, getattr(settings, name)) for name in names])
        return hashlib.sha256(text.encode("utf-8")).hexdigest()

    # Its sign of life

    def first_beat(self, settings: Settings, kind: type[B], **more: Any) -> B:
        """Of this process."""
        return kind(
            pid=os.getpid(),
            boot_id=read_boot_id(),
            beat_at=time.monotonic(),
            settings_key=self.settings_key(settings),
            **more,
        )

    def save_beat(self, settings: Settings, beat: SideBeat) -> None:
        """Raises OSError."""
        save_state(self._beat_path(settings), asdict(beat))

    def load_beat(self, settings: Settings, kind: type[B]) -> B | None:
        """The last beat, of whichever process; None when there is none or it is unreadable."""
        try:
            beat = kind(**known_fields(kind, load_state(self._beat_path(settings))))
        except TypeError:
            return None
        is_moment = isinstance(beat.beat_at, int | float) and math.isfinite(beat.beat_at)
        return beat if is_moment else None

    def load_beat_of(self, process: psutil.Process, settings: Settings, kind: type[B]) -> B | None:
        """The last beat of `process`, and of no earlier one with its PID."""
        beat = self.load_beat(settings, kind)
        if beat is None or beat.pid != process.pid or beat.age_seconds() > age_seconds(process) + 2:
            return None
        return beat

    def _beat_path(self, settings: Settings) -> Path:
        return settings.run_dir / f"{self.name}_beat.json"

    # Its life

    def start(self, settings: Settings) -> int:
        """Start it in a session of its own, and see that it does not end at once. The PID of the
        one that runs: somebody else may have started one first.

        Raises:
            DaemonError: it could not be started, or has ended already.
        """
        output_path = settings.log_dir / f"{self.name}.out"
        try:
            settings.log_dir.mkdir(parents=True, exist_ok=True)
            bound_output(output_path, max_bytes=OUTPUT_BYTES)
            with open(output_path, "ab") as output:
                child = subprocess.Popen(
                    [project_python(), "-P", "-m", self.program, "run"],
                    cwd=PROJECT_ROOT,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )
        except OSError as error:
            raise DaemonError(f"cannot start {self.program}: {error}") from error
        deadline = time.monotonic() + START_WAIT_SECONDS
        while (process := self.find(settings)) is None:
            code = child.poll()
            if code is not None:
                raise DaemonError(f"it ended at once with code {code}: {last_line(output_path)}")
            if time.monotonic() >= deadline:  # a busy machine: the next run sees what became of it
                return child.pid
            time.sleep(_POLL_SECONDS)  # the pause of a poll with a bound
        return process.pid

    def end(self, process: psutil.Process) -> str:
        """How it ended.

        Raises:
            DaemonError: it is not ours to end, or the kernel cannot end it.
        """
        return end_daemon(process, term_seconds=END_SECONDS)
