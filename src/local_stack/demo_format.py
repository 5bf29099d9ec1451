"""How numbers and times look to a person who glances at them. Pure."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_DOWN, Decimal

NOTHING = "-"


def price(value: Decimal | None, step: Decimal) -> str:
    """With as many places as the exchange's price step has."""
    if value is None:
        return NOTHING
    exponent = step.normalize().as_tuple().exponent
    places = max(0, -exponent) if isinstance(exponent, int) else 2
    return f"{value:,.{places}f}"


def coins(value: Decimal) -> str:
    """Six digits that matter, cut: never more than there is."""
    if not value:
        return NOTHING
    digits = Decimal(1).scaleb(min(0, value.adjusted() - 5))
    return f"{value.quantize(digits, rounding=ROUND_DOWN).normalize():,f}"


def signed_usd(value: Decimal) -> str:
    return f"{value:+,.2f} USD"


def clock(at: datetime) -> str:
    """The user's own time of day."""
    return f"{at.astimezone():%H:%M:%S}"


def duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
