"""GET session, status and live; signing in and out."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any

from aiohttp import web

from domain.asset import DcaAsset
from models.asset_config import get_all_assets
from models.meta import check_schema
from runtime.operator_flags import is_paused
from utils.db_utils import DatabaseError, thread_connection
from utils.formatting import describe_account, plain
from utils.log_events import LogEvent, log_event
from web.access import SESSION_SECONDS
from web.guards import Denied, cookie_name, note_denied, require_session, text_of
from web.site import SITE, Busy

log = logging.getLogger(__name__)

OPEN_SECONDS = 3.0  # a page opens without its database, too
STUCK_SECONDS = 20.0  # a viewer that takes nothing for so long is left


async def sign_in(request: web.Request) -> web.Response:
    """The token is exchanged for a cookie that no script can read."""
    site, token = request.app[SITE], text_of(request, "token")
    if (cookie := site.access.open_session(token)) is None:
        note_denied(request)
        raise Denied(401, "that is not the token", "scripts/web link prints the link that has it")
    log_event(log, LogEvent.PAGE_OPENED)
    answer = web.Response(status=204)
    answer.set_cookie(
        cookie_name(site.settings),
        cookie,
        max_age=int(SESSION_SECONDS),
        path="/",
        httponly=True,
        secure=request.headers.get("Origin", "").startswith("https:"),
        samesite="Strict",
    )
    return answer


async def sign_out(request: web.Request) -> web.Response:
    site = request.app[SITE]
    site.access.end_session(require_session(request))
    answer = web.Response(status=204)
    answer.del_cookie(cookie_name(site.settings), path="/")
    return answer


async def show_session(request: web.Request) -> web.Response:
    site = request.app[SITE]
    settings = site.settings
    try:
        assets = await site.run(_load_assets, seconds=OPEN_SECONDS)
    except (DatabaseError, Busy):
        assets = None  # the page opens all the same, and says what is gone
    body: dict[str, Any] = {
        "csrf": site.access.csrf_of(require_session(request)),
        "version": site.version,
        "account": {"is_real_money": settings.is_live, "words": describe_account(settings)},
        "symbols": [asset.asset_symbol for asset in assets or ()],
        "paused": is_paused(settings.run_dir),
        "web": {"served_since": plain(site.served_since)},
    }
    return web.json_response(body)


def _load_assets() -> list[DcaAsset]:
    connection = thread_connection()
    check_schema(connection)
    return get_all_assets(connection)


async def show_status(request: web.Request) -> web.Response:
    live = request.app[SITE].live
    try:
        picture = await live.picture()
    except TimeoutError:  # the last good figures say of when they are
        if live.last is None:
            raise Busy("the status takes too long now") from None
        picture = live.last
    return web.Response(text=picture.text, content_type="application/json")


async def stream_live(request: web.Request) -> web.StreamResponse:
    """Server-sent events until the viewer goes, or its session ends."""
    site = request.app[SITE]
    live, cookie = site.live, require_session(request)
    if live.is_full:
        raise Busy("too many pages are open: close one")
    viewer = live.join()
    # The second is for nginx: what it held back would not be live.
    headers = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
    answer = web.StreamResponse(headers=headers)
    try:
        await answer.prepare(request)
        await _write(answer, "retry: 2000\n\n")
        with contextlib.suppress(TimeoutError):  # it is told that it is gone
            picture = await live.picture()
            await _write(answer, f"event: status\ndata: {picture.text}\n\n")
        while not viewer.is_left:
            try:
                async with asyncio.timeout(site.comment_seconds):
                    text = await viewer.messages.get()
            except TimeoutError:
                text = ": still here\n\n"
            if not site.access.has_session(cookie):  # it may have ended while nothing came
                break
            await _write(answer, text)
    except (ConnectionError, TimeoutError):
        pass  # it has gone, or takes nothing
    finally:
        live.leave(viewer)
        answer.force_close()
    return answer


async def _write(answer: web.StreamResponse, text: str) -> None:
    async with asyncio.timeout(STUCK_SECONDS):
        await answer.write(text.encode("utf-8"))


ROUTES = [
    web.route("POST", "/api/session", sign_in),
    web.route("DELETE", "/api/session", sign_out),
    web.route("GET", "/api/session", show_session),
    web.route("GET", "/api/status", show_status),
    web.get("/api/live", stream_live, allow_head=False),
]
