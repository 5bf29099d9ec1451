"""A complete bot on this machine: private MariaDB, local exchange, real daemon, real caretakers.

Owns: their environment, and the order in which they start and end. Each is a process in a session
of its own, so that Ctrl-C reaches only the program that owns the stack. Must never pass on a
setting of the user, be it from `.env` or from the caller's environment; until the exchange runs,
the URLs lead nowhere, never to Alpaca.

    with scratch_folder("demo") as folder:        # ends what a killed run left; removed afterwards
        stack = LocalStack(folder)
        try:
            stack.start_database()
            stack.start_exchange("--seed", "7")   # arguments of python -m paper_exchange
            stack.add_asset("BTC/USD", base_order_amount=100, ...)
            stack.start_daemon()                  # returns when it trades
            stack.run_script("order_manager")     # scripts/order_manager.py, to its end
        finally:
            stack.stop()
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mysql.connector
import psutil
from mysql.connector.abstracts import MySQLConnectionAbstract

from config import PROJECT_ROOT, setting_names
from domain.asset import DcaAsset
from local_stack.exchange_process import ExchangeProcess, StackError
from mariadb_server.server import PrivateMariaDB
from models.asset_config import create_asset, get_all_assets
from models.cycle_data import create_cycle
from models.meta import apply_schema
from runtime.daemon_process import last_words
from runtime.heartbeat import Heartbeat, load_heartbeat
from runtime.process_table import (
    STACK_MARK,
    command_line_of,
    end_process,
    processes_of_stack,
)
from utils.db_utils import close_quietly

START_SECONDS = 60.0
SCRIPT_SECONDS = 120.0
POLL_SECONDS = 0.05
DAEMON = "main_app.py"
_SETTING_NAMES = setting_names() | {"ENV_FILE"}
_NOWHERE = {
    "ALPACA_TRADING_URL": "http://127.0.0.1:9",
    "ALPACA_DATA_URL": "http://127.0.0.1:9",
    "ALPACA_DATA_STREAM_URL": "ws://127.0.0.1:9",
    "ALPACA_TRADING_STREAM_URL": "ws://127.0.0.1:9",
}


class LocalStack:
    """One stack in one folder. `settings` are further settings of the bot (names to text)."""

    def __init__(
        self,
        folder: Path,
        *,
        database: str = "dca_demo",
        settings: Mapping[str, str] | None = None,
        report: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.folder = folder.absolute()
        self.run_dir, self.log_dir = self.folder / "run", self.folder / "logs"
        for needed in (self.run_dir, self.log_dir):
            needed.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.database = database
        self.server = PrivateMariaDB(self.folder / "mariadb", report)
        self._key, self._secret = f"local-{secrets.token_hex(8)}", secrets.token_hex(20)
        self.exchange = ExchangeProcess(self.folder, key=self._key, secret=self._secret)
        self._extra_settings = dict(settings or {})
        self._children: list[subprocess.Popen[Any]] = []

    # Environment

    def settings(self) -> dict[str, str]:
        """Every setting that a program of this stack needs, names to text."""
        urls = {f"ALPACA_{name.upper()}": url for name, url in self.exchange.urls.items()}
        return {
            **_NOWHERE,
            **{name: url for name, url in urls.items() if name in _NOWHERE},
            **self.server.db_env(self.database),
            "ALPACA_API_KEY": self._key,
            "ALPACA_SECRET_KEY": self._secret,
            "PID_FILE": str(self.run_dir / "main_app.pid"),
            "LOG_DIR": str(self.log_dir),
            "HISTORY_DIR": str(self.folder / "history"),  # real prices fit no made-up market
            "ENV_FILE": str(self.folder / "no-such.env"),
            "HEARTBEAT_SECONDS": "1",  # waits for a beat are short
            **self._extra_settings,
        }

    def environment(self) -> dict[str, str]:
        """The whole environment of such a program: the caller's without any setting, and ours."""
        return {**self._bare_environment(), **self.settings()}

    def _bare_environment(self) -> dict[str, str]:
        inherited = {name: text for name, text in os.environ.items() if name not in _SETTING_NAMES}
        return {**inherited, STACK_MARK: str(self.folder)}

    # Database

    def start_database(self) -> None:
        """Start the server and create the bot's database and tables.

        Raises:
            MariaDBError, DatabaseError: with one line for a person.
        """
        self.server.start()
        self.server.create_database(self.database)
        with self.connection() as connection:
            apply_schema(connection)

    def connect(self) -> MySQLConnectionAbstract:
        """A new connection to the bot's database, as the bot's own are: autocommit, UTC.

        Raises:
            StackError: the server does not answer.
        """
        try:
            connection = self.server.connect(self.database)
            connection.time_zone = "+00:00"
        except mysql.connector.Error as error:
            raise StackError(f"the private MariaDB does not answer: {error.msg}") from None
        return connection

    @contextlib.contextmanager
    def connection(self) -> Iterator[MySQLConnectionAbstract]:
        """As `connect`, closed at the end of the block."""
        connection = self.connect()
        try:
            yield connection
        finally:
            close_quietly(connection)

    def add_asset(self, symbol: str, **columns: Any) -> DcaAsset:
        """An asset with its first cycle, watching: the bot buys at the next quote."""
        with self.connection() as connection:
            asset = create_asset(connection, {"asset_symbol": symbol, **columns})
            create_cycle(connection, asset.id, "watching")
            return asset

    # Exchange

    def start_exchange(self, *arguments: str) -> None:
        """Start the local exchange with these arguments of `python -m paper_exchange`.

        Raises:
            StackError: it did not start; with its own last words.
        """
        self.exchange.start(arguments, self._bare_environment(), cwd=PROJECT_ROOT)

    # Daemon

    def start_daemon(self, *, wait: bool = True, launcher: Sequence[str] = ()) -> None:
        """Start `python src/main_app.py`; with `wait`, return when it trades.

        Args:
            launcher: what stands before the program instead, such as `-m local_stack.loop_monitor`.

        Raises:
            StackError: it ended, or did not get there in time; with its own last words.
        """
        daemon = self._spawn([*launcher, f"src/{DAEMON}"], "main_app")
        deadline = time.monotonic() + START_SECONDS
        needs_data_stream = wait and self._has_assets()
        while wait and not self._trades(daemon.pid, needs_data_stream):
            if daemon.poll() is not None:
                said = last_words(self.log_dir)
                raise StackError(f"the daemon ended with code {daemon.returncode}: {said}")
            if time.monotonic() > deadline:
                raise StackError(f"the daemon did not trade within {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)

    def heartbeat(self) -> Heartbeat | None:
        """The daemon's last sign of life."""
        return load_heartbeat(self.run_dir)

    def is_trading(self, max_age_seconds: float = 3.0) -> bool:
        """Whether a heartbeat that is not older than this says so."""
        beat = self.heartbeat()
        return beat is not None and beat.state == "trading" and beat.age_seconds() < max_age_seconds

    def _trades(self, pid: int, needs_data_stream: bool) -> bool:
        beat = self.heartbeat()
        return (
            beat is not None
            and (beat.pid, beat.state) == (pid, "trading")
            and beat.trade_stream_connected
            and (beat.data_stream_connected or not needs_data_stream)
        )

    def _has_assets(self) -> bool:
        """Without any, the daemon opens no data stream."""
        with self.connection() as connection:
            return bool(get_all_assets(connection))

    def daemon_processes(self) -> list[psutil.Process]:
        """The daemons of this stack: ours, or one that the watchdog has started since."""
        return [one for one in processes_of_stack(self.folder) if DAEMON in _scripts_of(one)]

    def stop_daemon(self) -> None:
        """Ask it to end and wait until it has; kill it if it does not."""
        for process in self.daemon_processes():
            end_process(process, psutil.Process.terminate)
        self._reap()

    # Scripts

    def run_script(
        self, name: str, *arguments: str, timeout_seconds: float = SCRIPT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run `scripts/<name>.py` to its end; its code and what it printed.

        Raises:
            StackError: it took too long and was killed.
        """
        return self.run_python(name, [str(_script(name)), *arguments], timeout_seconds)

    def run_python(
        self, name: str, arguments: Sequence[str], timeout_seconds: float = SCRIPT_SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """As `run_script`, with these arguments of `python`."""
        try:
            return subprocess.run(
                [sys.executable, *arguments],
                env=self.environment(),
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=timeout_seconds,
                check=False,
                start_new_session=True,
            )
        except subprocess.TimeoutExpired:
            raise StackError(f"{name} did not end within {timeout_seconds:.0f} s") from None

    def spawn_script(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start `scripts/<name>.py` and return at once; it writes to `logs/<name>.out`."""
        return self._spawn([str(_script(name)), *arguments], name)

    def spawn_with(self, program: str, settings: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a program of the project with other settings than the stack's; output as above."""
        return self._spawn([program], Path(program).stem, settings)

    # The end

    def stop(self) -> None:
        """Stop scripts, daemon, exchange and database, in this order; nothing is left after."""
        for process in processes_of_stack(self.folder):
            if DAEMON not in (scripts := _scripts_of(process)) and scripts:
                end_process(process, psutil.Process.terminate)  # a watchdog could start a daemon
        self.stop_daemon()
        self.exchange.stop()
        self.server.stop()
        for process in processes_of_stack(self.folder):
            end_process(process, psutil.Process.kill)
        self._reap()

    def _spawn(
        self, arguments: list[str], name: str, settings: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        self._reap()
        with open(self.log_dir / f"{name}.out", "ab") as output:
            child = subprocess.Popen(
                [sys.executable, *arguments],
                env={**self.environment(), **(settings or {})},
                cwd=PROJECT_ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._children.append(child)
        return child

    def _reap(self) -> None:
        """Ask for the children that ended, so that none stays a zombie."""
        self._children = [child for child in self._children if child.poll() is None]


def _script(name: str) -> Path:
    return PROJECT_ROOT / "scripts" / f"{name}.py"


def _scripts_of(process: psutil.Process) -> set[str]:
    """The names of the Python files in its command line."""
    return {Path(part).name for part in command_line_of(process) if part.endswith(".py")}
