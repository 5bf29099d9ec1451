"""main_app.py and the cron scripts, run as a user runs them: programs, judged by what they print.

Every program gets the run's mark in its environment, so that cleaning up finds it again, whoever
started it (the watchdog starts daemons on its own).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import psutil

from config import PROJECT_ROOT, Settings
from integration.report import CheckFailed, Report, wait_until
from runtime.heartbeat import Heartbeat, load_heartbeat
from runtime.process_table import processes_of_stack

DAEMON = "main_app.py"
START_SECONDS = 60.0
STOP_SECONDS = 10.0
SCRIPT_SECONDS = 180.0
_LINES_SHOWN = 15


class Daemon:
    """`python src/main_app.py` as a child process: started on entry, ended on exit."""

    def __init__(self, settings: Settings, report: Report) -> None:
        self._settings = settings
        self._report = report
        self.console = settings.log_dir / f"main_app-{time.time_ns()}.console.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Daemon:
        with open(self.console, "wb") as output:
            # A session of its own: Ctrl-C must reach the test first, which then ends the daemon.
            self._process = subprocess.Popen(
                [sys.executable, str(PROJECT_ROOT / "src" / DAEMON)],
                cwd=PROJECT_ROOT,
                env=dict(os.environ),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None, "entered"
        return self._process.pid

    def text(self) -> str:
        return self.console.read_text("utf-8", errors="replace")

    def lines_with(self, *parts: str) -> list[str]:
        """The lines printed so far that contain every one of `parts`."""
        return [line for line in self.text().splitlines() if all(part in line for part in parts)]

    def wait_for_line(self, *parts: str, seconds: float = START_SECONDS) -> str:
        """The first line that contains every one of `parts`.

        Raises:
            CheckFailed: it did not come, or the daemon has ended.
        """

        def probe() -> str | None:
            found = self.lines_with(*parts)
            if not found and self.has_ended():
                raise CheckFailed(f"main_app.py ended with code {self._code()}")
            return found[0] if found else None

        return wait_until(probe, f"a line of main_app.py with {' '.join(parts)!r}", seconds)

    def wait_until_trading(self) -> Heartbeat:
        """The heartbeat, once it says that the daemon trades and both streams are connected.

        Raises:
            CheckFailed: it did not get there.
        """

        def probe() -> Heartbeat | None:
            if self.has_ended():
                raise CheckFailed(f"main_app.py ended with code {self._code()}")
            beat = load_heartbeat(self._settings.run_dir)
            return beat if beat is not None and is_trading(beat, self.pid) else None

        return wait_until(probe, "main_app.py is trading on both streams", START_SECONDS)

    def has_ended(self) -> bool:
        return self._process is None or self._process.poll() is not None

    def _code(self) -> int | None:
        return self._process.returncode if self._process is not None else None

    def interrupt(self) -> tuple[int | None, float]:
        """Ctrl-C as the terminal would send it: the exit code (None: still running) and seconds."""
        assert self._process is not None, "entered"
        started = time.monotonic()
        self._process.send_signal(signal.SIGINT)
        # When it does not end in time the answer says so; leaving the context ends it by force.
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_SECONDS)
        return self._process.poll(), time.monotonic() - started

    def __exit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if not self.has_ended():
            self.interrupt()
        if not self.has_ended() and self._process is not None:
            self._process.kill()
            self._process.wait()
        if kind is not None and issubclass(kind, Exception):
            self._report.line(f"  the last lines of main_app.py ({self.console.name}):")
            for line in self.text().splitlines()[-_LINES_SHOWN:]:
                self._report.line(f"    {line}")


def is_trading(beat: Heartbeat, pid: int) -> bool:
    """Whether this is the beat of that process, and both its streams are connected."""
    return (
        (beat.pid, beat.state) == (pid, "trading")
        and beat.data_stream_connected
        and beat.trade_stream_connected
    )


def run_script(name: str, report: Report, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run `scripts/<name>.py` to its end, with these settings on top; its code and what it printed.

    Raises:
        CheckFailed: there is no such script, or it did not end in time.
    """
    script = PROJECT_ROOT / "scripts" / f"{name}.py"
    if not script.is_file():
        raise CheckFailed(f"scripts/{name}.py does not exist")
    try:
        done = subprocess.run(
            [sys.executable, str(script)],
            cwd=PROJECT_ROOT,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SCRIPT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"scripts/{name}.py did not end within {SCRIPT_SECONDS:g} s") from None
    for line in (done.stdout + done.stderr).splitlines()[-_LINES_SHOWN:]:
        report.line(f"    {line}")
    return done


def running_daemons(folder: Path) -> Iterator[psutil.Process]:
    """The daemons of the run in `folder`, whoever started them."""
    for process in processes_of_stack(folder):
        try:
            if any(Path(part).name == DAEMON for part in process.cmdline()):
                yield process
        except psutil.Error:
            continue  # it has just ended
