"""Orders over HTTP: /v2/orders and below. Holds no rules of trading."""

import uuid
from collections.abc import Callable, Iterable

from aiohttp import web

from paper_exchange.api import wire
from paper_exchange.api.http_json import read_json
from paper_exchange.api.query import Query, Route
from paper_exchange.core import errors
from paper_exchange.core.errors import ApiError
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.orders import Order, Side

_DEFAULT_ORDERS = 50
_MAX_ORDERS = 500
_LIST_FILTERS = (
    "status", "limit", "after", "until", "direction", "nested", "symbols", "side", "asset_class",
    "before_order_id", "after_order_id",
)  # fmt: skip
_ASSET_CLASSES = frozenset(
    {"us_equity", "us_option", "crypto", "crypto_perp", "treasury", "corporate", "global_equity",
     "us_index", "us_equity_chain", "ipo", "all"}
)  # fmt: skip


class OrderRoutes:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> tuple[Route, ...]:
        one = "/v2/orders/{order_id}"
        return (
            Route("POST", "/v2/orders", self._submit),
            Route("GET", "/v2/orders", self._orders, _LIST_FILTERS),
            Route("DELETE", "/v2/orders", self._cancel_all),
            Route("GET", "/v2/orders:by_client_order_id", self._by_client_id, ("client_order_id",)),
            # Crypto orders have no legs to roll up: nested true and false answer the same.
            Route("GET", one, self._order, ("nested",)),
            Route("PATCH", one, self._replace),
            Route("DELETE", one, self._cancel),
        )

    async def _submit(self, request: web.Request, _query: Query) -> web.Response:
        return self._answer(self._exchange.submit(read_json(await request.text())))

    async def _replace(self, request: web.Request, query: Query) -> web.Response:
        body = read_json(await request.text())
        return self._answer(self._exchange.replace(_order_id(query), body))

    async def _order(self, _request: web.Request, query: Query) -> web.Response:
        query.flag("nested")
        return self._answer(self._exchange.order(_order_id(query)))

    async def _by_client_id(self, _request: web.Request, query: Query) -> web.Response:
        wanted = query.text("client_order_id")
        if wanted is None:
            raise errors.invalid("client_order_id is required")
        order = self._exchange.book.by_client_id(wanted)
        if order is None:
            raise errors.order_not_found(wanted)
        return self._answer(order)

    async def _orders(self, _request: web.Request, query: Query) -> web.Response:
        status = query.choice("status", ("open", "closed", "all"), "open")
        limit = query.number("limit", _DEFAULT_ORDERS, _MAX_ORDERS)
        descending = query.choice("direction", ("asc", "desc"), "desc") == "desc"
        query.flag("nested")
        fits: list[Callable[[Order], bool]] = [
            *self._time_bounds(query),
            *self._symbol_and_class(query),
            lambda order: status == "all" or (status == "open") == order.status.is_open,
        ]
        book = self._exchange.book
        found: list[Order] = []
        for order in book.newest_first() if descending else book.oldest_first():
            if len(found) == limit:
                break
            if all(fit(order) for fit in fits):
                found.append(order)
        return web.json_response([self._shape(order) for order in found])

    def _time_bounds(self, query: Query) -> Iterable[Callable[[Order], bool]]:
        """By time of submission, or by place among the orders; the bound itself is left out."""
        after_ns, until_ns = query.time("after"), query.time("until")
        before_id, after_id = query.text("before_order_id"), query.text("after_order_id")
        if before_id and after_id:
            raise errors.invalid("before_order_id and after_order_id are mutually exclusive")
        if (before_id or after_id) and (after_ns is not None or until_ns is not None):
            raise errors.invalid("before_order_id and after_order_id exclude after and until")
        if after_ns is not None:
            yield lambda order: order.submitted_at_ns > after_ns
        if until_ns is not None:
            yield lambda order: order.submitted_at_ns < until_ns
        if before_id:
            before = self._ordinal(before_id)
            yield lambda order: order.ordinal < before
        if after_id:
            after = self._ordinal(after_id)
            yield lambda order: order.ordinal > after

    def _symbol_and_class(self, query: Query) -> Iterable[Callable[[Order], bool]]:
        if symbols := query.names("symbols"):
            spelling = self._exchange.switches.symbols_filter
            yield lambda order: spelling.matches(order.symbol, symbols)
        if query.text("side") is not None:
            side = Side(query.choice("side", [one.value for one in Side], ""))
            yield lambda order: order.side is side
        classes = {
            query.one_of("asset_class", name, _ASSET_CLASSES) for name in query.names("asset_class")
        }
        if classes and not classes & {"crypto", "all"}:
            yield lambda _order: False

    def _ordinal(self, order_id: str) -> int:
        return self._exchange.order(_uuid(order_id)).ordinal

    async def _cancel(self, _request: web.Request, query: Query) -> web.Response:
        self._exchange.cancel(_order_id(query))
        return web.Response(status=204)

    async def _cancel_all(self, _request: web.Request, _query: Query) -> web.Response:
        answers = []
        for order in self._exchange.book.all_open():
            answer: wire.Json = {"id": order.id, "status": 200}
            try:
                self._exchange.cancel(order.id)
            except ApiError as refusal:
                answer = {"id": order.id, "status": refusal.http_status, "body": refusal.body}
            answers.append(answer)
        return web.json_response(answers, status=207)

    def _shape(self, order: Order) -> wire.Json:
        return wire.order_json(order, self._exchange.asset(order.symbol))

    def _answer(self, order: Order) -> web.Response:
        return web.json_response(self._shape(order))


def _order_id(query: Query) -> str:
    return _uuid(query.path("order_id"))


def _uuid(text: str) -> str:
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise errors.invalid(f"invalid order id {text}: must be a uuid") from None
