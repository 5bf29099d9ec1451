"""How USD, coins, percent, ages and times are shown, in every table, line, mail and picture.

Pure. `plain` and `number` without places are exact; all else is rounded for the reader.
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Context, Decimal
from enum import Enum
from typing import Any

from config import Settings

NOTHING = "-"


# Money and coins


def usd(value: Decimal | float) -> str:
    """Cents and thousands; never `-0.00`."""
    text = f"{value:,.2f}"
    return "0.00" if text == "-0.00" else text


def signed_usd(value: Decimal | None) -> str:
    """As `usd`, with its sign."""
    if value is None:
        return NOTHING
    shown = usd(value)
    return shown if shown.startswith("-") else f"+{shown}"


def coins(value: Decimal) -> str:
    """Nine significant digits and nine places at most; cut, never more than there is."""
    if not value:
        return NOTHING
    places = 9 - max(0, min(9, value.adjusted() + 1))
    shown = value.quantize(Decimal(1).scaleb(-places), ROUND_DOWN, Context(prec=60))
    return number(shown, thousands=True)


def price(value: Decimal | None) -> str:
    """USD a coin: two places, four below 100, six significant digits below 1."""
    if value is None:
        return NOTHING
    if value >= 1:
        return f"{value:,.{2 if value >= 100 else 4}f}"
    return number(Context(prec=6, rounding=ROUND_HALF_EVEN).plus(value))


def percent(value: Decimal | None) -> str:
    """With its sign, two places."""
    return NOTHING if value is None else f"{value:+.2f} %"


def number(value: Decimal | None, places: int | None = None, *, thousands: bool = False) -> str:
    """Plain notation, exact; with `places`, rounded half to even for the reader."""
    if value is None:
        return NOTHING
    if places is not None:
        return f"{value:,.{places}f}"
    exact = value.normalize(Context(prec=60)) if value else Decimal(0)
    return f"{exact:,f}" if thousands else f"{exact:f}"


# Alpaca posts fees hours later.
ESTIMATE_LEGEND = "~ based on estimated fees"


def marked(text: str, is_estimated: bool) -> str:
    """`text`, marked when it is based on fees that are not posted yet (see ESTIMATE_LEGEND)."""
    return f"~{text}" if is_estimated else text


def counted(count: int, noun: str) -> str:
    """`1 cycle`, `2 cycles`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


# Time


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


def stopwatch(seconds: float) -> str:
    """`1:02`, `1:00:02`."""
    minutes, whole = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{whole:02}" if hours else f"{minutes}:{whole:02}"


def moment(at: datetime) -> str:
    """Day and minute in UTC."""
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M}"


def day_and_clock(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d} {clock(at)}"


def clock(at: datetime) -> str:
    """Time of day in UTC, with seconds."""
    return f"{at.astimezone(UTC):%H:%M:%S}"


# Which account


def describe_account(settings: Settings) -> str:
    """Whose money is at stake: worded here only."""
    if settings.is_live:
        return "LIVE ACCOUNT: REAL MONEY"
    return f"{'local exchange' if settings.is_local_exchange else 'paper account'}: play money"


def cure_of_silence(settings: Settings) -> str:
    """What to do where the exchange does not answer."""
    if settings.is_local_exchange:
        return "start it: scripts/quickstart --local (or as you did before)"
    return "check the network and https://status.alpaca.markets; nothing trades meanwhile"


def describe_money(settings: Settings) -> str:
    """The same in a word, for the subject of a message."""
    return "LIVE" if settings.is_live else "paper"


# For a machine


def plain(value: Any) -> Any:
    """`value` as JSON can hold it: decimals as exact text without an exponent."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Decimal):
        return number(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
