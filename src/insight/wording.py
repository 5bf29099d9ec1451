"""Ages, percents and amounts as a person reads them; the same in every tool that shows."""

from __future__ import annotations

from decimal import Decimal

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
