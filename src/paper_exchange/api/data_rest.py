"""The market data API under /v1beta3/crypto/us: the newest, the history, snapshots. Needs no keys.

It knows what the market brought since the exchange was started; for anything else the answer is
empty.
"""

import base64
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from aiohttp import web

from paper_exchange.api import data_wire
from paper_exchange.api.query import Handler, Query, Route
from paper_exchange.api.quote_faults import apply_quote_faults
from paper_exchange.api.rate_limit import RequestMeter
from paper_exchange.api.wire import Json
from paper_exchange.core import errors
from paper_exchange.core.clock import NANOS, rfc3339
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.history import TimeFrame, between
from paper_exchange.core.prices import Bar, Quote, Trade

_PAIR = re.compile(r"[A-Z]+/[A-Z]+")
_DEFAULT_LIMIT = 1_000
_MAX_LIMIT = 10_000
_BASE = "/v1beta3/crypto/us"
_INTERVAL = ("symbols", "start", "end", "limit", "page_token", "sort")
_DAY_NS = 24 * 3600 * NANOS

Record = Quote | Trade | Bar
Kind = TypeVar("Kind", Quote, Trade, Bar)


class MarketDataApi:
    def __init__(self, exchange: Exchange) -> None:
        self.meter = RequestMeter(exchange.config.rate_limit_per_minute)
        """Of its own: Alpaca's data host counts apart from the trading host."""
        self._exchange = exchange
        market, history = exchange.market, exchange.history
        self._market, self._history = market, history
        newest = {
            "latest/quotes": self._newest("quotes", market.quotes, self._shape),
            "latest/trades": self._newest("trades", market.trades, self._shape),
            "latest/bars": self._newest("bars", market.bars, self._shape),
            "latest/orderbooks": self._newest("orderbooks", market.quotes, _book_shape),
            "snapshots": self._snapshots,
        }
        self.routes = (
            *(Route("GET", f"{_BASE}/{path}", newest[path], ("symbols",)) for path in newest),
            Route("GET", f"{_BASE}/quotes", self._past("quotes", history.quotes), _INTERVAL),
            Route("GET", f"{_BASE}/trades", self._past("trades", history.trades), _INTERVAL),
            Route("GET", f"{_BASE}/bars", self._bars, (*_INTERVAL, "timeframe")),
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for route in self.routes:
            route.add_to(router, errors.bad_data_request)

    # The newest

    @staticmethod
    def _newest(kind: str, newest: Mapping[str, Kind], shape: Callable[[Kind], Json]) -> Handler:
        """Symbols without any are left out of the answer."""

        async def answer(_request: web.Request, query: Query) -> web.Response:
            found = [newest[symbol] for symbol in _symbols(query) if symbol in newest]
            return _answer(kind, {one.symbol: shape(one) for one in found})

        return answer

    async def _snapshots(self, _request: web.Request, query: Query) -> web.Response:
        return _answer("snapshots", {name: self._snapshot(name) for name in _symbols(query)})

    def _snapshot(self, symbol: str) -> Json:
        """What is not known (yet) is left out."""
        today, yesterday = [None, None, *self._history.days.get(symbol, ())][:-3:-1]
        parts = {
            "latestTrade": self._market.trades.get(symbol),
            "latestQuote": self._market.quotes.get(symbol),
            "minuteBar": self._market.bars.get(symbol),
            "dailyBar": today,
            "prevDailyBar": yesterday,
        }
        return {name: self._shape(part) for name, part in parts.items() if part is not None}

    def _shape(self, record: Record) -> Json:
        """With the faults of quotes, which the history does not show."""
        if isinstance(record, Quote):
            record = apply_quote_faults(record, self._exchange.faults, "rest")
        return _shape(record)

    # The history

    def _past(self, kind: str, records: Mapping[str, Iterable[Kind]]) -> Handler:
        async def answer(_request: web.Request, query: Query) -> web.Response:
            return self._page(kind, query, lambda symbol: records.get(symbol, ()))

        return answer

    async def _bars(self, _request: web.Request, query: Query) -> web.Response:
        timeframe = query.read("timeframe", TimeFrame.parse)
        if timeframe is None:
            raise errors.bad_data_request("timeframe is required")
        return self._page("bars", query, lambda name: self._history.bars(name, timeframe))

    def _page(
        self, kind: str, query: Query, records_of: Callable[[str], Iterable[Kind]]
    ) -> web.Response:
        """Symbol by symbol, each in the order of time; `limit` counts all symbols together."""
        symbols = sorted(set(_symbols(query)))
        now_ns = self._exchange.clock.now_ns()
        start_ns, end_ns = query.time("start"), query.time("end")
        start_ns = now_ns - now_ns % _DAY_NS if start_ns is None else start_ns
        end_ns = now_ns if end_ns is None else end_ns
        if start_ns > end_ns:
            raise errors.bad_data_request("end should not be before start")
        descending = query.choice("sort", ("asc", "desc"), "asc") == "desc"
        limit = query.number("limit", _DEFAULT_LIMIT, _MAX_LIMIT)
        cursor = query.read("page_token", _read_token)

        page: dict[str, list[Json]] = {}
        room, token = limit, None
        for symbol in symbols:
            records = between(records_of(symbol), start_ns, end_ns)
            if descending:
                records.reverse()
            if cursor is not None:
                records = [one for one in records if _is_after(cursor, symbol, one, descending)]
            if not records:
                continue
            if not room:
                return _answer(kind, page, next_page_token=token)
            page[symbol] = [_shape(one) for one in records[:room]]
            token = _token(symbol, records[:room][-1].at_ns)
            if len(records) > room:
                return _answer(kind, page, next_page_token=token)
            room -= len(records)
        return _answer(kind, page, next_page_token=None)


def _symbols(query: Query) -> tuple[str, ...]:
    symbols = query.names("symbols")
    if not symbols:
        raise errors.bad_data_request("symbols is required")
    for symbol in symbols:
        if _PAIR.fullmatch(symbol) is None:
            raise errors.bad_data_request(
                f"invalid symbol: {symbol} does not match ^[A-Z]+/[A-Z]+$"
            )
    return symbols


def _is_after(cursor: tuple[str, int], symbol: str, record: Record, descending: bool) -> bool:
    last_symbol, last_ns = cursor
    if symbol != last_symbol:
        return symbol > last_symbol
    return record.at_ns < last_ns if descending else record.at_ns > last_ns


def _token(symbol: str, at_ns: int) -> str:
    return base64.urlsafe_b64encode(f"{symbol}|{at_ns}".encode()).decode()


def _read_token(text: str) -> tuple[str, int]:
    """Raises ValueError."""
    symbol, at_ns = base64.b64decode(text, altchars="-_", validate=True).decode().split("|")
    return symbol, int(at_ns)


def _shape(record: Record) -> Json:
    return {"t": rfc3339(record.at_ns), **data_wire.fields_of(record)}


def _book_shape(quote: Quote) -> Json:
    return {"t": rfc3339(quote.at_ns), **data_wire.book_fields(quote)}


def _answer(name: str, found: Mapping[str, object], **more: object) -> web.Response:
    return web.json_response({name: found, **more})
