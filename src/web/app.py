"""The page's server: its routes, and how it is served until it is asked to end.

Beside the daemon, never inside it. Knows no figure: each views module has its own routes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import ssl
import tomllib
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from config import PROJECT_ROOT, Settings
from operations.refused import Refused
from runtime.web_page import PAGE, PageBeat, address_of
from utils.alpaca_http import requests_sent, stand_back
from utils.log_events import LogEvent, log_event
from web import (
    changes,
    closing,
    metrics,
    views_assets,
    views_events,
    views_money,
    views_status,
    views_try,
)
from web.access import Access
from web.guards import (
    MAX_BODY_BYTES,
    add_headers,
    allowed_hosts,
    allowed_origins,
    answer_errors,
    guard,
)
from web.live import PERIOD_SECONDS, READ_SECONDS, Live
from web.site import BODY_SECONDS, COMMENT_SECONDS, SITE, Site
from web.status_source import StatusSource

log = logging.getLogger(__name__)

STATIC = Path(__file__).parent / "static"
ROUTES = [
    *views_status.ROUTES,
    *views_assets.ROUTES,
    *views_events.ROUTES,
    *views_money.ROUTES,
    *metrics.ROUTES,
    *changes.ROUTES,
    *closing.ROUTES,
    *views_try.ROUTES,
]
# For each request that is no HTTP, aiohttp logs an ERROR with its bytes: anybody could have mails
# sent, and a cookie be logged. What a request of ours meets, answer_errors says.
_UNREAD = logging.Logger("web.protocol", logging.CRITICAL + 1)
IDLE_SECONDS = 30.0  # a connection that sends no whole request for so long is closed
LINGER_SECONDS = 1.0  # for the rest of a body that was refused
BEAT_SECONDS = 5.0
END_SECONDS = 2.0


def make_app(
    settings: Settings,
    *,
    period_seconds: float = PERIOD_SECONDS,
    body_seconds: float = BODY_SECONDS,
    comment_seconds: float = COMMENT_SECONDS,
    read_seconds: float = READ_SECONDS,
) -> web.Application:
    """Everything but the socket. Made in the event loop that runs it.

    Raises:
        OSError: the run folder cannot be written.
    """
    app = web.Application(middlewares=[answer_errors, guard], client_max_size=MAX_BODY_BYTES)
    source = StatusSource(settings)
    app[SITE] = Site(
        settings=settings,
        access=Access(settings),
        live=Live(source.load, period_seconds=period_seconds, read_seconds=read_seconds),
        source=source,
        hosts=allowed_hosts(settings),
        origins=allowed_origins(settings),
        served_since=datetime.now(UTC),
        version=_read_version(),
        body_seconds=body_seconds,
        comment_seconds=comment_seconds,
    )
    app.on_response_prepare.append(add_headers)
    app.on_shutdown.append(_end)
    app.cleanup_ctx.append(views_try.hold_history)
    app.add_routes(ROUTES)
    app.router.add_get("/", _show_page)
    app.router.add_static("/static/", STATIC)
    return app


def _read_version() -> str:
    """As pyproject.toml says."""
    text = (PROJECT_ROOT / "pyproject.toml").read_text("utf-8")
    return str(tomllib.loads(text)["project"]["version"])


async def _show_page(_request: web.Request) -> web.FileResponse:
    """It holds no secret: what it shows it asks for."""
    return web.FileResponse(STATIC / "index.html")


async def _end(app: web.Application) -> None:
    site = app[SITE]
    await site.live.stop()
    site.source.close()
    site.threads.stop()


class Server:
    """One that listens. `idle_seconds` bounds how slowly a request may come."""

    def __init__(self, app: web.Application, *, idle_seconds: float = IDLE_SECONDS) -> None:
        self.app = app
        self._runner = web.AppRunner(
            app,
            access_log=None,
            logger=_UNREAD,
            keepalive_timeout=idle_seconds,
            lingering_time=LINGER_SECONDS,
            shutdown_timeout=END_SECONDS,
        )

    async def start(self) -> int:
        """The port.

        Raises:
            Refused: it cannot listen there; with the cure.
        """
        settings = self.app[SITE].settings
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            settings.web_host,
            settings.web_port,
            ssl_context=_tls_of(settings),
        )
        try:
            await site.start()
        except OSError as error:
            await self._runner.cleanup()
            where = f"{settings.web_host}:{settings.web_port}"
            reason = error.strerror or str(error)
            raise Refused(
                f"cannot listen at {where} ({reason}): set WEB_PORT in .env to a free port, or end"
                " what listens there"
            ) from None
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        await self._runner.cleanup()


def _tls_of(settings: Settings) -> ssl.SSLContext | None:
    if settings.web_tls_cert is None or settings.web_tls_key is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.web_tls_cert, settings.web_tls_key)
    except (OSError, ssl.SSLError) as error:
        raise Refused(f"WEB_TLS_CERT and WEB_TLS_KEY cannot be used: {error}") from None
    return context


async def serve(settings: Settings, ready: Callable[[], None]) -> None:
    """Until a signal asks it to end. `ready` is called once it listens.

    Raises:
        Refused: it cannot listen.
        OSError: the run folder cannot be written.
    """
    stand_back()
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
            loop.add_signal_handler(number, ended.set)
    server = Server(make_app(settings))
    await server.start()
    try:
        log_event(log, LogEvent.PAGE_STARTED, address=address_of(settings))
        ready()
        await _beat_until(ended, server.app[SITE])
        log_event(log, LogEvent.PAGE_STOPPED)
    finally:
        await server.stop()


async def _beat_until(ended: asyncio.Event, site: Site) -> None:
    """A sign of life for the watchdog, from the loop that serves."""
    beat = PAGE.first_beat(site.settings, PageBeat)
    while not ended.is_set():
        now = asyncio.get_running_loop().time()  # monotonic
        beat = replace(beat, beat_at=now, viewers=site.live.viewers, requests=requests_sent())
        with contextlib.suppress(OSError):  # the watchdog will take it for hung, and say so
            PAGE.save_beat(site.settings, beat)
        site.journals.release()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(ended.wait(), BEAT_SECONDS)
