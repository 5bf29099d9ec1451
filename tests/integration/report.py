"""What a person reads while the integration tests run: scenario, setup, action, assertions, data.

Owns the text and nothing else. A check that does not hold ends its test with `CheckFailed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

from domain.cycle import DcaCycle
from domain.orders import ExchangeOrder
from utils.log_events import format_value

T = TypeVar("T")
POLL_SECONDS = 0.05


class CheckFailed(AssertionError):
    """An assertion of an integration test did not hold; the text is for a person."""


def _data(values: dict[str, Any]) -> str:
    return " ".join(f"{name}={format_value(value)}" for name, value in values.items())


class Report:
    """Writes each line as it comes and keeps those of the running test."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self.lines: list[str] = []

    def line(self, text: str = "") -> None:
        self.lines.append(text)
        self._write(text)

    def begin(self, title: str) -> None:
        self._write("")
        self.lines = []
        self.line(f"=== {title}")

    def scenario(self, text: str) -> None:
        self.line(f"Scenario: {text}")

    def setup(self, text: str, **values: Any) -> None:
        self._labelled("Setup", text, values)

    def action(self, text: str, **values: Any) -> None:
        self._labelled("Action", text, values)

    def data(self, text: str, **values: Any) -> None:
        """Relevant data for the reader, next to what was asserted."""
        self._labelled("Report", text, values)

    def teardown(self, text: str) -> None:
        self._labelled("Teardown", text, {})

    def _labelled(self, label: str, text: str, values: dict[str, Any]) -> None:
        self.line(f"{label + ':':<9} {text}" + (f": {_data(values)}" if values else ""))

    def check(self, what: str, holds: object, **values: Any) -> None:
        """Assert `holds`.

        Raises:
            CheckFailed: it does not hold.
        """
        shown = f"  ({_data(values)})" if values else ""
        if not holds:
            raise CheckFailed(f"{what}{shown}")
        self.line(f"  ok      {what}{shown}")

    def equal(self, what: str, actual: object, expected: object) -> None:
        """Assert that both are equal.

        Raises:
            CheckFailed: they differ.
        """
        if actual != expected:
            raise CheckFailed(
                f"{what}: expected {format_value(expected)}, found {format_value(actual)}"
            )
        self.line(f"  ok      {what}  ({format_value(actual)})")


def wait_until(
    probe: Callable[[], T | None], what: str, seconds: float, poll_seconds: float = POLL_SECONDS
) -> T:
    """What `probe` found, as soon as that is something.

    Raises:
        CheckFailed: nothing within `seconds`.
    """
    deadline = time.monotonic() + seconds
    while not (found := probe()):
        if time.monotonic() > deadline:
            raise CheckFailed(f"{what}: it did not happen within {seconds:g} s")
        time.sleep(poll_seconds)
    return found


def order_facts(order: ExchangeOrder) -> dict[str, Any]:
    """An order as the report shows it."""
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "side": order.side,
        "type": order.order_type,
        "qty": order.qty,
        "limit": order.limit_price,
        "status": order.status,
        "filled": order.filled_qty,
        "price": order.filled_avg_price,
    }


def cycle_facts(cycle: DcaCycle) -> dict[str, Any]:
    """A cycle as the report shows it."""
    return {
        "id": cycle.id,
        "status": cycle.status,
        "quantity": cycle.quantity,
        "average": cycle.average_purchase_price,
        "last_fill": cycle.last_order_fill_price,
        "safety_orders": cycle.safety_orders,
        "latest_order_id": cycle.latest_order_id,
        "order_seq": cycle.order_seq,
    }
