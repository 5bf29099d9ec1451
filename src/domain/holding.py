"""What an open cycle holds, for whoever counts it in USD. A frozen record; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldCoins:
    """Coins as filled, the coin fees of the buys, and USD for each coin on average."""

    symbol: str
    quantity: Decimal
    coin_fees: Decimal
    average_price: Decimal
