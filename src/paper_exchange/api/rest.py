"""The trading API under /v2: who may come in and how often. The desks answer."""

import time
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal

from aiohttp import web

from paper_exchange.api.account_rest import AccountDesk
from paper_exchange.api.order_rest import OrderDesk
from paper_exchange.api.position_rest import PositionDesk
from paper_exchange.api.query import Route
from paper_exchange.api.rate_limit import RequestMeter
from paper_exchange.core import errors
from paper_exchange.core.exchange import Exchange


class TradingApi:
    """The routes of /v2 for one account."""

    def __init__(self, exchange: Exchange, *, key: str, secret: str, rate_limit: int) -> None:
        self.meter = RequestMeter(rate_limit)
        self.request_counts: Counter[str] = Counter()
        self._exchange = exchange
        self._key = key
        self._secret = secret
        desks = (AccountDesk(exchange, key=key), OrderDesk(exchange), PositionDesk(exchange))
        self.routes: tuple[Route, ...] = tuple(route for desk in desks for route in desk.routes())

    @property
    def last_equity(self) -> Decimal:
        """USD at the end of the day before."""
        return self._exchange.profile.last_equity

    @last_equity.setter
    def last_equity(self, equity: Decimal) -> None:
        self._exchange.profile.last_equity = equity

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for route in self.routes:
            route.add_to(router, errors.invalid)

    def admit(self, request: web.Request) -> Mapping[str, str]:
        """Checks key and rate. Returns the rate-limit headers of the answer, or raises ApiError."""
        given = (request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY"))
        if given != (self._key, self._secret):
            raise errors.unauthorized()
        self.request_counts[f"{request.method} {_route(request)}"] += 1
        return admitted(self.meter)


def admitted(meter: RequestMeter) -> Mapping[str, str]:
    """Counts a request; the headers that its answer bears, or ApiError (429)."""
    allowance = meter.count(time.time())
    if allowance.is_exceeded:
        refusal = errors.too_many_requests()
        refusal.headers = allowance.headers
        raise refusal
    return allowance.headers


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path
