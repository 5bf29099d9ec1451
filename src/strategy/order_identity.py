"""The client_order_id, a pure function of a cycle's state: one state can have at most one order.

Alpaca refuses a second order with the same client_order_id, for ever (alpaca-facts: 422, 40010001).
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass

from domain.cycle import DcaCycle
from domain.orders import UnreadableOrder

PREFIX = "dca-"
_PATTERN = re.compile(r"dca-([1-9][0-9]{0,9})-([0-9a-zA-Z]{8})-(0|[1-9][0-9]{0,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class OrderIdentity:
    """What a client_order_id of ours says: the cycle, its random token, and which of its orders."""

    cycle_id: int
    order_key: str
    order_seq: int


def compute_client_order_id(cycle: DcaCycle, order_seq: int | None = None) -> str:
    """The only id that the next order of `cycle` (or its order number `order_seq`) can have."""
    seq = cycle.order_seq if order_seq is None else order_seq
    return f"{PREFIX}{cycle.id}-{cycle.order_key}-{seq}"


def parse_client_order_id(text: str) -> OrderIdentity | None:
    """The identity in `text`, or None when it is not an id of ours."""
    match = _PATTERN.fullmatch(text)
    return OrderIdentity(int(match[1]), match[2], int(match[3])) if match else None


def has_our_prefix(text: str) -> bool:
    """Whether a client_order_id claims to be ours, well-formed or not."""
    return text.startswith(PREFIX)


def may_be_ours(order: UnreadableOrder, linked: Collection[str], symbols: Collection[str]) -> bool:
    """Whether an order that cannot be read concerns us: by its id, by the cycles that are linked to
    it, or because all orders on the symbols of our assets do.
    """
    return has_our_prefix(order.client_order_id) or order.id in linked or order.symbol in symbols
