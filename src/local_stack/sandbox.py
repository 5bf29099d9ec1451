"""The local exchange of this folder as a sandbox that stays: it outlives whoever started it, has
the same port each time, and its account and orders survive its restart.

Whether it runs, the process table says: it is found by its state file. Owns .local/exchange:

    exchange.sqlite      the account and its orders
    exchange.json        the addresses and the PID of the process that runs, or ran last
    logs/exchange.out    what it says
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from config import PROJECT_ROOT, Settings, setting_names
from local_stack.exchange_process import POLL_SECONDS, START_SECONDS, ExchangeProcess, StackError
from mariadb_server.endpoint import is_free
from runtime.process_table import command_line_of, end_process, is_gone
from utils.state_file import load_state

FOLDER = PROJECT_ROOT / ".local" / "exchange"
# Who can reach it is on this machine, and its money is play money: there is nothing to guard.
KEY, SECRET = "local-key", "local-secret"
FIRST_PORT, PORTS_TRIED = 18777, 20
_IS_TAKEN = ("is taken", "address already in use")


class Sandbox:
    """Two objects of the same folder are the same exchange."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._folder = folder
        self._state_file = folder / "exchange.sqlite"
        self._ready_file = folder / "exchange.json"

    def find(self) -> psutil.Process | None:
        """Its process, if it runs."""
        for process in psutil.process_iter():
            command = command_line_of(process)
            if "paper_exchange" in command and str(self._state_file) in command:
                return process
        return None

    def start(self, port: int | None) -> dict[str, str]:
        """Run it, unless it runs, and return when it answers and every coin has a price: the
        settings of a bot that trades on it.

        Args:
            port: where; None: where it was, or the first free one that is usual.

        Raises:
            StackError: it did not start, or it runs somewhere else; with its cure.
        """
        if (process := self.find()) is None:
            self._launch(self._last_port() if port is None else port)
        else:
            self._wait_until_ready(process)
        self._wait_for_prices()
        runs_at = self._last_port()
        if port not in (None, runs_at):
            raise StackError(
                f"the local exchange runs at port {runs_at}: scripts/quickstart --local --stop"
                " ends it, then it can move"
            )
        return self.settings()

    def stop(self) -> bool:
        """End it; its account stays. Whether it ran."""
        process = self.find()
        if process is not None:
            end_process(process, psutil.Process.terminate)
        return process is not None

    def settings(self) -> dict[str, str]:
        """What `.env` must say to trade on it."""
        ready = load_state(self._ready_file)
        urls = ("trading_url", "data_url", "data_stream_url", "trading_stream_url")
        addresses = {f"ALPACA_{name.upper()}": str(ready[name]) for name in urls}
        return {"ALPACA_API_KEY": KEY, "ALPACA_SECRET_KEY": SECRET, **addresses}

    def _last_port(self) -> int | None:
        """Where it runs, or ran last."""
        url = load_state(self._ready_file).get("trading_url")
        return None if url is None else urlsplit(url).port

    def _launch(self, port: int | None) -> None:
        if port is None:
            return self._launch_at_usual_port()
        if not is_free(port):
            raise StackError(
                f"port {port} is taken by another program: end it, or name another port:"
                f" scripts/quickstart --local --port {port + PORTS_TRIED}"
            )
        (self._folder / "logs").mkdir(mode=0o700, parents=True, exist_ok=True)
        # No setting of the bot's is the exchange's business.
        ours = setting_names() | {"ENV_FILE"}
        environment = {name: text for name, text in os.environ.items() if name not in ours}
        arguments = ["--port", str(port), "--state", str(self._state_file)]
        self._client().start(arguments, environment, cwd=PROJECT_ROOT)

    def _launch_at_usual_port(self) -> None:
        """At the first that is free: another clone may take it just before us."""
        for port in range(FIRST_PORT, FIRST_PORT + PORTS_TRIED):
            try:
                return self._launch(port)
            except StackError as error:
                is_last = port == FIRST_PORT + PORTS_TRIED - 1
                if is_last or not any(words in str(error) for words in _IS_TAKEN):
                    raise

    def _wait_until_ready(self, process: psutil.Process) -> None:
        """Another run has just started it, and was killed."""
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready(process):
            if is_gone(process) or time.monotonic() > deadline:
                raise StackError(f"the local exchange (PID {process.pid}) does not answer")
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound

    def _wait_for_prices(self) -> None:
        exchange = self._client()
        exchange.urls = load_state(self._ready_file)
        coins = len(exchange.get("/v2/assets", asset_class="crypto"))
        deadline = time.monotonic() + START_SECONDS
        while len(exchange.state()["quotes"]) < coins:
            if time.monotonic() > deadline:
                raise StackError("the local exchange answers but has no prices")
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound

    def _client(self) -> ExchangeProcess:
        return ExchangeProcess(self._folder, key=KEY, secret=SECRET)

    def _is_ready(self, process: psutil.Process) -> bool:
        try:
            return bool(json.loads(self._ready_file.read_text("utf-8"))["pid"] == process.pid)
        except (OSError, ValueError, KeyError):
            return False


def is_sandbox(settings: Settings) -> bool:
    """Whether these settings mean the sandbox and not some other exchange."""
    return settings.is_local_exchange and settings.alpaca_api_key == KEY


def port_of(settings: Settings) -> int | None:
    """The port at which these settings expect it."""
    return urlsplit(settings.alpaca_trading_url or "").port
