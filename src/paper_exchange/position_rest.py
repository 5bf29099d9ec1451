"""Positions over HTTP: what is held, and selling it at the market. Holds no rules of trading."""

from decimal import Decimal

from aiohttp import web

from . import errors, wire
from .account import Position
from .decimals import floor_to, plain, to_decimal
from .errors import ApiError
from .exchange import Exchange
from .faults import Seam
from .orders import Order
from .query import Query, Route


class PositionDesk:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> tuple[Route, ...]:
        one = "/v2/positions/{name}"
        return (
            Route("GET", "/v2/positions", self._positions),
            Route("DELETE", "/v2/positions", self._close_all, ("cancel_orders",)),
            Route("GET", one, self._position),
            Route("DELETE", one, self._close, ("qty", "percentage")),
        )

    async def _positions(self, _request: web.Request, _query: Query) -> web.Response:
        held = self._exchange.account.positions()
        for fault in self._exchange.faults.visit(Seam.POSITIONS, route="list", symbol=""):
            held = [] if fault.name == "positions_empty" else held[:-1]
        return web.json_response([wire.position_json(self._exchange, one) for one in held])

    async def _position(self, _request: web.Request, query: Query) -> web.Response:
        asset = self._exchange.assets.find(query.path("name"))
        symbol = asset.symbol if asset else query.path("name")
        hidden = self._exchange.faults.first(Seam.POSITIONS, route="single", symbol=symbol)
        position = self._exchange.account.position(symbol)
        if position is None or hidden is not None:
            raise errors.position_not_found()
        return web.json_response(wire.position_json(self._exchange, position))

    async def _close(self, _request: web.Request, query: Query) -> web.Response:
        """Sells all of it, or `qty`, or `percentage`."""
        asset = self._exchange.assets.find(query.path("name"))
        position = self._exchange.account.position(asset.symbol) if asset else None
        if position is None:
            raise errors.position_not_found()
        qty, percentage = query.read("qty", to_decimal), query.read("percentage", to_decimal)
        if qty is not None and percentage is not None:
            raise errors.invalid("only one of qty or percentage is accepted")
        if percentage is not None:
            if not 0 < percentage <= 100:
                raise errors.invalid("percentage must be between 0 and 100")
            qty = position.qty * percentage / 100
        return web.json_response(self._shape(self._sell(position, qty)))

    async def _close_all(self, _request: web.Request, query: Query) -> web.Response:
        """Sells every position. Refusals stand in their row; the others are sold all the same."""
        if query.flag("cancel_orders"):
            for order in self._exchange.book.all_open():
                self._exchange.cancel_now(order.id)
        answers: list[wire.Json] = []
        for position in self._exchange.account.positions():
            name = self._exchange.asset(position.symbol).position_symbol
            try:
                body, status = self._shape(self._sell(position)), 200
            except ApiError as refusal:
                body, status = dict(refusal.body), refusal.http_status
            answers.append({"symbol": name, "status": status, "body": body})
        return web.json_response(answers, status=207)

    def _sell(self, position: Position, qty: Decimal | None = None) -> Order:
        """At the market; floored, because more than that cannot be ordered. Raises ApiError."""
        step = self._exchange.asset(position.symbol).min_trade_increment
        sell = {
            "symbol": position.symbol,
            "qty": plain(floor_to(position.qty if qty is None else qty, step)),
            "side": "sell",
            "type": "market",
            "time_in_force": "gtc",
        }
        return self._exchange.submit(sell)

    def _shape(self, order: Order) -> wire.Json:
        return wire.order_json(order, self._exchange.asset(order.symbol))
