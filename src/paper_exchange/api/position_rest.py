"""Positions over HTTP: what is held, and selling it at the market. Holds no rules of trading."""

from decimal import Decimal

from aiohttp import web

from paper_exchange.api import wire
from paper_exchange.api.query import Query, Route
from paper_exchange.core import errors
from paper_exchange.core.account import Position
from paper_exchange.core.decimals import floor_to, plain, to_decimal
from paper_exchange.core.errors import ApiError
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.fees import COIN_INCREMENT
from paper_exchange.core.orders import Event, Order
from paper_exchange.faults.table import Seam

_ALL = Decimal(1)


class PositionRoutes:
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
        shown = _ALL
        for fault in self._exchange.faults.visit(Seam.POSITIONS, route="list", symbol=""):
            if fault.name == "position_lags":
                shown = fault.number("fraction")
            else:
                held = [] if fault.name == "positions_empty" else held[:-1]
        return web.json_response([self._position_shape(one, shown) for one in held])

    async def _position(self, _request: web.Request, query: Query) -> web.Response:
        asset = self._exchange.assets.find(query.path("name"))
        symbol = asset.symbol if asset else query.path("name")
        fault = self._exchange.faults.first(Seam.POSITIONS, route="single", symbol=symbol)
        position = self._exchange.account.position(symbol)
        is_hidden = fault is not None and fault.name != "position_lags"
        if position is None or is_hidden:
            raise errors.position_not_found()
        shown = fault.number("fraction") if fault is not None else _ALL
        return web.json_response(self._position_shape(position, shown))

    def _position_shape(self, position: Position, shown: Decimal) -> wire.Json:
        """With the fraction of its quantities that is shown."""
        shape = wire.position_json(self._exchange, position)
        if shown == _ALL:
            return shape
        late = {key: Decimal(str(shape[key])) * shown for key in ("qty", "qty_available")}
        return shape | {key: plain(floor_to(qty, COIN_INCREMENT)) for key, qty in late.items()}

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
        """Sells every position; one that is refused keeps none of the others back."""
        if query.flag("cancel_orders"):
            for order in self._exchange.book.all_open():
                self._exchange.end(order.id, Event.CANCELED)
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
        """At the market, the quantity floored to what can be ordered. Raises ApiError."""
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
