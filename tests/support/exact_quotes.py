"""Prices that the exchange has exactly and the handler as the float beside it, as from a wire."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction


def nearest(price: Decimal, *, up: bool) -> Decimal:
    """The quote's float is no further than `price`, on the named side of it."""
    number = float(price)
    exact = Decimal(repr(number))
    if (exact < price) if up else (exact > price):
        number = math.nextafter(number, math.inf if up else 0.0)
    return Decimal(repr(number))


def cash(exchange) -> Fraction:
    """USD that the account has, exactly."""
    return Fraction(exchange.state()["balances"]["cash"])
