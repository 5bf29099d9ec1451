"""The operator's door under /control.

Look at the exchange's own records, move the market, interfere with orders. JSON in, JSON out; no
keys, loopback only. The same calls serve HTTP and the tests. manual.py tells of them;
whoever adds a call adds its line there.
"""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal

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
from paper_exchange.core.config import ExchangeConfig, SymbolsFilter
from paper_exchange.core.decimals import to_decimal
from paper_exchange.core.errors import ApiError
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.prices import Quote
from paper_exchange.quotes.pacing import MarketFeed

Body = Mapping[str, object]
Call = Callable[[Body], "wire.Json | Awaitable[wire.Json]"]

_FINISH_SECONDS = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the operator can reach."""

    config: ExchangeConfig
    exchange: Exchange
    trading_api: TradingApi
    data_api: MarketDataApi
    data_stream: DataStream
    trade_stream: TradeStream
    feed: MarketFeed | None
    request_shutdown: Callable[[], None]


class Control:
    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._exchange = parts.exchange
        self._started = time.monotonic()
        self._calls: dict[tuple[str, str], Call] = {
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
        handler = self._calls.get((method, name))
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
        exchange, meter = self._exchange, self._parts.trading_api.meter
        feed = self._parts.feed
        return {
            "seed": exchange.seed,
            "uptime_seconds": round(time.monotonic() - self._started, 3),
            "market": {
                "kind": self._parts.config.market.kind.value,
                "status": "running" if feed is None else feed.status.value,
                "speed": None if feed is None else feed.speed,
                "quotes_emitted": None if feed is None else feed.quotes_emitted,
                "position": _position_of(feed),
            },
            "quotes": {symbol: quote_json(one) for symbol, one in exchange.market.quotes.items()},
            "balances": balances_json(exchange),
            "orders": {"total": len(exchange.book), "open": self._open_orders()},
            "steps_in_flight": exchange.steps_in_flight,
            "clients": {
                "data": [
                    {
                        "authenticated": one.is_authenticated,
                        "subscriptions": _lists(one.subscriptions),
                    }
                    for one in self._parts.data_stream.clients
                ],
                "trading": [
                    {"authorized": one.is_authorized, "listening": one.is_listening}
                    for one in self._parts.trade_stream.clients
                ],
                "data_connections": self._parts.data_stream.connections,
                "trading_connections": self._parts.trade_stream.connections,
            },
            "requests": {
                "total": meter.total,
                "peak_per_minute": meter.peak_per_minute,
                "accepted_peak_per_minute": meter.accepted_peak_per_minute,
                "by_route": dict(self._parts.trading_api.request_counts),
            },
            "config": self._config(),
        }

    def _config(self) -> wire.Json:
        habits = self._exchange.habits
        return {
            "latency_seconds": habits.latency_seconds,
            "partial_fill_probability": habits.partial_fill_probability,
            "duplicate_ids_refused": habits.duplicate_ids_refused,
            "symbols_filter": habits.symbols_filter.value,
            "rate_limit_per_minute": self._parts.trading_api.meter.limit_per_minute,
        }

    def _ledger(self, _body: Body) -> wire.Json:
        meter = self._parts.trading_api.meter
        requests = {
            "total": meter.total,
            "peak_per_minute": meter.peak_per_minute,
            "accepted_peak_per_minute": meter.accepted_peak_per_minute,
        }
        return ledger_json(self._exchange, self._parts.config.key) | {"requests": requests}

    async def _quote(self, body: Body) -> wire.Json:
        quotes = body.get("quotes", [body])
        if not isinstance(quotes, list):
            raise ValueError("quotes must be a list")
        parsed = [self._parse_quote(one) for one in quotes]
        waits = bool(body.get("finish", True))
        finished = waits and await self._steps_finish_within(_FINISH_SECONDS)
        for symbol, bid, bid_size, ask, ask_size in parsed:
            now_ns = self._exchange.clock.now_ns()
            self._exchange.post_quote(Quote(symbol, bid, bid_size, ask, ask_size, now_ns))
        return {"posted": len(parsed), "finished": finished}

    def _parse_quote(self, body: object) -> tuple[str, Decimal, Decimal, Decimal, Decimal]:
        if not isinstance(body, Mapping):
            raise ValueError("a quote must be an object")
        symbol = self._exchange.asset(str(body["symbol"])).symbol
        bid, ask = to_decimal(body["bid"]), to_decimal(body["ask"])
        return (
            symbol,
            bid,
            to_decimal(body.get("bid_size", 1)),
            ask,
            to_decimal(body.get("ask_size", 1)),
        )

    def _market(self, body: Body) -> wire.Json:
        feed = self._parts.feed
        if feed is None:
            raise ValueError("the market is manual: there is nothing to pace")
        speed = None if body.get("speed") is None else float(to_decimal(body["speed"]))
        if speed is not None and speed < 0:
            raise ValueError("speed must be 0 or more")
        paused = body.get("paused")
        feed.configure(speed=speed, paused=None if paused is None else bool(paused))
        return {"status": feed.status.value, "speed": feed.speed}

    async def _finish(self, body: Body) -> wire.Json:
        seconds = float(to_decimal(body.get("timeout_seconds", _FINISH_SECONDS)))
        return {"finished": await self._steps_finish_within(seconds)}

    async def _steps_finish_within(self, timeout_seconds: float) -> bool:
        deadline = time.monotonic() + timeout_seconds
        while self._exchange.steps_in_flight:
            if time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.001)
        return True

    def _end_of_day(self, _body: Body) -> wire.Json:
        self._parts.trading_api.last_equity = self._exchange.equity()
        account = wire.account_id(self._parts.config.key)
        return {"posted": [wire.activity_json(one, account) for one in self._exchange.post_fees()]}

    def _balance(self, body: Body) -> wire.Json:
        unit = str(body["unit"])
        if "set" in body:
            amount = to_decimal(body["set"])
        else:
            amount = self._exchange.balance(unit) + to_decimal(body["add"])
        price = None if body.get("price") is None else to_decimal(body["price"])
        self._exchange.set_balance(unit, amount, price)
        return balances_json(self._exchange)

    def _configure(self, body: Body) -> wire.Json:
        habits = self._exchange.habits
        known = {
            "latency_seconds",
            "partial_fill_probability",
            "duplicate_ids_refused",
            "symbols_filter",
            "rate_limit_per_minute",
        }
        if unknown := set(body) - known:
            raise ValueError(f"unknown setting {sorted(unknown)}; known are {sorted(known)}")
        if "latency_seconds" in body:
            habits.latency_seconds = float(to_decimal(body["latency_seconds"]))
        if "partial_fill_probability" in body:
            habits.partial_fill_probability = float(to_decimal(body["partial_fill_probability"]))
        if "duplicate_ids_refused" in body:
            habits.duplicate_ids_refused = bool(body["duplicate_ids_refused"])
        if "symbols_filter" in body:
            habits.symbols_filter = SymbolsFilter(body["symbols_filter"])
        if "rate_limit_per_minute" in body:
            for api in (self._parts.trading_api, self._parts.data_api):
                api.meter.limit_per_minute = int(to_decimal(body["rate_limit_per_minute"]))
        return self._config()

    def _order(self, body: Body) -> wire.Json:
        if body.get("client_order_id"):
            found = self._exchange.book.by_client_id(str(body["client_order_id"]))
            if found is None:
                raise errors.order_not_found(str(body["client_order_id"]))
        else:
            found = self._exchange.order(str(body["order_id"]))
        actions = {
            "expire": self._exchange.expire,
            "reject": self._exchange.reject,
            "cancel": self._exchange.cancel_now,
        }
        action = actions.get(str(body["action"]))
        if action is None:
            raise ValueError(f"action must be one of {sorted(actions)}")
        return order_shape(self._exchange, action(found.id))

    def _faults(self, _body: Body) -> wire.Json:
        return self._exchange.faults.as_json()

    def _change_faults(self, body: Body) -> wire.Json:
        board = self._exchange.faults
        if "clear" in body:
            which = body["clear"]
            cleared = board.clear(None if which is True else str(which))
            return {"cleared": [fault.as_json() for fault in cleared]}
        wanted = body.get("faults", [body])
        if not isinstance(wanted, list):
            raise ValueError("faults must be a list")
        return {"armed": [board.arm(one).as_json() for one in wanted]}

    def _shutdown(self, _body: Body) -> wire.Json:
        asyncio.get_running_loop().call_soon(self._parts.request_shutdown)
        return {"status": "shutting down"}

    def _open_orders(self) -> list[wire.Json]:
        return [order_shape(self._exchange, order) for order in self._exchange.book.all_open()]


def _position_of(feed: MarketFeed | None) -> str | float | None:
    """Where a replay stands (recorded time), or the seconds of the synthetic market so far."""
    if feed is None or feed.position_seconds is None:
        return None
    seconds = feed.position_seconds
    is_epoch = seconds > 10_000_000
    return rfc3339(round(seconds * NANOS)) if is_epoch else round(seconds, 3)


def _lists(subscriptions: Mapping[str, Mapping[str, None]]) -> wire.Json:
    return {channel: list(symbols) for channel, symbols in subscriptions.items() if symbols}
