"""Builders for the tests of the exchange: one without sockets, and clients of a running one."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any

import pytest
import requests
from alpaca.data.historical import CryptoHistoricalDataClient
from alpaca.data.live import CryptoDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from alpaca_description import check_answer
from paper_exchange.core.clock import Clock
from paper_exchange.core.config import ExchangeConfig
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.orders import Order
from paper_exchange.core.prices import Quote
from paper_exchange.core.state import TradeUpdate
from running_exchange import RunningExchange

WAIT_SECONDS = 60.0


class Desk:
    """The exchange without sockets and without waiting: what it schedules runs at `finish`."""

    def __init__(self, **settings: Any) -> None:
        settings.setdefault("partial_fill_probability", 0.0)
        self.updates: list[TradeUpdate] = []
        self._put_off: list[tuple[Callable[..., None], tuple[object, ...]]] = []
        self.exchange = Exchange(
            ExchangeConfig(**settings),
            Clock(),
            lambda _delay, *call: self._put_off.append((call[0], call[1:])),
        )
        self.exchange.trade_update_listeners.append(self.updates.append)

    def finish(self) -> None:
        while self._put_off:
            function, arguments = self._put_off.pop(0)
            function(*arguments)

    def quote(self, bid: object, ask: object, symbol: str = "BTC/USD") -> None:
        self.finish()
        one = Decimal(1)
        quote = Quote(
            symbol, Decimal(str(bid)), one, Decimal(str(ask)), one, self.exchange.clock.now_ns()
        )
        self.exchange.post_quote(quote)

    def order(self, side: str, qty: object = None, limit: object = None, **fields: object) -> Order:
        """Submits, lets its steps finish, returns the order as it is then."""
        request: dict[str, object] = {
            "symbol": "BTC/USD",
            "side": side,
            "type": "market" if limit is None else "limit",
            "time_in_force": "gtc",
            "qty": None if qty is None else str(qty),
            "limit_price": None if limit is None else str(limit),
            **fields,
        }
        submitted = self.exchange.submit(request)
        self.finish()
        return self.now(submitted)

    def now(self, order: Order) -> Order:
        return self.exchange.order(order.id)

    def events(self, order: Order) -> list[str]:
        return [one.event.value for one in self.updates if one.order.id == order.id]

    @property
    def cash(self) -> Decimal:
        return self.exchange.account.cash

    def coins(self, symbol: str = "BTC/USD") -> Decimal:
        return self.exchange.account.qty(symbol)


class Clients:
    """The real SDK against a running exchange. Each stream runs in a thread, as users run it."""

    def __init__(self, exchange: RunningExchange) -> None:
        keys = (exchange.config.key, exchange.config.secret)
        self.exchange = exchange
        self.trading = TradingClient(*keys, url_override=exchange.urls.trading_url)
        self.data = CryptoHistoricalDataClient(url_override=exchange.urls.data_url)
        # Whatever a test asks for with the SDK, the answer is as Alpaca describes it.
        for client in (self.trading, self.data):
            client._session.hooks["response"].append(self._check)
        self.trade_updates: list[dict[str, Any]] = []
        self.quotes: list[dict[str, Any]] = []
        self.received: dict[str, list[Any]] = {}
        self._streams: list[Any] = []

    def _check(self, answer: requests.Response, **_options: Any) -> None:
        garbled = [one for one in self.exchange.faults()["all"] if one["name"].startswith("http_")]
        if not garbled:
            check_answer(answer)

    def listen_to_trades(self, key: str | None = None, *, wait: bool = True) -> TradingStream:
        config = self.exchange.config
        stream = TradingStream(
            key or config.key,
            config.secret,
            raw_data=True,
            url_override=self.exchange.urls.trading_stream_url,
        )
        # The first retry after a refused connection would wait half a second or more.
        stream._reconnect_min_backoff = 0.05

        async def keep(message: dict[str, Any]) -> None:
            self.trade_updates.append(message["data"])

        stream.subscribe_trade_updates(keep)
        self._start(stream)
        if wait:
            wait_until(lambda: any(one["listening"] for one in self.state()["clients"]["trading"]))
        return stream

    def listen_to_quotes(self, *symbols: str, raw_data: bool = True) -> CryptoDataStream:
        stream = self.listen_to(symbols, ["quotes"], raw_data=raw_data)
        self.quotes = self.received["quotes"]
        return stream

    def listen_to(
        self, symbols: Sequence[str], channels: Iterable[str], *, raw_data: bool = True
    ) -> CryptoDataStream:
        """One stream with these channels, as the SDK names them; `received` keeps what comes."""
        config = self.exchange.config
        stream = CryptoDataStream(
            config.key,
            config.secret,
            raw_data=raw_data,
            url_override=self.exchange.urls.data_stream_url,
        )
        stream._reconnect_min_backoff = 0.05

        for channel in channels:
            received = self.received.setdefault(channel, [])

            async def keep(message: Any, received: list[Any] = received) -> None:
                received.append(message)

            getattr(stream, f"subscribe_{channel}")(keep, *symbols)
        self._start(stream)
        wait_until(lambda: any(one["subscriptions"] for one in self.state()["clients"]["data"]))
        return stream

    def state(self) -> dict[str, Any]:
        return self.exchange.state()

    def events(self, order_id: object) -> list[str]:
        wanted = str(order_id)
        return [one["event"] for one in self.trade_updates if one["order"]["id"] == wanted]

    def wait_for_event(self, order_id: object, event: str) -> None:
        wait_until(lambda: event in self.events(order_id), f"{event} of {order_id}")

    def _start(self, stream: Any) -> None:
        stopped = threading.Event()

        def run() -> None:
            asyncio.run(stream._run_forever())
            stopped.set()

        threading.Thread(target=run, daemon=True).start()
        self._streams.append((stream, stopped))

    def close(self) -> None:
        for stream, stopped in self._streams:
            if stream._loop is not None and not stopped.is_set():
                asyncio.run_coroutine_threadsafe(stream.stop_ws(), stream._loop)
                if stream._ws is not None:
                    asyncio.run_coroutine_threadsafe(stream.close(), stream._loop)
        for _stream, stopped in self._streams:
            stopped.wait(1)


def wait_until(condition: Callable[[], object], what: str = "the condition") -> None:
    """Waits for a condition, at most so long."""
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {WAIT_SECONDS} s in vain for {what}")
        time.sleep(0.005)


@pytest.fixture
def make_desk() -> Callable[..., Desk]:
    return Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.fixture
def eventually() -> Callable[..., None]:
    return wait_until


@pytest.fixture
def turn_clock() -> Callable[..., int]:
    """Turns the exchange's clock forward: to this second of the minute (or of the next `of`).

    Returns the nanoseconds since the epoch that it then shows.
    """

    def turn(exchange: RunningExchange, *, second: int, of: int = 60) -> int:
        async def read() -> int:
            return exchange.server.clock.now_ns()

        exchange.arm("skew_clock", seconds=(second - exchange.run(read()) / 1e9) % of)
        return exchange.run(read())

    return turn


@pytest.fixture
def exchange() -> Iterator[RunningExchange]:
    """A running exchange with a manual market, no partial fills and no rate limit."""
    settings = {
        "partial_fill_probability": 0.0,
        "rate_limit_per_minute": 0,
        "latency_seconds": 0.002,
    }
    with RunningExchange(ExchangeConfig(**settings)) as running:
        yield running


@pytest.fixture
def clients(exchange: RunningExchange) -> Iterator[Clients]:
    open_clients = Clients(exchange)
    yield open_clients
    open_clients.close()


@pytest.fixture(scope="session")
def make_desk_function() -> Callable[..., Desk]:
    """For hypothesis, which wants fixtures that outlive one example."""
    return Desk
