"""The trading API under /v2: the routes of one account, its keys and its rate limit."""

from collections import Counter
from collections.abc import Mapping

from aiohttp import web

from paper_exchange.api.account_rest import AccountRoutes
from paper_exchange.api.order_rest import OrderRoutes
from paper_exchange.api.position_rest import PositionRoutes
from paper_exchange.api.query import Route
from paper_exchange.api.rate_limit import RequestMeter
from paper_exchange.core import errors
from paper_exchange.core.exchange import Exchange


class TradingApi:
    def __init__(self, exchange: Exchange) -> None:
        self.meter = RequestMeter(exchange.config.rate_limit_per_minute)
        self.request_counts: Counter[str] = Counter()
        self._keys = (exchange.config.key, exchange.config.secret)
        self.routes: tuple[Route, ...] = (
            *AccountRoutes(exchange).routes(),
            *OrderRoutes(exchange).routes(),
            *PositionRoutes(exchange).routes(),
        )

    def add_routes(self, router: web.UrlDispatcher) -> None:
        for route in self.routes:
            route.add_to(router, errors.invalid)

    def admit(self, request: web.Request) -> Mapping[str, str]:
        """Checks key and rate. Returns the rate-limit headers of the answer, or raises ApiError."""
        given = (request.headers.get("APCA-API-KEY-ID"), request.headers.get("APCA-API-SECRET-KEY"))
        if given != self._keys:
            raise errors.unauthorized()
        self.request_counts[f"{request.method} {_route(request)}"] += 1
        return self.meter.admit()


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else request.path
