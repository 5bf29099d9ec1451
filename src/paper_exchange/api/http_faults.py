"""What faults do to HTTP answers: refused, lost, late or garbled, before or after the request was
carried out.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from paper_exchange.api.http_json import read_json, refusal_response
from paper_exchange.core import errors
from paper_exchange.core.errors import ApiError
from paper_exchange.faults.armed import Fault, FaultBoard
from paper_exchange.faults.table import Seam

_PAGE = (
    "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>"
)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


async def handle_with_faults(
    request: web.Request, handler: Handler, faults: FaultBoard
) -> web.StreamResponse:
    """Answers as the first fault that applies says; without one, as usual."""
    fault = faults.first(Seam.REQUEST, **await _facts(request))
    if fault is None:
        return await handler(request)
    carried_out = None
    if fault.parameters["when"] == "after":
        carried_out = await _carry_out(request, handler)
    return await _answer(request, fault, carried_out, handler)


async def _carry_out(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refusals, too: the fault may hide them."""
    try:
        return await handler(request)
    except ApiError as refusal:
        return refusal_response(refusal)


async def _facts(request: web.Request) -> Mapping[str, object]:
    facts = {"method": request.method, "path": request.path}
    if request.method != "POST":
        asked = request.query.get("symbols")
        return facts | ({"symbol": asked} if asked else {})
    try:
        body = read_json(await request.text())
    except ApiError:
        return facts  # the handler refuses it
    names = ("symbol", "side", "type", "client_order_id")
    return facts | {name: str(body[name]) for name in names if body.get(name)}


async def _answer(
    request: web.Request, fault: Fault, carried_out: web.StreamResponse | None, handler: Handler
) -> web.StreamResponse:
    match fault.name:
        case "http_429":
            raise errors.too_many_requests()
        case "http_500":
            raise ApiError(500, "internal server error occurred", 50010000)
        case "http_504":
            raise ApiError(504, "gateway timeout")
        case "http_html":
            return web.Response(status=502, text=_PAGE, content_type="text/html")
        case "http_slow":
            await asyncio.sleep(fault.seconds)
            return carried_out or await _carry_out(request, handler)
        case "http_timeout" | "http_hang":
            await asyncio.sleep(fault.seconds)
            return _close(request)
        case "http_truncated":
            answer = carried_out or await _carry_out(request, handler)
            body = getattr(answer, "body", None) or b"{}"
            return web.Response(
                status=answer.status, body=body[: len(body) // 2], content_type="application/json"
            )
        case name:
            raise AssertionError(f"{name} is no fault of requests")


def _close(request: web.Request) -> web.Response:
    """The client sees a connection that was closed without an answer."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=504)
