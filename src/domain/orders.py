"""Orders and trade updates, parsed once at the boundary from wire dicts or SDK objects. Frozen; no
I/O. Never lets a value through that later arithmetic could fail at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any

from domain.records import Record
from domain.wire import (
    ForeignAssetClass,
    WireError,
    _get,
    _optional_decimal,
    _optional_time,
    _text,
    is_crypto,
    normalize_symbol,
)

# Alpaca, "Orders at Alpaca": these end an order; every other status, known or new, counts as open.
ENDED_STATUSES = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


class ExchangeOrder(Record, frozen=True, kw_only=True):
    """An order as the exchange has it. Quantities in coins, prices in USD, times aware UTC."""

    id: str
    client_order_id: str
    symbol: str
    side: Side
    order_type: str
    qty: Decimal | None
    limit_price: Decimal | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    status: str
    created_at: datetime | None = None
    submitted_at: datetime | None = None
    ended_at: datetime | None = None
    replaced_by: str | None = None

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED_STATUSES

    @classmethod
    def from_wire(cls, source: Any) -> ExchangeOrder:
        """Parse a wire dict or an SDK `Order`.

        Raises:
            WireError: when a field that decisions need is missing or malformed.
        """
        try:
            side = Side(str(_get(source, "side")))
        except ValueError:
            raise WireError("side is neither buy nor sell") from None
        filled_qty = _optional_decimal(source, "filled_qty") or Decimal(0)
        filled_avg_price = _optional_decimal(source, "filled_avg_price")
        if filled_qty < 0 or (filled_qty > 0 and not (filled_avg_price and filled_avg_price > 0)):
            raise WireError("filled_qty and filled_avg_price contradict each other")
        status = _text(source, "status", 32)
        if status == "filled" and filled_qty == 0:
            raise WireError("a filled order without filled_qty")
        return cls(
            id=_text(source, "id", 64),
            client_order_id=_text(source, "client_order_id", 128),
            symbol=normalize_symbol(_text(source, "symbol", 32)),
            side=side,
            order_type=str(_get(source, "type") or _get(source, "order_type") or "")[:32],
            qty=_optional_decimal(source, "qty"),
            limit_price=_optional_decimal(source, "limit_price"),
            filled_qty=filled_qty,
            filled_avg_price=filled_avg_price if filled_qty > 0 else None,
            status=status,
            created_at=_optional_time(source, "created_at"),
            submitted_at=_optional_time(source, "submitted_at"),
            ended_at=_ended_at(source, status),
            replaced_by=str(_get(source, "replaced_by") or "")[:64] or None,
        )


def _ended_at(source: Any, status: str) -> datetime | None:
    own_time = {
        "filled": "filled_at",
        "canceled": "canceled_at",
        "expired": "expired_at",
        "rejected": "failed_at",
        "replaced": "replaced_at",
    }.get(status)
    if own_time is None:
        return None
    return _optional_time(source, own_time) or _optional_time(source, "updated_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadableOrder:
    """An order that `ExchangeOrder` refuses: as much of it as says whose it is. `symbol` is None
    where even that cannot be read; `problem` is one line.
    """

    id: str
    client_order_id: str
    symbol: str | None
    problem: str

    @classmethod
    def from_wire(cls, source: Any, problem: str) -> UnreadableOrder:
        try:
            symbol = normalize_symbol(str(_get(source, "symbol")))
        except WireError:
            symbol = None
        return cls(
            id=str(_get(source, "id") or "")[:64],
            client_order_id=str(_get(source, "client_order_id") or "")[:128],
            symbol=symbol,
            problem=problem,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TradeUpdate:
    """One message of the trade stream: what happened, and the whole order after it."""

    event: str
    order: ExchangeOrder

    @classmethod
    def from_wire(cls, message: Any) -> TradeUpdate:
        """Parse the raw stream message, its `data` alone, or the SDK's `TradeUpdate`.

        Raises:
            WireError: when it is none of these.
        """
        payload = message
        if isinstance(message, Mapping) and "data" in message:
            payload = message["data"]
        event, order = _get(payload, "event"), _get(payload, "order")
        if not isinstance(event, str) or not 0 < len(event) <= 32 or order is None:
            raise WireError("trade update without event or order")
        if not is_crypto(order):
            raise ForeignAssetClass(f"{event} of an order that is not crypto")
        return cls(event=event, order=ExchangeOrder.from_wire(order))
