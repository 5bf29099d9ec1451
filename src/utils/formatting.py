"""Ages, percents and amounts as a person reads them; the same in every tool that shows."""

from __future__ import annotations

from datetime import datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from typing import Any

NOTHING = "-"


def span(seconds: float | None) -> str:
    """How long: `4 s`, `12 min`, `3 h 5 min`, `2 days`."""
    if seconds is None:
        return "never"
    whole = max(0, round(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 2 * 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} days"


def percent(value: Decimal | None) -> str:
    """With its sign, two places."""
    return NOTHING if value is None else f"{value:+.2f} %"


def signed_usd(value: Decimal | None) -> str:
    """With its sign and cents; nothing is never `-0.00`."""
    if value is None:
        return NOTHING
    rounded = round(value, 2)
    return f"{rounded if rounded else Decimal('0.00'):+,.2f}"


def coins(value: Decimal) -> str:
    """Up to nine digits that count, plain notation."""
    if not value:
        return NOTHING
    shown = f"{value:.9f}" if value < 1 else f"{value:,.6f}"
    return shown.rstrip("0").rstrip(".")


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: decimals as exact text without an exponent."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return f"{value.normalize(Context(prec=60)):f}" if value else "0"
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value


def number(value: Decimal | None, places: int | None = None) -> str:
    """Plain notation; with `places`, rounded half to even for the eye."""
    if value is None:
        return "-"
    if places is not None:
        return f"{value.quantize(Decimal(1).scaleb(-places), ROUND_HALF_EVEN):,f}"
    return f"{value.normalize(Context(prec=60)):f}" if value else "0"


def price(value: Decimal) -> str:
    """A price with cents, or with eight digits where it is small."""
    if value >= 1:
        return number(value, 2 if value >= 100 else 4)
    return number(Context(prec=6, rounding=ROUND_HALF_EVEN).plus(value))


# Alpaca posts fees hours later. Everywhere the same: in tables, lines, pictures and the demo.
ESTIMATE_LEGEND = "~ rests on estimated fees"


def marked(text: str, is_estimated: bool) -> str:
    """`text` with the mark of what rests on fees that are not posted yet (see ESTIMATE_LEGEND)."""
    return f"~{text}" if is_estimated else text
