"""The local exchange as a process: how it is started, controlled and read.

Starts `python -m paper_exchange`, waits for its ready file, calls its control endpoint, and its
REST API with the account's keys. Never imports the exchange: only the wire counts.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from domain.market import AssetRules
from runtime.daemon_process import last_line

START_SECONDS = 60.0
STOP_SECONDS = 5.0
ANSWER_SECONDS = 10.0
POLL_SECONDS = 0.02
ACTIVITIES_PAGE, ORDERS_PAGE = 100, 500
MINIMUM_ORDER_USD = Decimal(10)
# What the exchange takes; the defaults of TAKER_FEE_PERCENT and MAKER_FEE_PERCENT.
TAKER_FEE_RATE, MAKER_FEE_RATE = Decimal("0.0025"), Decimal("0.0015")
# Without the proxies of the user's environment: the exchange is on this machine.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class StackError(Exception):
    """A part of the local stack could not be started or used; the text is for a person."""


class ExchangeProcess:
    """One local exchange. `start` returns when it answers."""

    def __init__(self, folder: Path, *, key: str, secret: str) -> None:
        self.urls: dict[str, str] = {}
        self._ready_file = folder / "exchange.json"
        self._output = folder / "logs" / "exchange.out"
        self._key, self._secret = key, secret
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, arguments: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
        """Run it with these arguments of `python -m paper_exchange` beside keys and ready file.

        Raises:
            StackError: it ended, or did not answer in time; with its own last words.
        """
        self._ready_file.unlink(missing_ok=True)
        command = [sys.executable, "-m", "paper_exchange", "--ready-file", str(self._ready_file)]
        # Others can see a command line, so the keys go through the environment.
        keys = {"PAPER_EXCHANGE_KEY": self._key, "PAPER_EXCHANGE_SECRET": self._secret}
        with open(self._output, "ab") as output:
            self._process = subprocess.Popen(
                [*command, *arguments],
                env={**environment, **keys},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready_file.exists():
            if self._process.poll() is not None:
                raise StackError(f"the local exchange did not start: {last_line(self._output)}")
            if time.monotonic() > deadline:
                raise StackError(f"the local exchange did not answer within {START_SECONDS:.0f} s")
            time.sleep(POLL_SECONDS)
        ready = json.loads(self._ready_file.read_text("utf-8"))
        self.urls = {name: url for name, url in ready.items() if name.endswith("_url")}

    def stop(self) -> None:
        """End it; no process is left when this returns."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    # As its operator

    def state(self) -> dict[str, Any]:
        """Market, newest quotes, balances, open orders, requests; not counted by the rate limit."""
        return self._control("GET", "state")

    def control(self, name: str, /, **body: Any) -> dict[str, Any]:
        """One control call; `python -m paper_exchange --help` lists them."""
        return self._control("POST", name, body)

    def faults(self) -> dict[str, Any]:
        """The faults that were armed and how often each was applied."""
        return self._control("GET", "faults")

    def ledger(self) -> dict[str, Any]:
        """Everything that happened, as the exchange itself recorded it."""
        return self._control("GET", "ledger")

    def _control(
        self, method: str, name: str, body: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        answer: dict[str, Any] = self._ask(method, f"{self.urls['control_url']}/{name}", body)
        return answer

    # As a client

    def get(self, path: str, **query: str) -> Any:
        """GET of the trading API (`/v2/...`); counts against the account's rate limit."""
        suffix = f"?{urllib.parse.urlencode(query)}" if query else ""
        return self._ask("GET", f"{self.urls['trading_url']}{path}{suffix}")

    def post(self, path: str, **body: Any) -> Any:
        """POST of the trading API, as the account's owner."""
        return self._ask("POST", f"{self.urls['trading_url']}{path}", body)

    def patch(self, path: str, **body: Any) -> Any:
        """PATCH of the trading API, as the account's owner."""
        return self._ask("PATCH", f"{self.urls['trading_url']}{path}", body)

    def orders(self) -> list[dict[str, Any]]:
        """Every order there ever was, oldest first."""
        found: dict[str, dict[str, Any]] = {}
        query = {"status": "all", "direction": "asc", "limit": str(ORDERS_PAGE)}
        while True:
            page = self.get("/v2/orders", **query)
            fresh = [order for order in page if order["id"] not in found]
            found.update({order["id"]: order for order in fresh})
            if len(page) < ORDERS_PAGE or not fresh:
                return list(found.values())
            query["after"] = page[-1]["submitted_at"]

    def activities(self, kind: str) -> list[dict[str, Any]]:
        """Every activity of a kind (FILL, CFEE, FEE), oldest first."""
        found: list[dict[str, Any]] = []
        query = {"direction": "asc", "page_size": str(ACTIVITIES_PAGE)}
        while True:
            page = self.get(f"/v2/account/activities/{kind}", **query)
            found += page
            if len(page) < ACTIVITIES_PAGE:
                return found
            query["page_token"] = page[-1]["id"]

    def _ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Any:
        """One request. A refusal of the rate limit is waited out: nothing here is urgent.

        Raises:
            StackError: no answer, or a refusal.
        """
        request = urllib.request.Request(url, method=method)
        request.add_header("APCA-API-KEY-ID", self._key)
        request.add_header("APCA-API-SECRET-KEY", self._secret)
        data = None if body is None else json.dumps(body, default=str).encode()
        while True:
            try:
                with _opener.open(request, data, timeout=ANSWER_SECONDS) as answer:
                    return json.load(answer, parse_float=Decimal)
            except urllib.error.HTTPError as error:
                reset_at = error.headers.get("X-RateLimit-Reset")
                if error.code == 429 and reset_at:
                    time.sleep(max(0.1, float(reset_at) - time.time()))  # as the exchange says
                    continue
                text = f"the local exchange refused {method} {url}: {_words(error)}"
                raise StackError(text) from None
            except (OSError, ValueError) as error:
                raise StackError(f"the local exchange does not answer: {error}") from None


def _words(error: urllib.error.HTTPError) -> str:
    with contextlib.suppress(OSError, ValueError, KeyError):
        return str(json.load(error)["message"])
    return f"HTTP {error.code}"


def fetch_rules(exchange: ExchangeProcess, symbol: str) -> AssetRules:
    """What the exchange accepts for `symbol`."""
    raw = exchange.get(f"/v2/assets/{symbol.replace('/', '')}")
    return AssetRules.from_wire(raw, min_cost_usd=MINIMUM_ORDER_USD)
