"""Alpaca's OpenAPI description, to hold the local exchange's answers against.

The check is stricter than the description: a field that the description does not have must stand in
SEEN, which says what recorded answers have besides.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import requests
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

FOLDER = Path(__file__).parents[1] / "paper_exchange" / "openapi"
FILES = ("trading", "market_data")

SEEN = {
    "Account": {
        "admin_configurations", "user_configurations", "effective_buying_power",
        "position_market_value", "crypto_tier",
    },
    "Assets": {"easy_to_borrow"},
    "Order": {"subtag", "source"},
    "TradingActivities": {"account_id", "swap_rate"},
    "NonTradeActivities": {"account_id", "description", "price"},
}  # fmt: skip
"""Fields of recorded answers, or of the description's own examples, that its schemas lack."""


@dataclass
class Answers:
    """Which operations were answered, so that a test can say that none was left out.

    `hook` is for a session of requests.
    """

    checked: set[tuple[str, str]] = field(default_factory=set)

    def hook(self, response: requests.Response, **_options: Any) -> None:
        self.checked.add(check_answer(response))


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path and what is said of them."""
    for name in FILES:
        for path, item in _description(name)["paths"].items():
            for method, operation in item.items():
                yield method.upper(), path, operation


def schema(name: str) -> dict[str, Any]:
    """A schema of the trading API by its name."""
    return _description("trading")["components"]["schemas"][name]


def check_answer(response: requests.Response) -> tuple[str, str]:
    """Asserts that the description allows this answer; returns the operation it belongs to."""
    method = response.request.method
    path = unquote(urlsplit(response.request.url).path)
    name, template = _find(method, path)
    if template is None:
        assert response.status_code in (404, 405), f"{method} {path} is not described"
        return method, ""
    answers = _description(name)["paths"][template][method.lower()]["responses"]
    if response.status_code >= 400:
        _check_refusal(response)
        return method, template
    said = answers.get(str(response.status_code))
    assert said is not None, f"{method} {template}: {response.status_code} is not described"
    if not said["content"]:
        assert not response.content
        return method, template
    status = str(response.status_code)
    errors = sorted(map(_readable, _validator(name, template, method, status).iter_errors(
        response.json()
    )))  # fmt: skip
    assert not errors, f"{method} {path} {response.text[:300]}:\n" + "\n".join(errors)
    return method, template


def _check_refusal(response: requests.Response) -> None:
    """The description gives refusals no body; recorded ones have a message, and often a code."""
    body = response.json()
    assert isinstance(body["message"], str), body
    assert isinstance(body.get("code", 0), int), body


@cache
def _find(method: str, path: str) -> tuple[str, str | None]:
    found = []
    for name in FILES:
        for template, item in _description(name)["paths"].items():
            pattern = re.sub(r"\\\{[^}]*\\\}", ".+", re.escape(template))
            if method.lower() in item and re.fullmatch(pattern, path):
                found.append((name, template))
    # Of /v2/orders and /v2/orders/{order_id} the longer one was meant.
    return max(found, key=lambda one: (one[1].count("/"), "{" not in one[1]), default=("", None))


@cache
def _description(name: str) -> dict[str, Any]:
    document = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
    for kind, one in document["components"]["schemas"].items():
        if "properties" in one:
            one["properties"] |= {known: {} for known in SEEN.get(kind, ())}
            one["additionalProperties"] = False
    if name == "trading":
        _correct(document["components"]["schemas"])
    return document


def _correct(schemas: dict[str, Any]) -> None:
    """Where the description contradicts the answers that were recorded."""
    # Described as a moment, recorded as a day: "2022-08-12".
    schemas["NonTradeActivities"]["properties"]["date"] = {"type": "string", "format": "date"}
    # Described as an order; recorded with the refusal in it where the sale was refused.
    refusal = {"type": "object", "required": ["message"], "properties": {"code": {}}}
    closed = schemas["PositionClosedResponse"]
    closed["properties"]["body"] = {"anyOf": [closed["properties"]["body"], refusal]}
    # Recorded with the refusal's body as well.
    schemas["CanceledOrderResponse"]["properties"]["body"] = refusal


@cache
def _validator(name: str, template: str, method: str, status: str) -> Draft202012Validator:
    document = Resource.from_contents(_description(name), default_specification=DRAFT202012)
    registry = Registry().with_resource(f"urn:{name}", document)
    steps = [
        "paths", template, method.lower(), "responses", status, "content", "application/json",
        "schema",
    ]  # fmt: skip
    pointer = "/".join(one.replace("~", "~0").replace("/", "~1") for one in steps)
    return Draft202012Validator(
        {"$ref": f"urn:{name}#/{pointer}"}, registry=registry, format_checker=_FORMATS
    )


def _readable(error: Any) -> str:
    where = "/".join(map(str, error.absolute_path)) or "(the whole)"
    inner = "; ".join(_readable(one) for one in error.context or ())
    return f"{where}: {error.message[:200]}" + (f" [{inner}]" if inner else "")


_FORMATS = FormatChecker(())
_MOMENT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")


@_FORMATS.checks("date-time", raises=ValueError)
def _is_moment(value: object) -> bool:
    if not isinstance(value, str):
        return True
    datetime.fromisoformat(value[:19])
    return _MOMENT.fullmatch(value) is not None


@_FORMATS.checks("date", raises=ValueError)
def _is_day(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@_FORMATS.checks("uuid", raises=ValueError)
def _is_uuid(value: object) -> bool:
    return not isinstance(value, str) or bool(uuid.UUID(value))


@_FORMATS.checks("decimal")
def _is_decimal(value: object) -> bool:
    return not isinstance(value, str) or re.fullmatch(r"-?\d+(\.\d+)?", value) is not None
