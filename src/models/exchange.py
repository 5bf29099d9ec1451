"""Records of what the exchange says, parsed once at the boundary from wire dicts or SDK objects.

Owns: the shapes and the sanity of orders, trade updates, quotes and asset rules. Must never do I/O
and never let a value through that later arithmetic could choke on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Context, Decimal, InvalidOperation
from enum import Enum, StrEnum
from typing import Any

_QUOTE_CURRENCIES = ("USDT", "USDC", "USDG", "USD", "BTC")
_LARGEST = Decimal("1e17")  # beyond it DECIMAL(36,18) overflows; nothing real is that large
_FINEST_EXPONENT = -18
_WIDE = Context(prec=60)  # the default's 28 digits are fewer than our columns hold
# Alpaca, "Orders at Alpaca": these end an order; every other status, known or new, counts as open.
ENDED_STATUSES = frozenset({"filled", "canceled", "expired", "rejected", "replaced"})


class WireError(ValueError):
    """The exchange sent something we cannot use. The message says what, never the whole payload."""


class ForeignAssetClass(WireError):
    """Well-formed, but of stocks or options: not for this bot."""


class Side(StrEnum):
    BUY = "buy"
    SELL = "sell"


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeOrder:
    """An order as the exchange tells it. Quantities in coins, prices in USD, times aware UTC."""

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
    created_at: datetime | None
    submitted_at: datetime | None
    ended_at: datetime | None
    replaced_by: str | None = None

    @property
    def is_ended(self) -> bool:
        return self.status in ENDED_STATUSES

    @classmethod
    def from_wire(cls, source: Any) -> ExchangeOrder:
        """Parse a wire dict or an SDK `Order`.

        Raises:
            WireError: when a field that decisions rest on is missing or malformed.
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
    """An order that `ExchangeOrder` refuses: so much of it as tells whose it is.

    `symbol` is None where even that cannot be read; `problem` is one line.
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """Best bid and ask in USD at `quoted_at`."""

    symbol: str
    bid: Decimal
    ask: Decimal
    quoted_at: datetime

    @property
    def spread_percent(self) -> Decimal:
        """Of the ask."""
        return (self.ask - self.bid) * 100 / self.ask

    @classmethod
    def from_wire(cls, symbol: str, source: Any) -> Quote:
        """Parse a quote of the data stream, of the REST API, or the SDK's `Quote`.

        Raises:
            WireError: when a price or the time is missing or malformed; crossed or zero prices too.
        """
        bid = _first(source, "bp", "bid_price")
        ask = _first(source, "ap", "ask_price")
        quote = cls(
            symbol=normalize_symbol(symbol),
            bid=decimal_from_wire(bid, "bid"),
            ask=decimal_from_wire(ask, "ask"),
            quoted_at=time_from_wire(_first(source, "t", "timestamp"), "quote time"),
        )
        if not 0 < quote.bid <= quote.ask:
            raise WireError("bid and ask are zero or crossed")
        return quote


def _first(source: Any, *names: str) -> Any:
    for name in names:
        if (value := _get(source, name)) is not None:
            return value
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetRules:
    """What the exchange accepts for one symbol: sizes in coins, price step and minimum cost in USD.

    Source: GET /v2/assets/{symbol}; the minimum cost is not in the API (see `MINIMUM_ORDER_USD`).
    """

    symbol: str
    min_order_size: Decimal
    min_trade_increment: Decimal
    price_increment: Decimal
    min_cost_usd: Decimal
    is_tradable: bool = True

    @classmethod
    def from_wire(cls, source: Any, *, min_cost_usd: Decimal) -> AssetRules:
        """Parse a raw asset.

        Raises:
            WireError: when an increment is missing or not above zero.
        """
        rules = cls(
            symbol=normalize_symbol(_text(source, "symbol", 32)),
            min_order_size=decimal_from_wire(_get(source, "min_order_size"), "min_order_size"),
            min_trade_increment=decimal_from_wire(
                _get(source, "min_trade_increment"), "min_trade_increment"
            ),
            price_increment=decimal_from_wire(_get(source, "price_increment"), "price_increment"),
            min_cost_usd=min_cost_usd,
            is_tradable=_get(source, "tradable") is True and _get(source, "status") == "active",
        )
        if min(rules.min_order_size, rules.min_trade_increment, rules.price_increment) <= 0:
            raise WireError(f"increments of {rules.symbol} are not above zero")
        return rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """Coins held and coins free to sell (`qty` minus open sells)."""

    symbol: str
    qty: Decimal
    qty_available: Decimal
    average_entry_price: Decimal

    @classmethod
    def from_wire(cls, source: Any) -> Position:
        """Parse a raw position.

        Raises:
            WireError: when symbol or quantity is missing or malformed.
        """
        qty = decimal_from_wire(_get(source, "qty"), "qty")
        available = _optional_decimal(source, "qty_available")
        return cls(
            symbol=normalize_symbol(_text(source, "symbol", 32)),
            qty=qty,
            qty_available=qty if available is None else available,
            average_entry_price=_optional_decimal(source, "avg_entry_price") or Decimal(0),
        )
