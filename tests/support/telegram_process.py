"""What answers on Telegram, as a process of a test."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

from daemon_process import wait_until
from telegram_server import TelegramServer


class TelegramProcess:
    """`with TelegramProcess(environment)` runs scripts/telegram until the block ends."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._environment = {**os.environ, **environment}
        self._logs = Path(environment["LOG_DIR"])
        self.output_path = self._logs / f"said-{time.monotonic_ns()}"

    def __enter__(self) -> TelegramProcess:
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.output_path.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", "cli.telegram"],
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.kill()

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(180)

    @property
    def said(self) -> str:
        return self.output_path.read_text("utf-8")

    def wait_until_it_polls(self, telegram: TelegramServer) -> None:
        before = telegram.count("getUpdates")

        def polls() -> bool:
            assert self.process.poll() is None, self.said
            return telegram.count("getUpdates") > before

        wait_until(polls, 180)
