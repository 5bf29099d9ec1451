"""An exchange in a thread with its own event loop, for sync tests and scripts."""

import asyncio
import threading
from collections.abc import Coroutine
from dataclasses import replace
from decimal import Decimal
from types import TracebackType
from typing import Any, TypeVar

from paper_exchange.core.config import ExchangeConfig
from paper_exchange.server import PaperExchange, Urls

_START_SECONDS = 120
_CALL_SECONDS = 120
T = TypeVar("T")


class RunningExchange:
    """`with RunningExchange(config) as exchange: ...`; keyword arguments replace single settings.

    `exchange.urls` has the addresses; the helpers are the control API, called in the exchange's own
    thread.
    """

    def __init__(self, config: ExchangeConfig | None = None, **settings: Any) -> None:
        self.config = replace(config or ExchangeConfig(), **settings)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="paper-exchange", daemon=True)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._server: PaperExchange | None = None

    def __enter__(self) -> "RunningExchange":
        self.start()
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def urls(self) -> Urls:
        assert self.server.urls is not None
        return self.server.urls

    @property
    def server(self) -> PaperExchange:
        """The exchange itself. Touch it from its own loop only (`run`)."""
        assert self._server is not None, "not started"
        return self._server

    def start(self) -> Urls:
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise TimeoutError("the exchange did not start")
        if self._failure is not None:
            raise self._failure
        return self.urls

    def stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.server.stopping.set)
            self._thread.join(_CALL_SECONDS)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the exchange's loop and returns its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    # The control API

    def state(self) -> dict[str, Any]:
        return self.call("GET", "state")

    def ledger(self) -> dict[str, Any]:
        return self.call("GET", "ledger")

    def push_quote(
        self, symbol: str, bid: Decimal | str | float, ask: Decimal | str | float, **fields: Any
    ) -> dict[str, Any]:
        """When it returns, accepted orders have met it, matching is done, frames are queued."""
        return self.call("POST", "quote", symbol=symbol, bid=bid, ask=ask, **fields)

    def finish(self, timeout_seconds: float = 2.0) -> bool:
        """Waits until no step of an order is under way; False: the time was too short."""
        return self.call("POST", "finish", timeout_seconds=timeout_seconds)["finished"] is True

    def configure(self, **settings: Any) -> dict[str, Any]:
        return self.call("POST", "config", **settings)

    def set_balance(
        self, unit: str, amount: Decimal | str, price: Decimal | str | None = None
    ) -> dict[str, Any]:
        return self.call("POST", "balance", unit=unit, set=amount, price=price)

    def add_balance(self, unit: str, amount: Decimal | str) -> dict[str, Any]:
        return self.call("POST", "balance", unit=unit, add=amount)

    def pace_market(self, **settings: Any) -> dict[str, Any]:
        return self.call("POST", "market", **settings)

    def end_of_day(self) -> list[dict[str, Any]]:
        posted: list[dict[str, Any]] = self.call("POST", "end_of_day")["posted"]
        return posted

    def expire(self, order_id: str) -> dict[str, Any]:
        return self.call("POST", "order", order_id=order_id, action="expire")

    def reject(self, order_id: str) -> dict[str, Any]:
        return self.call("POST", "order", order_id=order_id, action="reject")

    def cancel(self, order_id: str) -> dict[str, Any]:
        return self.call("POST", "order", order_id=order_id, action="cancel")

    def arm(self, name: str, **fields: Any) -> str:
        """Switches a fault on (see --help) and returns its id."""
        return str(self.call("POST", "faults", name=name, **fields)["armed"][0]["id"])

    def clear_faults(self, which: str | bool = True) -> None:
        """One by its id, all of a name, or all."""
        self.call("POST", "faults", clear=which)

    def faults(self) -> dict[str, Any]:
        return self.call("GET", "faults")

    def times_applied(self, name: str) -> int:
        return int(self.faults()["applied"].get(name, 0))

    def call(self, method: str, name: str, /, **body: Any) -> dict[str, Any]:
        """Any call of the control API: `call("POST", "market", paused=True)`."""
        return self.run(self.server.control.call(method, name, body))

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._live())
        finally:
            self._loop.close()

    async def _live(self) -> None:
        try:
            self._server = PaperExchange(self.config)
            await self._server.start()
        except BaseException as failure:  # noqa: BLE001 - handed to the thread that waits
            self._failure = failure
            self._ready.set()
            return
        self._ready.set()
        await self._server.stopping.wait()
        await self._server.stop()
