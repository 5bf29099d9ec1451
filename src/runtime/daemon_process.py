"""The daemon as a process: find it, start it, end it. Effects only; decides nothing.

Owns: how `main_app.py` is started so that it outlives its starter (by systemd where it is a unit;
else in a session of its own, no pipes, no terminal), and how one that no longer reacts is ended.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil

from config import PROJECT_ROOT, Settings
from runtime.heartbeat import Heartbeat, load_heartbeat
from runtime.operator_flags import STOPPED, set_flag
from runtime.pid_file import read_pid_file
from runtime.process_table import is_gone, wait_until_gone
from runtime.systemd import DAEMON, is_service, systemctl_command
from utils.logging_setup import OUTPUT_NAME
from utils.state_file import locked

PROGRAM = PROJECT_ROOT / "src" / "main_app.py"
LOG_NAME = "app.log"
OUTPUT_BYTES = 5_000_000
OUTPUT_KEPT_BYTES = 1_000_000
FIRST_BEAT_SECONDS = 45.0
TERM_SECONDS = 20.0  # a healthy one closes its streams and mails what waits
KILL_SECONDS = 10.0
WATCHDOG_LOCK = "watchdog.lock"  # held by a run of the watchdog
WATCHDOG_SECONDS = 90.0  # a run ends one daemon and waits for another in less
POLL_SECONDS = 0.1
_LOG_PREFIX = re.compile(r"^\d{4}-\d\d-\d\d [\d:,]+ [A-Z]+ +\S+ ")


class DaemonError(Exception):
    """The daemon could not be started or ended; the text is for a person."""


def project_python() -> str:
    """The interpreter of the project's own environment, else the one that runs us."""
    own = PROJECT_ROOT / ".venv" / "bin" / "python"
    return str(own) if own.exists() else sys.executable


def find_daemon(settings: Settings) -> psutil.Process | None:
    """The process that wrote the PID file, if it still runs."""
    record = read_pid_file(settings.pid_file)
    return record.process() if record else None


def load_beat_of(process: psutil.Process, settings: Settings) -> Heartbeat | None:
    """The last heartbeat, if it is of `process` and not of an earlier one with its PID."""
    beat = load_heartbeat(settings.run_dir)
    if beat is None or beat.pid != process.pid or beat.age_seconds() > age_seconds(process) + 2:
        return None
    return beat


def age_seconds(process: psutil.Process) -> float:
    """How long `process` has been running; both moments come from the same wall clock."""
    return time.time() - process.create_time()


def is_suspended(process: psutil.Process) -> bool:
    """Whether it was stopped by a signal (SIGSTOP, SIGTSTP); a debugger's hold does not count."""
    try:
        return process.status() == psutil.STATUS_STOPPED
    except psutil.Error:
        return False


def start_daemon(settings: Settings) -> subprocess.Popen[bytes]:
    """Start it and return at once: through systemctl where it is a unit, which ends when it beats,
    else in a session of its own. Its output goes to LOG_DIR/main_app.out.

    Raises:
        DaemonError: it could not be started.
    """
    try:
        settings.log_dir.mkdir(parents=True, exist_ok=True)
        bound_output(settings.log_dir / OUTPUT_NAME, max_bytes=OUTPUT_BYTES)
        with open(settings.log_dir / OUTPUT_NAME, "ab") as output:
            return subprocess.Popen(
                systemctl_command("start", DAEMON) if is_service() else _command(),
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
    except OSError as error:
        raise DaemonError(f"cannot start {PROGRAM.name}: {error}") from error


def _command() -> list[str]:
    return [project_python(), str(PROGRAM)]


def wait_until_it_beats(
    child: subprocess.Popen[bytes], settings: Settings, seconds: float
) -> psutil.Process:
    """The daemon that beats now: `child`, or one that somebody else had started first.

    Raises:
        DaemonError: `child` ended, or did not beat in time (it is left running).
    """
    deadline = time.monotonic() + seconds
    while True:
        process = find_daemon(settings)
        if process is not None and load_beat_of(process, settings) is not None:
            return process
        code = child.poll()
        if code is not None and process is None:
            words = last_words(settings.log_dir)
            raise DaemonError(f"it ended at once with code {code}: {words}")
        if time.monotonic() >= deadline:
            raise DaemonError(f"it runs (PID {child.pid}) but gave no heartbeat in {seconds:.0f} s")
        time.sleep(POLL_SECONDS)  # the pause of a poll with a bound


def wait_for_newer_beat(process: psutil.Process, settings: Settings, seconds: float) -> None:
    """Return when `process` beats again or has ended, or `seconds` have passed."""
    before = load_beat_of(process, settings)
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not is_gone(process):
        beat = load_beat_of(process, settings)
        if beat is not None and (before is None or beat.beat_at > before.beat_at):
            return
        time.sleep(POLL_SECONDS)  # the pause of a poll with a bound


def end_daemon(process: psutil.Process, *, term_seconds: float) -> str:
    """Ask it to end (TERM, and CONT in case it is suspended), then KILL it. How it ended.

    Raises:
        DaemonError: it is not ours to end, or the kernel cannot end it.
    """
    try:
        process.terminate()
        process.resume()
        if wait_until_gone(process, term_seconds):
            return "terminated"
        process.kill()
        if wait_until_gone(process, KILL_SECONDS):
            return "killed"
    except psutil.NoSuchProcess:
        return "ended by itself"
    except psutil.AccessDenied:
        raise DaemonError(f"PID {process.pid} belongs to another user: cannot end it") from None
    raise DaemonError(f"PID {process.pid} does not end, not even when killed")


def stop_on_purpose(settings: Settings) -> str:
    """Stop the daemon and keep the watchdog from starting it again. How it ended.

    A watchdog that is starting one at this moment is waited for, so that none is left over.

    Raises:
        DaemonError: it could not be ended; the watchdog leaves it alone all the same.
        OSError: the run folder cannot be written, or a run of the watchdog does not end.
    """
    set_flag(settings.run_dir, STOPPED, wanted=True)
    with locked(settings.run_dir / WATCHDOG_LOCK, WATCHDOG_SECONDS):
        process = find_daemon(settings)
        return "did not run" if process is None else end_daemon(process, term_seconds=TERM_SECONDS)


def start_on_purpose(settings: Settings) -> psutil.Process:
    """Take back a deliberate stop and start the daemon if it does not run; the daemon that beats.

    Raises:
        DaemonError: it does not start; the watchdog goes on trying.
        OSError: as `stop_on_purpose`.
    """
    set_flag(settings.run_dir, STOPPED, wanted=False)
    with locked(settings.run_dir / WATCHDOG_LOCK, WATCHDOG_SECONDS):
        process = find_daemon(settings)
        if process is not None and load_beat_of(process, settings) is not None:
            return process
        return wait_until_it_beats(start_daemon(settings), settings, FIRST_BEAT_SECONDS)


def restart_on_purpose(settings: Settings) -> tuple[str, psutil.Process]:
    """End the daemon if it runs, and start it. How the old one ended, and the one that beats.

    If this is killed in between, the watchdog starts the daemon.

    Raises:
        DaemonError: the old one does not end, or the new one does not start.
        OSError: as `stop_on_purpose`.
    """
    set_flag(settings.run_dir, STOPPED, wanted=False)
    with locked(settings.run_dir / WATCHDOG_LOCK, WATCHDOG_SECONDS):
        process = find_daemon(settings)
        how = "did not run" if process is None else end_daemon(process, term_seconds=TERM_SECONDS)
        return how, wait_until_it_beats(start_daemon(settings), settings, FIRST_BEAT_SECONDS)


def bound_output(path: Path, *, max_bytes: int) -> None:
    """Keep the end of an output file that has grown too long, as `<name>.1`, and empty it.

    Emptied in place: its writers append, so they go on at its new end.
    """
    with contextlib.suppress(OSError):
        if path.stat().st_size <= max_bytes:
            return
        with open(path, "rb+") as file, open(path.with_name(f"{path.name}.1"), "wb") as kept:
            file.seek(-OUTPUT_KEPT_BYTES, os.SEEK_END)
            shutil.copyfileobj(file, kept)
            file.truncate(0)


def last_words(log_dir: Path) -> str:
    """The last thing the daemon said: in its log or, before it had one, in its output."""
    files = [one for one in (log_dir / OUTPUT_NAME, log_dir / LOG_NAME) if one.exists()]
    if not files:
        return "it said nothing"
    return last_line(max(files, key=lambda one: one.stat().st_mtime_ns))


def last_line(path: Path) -> str:
    """The last thing a program said, for an error message: without time, level and module."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, path.stat().st_size - 4000))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError as error:
        return str(error)
    return _LOG_PREFIX.sub("", lines[-1]) if lines else "it said nothing"
