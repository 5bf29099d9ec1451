"""The process that answers on Telegram: find it, start it, end it, and what it says of itself.

Owns its PID file, which lets one such process at a time read the messages here, and its sign of
life. Decides nothing.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import time
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path

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

PROGRAM = "cli.telegram"
PID_NAME, BEAT_NAME, OUTPUT_NAME = "telegram.pid", "telegram_beat.json", "telegram.out"
START_WAIT_SECONDS = 10.0
END_SECONDS = 4.0
_POLL_SECONDS = 0.05
# Where it listens and where it acts: it must not go on with those of an older `.env`.
_DECISIVE = ("telegram_", "alpaca_", "db_", "live_", "pid_", "log_dir")


@dataclass(frozen=True, slots=True, kw_only=True)
class PollerBeat:
    """What the process knows of itself. `..._at` are monotonic seconds, None: it never happened.

    `trouble`: why it reads no messages now, since `trouble_at`. `shared_at`: when Telegram last
    said that another program asks (409); `is_shared`: it did more than once, so one does.
    `strangers`: how often each chat wrote that may not.
    """

    pid: int
    boot_id: str
    beat_at: float
    settings_key: str
    name: str | None = None
    answered_at: float | None = None
    trouble: str | None = None
    trouble_at: float | None = None
    shared_at: float | None = None
    is_shared: bool = False
    strangers: dict[str, int] = field(default_factory=dict)

    def age_seconds(self) -> float:
        return time.monotonic() - self.beat_at if self.boot_id == read_boot_id() else float("inf")


def pid_path(settings: Settings) -> Path:
    return settings.run_dir / PID_NAME


def find_poller(settings: Settings) -> psutil.Process | None:
    """The process that answers, if one runs."""
    record = read_pid_file(pid_path(settings))
    return record.process(PROGRAM) if record else None


def first_beat(settings: Settings) -> PollerBeat:
    """Of this process."""
    return PollerBeat(
        pid=os.getpid(),
        boot_id=read_boot_id(),
        beat_at=time.monotonic(),
        settings_key=settings_key(settings),
    )


def save_beat(settings: Settings, beat: PollerBeat) -> None:
    """Raises OSError."""
    save_state(settings.run_dir / BEAT_NAME, asdict(beat))


def load_beat(settings: Settings) -> PollerBeat | None:
    """The last beat, of whichever process; None when there is none or it is unreadable."""
    try:
        return PollerBeat(**known_fields(PollerBeat, load_state(settings.run_dir / BEAT_NAME)))
    except TypeError:
        return None


def load_beat_of(process: psutil.Process, settings: Settings) -> PollerBeat | None:
    """The last beat of `process`, and of no earlier one with its PID."""
    beat = load_beat(settings)
    if beat is None or beat.pid != process.pid or beat.age_seconds() > age_seconds(process) + 2:
        return None
    return beat


def settings_key(settings: Settings) -> str:
    """Differs when a setting does that decides where it listens or acts. Tells none of them."""
    names = [spec.name for spec in fields(settings) if spec.name.startswith(_DECISIVE)]
    text = repr([(name, getattr(settings, name)) for name in names])
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def start_poller(settings: Settings) -> int:
    """Start it in a session of its own, and see that it does not end at once. The PID of the one
    that runs: somebody else may have started one first.

    Raises:
        DaemonError: it could not be started, or has ended already.
    """
    output_path = settings.log_dir / OUTPUT_NAME
    try:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        bound_output(output_path, max_bytes=OUTPUT_BYTES)
        with open(output_path, "ab") as output:
            child = subprocess.Popen(
                [project_python(), "-P", "-m", PROGRAM, "run"],
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    except OSError as error:
        raise DaemonError(f"cannot start {PROGRAM}: {error}") from error
    deadline = time.monotonic() + START_WAIT_SECONDS
    while (process := find_poller(settings)) is None:
        code = child.poll()
        if code is not None:
            raise DaemonError(f"it ended at once with code {code}: {last_line(output_path)}")
        if time.monotonic() >= deadline:  # a busy machine: the next run sees what became of it
            return child.pid
        time.sleep(_POLL_SECONDS)  # the pause of a poll with a bound
    return process.pid


def end_poller(process: psutil.Process) -> str:
    """How it ended.

    Raises:
        DaemonError: it is not ours to end, or the kernel cannot end it.
    """
    return end_daemon(process, term_seconds=END_SECONDS)
