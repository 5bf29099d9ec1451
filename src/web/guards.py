"""What stands before every request: Host, Origin, session, CSRF, size; and behind every answer: the
headers that keep a browser strict, and one form for all errors.

Decides only who may pass. Text of a request or of an error is JSON, never HTML.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from config import Settings, is_loopback
from models.meta import ForeignDatabase
from operations.refused import Refused
from runtime.unwritable import describe_unwritable
from runtime.web_page import EVERYWHERE
from utils.alpaca_http import ExchangeError
from utils.db_utils import DatabaseError
from utils.formatting import cure_of_silence
from utils.log_events import LogEvent, log_event
from web.access import TooManyAttempts
from web.confirm import Gone
from web.site import SITE, Busy

log = logging.getLogger(__name__)

CSRF_HEADER = "X-CSRF-Token"
MAX_BODY_BYTES = 64 * 1024
BODY_SECONDS = 10.0
CONTENT_SECURITY_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "font-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_API = "/api/"
_OPEN = {("POST", "/api/session")}  # opens a session
_SAFE = ("GET", "HEAD")
BODY: web.RequestKey[dict[str, Any]] = web.RequestKey("body", dict)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Denied(Exception):
    """The request goes no further."""

    def __init__(self, status: int, error: str, cure: str | None = None) -> None:
        super().__init__(error)
        self.status, self.error, self.cure = status, error, cure


def allowed_hosts(settings: Settings) -> frozenset[str]:
    """What a browser may call us in its Host header: any other name is a trick (DNS rebinding)."""
    host = settings.web_host
    names = {f"[{host}]" if ":" in host else host}
    if is_loopback(host) or host in EVERYWHERE:
        names |= {"127.0.0.1", "localhost", "[::1]"}
    usual = 443 if settings.web_tls_cert else 80
    found = {f"{name}:{settings.web_port}" for name in names}
    if settings.web_port == usual:
        found |= names
    for name in settings.web_names:
        found |= {name} if ":" in name else {name, f"{name}:{settings.web_port}"}
    return frozenset(found)


def allowed_origins(settings: Settings) -> frozenset[str]:
    """Where a change may come from. Whoever reaches us by another machine's name does so by https:
    ours, or that of a reverse proxy.
    """
    hosts, has_tls = allowed_hosts(settings), settings.web_tls_cert is not None
    others = {host for host in hosts if not is_loopback(_bare(host))}
    plain = set() if has_tls else {f"http://{host}" for host in hosts - others}
    return frozenset(plain | {f"https://{host}" for host in (hosts if has_tls else others)})


def _bare(host: str) -> str:
    """Without its port, and without the brackets of an IPv6 address."""
    name = host if host.endswith("]") else re.sub(r":[0-9]+$", "", host)
    return name.strip("[]")


@web.middleware
async def answer_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Whatever stops a request is one line of JSON."""
    settings = request.app[SITE].settings
    try:
        return await handler(request)
    except Denied as error:
        return error_answer(error.status, error.error, error.cure)
    except TooManyAttempts as error:
        return error_answer(429, str(error), retry_seconds=error.seconds)
    except Busy as error:
        return error_answer(503, str(error), retry_seconds=5)
    except Gone as error:
        return error_answer(409, str(error))
    except Refused as error:
        return error_answer(422, str(error))
    except (DatabaseError, ForeignDatabase) as error:
        return error_answer(503, str(error), "scripts/doctor")
    except ExchangeError as error:
        is_silence = str(error).startswith("no answer")
        cure = cure_of_silence(settings) if is_silence else None
        return error_answer(502, f"Alpaca: {str(error).removeprefix('Alpaca: ')}", cure)
    except web.RequestPayloadError:
        return error_answer(400, "that body cannot be read")
    except web.HTTPRequestEntityTooLarge:
        return error_answer(413, f"at most {MAX_BODY_BYTES // 1024} kB")
    except web.HTTPNotFound:
        return error_answer(404, "there is no such page")
    except web.HTTPMethodNotAllowed:
        return error_answer(405, "that cannot be done here")
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return error_answer(error.status, error.reason)
    except OSError as error:
        return error_answer(500, describe_unwritable(error, settings))
    except Exception:  # noqa: BLE001 - a bug of one request must not end the others
        log_event(log, LogEvent.PAGE_FAILED, path=request.path, traceback=True)
        return error_answer(500, "a bug of the page: its log has the traceback", "report it")


def error_answer(
    status: int, error: str, cure: str | None = None, *, retry_seconds: float | None = None
) -> web.Response:
    """In the one form of all errors."""
    headers = {} if retry_seconds is None else {"Retry-After": f"{max(1, round(retry_seconds))}"}
    return web.json_response({"error": error, "cure": cure}, status=status, headers=headers)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let through what a page of ours sends in a session of its owner."""
    _check_host(request)
    _check_origin(request)
    is_api = request.path.startswith(_API)
    if request.method not in _SAFE:
        if not is_api:
            raise Denied(405, "that cannot be done here")
        # Before anything is read: a stranger's body is not worth the time.
        if (request.method, request.path) not in _OPEN:
            cookie = require_session(request)
            if not request.app[SITE].access.is_csrf(cookie, request.headers.get(CSRF_HEADER, "")):
                raise Denied(403, "the page must be loaded again", "reload it")
        if request.method == "POST":
            request[BODY] = await _read_body(request)
    elif is_api:
        require_session(request)
    return await handler(request)


def _check_host(request: web.Request) -> None:
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or hosts[0].lower() not in request.app[SITE].hosts:
        cure = "use the link of scripts/web link, or add the name to WEB_NAMES in .env"
        raise Denied(421, "this page is not served under that name", cure)


def _check_origin(request: web.Request) -> None:
    origins = request.headers.getall("Origin", [])
    if not origins and request.method in _SAFE:
        return  # browsers leave it out there
    if len(origins) != 1 or origins[0].lower() not in request.app[SITE].origins:
        raise Denied(403, "that came from another page")


def cookie_name(settings: Settings) -> str:
    """Browsers give a cookie to every port of a name: two bots on one machine need two."""
    return f"dca_session_{settings.web_port}"


def session_of(request: web.Request) -> str | None:
    """The cookie of its session, if it has one that is valid."""
    site = request.app[SITE]
    cookie = request.cookies.get(cookie_name(site.settings), "")
    return cookie if cookie and site.access.has_session(cookie) else None


def require_session(request: web.Request) -> str:
    """Raises Denied."""
    if (cookie := session_of(request)) is None:
        raise Denied(401, "you are not signed in", "open the link that scripts/web link prints")
    return cookie


async def _read_body(request: web.Request) -> dict[str, Any]:
    if request.content_type != "application/json":
        raise Denied(415, "send JSON")
    if (request.content_length or 0) > MAX_BODY_BYTES:
        raise Denied(413, f"at most {MAX_BODY_BYTES // 1024} kB")
    try:
        async with asyncio.timeout(request.app[SITE].body_seconds):
            raw = await request.read()
    except TimeoutError:
        raise Denied(408, "that took too long") from None
    try:
        body = json.loads(raw.decode("utf-8") or "{}")
    except (ValueError, RecursionError):
        raise Denied(400, "that is not JSON") from None
    if not isinstance(body, dict):
        raise Denied(400, "send a JSON object")
    return body


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """To every answer, those of errors and files as well."""
    response.headers.update(_HEADERS)
    response.headers.pop("Server", None)
    is_file = request.path == "/" or request.path.startswith("/static/")
    response.headers["Cache-Control"] = "no-cache" if is_file else "no-store"
    if response.status in (408, 413, 415):  # its body was not read: the connection is useless
        response.force_close()


def text_of(request: web.Request, name: str, *, most: int = 200) -> str:
    """A text that the body must have.

    Raises:
        Denied: it does not.
    """
    value = request[BODY].get(name)
    if not isinstance(value, str) or not value.strip() or len(value) > most:
        raise Denied(400, f"{name}: expected a text")
    return value.strip()


def note_denied(request: web.Request) -> None:
    """A wrong token: said, without it."""
    log_event(log, LogEvent.PAGE_DENIED, reason="a wrong token")
