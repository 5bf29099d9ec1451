"""GET events: alerts, event rows and edges of the daemon's log, filtered."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from models.meta import check_schema
from operations.asset_input import read_symbol
from utils.db_utils import thread_connection
from web.guards import Denied
from web.queries import text_in
from web.records import LEVELS, Wanted, load_page
from web.site import SITE


async def list_events(request: web.Request) -> web.Response:
    site = request.app[SITE]
    symbol, level = text_in(request, "symbol"), text_in(request, "level")
    if level is not None and level not in LEVELS:
        raise Denied(400, f"level: expected {', '.join(LEVELS)}")
    wanted = Wanted(
        kind=text_in(request, "kind"),
        symbol=None if symbol is None else read_symbol(symbol),
        level=level,
        text=text_in(request, "text"),
        before=text_in(request, "before"),
    )

    def work() -> dict[str, Any]:
        check_schema(thread_connection())
        try:
            items, has_more = load_page(site.settings, wanted)
        except ValueError as error:
            raise Denied(400, str(error)) from None
        return {"items": items, "has_more": has_more}

    return web.json_response(await site.run(work))


ROUTES = [web.route("GET", "/api/events", list_events)]
