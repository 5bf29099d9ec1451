"""The schedule without cron: runs its jobs as a child each, in the foreground, until told to stop.

Owns: which moment is due, what each job said, and, as process 1 of a container, the processes that
nobody else waits for. What the jobs do, and that two of one kind never work at once, is theirs.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import select
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

import psutil

from config import PROJECT_ROOT
from runtime.daemon_process import project_python
from runtime.job_runs import JobRuns
from runtime.process_table import command_line_of, end_process
from runtime.schedule import BACKUP, CARETAKERS, OUTPUT_NAME, SCHEDULE, Installation, Job
from utils.log_events import LogEvent, log_event
from utils.state_file import locked

log = logging.getLogger(__name__)

LOCK_NAME = "caretakers.lock"
START_SECONDS = 30.0  # until a process in the background holds the lock
_POLL_SECONDS = 0.05
LOCK_SECONDS = 2.0  # a look at the lock takes a moment only
MAX_RUN_SECONDS = 600.0  # of a caretaker; a backup takes what it takes
END_SECONDS = 5.0
MAX_WAIT_SECONDS = 1.0  # between two looks at the clock, which may be set
_DATABASE = "database"
_STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.contextmanager
def alone(run_dir: Path) -> Iterator[None]:
    """Be the only one that runs the schedule of this folder.

    Raises:
        TimeoutError: another one does.
    """
    path = run_dir / LOCK_NAME
    with locked(path, LOCK_SECONDS):
        path.write_text(f"{os.getpid()}\n")
        yield


def is_run_in_foreground(run_dir: Path) -> bool:
    """Whether a process runs the schedule of this folder now."""
    try:
        with open(run_dir / LOCK_NAME) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def start_in_background(run_dir: Path, log_dir: Path) -> int:
    """Run the schedule as a process that outlives this one and its terminal, from the next minute
    on: its PID. None is started where one runs.

    Raises:
        TimeoutError: it ended, or did not begin in time.
    """
    if (process := _find_in_background(run_dir)) is not None:
        return process.pid
    log_dir.mkdir(parents=True, exist_ok=True)
    with open(log_dir / OUTPUT_NAME, "ab") as output:
        child = subprocess.Popen(
            [project_python(), "-P", "-m", "cli.caretakers", "run", "--from-next-minute"],
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while _find_in_background(run_dir) is None:
        if child.poll() is not None or time.monotonic() > deadline:
            raise TimeoutError(f"scripts/caretakers run did not start, see {output.name}")
        time.sleep(_POLL_SECONDS)  # the pause of a poll with a bound
    return child.pid


def end_in_background(run_dir: Path) -> bool:
    """End the process that runs the schedule, wherever it was started. Whether one did."""
    if (process := _find_in_background(run_dir)) is not None:
        end_process(process, psutil.Process.terminate)
    return process is not None


def _find_in_background(run_dir: Path) -> psutil.Process | None:
    """What holds the lock. Its command line says whether the note of its PID is an old one."""
    if not is_run_in_foreground(run_dir):
        return None
    try:
        process = psutil.Process(int((run_dir / LOCK_NAME).read_text()))
    except (OSError, ValueError, psutil.Error):
        return None
    return process if "cli.caretakers" in command_line_of(process) else None


class Foreground:
    """Use it as a context: inside, SIGINT, SIGTERM and a closed terminal ask it to stop."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._jobs = {job.name: job for job in SCHEDULE}
        self._outputs: dict[str, IO[bytes]] = {}
        self._runs = JobRuns(self._spawn, self._note_end)
        self._wakes, self._woken = os.pipe()
        self._handlers: dict[signal.Signals, object] = {}
        self.is_stopping = False
        self.failures = 0

    def __enter__(self) -> Foreground:
        for end in (self._wakes, self._woken):
            os.set_blocking(end, False)
        signal.set_wakeup_fd(self._woken, warn_on_full_buffer=False)
        for number in _STOP_SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background
                signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # only wakes us
        return self

    def __exit__(self, *_reason: object) -> None:
        self._runs.stop(END_SECONDS)
        signal.set_wakeup_fd(-1)
        for number in (*_STOP_SIGNALS, signal.SIGCHLD):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, signal.SIG_DFL)
        os.close(self._wakes)
        os.close(self._woken)

    def run(self, *, at_once: bool = True) -> None:
        """Until it is asked to stop. At once: what is due every few minutes, as at a boot."""
        self._start_database()
        if at_once:
            self._start(CARETAKERS)
        before = datetime.now(UTC).astimezone()  # as cron: by this machine's own clock
        while not self.is_stopping:
            self._wait()
            now = datetime.now(UTC).astimezone()
            self._start(job for job in SCHEDULE if job.is_due(before, now))
            before = now

    def run_once(self) -> None:
        """Each caretaker once, all at the same time, and wait for them."""
        self._start_database()
        self._start(CARETAKERS)
        self._wait_for_all()

    def _start_database(self) -> None:
        """The private one, if it is used: the jobs need it."""
        if self._installation.starts_database:
            self._runs.start(_DATABASE)
            self._wait_for_all()

    def _start(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if self.is_stopping:
                return
            limit = float("inf") if job is BACKUP else MAX_RUN_SECONDS
            try:
                self._runs.start(job.name, max_seconds=limit)
            except OSError as error:  # no memory, no process left: later there may be
                self._note_failure(job.name, None, str(error))

    def _wait_for_all(self) -> None:
        while len(self._runs) and not self.is_stopping:
            self._wait()

    def _wait(self) -> None:
        """Until something ended, a signal came, or the clock may say something new."""
        seconds = min(MAX_WAIT_SECONDS, 60 - time.time() % 60)
        if select.select([self._wakes], [], [], seconds)[0]:
            os.read(self._wakes, 4096)
        self._runs.check()
        self._reap_strangers()

    def _reap_strangers(self) -> None:
        """Process 1 of a container gets the children of those that ended: the daemon, for one."""
        while os.getpid() == 1:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None or found.si_pid in self._runs.pids():
                return
            os.waitpid(found.si_pid, 0)

    def _spawn(self, name: str) -> subprocess.Popen[bytes]:
        """In a session of its own: a Ctrl-C for us lets it come to its end."""
        is_database = name == _DATABASE
        installation = self._installation
        command = (
            installation.start_database if is_database else self._jobs[name].command(installation)
        )
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the job has ended
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if is_database else said,
            stderr=said,
            start_new_session=True,
        )
        self._outputs[name] = said
        return process

    def _note_end(self, name: str, code: int) -> None:
        with self._outputs.pop(name) as said:
            said.seek(0)
            text = said.read()
        if text:
            with contextlib.suppress(OSError), open(self._installation.output, "ab") as output:
                output.write(text)
        if code != 0:
            lines = text.decode("utf-8", "replace").strip().splitlines()
            self._note_failure(name, code, lines[-1] if lines else "it said nothing")

    def _note_failure(self, name: str, code: int | None, reason: str) -> None:
        self.failures += 1
        log_event(log, LogEvent.CARETAKER_FAILED, script=name, code=code, reason=reason)

    def _stop(self, _number: int, _frame: object) -> None:
        self.is_stopping = True
