"""What the exchange posts about fees: one record per CFEE or FEE activity, parsed at the boundary.

There is no order in them, only a day; the fee of a sell often names no symbol either (third-party
records of paper accounts: CFEE, "Coin Pair Transaction Fee (USD)", net_amount, no symbol). Posted
within minutes to hours of the trade.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from models.exchange import WireError, decimal_from_wire, normalize_symbol

FEE_ACTIVITY_TYPES = ("CFEE", "FEE")
_CRYPTO_FEE_TEXT = "coin pair transaction fee"  # FEE is also what stock sells pay


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeActivity:
    """A fee that was taken: coins (of a buy) or USD (of a sell), both above zero for a charge."""

    id: str
    day: date
    symbol: str | None
    coins: Decimal = Decimal(0)
    usd: Decimal = Decimal(0)

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
        coins, usd = _charge(raw, "qty"), _charge(raw, "net_amount")
        if coins and symbol is None:
            raise WireError("a fee in coins does not say of which coin")
        return cls(id=str(raw.get("id") or ""), day=day, symbol=symbol, coins=coins, usd=usd)


def _charge(raw: Mapping[str, Any], name: str) -> Decimal:
    """What was taken: the wire counts it negative."""
    value = raw.get(name)
    return Decimal(0) if value in (None, "") else -decimal_from_wire(value, name)


def _crypto_symbol(text: Any) -> str | None:
    try:
        return normalize_symbol(text) if text else None
    except WireError:
        return None  # a stock's
