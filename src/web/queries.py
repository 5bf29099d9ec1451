"""What stands behind the ? of an address, read strictly."""

from __future__ import annotations

from aiohttp import web

from web.guards import Denied

MAX_TEXT = 100


def number_of(request: web.Request, name: str, *, most: int = 2**62) -> int | None:
    """A whole number above zero; None where there is none.

    Raises:
        Denied: it is something else.
    """
    text = text_in(request, name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 0 < int(text) <= most):
        raise Denied(400, f"{name}: expected a whole number")
    return int(text)


def text_in(request: web.Request, name: str) -> str | None:
    """Without blanks around it; None where it is empty.

    Raises:
        Denied: it is too long.
    """
    text = request.query.get(name, "").strip()
    if len(text) > MAX_TEXT:
        raise Denied(400, f"{name}: too long")
    return text or None
