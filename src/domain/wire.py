"""Single values of the wire: numbers, times, symbols. No I/O.

Never lets a value through that later arithmetic could fail at.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from enum import Enum
from typing import Any

_QUOTE_CURRENCIES = ("USDT", "USDC", "USDG", "USD", "BTC")
_LARGEST = Decimal("1e17")  # beyond it DECIMAL(36,18) overflows; nothing real is that large
_FINEST_EXPONENT = -18
_WIDE = Context(prec=60)  # the default's 28 digits are fewer than our columns hold


class WireError(ValueError):
    """The exchange sent something we cannot use. The message says what, never the whole payload."""


class ForeignAssetClass(WireError):
    """Well-formed, but of stocks or options: not for this bot."""


def normalize_symbol(symbol: str) -> str:
    """`BTC/USD` for any of Alpaca's spellings (`BTCUSD` in positions, `BTC/USD` elsewhere).

    Raises:
        WireError: for a text that is no crypto pair.
    """
    text = symbol.strip().upper() if isinstance(symbol, str) else ""
    if "/" not in text:
        for currency in _QUOTE_CURRENCIES:
            if text.endswith(currency) and len(text) > len(currency):
                text = f"{text[: -len(currency)]}/{currency}"
                break
    base, _, currency = text.partition("/")
    if not (base.isascii() and base.isalnum() and currency.isascii() and currency.isalnum()):
        raise WireError(f"not a crypto pair: {str(symbol)[:40]!r}")
    if len(text) > 32:
        raise WireError(f"symbol is too long: {text[:40]!r}")
    return text


def decimal_from_wire(value: Any, name: str) -> Decimal:
    """A finite Decimal that fits our tables.

    Raises:
        WireError: for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        raise WireError(f"{name} is not a number")
    if isinstance(value, str) and len(value) > 64:
        raise WireError(f"{name} is not a number")
    try:
        number = Decimal(str(value))
    except (InvalidOperation, ValueError):
        raise WireError(f"{name} is not a number") from None
    if not number.is_finite() or number.copy_abs() > _LARGEST:
        raise WireError(f"{name} is out of range")
    if isinstance(exponent := number.as_tuple().exponent, int) and exponent < _FINEST_EXPONENT:
        number = number.quantize(Decimal(1).scaleb(_FINEST_EXPONENT), context=_WIDE)
    return number


def time_from_wire(value: Any, name: str) -> datetime:
    """Aware UTC from RFC 3339 text, an aware datetime, or the msgpack Timestamp of the data stream.

    Raises:
        WireError: for anything else.
    """
    try:
        if hasattr(value, "to_datetime"):
            value = value.to_datetime()
        elif isinstance(value, str):
            value = datetime.fromisoformat(_without_nanoseconds(value))
    except (ValueError, OverflowError, OSError):
        raise WireError(f"{name} is not a time") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise WireError(f"{name} is not a time with a zone")
    try:
        return value.astimezone(UTC)
    except (OverflowError, ValueError):
        raise WireError(f"{name} is out of range") from None


def _without_nanoseconds(text: str) -> str:
    """Alpaca sends nanoseconds; Python keeps microseconds."""
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    digits = len(tail) - len(tail.lstrip("0123456789"))
    return f"{head}.{tail[:digits][:6].ljust(6, '0')}{tail[digits:]}"


def _get(source: Any, name: str) -> Any:
    value = source.get(name) if isinstance(source, Mapping) else getattr(source, name, None)
    return value.value if isinstance(value, Enum) else value


def is_crypto(source: Any) -> bool:
    """Whether an order or position is of crypto: the account may trade stocks and options too."""
    # The parent of a multi-leg options order has empty texts for class, symbol and side.
    is_multi_leg = _get(source, "order_class") == "mleg"
    return _get(source, "asset_class") in (None, "", "crypto") and not is_multi_leg


def _optional_decimal(source: Any, name: str) -> Decimal | None:
    value = _get(source, name)
    return None if value is None else decimal_from_wire(value, name)


def _optional_time(source: Any, name: str) -> datetime | None:
    value = _get(source, name)
    return None if value is None else time_from_wire(value, name)


def _text(source: Any, name: str, longest: int) -> str:
    value = _get(source, name)
    text = "" if value is None else str(value)
    if not text or len(text) > longest:
        raise WireError(f"{name} is missing or too long")
    return text


def _first(source: Any, *names: str) -> Any:
    for name in names:
        if (value := _get(source, name)) is not None:
            return value
    return None
