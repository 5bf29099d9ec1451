"""The shapes of Alpaca's market data: floats, and one letter a field.

The same fields go out as JSON (times as text) and as msgpack (times as Timestamp).
"""

from decimal import Decimal

from paper_exchange.api.wire import Json
from paper_exchange.core.prices import Bar, Quote, Trade


def quote_fields(quote: Quote) -> Json:
    return {
        "bp": float(quote.bid),
        "bs": float(quote.bid_size),
        "ap": float(quote.ask),
        "as": float(quote.ask_size),
    }


def book_fields(quote: Quote, before: Quote | None = None) -> Json:
    """The order book of one level; after `before` only its changes (size 0: the level is gone)."""
    bids, asks = _level(quote.bid, quote.bid_size), _level(quote.ask, quote.ask_size)
    if before is not None:
        bids = _level_changes(_level(before.bid, before.bid_size), bids)
        asks = _level_changes(_level(before.ask, before.ask_size), asks)
    return {
        "b": [{"p": price, "s": size} for price, size in bids.items()],
        "a": [{"p": price, "s": size} for price, size in asks.items()],
    }


def _level(price: Decimal, size: Decimal) -> dict[float, float]:
    return {float(price): float(size)} if price.is_finite() and price > 0 else {}


def _level_changes(before: dict[float, float], now: dict[float, float]) -> dict[float, float]:
    gone = {price: 0.0 for price in before if price not in now}
    return gone | {price: size for price, size in now.items() if before.get(price) != size}


def trade_fields(trade: Trade) -> Json:
    return {
        "p": float(trade.price),
        "s": float(trade.size),
        "i": trade.id,
        "tks": trade.taker_side,
    }


def bar_fields(bar: Bar) -> Json:
    return {
        "o": float(bar.open),
        "h": float(bar.high),
        "l": float(bar.low),
        "c": float(bar.close),
        "v": float(bar.volume),
        "n": bar.trade_count,
        "vw": float(bar.value / bar.volume) if bar.volume else 0.0,
    }
