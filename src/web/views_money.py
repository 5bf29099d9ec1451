"""GET report, report.csv, equity and doctor: what was earned, what the account is worth, and what
is not as it should be.
"""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any, TypeVar

from aiohttp import web

from models.asset_config import get_asset_config
from models.recent_fills import get_recent_fills
from monitoring.doctor.doctor import examine
from monitoring.doctor.findings import Level
from operations.asset_input import read_symbol
from operations.refused import Refused
from operations.time_ranges import read_moment
from performance.report import By, Report, compute_report
from performance.report_json import Now, report_csv, report_json
from utils.account_value import fetch_equity_history
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_http import ExchangeError
from utils.db_utils import thread_connection
from utils.formatting import plain
from web.guards import Denied
from web.queries import number_of, text_in
from web.site import SITE, Busy, Site

T = TypeVar("T")

FILLS_SHOWN = 5
DOCTOR_SECONDS, DOCTOR_KEPT_SECONDS = 40.0, 30.0
EQUITY_KEPT_SECONDS = 300.0
MAX_DAYS = 3650
_LEVELS = {Level.OK: "ok", Level.WARN: "warning", Level.FAIL: "error"}


# What was earned


async def show_report(request: web.Request) -> web.Response:
    site, symbol = request.app[SITE], _symbol(request)
    with contextlib.suppress(TimeoutError):
        await site.live.picture(max_age_seconds=60.0)  # knows the account

    def work() -> dict[str, Any]:
        report = _report(site, request, symbol)
        fills = tuple(get_recent_fills(thread_connection(), FILLS_SHOWN, symbol))
        return report_json(report, Now(account=site.source.account, fills=fills))

    return web.json_response(await site.run(work))


async def send_csv(request: web.Request) -> web.Response:
    """The bytes of scripts/report --csv."""
    site, symbol = request.app[SITE], _symbol(request)
    report = await site.run(lambda: _report(site, request, symbol))
    name = f"report-{report.by.value}.csv"
    return web.Response(
        text=report_csv(report),
        content_type="text/csv",
        charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _symbol(request: web.Request) -> str | None:
    text = text_in(request, "asset")
    return None if text is None else read_symbol(text)


def _report(site: Site, request: web.Request, symbol: str | None) -> Report:
    by, now = text_in(request, "by") or By.ASSET.value, datetime.now(UTC)
    if by not in list(By):
        raise Denied(400, f"by: expected {', '.join(By)}")
    since = read_moment("since", text_in(request, "since"), now, is_end=False)
    until = read_moment("until", text_in(request, "until"), now, is_end=True)
    if since is not None and until is not None and since >= until:
        raise Refused("since is not before until")
    cycles = site.journals.load(symbol)
    if symbol is not None and not cycles and get_asset_config(thread_connection(), symbol) is None:
        raise Refused(f"the journal knows no {symbol}, and it is not configured")
    return compute_report(cycles, By(by), now=now, since=since, until=until)


# What the account is worth


async def show_equity(request: web.Request) -> web.Response:
    """Realised profit, added up, and the account's equity as the exchange keeps it."""
    site = request.app[SITE]
    days = number_of(request, "days", most=MAX_DAYS) or 30
    body = await site.run(lambda: {"profit": _profit(site, days)})
    why = None
    try:
        equity = await _kept_equity(site, days)
    except (ExchangeError, Busy) as error:
        equity, why = None, f"the exchange does not say: {error}"
    return web.json_response(body | {"equity": equity, "why_no_equity": why})


def _profit(site: Site, days: int) -> list[dict[str, Any]]:
    """From what was earned before on; a step for each cycle."""
    now = datetime.now(UTC)
    since = now - timedelta(days=days)
    cycles = compute_report(site.journals.load(), By.CYCLE, now=now).total.cycles
    if not cycles:
        return []
    sums = list(accumulate(cycle.profit_usd for cycle in cycles))
    steps = list(zip((cycle.completed_at for cycle in cycles), sums, strict=True))
    before = [usd for at, usd in steps if at < since]
    first = [(since, before[-1])] if before else []
    shown = [*first, *((at, usd) for at, usd in steps if at >= since), (now, sums[-1])]
    return [{"time": plain(at), "usd": plain(usd)} for at, usd in shown]


async def _kept_equity(site: Site, days: int) -> list[dict[str, Any]]:
    def fetch() -> list[dict[str, Any]]:
        points = fetch_equity_history(get_trading_client(), days)
        return [{"time": plain(one.at), "usd": plain(one.equity_usd)} for one in points]

    points: list[dict[str, Any]] = await site.kept.get(
        ("equity", days), EQUITY_KEPT_SECONDS, lambda: site.run(fetch)
    )
    return points


# What is not as it should be


async def show_doctor(request: web.Request) -> web.Response:
    site = request.app[SITE]

    def look() -> list[dict[str, Any]]:
        return [
            {
                "level": _LEVELS[one.level],
                "subject": one.subject,
                "words": one.text,
                "cure": one.cure,
            }
            for one in examine(known=site.settings)
        ]

    findings = await site.kept.get(
        ("doctor",), DOCTOR_KEPT_SECONDS, lambda: site.run(look, seconds=DOCTOR_SECONDS)
    )
    return web.json_response({"findings": findings})


ROUTES = [
    web.route("GET", "/api/report", show_report),
    web.route("GET", "/api/report.csv", send_csv),
    web.route("GET", "/api/equity", show_equity),
    web.route("GET", "/api/doctor", show_doctor),
]
