"""The account over HTTP: balances, configurations, history, activities; assets, the clock."""

from datetime import UTC, datetime, timedelta

from aiohttp import web

from paper_exchange.api import portfolio, wire
from paper_exchange.api.http_json import read_json
from paper_exchange.api.query import Query, Route
from paper_exchange.core import errors
from paper_exchange.core.activities import KINDS, MAX_PAGE_SIZE
from paper_exchange.core.exchange import Exchange

_ACTIVITY_FILTERS = (
    "order_id", "date", "after", "until", "direction", "page_size", "page_token",
)  # fmt: skip
_ASSET_FILTERS = ("status", "asset_class", "exchange", "attributes")
_CATEGORIES = {"trade_activity": {"FILL"}, "non_trade_activity": set(KINDS) - {"FILL"}}
_ACTIVITY_TYPES = frozenset(
    {"FILL", "TRANS", "MISC", "ACATC", "ACATS", "CFEE", "CGD", "CSD", "CSW", "DIV", "DIVCGL",
     "DIVCGS", "DIVFEE", "DIVFT", "DIVNRA", "DIVROC", "DIVTW", "DIVTXEX", "FEE", "INT", "INTNRA",
     "INTTW", "JNL", "JNLC", "JNLS", "MA", "NC", "OPASN", "OPCA", "OPCSH", "OPEXC", "OPEXP",
     "OPTRD", "PTC", "PTR", "REO", "REORG", "SPIN", "SPLIT", "FOPT", "OCT"}
)  # fmt: skip
"""Those of Alpaca's description; most never happen here, and their list is empty."""


class AccountRoutes:
    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def routes(self) -> tuple[Route, ...]:
        listed = ("activity_types", "category", *_ACTIVITY_FILTERS)
        return (
            Route("GET", "/v2/account", self._account),
            Route("GET", "/v2/account/configurations", self._configurations),
            Route("PATCH", "/v2/account/configurations", self._configure),
            Route("GET", "/v2/account/portfolio/history", self._history, portfolio.PARAMETERS),
            Route("GET", "/v2/account/activities", self._activities, listed),
            Route("GET", "/v2/account/activities/{kind}", self._of_a_kind, _ACTIVITY_FILTERS),
            Route("GET", "/v2/assets", self._assets, _ASSET_FILTERS),
            Route("GET", "/v2/assets/{name:.+}", self._asset),
            Route("GET", "/v2/clock", self._clock),
        )

    async def _account(self, _request: web.Request, _query: Query) -> web.Response:
        return web.json_response(wire.account_json(self._exchange))

    async def _configurations(self, _request: web.Request, _query: Query) -> web.Response:
        return web.json_response(self._exchange.profile.configurations)

    async def _configure(self, request: web.Request, _query: Query) -> web.Response:
        body = read_json(await request.text())
        return web.json_response(self._exchange.configure_account(body))

    async def _history(self, _request: web.Request, query: Query) -> web.Response:
        window = portfolio.parse_window(query, self._exchange.clock.now_ns())
        curve, equity = self._exchange.equity_curve, self._exchange.equity()
        return web.json_response(portfolio.history_json(curve, window, equity))

    async def _activities(self, _request: web.Request, query: Query) -> web.Response:
        kinds, category = query.names("activity_types"), query.text("category")
        if kinds and category:
            raise errors.invalid("category cannot be used with activity_types")
        if category:
            query.one_of("category", category, _CATEGORIES)
            return self._page(query, tuple(_CATEGORIES[category]))
        return self._page(query, kinds or KINDS)

    async def _of_a_kind(self, _request: web.Request, query: Query) -> web.Response:
        return self._page(query, tuple(query.path("kind").split(",")))

    def _page(self, query: Query, kinds: tuple[str, ...]) -> web.Response:
        page = self._exchange.activities.page(
            kinds={
                query.one_of("activity type", kind.strip().upper(), _ACTIVITY_TYPES)
                for kind in kinds
            },
            order_id=query.text("order_id"),
            after_ns=query.time("after"),
            until_ns=query.time("until"),
            day=query.date("date"),
            descending=query.choice("direction", ("asc", "desc"), "desc") == "desc",
            page_size=query.number("page_size", MAX_PAGE_SIZE, MAX_PAGE_SIZE),
            page_token=query.text("page_token"),
        )
        return web.json_response([wire.activity_json(self._exchange, one) for one in page])

    async def _assets(self, _request: web.Request, query: Query) -> web.Response:
        """Without `asset_class` the list is of US stocks, as Alpaca's, and empty."""
        of_class = query.text("asset_class") or "us_equity"
        status, exchange = query.text("status"), query.text("exchange")
        shapes = [wire.asset_json(asset) for asset in self._exchange.assets.all()]
        found = [
            one
            for one in shapes
            if one["class"] == of_class
            and status in (None, "all", one["status"])
            and exchange in (None, one["exchange"])
            and not query.names("attributes")  # no crypto asset has any
        ]
        return web.json_response(found)

    async def _asset(self, _request: web.Request, query: Query) -> web.Response:
        return web.json_response(wire.asset_json(self._exchange.asset(query.path("name"))))

    async def _clock(self, _request: web.Request, _query: Query) -> web.Response:
        """Always open: crypto trades around the clock."""
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
