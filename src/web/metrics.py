"""/metrics for Prometheus and /healthz for monitors. Figures of the status, computed nowhere else.

Names end in their unit; what only grows ends in `_total`. A look by a monitor counts as one of a
viewer, at most every ten seconds.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal

from aiohttp import web
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from monitoring.status.asset_status import AssetStatus
from utils.alpaca_http import requests_sent
from web.guards import require_session
from web.live import Picture
from web.site import SITE, Busy, Site

LOOK_SECONDS = 10.0
_ASSET_GAUGES = (
    ("dca_bid_price_usd", "Best bid of the asset.", "bid"),
    ("dca_ask_price_usd", "Best ask of the asset.", "ask"),
    ("dca_average_price_usd", "What its coins cost on average.", "average_price"),
    ("dca_coins_held", "Coins that its open cycle holds.", "coins_held"),
    ("dca_buy_price_usd", "Where the next buy comes.", "buy_price"),
    ("dca_sell_price_usd", "Where it is sold.", "sell_price"),
    ("dca_safety_orders", "Safety orders that the open cycle has bought.", "safety_orders"),
    ("dca_safety_orders_allowed", "Safety orders that it may buy.", "max_safety_orders"),
    ("dca_invested_usd", "What its coins cost.", "invested_usd"),
    ("dca_capital_allowed_usd", "What its whole ladder can cost.", "capital_usd"),
    ("dca_profit_unrealised_usd", "What selling all now would earn.", "unrealised_usd"),
    ("dca_profit_realised_usd", "What its complete cycles earned, after fees.", "realised_usd"),
    ("dca_profit_realised_today_usd", "Of those, today (UTC).", "realised_today_usd"),
)


async def show_metrics(request: web.Request) -> web.Response:
    """For who has the token of metrics, or a session."""
    site = request.app[SITE]
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not site.access.may_read_metrics(token.strip()):
        require_session(request)
    registry = CollectorRegistry()
    registry.register(_Figures(site, await _look(site)))
    ProcessCollector(registry=registry)
    return web.Response(
        body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
    )


async def show_health(request: web.Request) -> web.Response:
    """Two words for whoever asks, and no more."""
    try:
        is_well = (await _look(request.app[SITE])).status.is_well
    except Busy:
        is_well = False
    return web.Response(text="ok" if is_well else "not well", status=200 if is_well else 503)


async def _look(site: Site) -> Picture:
    try:
        return await site.live.picture(max_age_seconds=LOOK_SECONDS)
    except TimeoutError:
        raise Busy("the status takes too long now") from None


class _Figures(Collector):
    """Those of one picture."""

    def __init__(self, site: Site, picture: Picture) -> None:
        self._site, self._picture = site, picture

    def collect(self) -> Iterator[Metric]:
        status = self._picture.status
        daemon, account, assets = status.daemon, status.account, status.assets or ()
        yield _one("dca_well", "1 while nothing is wrong.", status.is_well)
        yield _one("dca_problems", "Things that are wrong now.", len(status.problems))
        yield _one("dca_daemon_running", "1 while the bot's process runs.", daemon.pid is not None)
        yield _one("dca_buying_paused", "1 while the owner paused buying.", daemon.is_paused)
        is_known = status.assets is not None
        yield _one("dca_database_up", "1 while the database can be read.", is_known)
        is_there = status.exchange_problem is None
        yield _one("dca_exchange_up", "1 while the exchange answers.", is_there)
        for name, words, value in (
            ("dca_heartbeat_age_seconds", "Since the bot's last heartbeat.", daemon.beat_seconds),
            (
                "dca_comparison_age_seconds",
                "Since the bot compared its records with the exchange.",
                daemon.sweep_seconds,
            ),
            (
                "dca_quote_age_seconds",
                "Since the bot's last quote.",
                daemon.quotes.heard_seconds if daemon.quotes else None,
            ),
            (
                "dca_account_equity_usd",
                "Everything in the account.",
                account.equity_usd if account else None,
            ),
            ("dca_account_cash_usd", "Cash of it.", account.cash_usd if account else None),
            (
                "dca_profit_realised_month_usd",
                "What complete cycles earned this month (UTC), after fees.",
                self._picture.month_usd,
            ),
        ):
            if value is not None:
                yield _one(name, words, value)
        yield from _of_assets(assets)
        yield _one("dca_page_viewers", "Open pages.", self._site.live.viewers)
        sent = "Requests that the page has sent to the exchange."
        yield CounterMetricFamily("dca_page_exchange_requests", sent, value=requests_sent())


def _of_assets(assets: Iterable[AssetStatus]) -> Iterator[Metric]:
    assets = list(assets)
    for name, words, attribute in _ASSET_GAUGES:
        gauge = GaugeMetricFamily(name, words, labels=["symbol"])
        for asset in assets:
            value: Decimal | int | None = getattr(asset, attribute)
            if value is not None:
                gauge.add_metric([asset.symbol], float(value))
        yield gauge
    cycles = CounterMetricFamily("dca_cycles_completed", "Complete cycles.", labels=["symbol"])
    enabled = GaugeMetricFamily("dca_asset_enabled", "1 while it may buy.", labels=["symbol"])
    state = GaugeMetricFamily("dca_cycle_state", "1 for its state.", labels=["symbol", "state"])
    for asset in assets:
        cycles.add_metric([asset.symbol], asset.cycles)
        enabled.add_metric([asset.symbol], float(asset.is_enabled))
        state.add_metric([asset.symbol, asset.status.value if asset.status else "none"], 1.0)
    yield from (cycles, enabled, state)


def _one(name: str, words: str, value: Decimal | float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, words, value=float(value))


ROUTES = [
    web.route("GET", "/metrics", show_metrics),
    web.route("GET", "/healthz", show_health),
]
