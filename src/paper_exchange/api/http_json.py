"""JSON bodies as they come in and refusals as they go out."""

import json
from collections.abc import Mapping
from decimal import Decimal

from aiohttp import web

from paper_exchange.core import errors
from paper_exchange.core.errors import ApiError


def read_json(text: str) -> Mapping[str, object]:
    """A JSON object with every number as Decimal. Raises ApiError for anything else."""
    try:
        body = json.loads(
            text or "{}", parse_float=Decimal, parse_int=Decimal, parse_constant=_no_constant
        )
    except ValueError:
        raise errors.malformed_body() from None
    if not isinstance(body, dict):
        raise errors.malformed_body()
    return body


def refusal_response(refusal: ApiError) -> web.Response:
    headers = dict(refusal.headers)
    return web.json_response(refusal.body, status=refusal.http_status, headers=headers)


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")
