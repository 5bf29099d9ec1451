"""The real daemon as a process of a test: the test's environment, watched through its output."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from config import PROJECT_ROOT
from models.cycle_data import get_cycle

START_SECONDS = 60.0


def wait_until(condition: Callable[[], object], seconds: float = 60.0, what: str = "") -> None:
    """Wait for `condition` to hold, within a bound."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what or condition}")
        time.sleep(0.02)  # the pause of a poll with a bound


class DaemonProcess:
    """`with DaemonProcess(environment)` runs `python src/main_app.py` until the block ends."""

    def __init__(self, environment: dict[str, str], program: Path | None = None) -> None:
        self._environment = {**os.environ, **environment}
        self._program = program or PROJECT_ROOT / "src" / "main_app.py"
        self.process: subprocess.Popen[str] | None = None
        self.output_path = Path(environment["LOG_DIR"]) / f"daemon-{time.monotonic_ns()}.out"

    def __enter__(self) -> DaemonProcess:
        self.output_path.parent.mkdir(parents=True, exist_ok=True)
        with self.output_path.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, str(self._program)],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
        self.process.wait(10)

    @property
    def output(self) -> str:
        """Everything it printed so far."""
        return self.output_path.read_text("utf-8")

    def wait_for_line(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until it printed `text`; fails at once with its output when it ended instead."""

        def seen() -> bool:
            if text in self.output:
                return True
            assert self.process is not None
            if self.process.poll() is not None:
                code = self.process.returncode
                raise AssertionError(f"the daemon ended ({code}):\n{self.output}")
            return False

        wait_until(seen, seconds, f"{text!r} in:\n{self.output}")

    def wait_until_trading(self) -> None:
        """Wait for the end of start-up recovery and both streams."""
        self.wait_for_line("recovery.finished")
        self.wait_for_line("stream.connected stream=trade")
        self.wait_for_line("stream.connected stream=data")

    def wait_for_exit(self, seconds: float = START_SECONDS) -> int:
        """Its exit code."""
        assert self.process is not None
        return self.process.wait(seconds)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return the exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.wait_for_exit()


def wait_until_it_buys(exchange, db_conn, cycle) -> None:
    """Wait until the daemon that runs now has bought: not only alive, it trades."""

    def bought() -> bool:
        exchange.push_quote("BTC/USD", 50000, 50001)
        return get_cycle(db_conn, cycle.id).quantity > 0

    wait_until(bought)
