"""The trading API under /v2.

Reads requests, asks the exchange, answers in Alpaca's shapes. Holds no rules of trading.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from aiohttp import web

from . import errors, wire
from .account import Position
from .activities import KINDS, MAX_PAGE_SIZE
from .clock import parse_time
from .decimals import floor_to, plain, to_decimal
from .errors import ApiError
from .exchange import Exchange
from .faults import Seam
from .orders import Order
from .rate_limit import RequestMeter

_DEFAULT_ORDERS = 50
_COIN_PLACES = Decimal("0.000000001")
_MAX_ORDERS = 500


def read_json(text: str) -> Mapping[str, object]:
    """A JSON object with every number as Decimal. Raises ApiError for anything else."""
    try:
        body = json.loads(
            text or "{}", parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant
        )
    except ValueError:
        raise errors.malformed_body() from None
    if not isinstance(body, dict):
        raise errors.malformed_body()
    return body


def refusal_response(refusal: ApiError) -> web.Response:
    headers = dict(refusal.headers)
    return web.json_response(refusal.body, status=refusal.http_status, headers=headers)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


class TradingApi:
    """The routes of /v2 for one account."""

    def __init__(self, exchange: Exchange, *, key: str, secret: str, rate_limit: int) -> None:
        self.meter = RequestMeter(rate_limit)
        self.request_counts: Counter[str] = Counter()
        self.last_equity = wire.equity(exchange)
        self._exchange = exchange
        self._key = key
        self._secret = secret
        self._created_at_ns = exchange.clock.now_ns()

    def add_routes(self, router: web.UrlDispatcher) -> None:
        add = router.add_route
        add("GET", "/v2/account", self._account)
        add("GET", "/v2/account/activities", self._activities)
        add("GET", "/v2/account/activities/{kind}", self._activities)
        add("GET", "/v2/assets", self._assets)
        add("GET", "/v2/assets/{name:.+}", self._asset)
        add("GET", "/v2/clock", self._clock)
        add("POST", "/v2/orders", self._submit)
        add("GET", "/v2/orders", self._orders)
        add("DELETE", "/v2/orders", self._cancel_all)
        add("GET", "/v2/orders:by_client_order_id", self._order_by_client_id)
        add("GET", "/v2/orders/{order_id}", self._order)
        add("PATCH", "/v2/orders/{order_id}", self._replace)
        add("DELETE", "/v2/orders/{order_id}", self._cancel)
        add("GET", "/v2/positions", self._positions)
        add("GET", "/v2/positions/{name}", self._position)
        add("DELETE", "/v2/positions/{name}", self._close_position)

    def admit(self, request: web.Request) -> Mapping[str, str]:
        """Checks key and rate. Returns the rate-limit headers of the answer, or raises ApiError."""
        given = (request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY"))
        if given != (self._key, self._secret):
            raise errors.unauthorized()
        self.request_counts[f"{request.method} {_route(request)}"] += 1
        allowance = self.meter.count(time.time())
        if allowance.is_exceeded:
            refusal = errors.too_many_requests()
            refusal.headers = allowance.headers
            raise refusal
        return allowance.headers

    # Account, clock and assets

    async def _account(self, _request: web.Request) -> web.Response:
        return web.json_response(
            wire.account_json(self._exchange, self._key, self._created_at_ns, self.last_equity)
        )

    async def _activities(self, request: web.Request) -> web.Response:
        query = request.query
        named = request.match_info.get("kind") or query.get("activity_types") or ",".join(KINDS)
        page = self._exchange.activities.page(
            kinds={kind.strip().upper() for kind in named.split(",")},
            after_ns=_time(query, "after"),
            until_ns=_time(query, "until"),
            day=_date(query, "date"),
            descending=_is_descending(query),
            page_size=_number(query, "page_size", MAX_PAGE_SIZE, MAX_PAGE_SIZE),
            page_token=query.get("page_token"),
        )
        account = wire.account_id(self._key)
        return web.json_response([wire.activity_json(one, account) for one in page])

    async def _clock(self, _request: web.Request) -> web.Response:
        """The stock market's hours matter to nobody here; crypto trades around the clock."""
        now = datetime.fromtimestamp(self._exchange.clock.now_ns() / 1e9, UTC)
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
        return web.json_response(
            {
                "timestamp": now.isoformat(),
                "is_open": True,
                "next_open": midnight.isoformat(),
                "next_close": midnight.isoformat(),
            }
        )

    async def _assets(self, request: web.Request) -> web.Response:
        status = request.query.get("status")
        if request.query.get("asset_class", "crypto") != "crypto":
            return web.json_response([])
        shapes = [wire.asset_json(asset) for asset in self._exchange.assets.all()]
        return web.json_response(
            [one for one in shapes if status in (None, "", "all", one["status"])]
        )

    async def _asset(self, request: web.Request) -> web.Response:
        return web.json_response(wire.asset_json(self._exchange.asset(request.match_info["name"])))

    # Orders

    async def _submit(self, request: web.Request) -> web.Response:
        return self._order_answer(self._exchange.submit(read_json(await request.text())))

    async def _replace(self, request: web.Request) -> web.Response:
        body = read_json(await request.text())
        return self._order_answer(self._exchange.replace(_order_id(request), body))

    async def _order(self, request: web.Request) -> web.Response:
        return self._order_answer(self._exchange.order(_order_id(request)))

    async def _order_by_client_id(self, request: web.Request) -> web.Response:
        wanted = request.query.get("client_order_id", "")
        if not wanted:
            raise errors.invalid("client_order_id is required")
        order = self._exchange.book.by_client_id(wanted)
        if order is None:
            raise errors.order_not_found(wanted)
        return self._order_answer(order)

    async def _orders(self, request: web.Request) -> web.Response:
        query, book = request.query, self._exchange.book
        status = query.get("status", "open")
        if status not in ("open", "closed", "all"):
            raise errors.invalid("invalid status")
        limit = _number(query, "limit", _DEFAULT_ORDERS, _MAX_ORDERS)
        after_ns, until_ns, side = _time(query, "after"), _time(query, "until"), query.get("side")
        symbols = {self._symbol(name) for name in query.get("symbols", "").split(",") if name}

        found: list[Order] = []
        for order in book.newest_first() if _is_descending(query) else book.oldest_first():
            if len(found) == limit:
                break
            if (
                (status == "all" or (status == "open") == order.status.is_open)
                and (after_ns is None or order.submitted_at_ns > after_ns)
                and (until_ns is None or order.submitted_at_ns < until_ns)
                and (not side or order.side.value == side)
                and (not symbols or order.symbol in symbols)
            ):
                found.append(order)
        return web.json_response([self._order_shape(order) for order in found])

    async def _cancel(self, request: web.Request) -> web.Response:
        self._exchange.cancel(_order_id(request))
        return web.Response(status=204)

    async def _cancel_all(self, _request: web.Request) -> web.Response:
        answers = []
        for order in self._exchange.book.all_open():
            answer: wire.Json = {"id": order.id, "status": 200}
            try:
                self._exchange.cancel(order.id)
            except ApiError as refusal:
                answer = {"id": order.id, "status": refusal.http_status, "body": refusal.body}
            answers.append(answer)
        return web.json_response(answers, status=207)

    # Positions

    async def _positions(self, _request: web.Request) -> web.Response:
        held = self._exchange.account.positions()
        told = Decimal(1)
        for fault in self._exchange.faults.visit(Seam.POSITIONS, route="list", symbol=""):
            if fault.name == "position_lags":
                told = fault.number("fraction")
            else:
                held = [] if fault.name == "positions_empty" else held[:-1]
        return web.json_response([self._position_shape(one, told) for one in held])

    async def _position(self, request: web.Request) -> web.Response:
        symbol = self._symbol(request.match_info["name"])
        position = self._exchange.account.position(symbol)
        fault = self._exchange.faults.first(Seam.POSITIONS, route="single", symbol=symbol)
        is_hidden = fault is not None and fault.name != "position_lags"
        if position is None or is_hidden:
            raise errors.position_not_found()
        told = fault.number("fraction") if fault is not None else Decimal(1)
        return web.json_response(self._position_shape(position, told))

    async def _close_position(self, request: web.Request) -> web.Response:
        """Sells all of it, or `qty`, or `percentage`, at the market."""
        position = self._exchange.account.position(self._symbol(request.match_info["name"]))
        if position is None:
            raise errors.position_not_found()
        qty = position.qty
        try:
            if (text := request.query.get("qty")) is not None:
                qty = to_decimal(text)
            elif (text := request.query.get("percentage")) is not None:
                qty = position.qty * to_decimal(text) / 100
        except ValueError as error:
            raise errors.invalid(str(error)) from None
        step = self._exchange.asset(position.symbol).min_trade_increment
        sell = {
            "symbol": position.symbol,
            "qty": plain(floor_to(qty, step)),
            "side": "sell",
            "type": "market",
            "time_in_force": "gtc",
        }
        return self._order_answer(self._exchange.submit(sell))

    # Shapes

    def _symbol(self, name: str) -> str:
        asset = self._exchange.assets.find(name)
        return asset.symbol if asset else name

    def _position_shape(self, position: Position, told: Decimal) -> wire.Json:
        """All of it, or the part that is told already."""
        shape = wire.position_json(self._exchange, position)
        if told == 1:
            return shape
        late = {key: Decimal(str(shape[key])) * told for key in ("qty", "qty_available")}
        return shape | {key: plain(floor_to(qty, _COIN_PLACES)) for key, qty in late.items()}

    def _order_shape(self, order: Order) -> wire.Json:
        return wire.order_json(order, self._exchange.asset(order.symbol))

    def _order_answer(self, order: Order) -> web.Response:
        return web.json_response(self._order_shape(order))


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path


def _order_id(request: web.Request) -> str:
    text = request.match_info["order_id"]
    try:
        return str(uuid.UUID(text))
    except ValueError:
        raise errors.invalid(f"invalid order id {text}: must be a uuid") from None


def _read(query: Mapping[str, str], name: str, reader: Callable[[str], object]) -> object:
    text = query.get(name)
    if not text:
        return None
    try:
        return reader(text)
    except ValueError:
        raise errors.invalid(f"invalid {name}: {text}") from None


def _time(query: Mapping[str, str], name: str) -> int | None:
    return _read(query, name, parse_time)


def _date(query: Mapping[str, str], name: str) -> date | None:
    return _read(query, name, date.fromisoformat)


def _number(query: Mapping[str, str], name: str, default: int, maximum: int) -> int:
    number = _read(query, name, int)
    if number is None:
        return default
    if not 1 <= number <= maximum:
        raise errors.invalid(f"{name} must be between 1 and {maximum}")
    return number


def _is_descending(query: Mapping[str, str]) -> bool:
    direction = query.get("direction") or "desc"
    if direction not in ("asc", "desc"):
        raise errors.invalid(f"invalid direction: {direction}")
    return direction == "desc"
