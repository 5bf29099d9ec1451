"""What the operator may ask of the exchange, under /control.

Read the exchange's own records, move the market, interfere with orders. JSON in, JSON out; no
keys, loopback only. The same calls serve HTTP and the tests. faults/manual.py describes them: a new
call needs its line there.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from aiohttp import web

from paper_exchange.api import wire
from paper_exchange.api.data_rest import MarketDataApi
from paper_exchange.api.data_stream import DataStream
from paper_exchange.api.http_json import read_json
from paper_exchange.api.ledger import balances_json, ledger_json, order_shape, quote_json
from paper_exchange.api.rest import TradingApi
from paper_exchange.api.trade_stream import TradeStream
from paper_exchange.core import errors
from paper_exchange.core.clock import NANOS, rfc3339
from paper_exchange.core.config import SymbolsFilter
from paper_exchange.core.decimals import to_decimal
from paper_exchange.core.errors import ApiError
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.orders import Event
from paper_exchange.core.prices import Quote
from paper_exchange.quotes.pacing import MarketFeed

Body = Mapping[str, object]
Call = Callable[[Body], "wire.Json | Awaitable[wire.Json]"]

_FINISH_SECONDS = 2.0
_ACTIONS = {"expire": Event.EXPIRED, "reject": Event.REJECTED, "cancel": Event.CANCELED}


def _number(value: object) -> float:
    return float(to_decimal(value))


_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "latency_seconds": _number,
    "partial_fill_probability": _number,
    "duplicate_ids_refused": bool,
    "symbols_filter": SymbolsFilter,
    "rate_limit_per_minute": lambda value: int(to_decimal(value)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    exchange: Exchange
    trading_api: TradingApi
    data_api: MarketDataApi
    data_stream: DataStream
    trade_stream: TradeStream
    feed: MarketFeed | None
    request_shutdown: Callable[[], None]
    started_at: float = field(default_factory=time.monotonic)

    def _calls(self) -> dict[tuple[str, str], Call]:
        return {
            ("GET", "state"): self._state,
            ("GET", "ledger"): self._ledger,
            ("POST", "quote"): self._quote,
            ("POST", "market"): self._market,
            ("POST", "finish"): self._finish,
            ("POST", "end_of_day"): self._end_of_day,
            ("POST", "balance"): self._balance,
            ("POST", "config"): self._configure,
            ("POST", "order"): self._order,
            ("GET", "faults"): self._faults,
            ("POST", "faults"): self._change_faults,
            ("POST", "shutdown"): self._shutdown,
        }

    def add_routes(self, router: web.UrlDispatcher) -> None:
        router.add_route("*", "/control/{name}", self._answer)

    async def call(self, method: str, name: str, body: Body) -> wire.Json:
        """Raises ApiError when there is no such call or its body is wrong."""
        handler = self._calls().get((method, name))
        if handler is None:
            raise ApiError(404, f"no such control call: {method} {name} (see --help)")
        try:
            answer = handler(body)
            return await answer if inspect.isawaitable(answer) else answer
        except KeyError as error:
            raise ApiError(400, f"{name}: {error.args[0]} is missing") from None
        except (ValueError, TypeError) as error:
            raise ApiError(400, f"{name}: {error}") from None

    async def _answer(self, request: web.Request) -> web.Response:
        body = read_json(await request.text()) if request.method == "POST" else {}
        return web.json_response(await self.call(request.method, request.match_info["name"], body))

    def _state(self, _body: Body) -> wire.Json:
        exchange, feed = self.exchange, self.feed
        orders = [order_shape(exchange, order) for order in exchange.book.all_open()]
        return {
            "seed": exchange.seed,
            "uptime_seconds": round(time.monotonic() - self.started_at, 3),
            "market": {
                "kind": exchange.config.market.kind.value,
                "status": "running" if feed is None else feed.status.value,
                "speed": None if feed is None else feed.speed,
                "quotes_emitted": None if feed is None else feed.quotes_emitted,
                "position": _position_of(feed),
            },
            "quotes": {symbol: quote_json(one) for symbol, one in exchange.market.quotes.items()},
            "balances": balances_json(exchange),
            "orders": {"total": len(exchange.book), "open": orders},
            "steps_in_flight": exchange.steps_in_flight,
            "clients": {
                "data": [
                    {
                        "authenticated": one.is_authenticated,
                        "subscriptions": {
                            channel: list(symbols)
                            for channel, symbols in one.subscriptions.items()
                            if symbols
                        },
                    }
                    for one in self.data_stream.clients
                ],
                "trading": [
                    {"authorized": one.is_authorized, "listening": one.is_listening}
                    for one in self.trade_stream.clients
                ],
                "data_connections": self.data_stream.connections,
                "trading_connections": self.trade_stream.connections,
            },
            "requests": {**self._requests(), "by_route": dict(self.trading_api.request_counts)},
            "config": self._config(),
        }

    def _config(self) -> wire.Json:
        switches = self.exchange.switches
        return {
            **asdict(switches),
            "symbols_filter": switches.symbols_filter.value,
            "rate_limit_per_minute": self.trading_api.meter.limit_per_minute,
        }

    def _requests(self) -> wire.Json:
        meter = self.trading_api.meter
        return {
            "total": meter.total,
            "peak_per_minute": meter.peak_per_minute,
            "accepted_peak_per_minute": meter.accepted_peak_per_minute,
        }

    def _ledger(self, _body: Body) -> wire.Json:
        return ledger_json(self.exchange) | {"requests": self._requests()}

    async def _quote(self, body: Body) -> wire.Json:
        quotes = body.get("quotes", [body])
        if not isinstance(quotes, list):
            raise ValueError("quotes must be a list")
        parsed = [self._parse_quote(one) for one in quotes]
        waits = bool(body.get("finish", True))
        finished = waits and await self._steps_finish_within(_FINISH_SECONDS)
        for quote in parsed:
            self.exchange.post_quote(replace(quote, at_ns=self.exchange.clock.now_ns()))
        return {"posted": len(parsed), "finished": finished}

    def _parse_quote(self, body: object) -> Quote:
        """Without a time yet."""
        if not isinstance(body, Mapping):
            raise ValueError("a quote must be an object")
        symbol = self.exchange.asset(str(body["symbol"])).symbol
        bid, ask = to_decimal(body["bid"]), to_decimal(body["ask"])
        bid_size, ask_size = (to_decimal(body.get(name, 1)) for name in ("bid_size", "ask_size"))
        return Quote(symbol, bid, bid_size, ask, ask_size, 0)

    def _market(self, body: Body) -> wire.Json:
        feed = self.feed
        if feed is None:
            raise ValueError("the market is manual: there is nothing to pace")
        speed = None if body.get("speed") is None else _number(body["speed"])
        if speed is not None and speed < 0:
            raise ValueError("speed must be 0 or more")
        paused = body.get("paused")
        feed.configure(speed=speed, paused=None if paused is None else bool(paused))
        return {"status": feed.status.value, "speed": feed.speed}

    async def _finish(self, body: Body) -> wire.Json:
        seconds = _number(body.get("timeout_seconds", _FINISH_SECONDS))
        return {"finished": await self._steps_finish_within(seconds)}

    async def _steps_finish_within(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while self.exchange.steps_in_flight:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.001)
        return True

    def _end_of_day(self, _body: Body) -> wire.Json:
        posted = self.exchange.end_day()
        return {"posted": [wire.activity_json(self.exchange, one) for one in posted]}

    def _balance(self, body: Body) -> wire.Json:
        unit = str(body["unit"])
        if "set" in body:
            amount = to_decimal(body["set"])
        else:
            amount = self.exchange.balance(unit) + to_decimal(body["add"])
        price = None if body.get("price") is None else to_decimal(body["price"])
        self.exchange.set_balance(unit, amount, price)
        return balances_json(self.exchange)

    def _configure(self, body: Body) -> wire.Json:
        if unknown := set(body) - set(_SETTINGS):
            raise ValueError(f"unknown setting {sorted(unknown)}; known are {sorted(_SETTINGS)}")
        changes = {name: _SETTINGS[name](value) for name, value in body.items()}
        if (limit := changes.pop("rate_limit_per_minute", None)) is not None:
            for api in (self.trading_api, self.data_api):
                api.meter.limit_per_minute = limit
        for name, value in changes.items():
            setattr(self.exchange.switches, name, value)
        return self._config()

    def _order(self, body: Body) -> wire.Json:
        if body.get("client_order_id"):
            found = self.exchange.book.by_client_id(str(body["client_order_id"]))
            if found is None:
                raise errors.order_not_found(str(body["client_order_id"]))
        else:
            found = self.exchange.order(str(body["order_id"]))
        event = _ACTIONS.get(str(body["action"]))
        if event is None:
            raise ValueError(f"action must be one of {sorted(_ACTIONS)}")
        return order_shape(self.exchange, self.exchange.end(found.id, event))

    def _faults(self, _body: Body) -> wire.Json:
        return self.exchange.faults.as_json()

    def _change_faults(self, body: Body) -> wire.Json:
        board = self.exchange.faults
        if "clear" in body:
            which = body["clear"]
            cleared = board.clear(None if which is True else str(which))
            return {"cleared": [fault.as_json() for fault in cleared]}
        wanted = body.get("faults", [body])
        if not isinstance(wanted, list):
            raise ValueError("faults must be a list")
        return {"armed": [board.arm(one).as_json() for one in wanted]}

    def _shutdown(self, _body: Body) -> wire.Json:
        asyncio.get_running_loop().call_soon(self.request_shutdown)
        return {"status": "shutting down"}


def _position_of(feed: MarketFeed | None) -> str | float | None:
    """Where a replay stands (recorded time), or the seconds of the synthetic market so far."""
    if feed is None or feed.position_seconds is None:
        return None
    seconds = feed.position_seconds
    is_epoch = seconds > 10_000_000
    return rfc3339(round(seconds * NANOS)) if is_epoch else round(seconds, 3)
