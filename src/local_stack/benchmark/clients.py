"""The processes that are measured: daemons and rivals, each with a key and a database of its own.

Owns: how one is started and ended, and what the kernel says of it. What it costs is read from
outside, so that any revision can be measured.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from config import setting_names
from local_stack.benchmark.accounts import Account
from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.database import ClientDatabase
from local_stack.exchange_process import StackError
from runtime.daemon_process import last_line
from runtime.process_table import STACK_MARK

START_SECONDS = 60.0
RIVALS = Path(__file__).parent / "rivals"
_CPU_CLOCK_OF_PROCESS = 2  # CPUCLOCK_SCHED in <linux/time.h>, in the lowest bits of the id
_NOT_INHERITED = setting_names() | {"ENV_FILE", "PYTHONPATH", "PYTHONDEVMODE"}
_PROXIES = {"http_proxy", "https_proxy", "all_proxy", "no_proxy"}
_SCHEMA = (
    "from utils.db_utils import get_db_connection as connect\n"
    "from models.meta import apply_schema\n"
    "apply_schema(connect())"
)


@dataclass(frozen=True, slots=True)
class Urls:
    """Where a client finds the exchange."""

    rest: str
    socket: str

    def settings(self) -> dict[str, str]:
        return {
            "ALPACA_TRADING_URL": self.rest,
            "ALPACA_DATA_URL": self.rest,
            "ALPACA_DATA_STREAM_URL": f"{self.socket}/v1beta3/crypto/us",
            "ALPACA_TRADING_STREAM_URL": f"{self.socket}/stream",
        }


@dataclass(eq=False)
class Client:
    """One measured program."""

    name: str
    checkout: Checkout
    command: Sequence[str]
    account: Account
    database: ClientDatabase
    folder: Path
    settings: Mapping[str, str]
    has_trade_stream: bool = True
    _process: subprocess.Popen[bytes] | None = field(default=None)

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was started"
        return self._process.pid

    def environment(self) -> dict[str, str]:
        inherited = {
            name: text
            for name, text in os.environ.items()
            if name not in _NOT_INHERITED and name.lower() not in _PROXIES
        }
        path = [str(self.checkout.source), *self.settings.get("PYTHONPATH", "").split(os.pathsep)]
        own = {
            "PYTHONPATH": os.pathsep.join(filter(None, path)),
            "BENCHMARK_SYMBOLS": ",".join(self.account.symbols),
            "ENV_FILE": str(self.folder / "no-such.env"),
            "PID_FILE": str(self.folder / "main_app.pid"),
            "LOG_DIR": str(self.folder),
            "ALPACA_API_KEY": self.account.key,
            "ALPACA_SECRET_KEY": "benchmark",
            STACK_MARK: str(self.folder.parent),
        }
        return {**inherited, **self.settings, **own}

    def create_tables(self) -> None:
        """As its own checkout makes them.

        Raises:
            StackError: with the last words of that program.
        """
        done = subprocess.run(
            [self.checkout.python, "-P", "-c", _SCHEMA],
            env=self.environment(),
            cwd=self.checkout.root,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise StackError(f"the tables of {self.name}: {_last(done.stderr)}")

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        with open(self.folder / "out", "ab") as output:
            self._process = subprocess.Popen(
                [self.checkout.python, *self.command],
                env=self.environment(),
                cwd=self.checkout.root,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def complain_if_ended(self) -> None:
        """Raises StackError with its last words when it runs no more."""
        if self._process is not None and (code := self._process.poll()) is not None:
            said = last_line(self.folder / "out")
            raise StackError(f"{self.name} ended with code {code}: {said}")

    def stop(self) -> None:
        """At once: what it wrote is thrown away."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    # What it costs

    def cpu_seconds(self) -> float:
        """User and system time of all its threads since its start, by the kernel's own clock."""
        return time.clock_gettime((~self.pid << 3) | _CPU_CLOCK_OF_PROCESS)

    async def wait_until_idle(self, seconds: float) -> bool:
        """Whether it used less than a twentieth of a core for a moment within `seconds`."""
        deadline = time.monotonic() + seconds
        quiet = 0
        while time.monotonic() < deadline and quiet < 3:
            before = self.cpu_seconds()
            await asyncio.sleep(0.02)  # the length of the sample
            quiet = quiet + 1 if self.cpu_seconds() - before < 0.001 else 0
        return quiet >= 3


def _last(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1] if lines else "it said nothing"
