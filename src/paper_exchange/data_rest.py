"""The market data API under /v1beta3/crypto/us/latest.

Newest quotes, trades and bars. Needs no keys.
"""

import re

from aiohttp import web

from . import wire
from .clock import rfc3339
from .distortion import distorted
from .errors import ApiError
from .exchange import Exchange

_PAIR = re.compile(r"[A-Z]+/[A-Z]+")


class MarketDataApi:
    def __init__(self, exchange: Exchange) -> None:
        self._market = exchange.market
        self._faults = exchange.faults

    def add_routes(self, router: web.UrlDispatcher) -> None:
        prefix = "/v1beta3/crypto/us/latest"
        router.add_get(f"{prefix}/quotes", self._quotes)
        router.add_get(f"{prefix}/trades", self._trades)
        router.add_get(f"{prefix}/bars", self._bars)

    async def _quotes(self, request: web.Request) -> web.Response:
        found = [
            distorted(one, self._faults, "rest") for one in _pick(self._market.quotes, request)
        ]
        return _answer(
            "quotes", {one.symbol: _timed(wire.quote_fields(one), one.at_ns) for one in found}
        )

    async def _trades(self, request: web.Request) -> web.Response:
        found = _pick(self._market.trades, request)
        return _answer(
            "trades", {one.symbol: _timed(wire.trade_fields(one), one.at_ns) for one in found}
        )

    async def _bars(self, request: web.Request) -> web.Response:
        found = _pick(self._market.bars, request)
        return _answer(
            "bars", {one.symbol: _timed(wire.bar_fields(one), one.at_ns) for one in found}
        )


def _pick(latest: dict, request: web.Request) -> list:
    """The newest of each symbol asked for; symbols without any are left out of the answer."""
    symbols = [name.strip() for name in request.query.get("symbols", "").split(",") if name.strip()]
    if not symbols:
        raise ApiError(400, "symbols is required")
    for symbol in symbols:
        if _PAIR.fullmatch(symbol) is None:
            raise ApiError(400, f"invalid symbol: {symbol} does not match ^[A-Z]+/[A-Z]+$")
    return [latest[symbol] for symbol in symbols if symbol in latest]


def _timed(fields: wire.Json, at_ns: int) -> wire.Json:
    return {"t": rfc3339(at_ns), **fields}


def _answer(name: str, found: dict) -> web.Response:
    return web.json_response({name: found})
