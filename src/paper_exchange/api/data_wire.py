"""The shapes of Alpaca's market data: floats, and one letter a field.

The same fields go out as JSON (times as text) and as msgpack (times as Timestamp).
"""

from decimal import Decimal

from paper_exchange.api.wire import Json
from paper_exchange.core.prices import Bar, Quote, Trade


def fields_of(record: Quote | Trade | Bar) -> Json:
    match record:
        case Quote():
            return {
                "bp": float(record.bid),
                "bs": float(record.bid_size),
                "ap": float(record.ask),
                "as": float(record.ask_size),
            }
        case Trade():
            return {
                "p": float(record.price),
                "s": float(record.size),
                "i": record.id,
                "tks": record.taker_side,
            }
        case Bar():
            return {
                "o": float(record.open),
                "h": float(record.high),
                "l": float(record.low),
                "c": float(record.close),
                "v": float(record.volume),
                "n": record.trade_count,
                "vw": float(record.value / record.volume) if record.volume else 0.0,
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
