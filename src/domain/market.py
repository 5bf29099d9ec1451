"""What the exchange says of a market: quote, rules of a symbol, position. Frozen; no I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from domain.wire import (
    WireError,
    _first,
    _get,
    _optional_decimal,
    _text,
    decimal_from_wire,
    normalize_symbol,
    time_from_wire,
)


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
        names = ("min_order_size", "min_trade_increment", "price_increment")
        sizes = {name: decimal_from_wire(_get(source, name), name) for name in names}
        symbol = normalize_symbol(_text(source, "symbol", 32))
        if min(sizes.values()) <= 0:
            raise WireError(f"increments of {symbol} are not above zero")
        is_tradable = _get(source, "tradable") is True and _get(source, "status") == "active"
        return cls(symbol=symbol, min_cost_usd=min_cost_usd, is_tradable=is_tradable, **sizes)


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
