"""What the exchange has on record of trades and fees: CFEE, FEE and FILL activities, parsed at the
boundary.

A fee names no order, and one in USD mostly no coin either. Records that third parties published of
real accounts: each execution is charged by itself, at the maker's or the taker's rate (parts of one
order at different ones); `created_at` is seconds to hours after the trade (3.5 h at most), and
`date` is the day of that moment, which can be the day after the trade. A FILL is one execution of
an order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from domain.orders import Side
from domain.wire import WireError, decimal_from_wire, normalize_symbol, time_from_wire

FEE_ACTIVITY_TYPES = ("CFEE", "FEE")
FILL_ACTIVITY_TYPE = "FILL"
_CRYPTO_FEE_TEXT = "coin pair transaction fee"  # FEE is also what stock sells pay


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeActivity:
    """A fee that was taken: coins (of a buy) or USD (of a sell), both above zero for a charge.
    `posted_at` None: the exchange did not say more than the day.
    """

    id: str
    day: date
    symbol: str | None
    coins: Decimal = Decimal(0)
    usd: Decimal = Decimal(0)
    posted_at: datetime | None = None

    @classmethod
    def from_wire(cls, raw: Any) -> FeeActivity | None:
        """Parse an activity; None when it is not a fee of crypto, or was not carried out.

        Raises:
            WireError: when a fee of crypto cannot be read: the day's total is not known then.
        """
        if not isinstance(raw, Mapping):
            raise WireError("an activity is not an object")
        if raw.get("activity_type") not in FEE_ACTIVITY_TYPES:
            return None
        if raw.get("status") not in (None, "executed"):
            return None
        symbol = _crypto_symbol(raw.get("symbol"))
        if symbol is None and _CRYPTO_FEE_TEXT not in str(raw.get("description")).lower():
            return None
        try:
            day = date.fromisoformat(str(raw.get("date"))[:10])
        except ValueError:
            raise WireError("date of a fee is not a date") from None
        posted_at = None
        if raw.get("created_at"):
            posted_at = time_from_wire(raw["created_at"], "created_at")
        coins, usd = _charge(raw, "qty"), _charge(raw, "net_amount")
        if coins and symbol is None:
            raise WireError("a fee in coins does not say of which coin")
        identity = str(raw.get("id") or "")
        return cls(id=identity, day=day, symbol=symbol, coins=coins, usd=usd, posted_at=posted_at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A part of an order that was filled at once: what a fee is charged of. USD a coin, coins."""

    order_id: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    at: datetime

    @classmethod
    def from_wire(cls, raw: Any) -> Execution | None:
        """Parse an activity; None when it is not a fill of crypto.

        Raises:
            WireError: when one of crypto cannot be read.
        """
        if not isinstance(raw, Mapping):
            raise WireError("an activity is not an object")
        symbol = _crypto_symbol(raw.get("symbol"))
        if raw.get("activity_type") != FILL_ACTIVITY_TYPE or symbol is None:
            return None
        if raw.get("side") not in tuple(Side):
            raise WireError("side of a fill is neither buy nor sell")
        return cls(
            order_id=str(raw.get("order_id") or ""),
            symbol=symbol,
            side=Side(raw["side"]),
            qty=decimal_from_wire(raw.get("qty"), "qty"),
            price=decimal_from_wire(raw.get("price"), "price"),
            at=time_from_wire(raw.get("transaction_time"), "transaction_time"),
        )


def _charge(raw: Mapping[str, Any], name: str) -> Decimal:
    """What was taken: the wire counts it negative."""
    value = raw.get(name)
    return Decimal(0) if value in (None, "") else -decimal_from_wire(value, name)


def _crypto_symbol(text: Any) -> str | None:
    try:
        return normalize_symbol(text) if text else None
    except WireError:
        return None  # a stock's
