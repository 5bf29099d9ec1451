"""A whole bot with its page for the tests in a browser: a market that moves as the test says.

Owns the stack, the process of the page, and a thread that repeats the last prices: a quote must not
become old. Two days of made-up minutes are its stored history.
"""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

from daemon_process import wait_until
from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.events import Event
from local_stack.exchange_process import StackError
from local_stack.stack import LocalStack
from models.asset_config import get_asset_config
from models.cycle_data import get_latest_cycle
from models.events import append_event
from page_server import free_port
from research.result import FORMAT
from research.sweep_result import results_folder
from runtime.process_table import command_line_of, processes_of_stack

# Each coin is moved by one test only: they may run in any order.
LADDER = {
    "base_order_amount": Decimal(100),
    "safety_order_amount": Decimal(100),
    "max_safety_orders": 5,
    "safety_order_deviation": Decimal(1),
    "take_profit_percent": Decimal("1.5"),
    "cooldown_period": 0,
}
ASSETS = {
    "BTC/USD": LADDER,
    "ETH/USD": LADDER | {"stop_loss_percent": Decimal(20)},
    "SOL/USD": LADDER | {"trailing_take_profit_percent": Decimal("0.5"), "cooldown_period": 3600},
    "AVAX/USD": LADDER | {"cooldown_period": 3600},
}
PRICES = {"BTC/USD": 50000.0, "ETH/USD": 2500.0, "SOL/USD": 150.0, "AVAX/USD": 26.0}
HISTORY_MINUTES = 2 * 24 * 60
SPREAD = 0.0001
REPEAT_SECONDS = 0.3


class BotInBrowser:
    """`prices` may be set at any time: the market follows."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        settings = {
            "WEB": "on",
            "WEB_PORT": str(self.port),
            "HISTORY_DIR": str(folder / "history"),
            "RECONCILE_SECONDS": "5",
            "REFRESH_SECONDS": "0.5",
        }
        self.stack = LocalStack(folder, settings=settings)
        self.prices = dict(PRICES)
        self._ended = threading.Event()
        self._market = threading.Thread(target=self._repeat, daemon=True)

    def start(self) -> None:
        """Each asset has bought its base order and waits."""
        stack = self.stack
        stack.start_database()
        # A test clicks faster than a user: at 200 a minute the page would stand back for the bot.
        manual = ("--manual", "--partial-probability", "0", "--seed", "7")
        stack.start_exchange(*manual, "--rate-limit", "1000")
        for symbol, columns in ASSETS.items():
            stack.add_asset(symbol, **columns)
        self._market.start()
        stack.start_daemon()
        self.start_page()
        self.script("history", "import", str(self._write_history()))
        for symbol in ASSETS:
            wait_until(lambda symbol=symbol: self.cycle(symbol).quantity > 0)
        self.link = self.script("web", "link").split()[0]

    def stop(self) -> None:
        self._ended.set()
        self._market.join(10)
        self.stack.stop()

    def write_sweep(self, name: str) -> None:
        """A small result, as scripts/sweep keeps it: four trials, one of them refused."""
        score = {"return_percent": "1.5", "drawdown_percent": "2", "cycles": 3, "orders": 9}
        results = {(0, 0): "12.34", (0, 1): "-5.6", (1, 0): "20.25"}
        trials = [
            {"at": at, "scores": [score | {"result_usd": usd, "fees_usd": "1"}] * 2}
            for at, usd in results.items()
        ]
        sweep = {
            "what": "sweep",
            "format": FORMAT,
            "assets": [{"symbol": "BTC/USD"}],
            "dimensions": [
                {"option": "deviation", "column": "", "values": ["1", "2"]},
                {"option": "take_profit", "column": "", "values": ["1.2", "1.8"]},
            ],
            "parts": [],
            "trials": [*trials, {"at": [1, 1], "refused": "too dear"}],
        }
        folder = results_folder(self.stack.folder / "history")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(json.dumps(sweep))

    # The page's process

    def start_page(self) -> None:
        """As every minute of cron does."""
        self.stack.run_script("watchdog")
        wait_until(self._page_answers)

    def kill_page(self) -> None:
        [process] = [
            one
            for one in processes_of_stack(self.stack.folder)
            if "cli.web" in command_line_of(one)
        ]
        process.kill()
        process.wait(10)

    def _page_answers(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def script(self, name: str, *arguments: str) -> str:
        """What `scripts/<name>` prints."""
        ran = self.stack.run_python(name, ["-m", f"cli.{name}", *arguments])
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout

    # What is in the database

    def cycle(self, symbol: str) -> DcaCycle:
        with self.stack.connection() as connection:
            asset = get_asset_config(connection, symbol)
            assert asset is not None
            found = get_latest_cycle(connection, asset.id)
            assert found is not None
            return found

    def asset(self, symbol: str) -> DcaAsset:
        with self.stack.connection() as connection:
            found = get_asset_config(connection, symbol)
            assert found is not None
            return found

    def add_event(self, event: Event) -> None:
        with self.stack.connection() as connection:
            append_event(connection, event)

    def forget(self, symbol: str) -> None:
        """An asset that bought nothing; the next test finds those of ASSETS."""
        self.execute(
            "DELETE c FROM dca_cycles c JOIN dca_assets a ON a.id = c.asset_id"
            " WHERE a.asset_symbol = %s",
            symbol,
        )
        self.execute("DELETE FROM dca_assets WHERE asset_symbol = %s", symbol)

    def execute(self, statement: str, *values: Any) -> list[Any]:
        with self.stack.connection() as connection, connection.cursor() as cursor:
            cursor.execute(statement, values)
            return list(cursor.fetchall()) if cursor.with_rows else []

    # The market

    def _repeat(self) -> None:
        while not self._ended.wait(REPEAT_SECONDS):
            quotes = [
                {"symbol": symbol, "bid": f"{price:.6f}", "ask": f"{price * (1 + SPREAD):.6f}"}
                for symbol, price in self.prices.items()
            ]
            with contextlib.suppress(StackError):  # it is being stopped
                self.stack.exchange.control("quote", quotes=quotes, finish=False)

    def _write_history(self) -> Path:
        """Minutes of BTC/USD up to now, that swing by some percent."""
        chance, now = random.Random(7), datetime.now(UTC).replace(second=0, microsecond=0)
        path, price = self.stack.folder / "bars.csv", PRICES["BTC/USD"]
        lines = ["timestamp,symbol,open,high,low,close"]
        for minute in range(HISTORY_MINUTES, 0, -1):
            at, opened = now - timedelta(minutes=minute), price
            pull = (PRICES["BTC/USD"] - price) * 0.002
            price = opened + pull + chance.uniform(-1, 1) * 40
            high, low = max(opened, price) + 5, min(opened, price) - 5
            numbers = ",".join(f"{one:.2f}" for one in (opened, high, low, price))
            lines.append(f"{at:%Y-%m-%dT%H:%M:%SZ},BTC/USD,{numbers}")
        path.write_text("\n".join(lines) + "\n")
        return path
