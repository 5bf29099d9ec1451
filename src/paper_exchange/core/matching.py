"""When an order fills, how much of it and at which price.

Pure: computes an execution, changes nothing. Like Alpaca's paper trading, an order fills only when
it is marketable, at the quote's price, whatever the size of the book; a tenth of the orders fill a
random part first and the rest on a later quote.
"""

import random
from dataclasses import dataclass
from decimal import Decimal

from paper_exchange.core.decimals import ceil_to, floor_to
from paper_exchange.core.orders import Order, OrderType, Side
from paper_exchange.core.prices import Quote

MARKET_COLLAR = Decimal("0.02")


@dataclass(frozen=True, slots=True)
class Execution:
    qty: Decimal
    price: Decimal
    is_final: bool


def collar_price(
    side: Side, quote: Quote, price_increment: Decimal, width: Decimal = MARKET_COLLAR
) -> Decimal:
    """The limit that a market order really is: 2 % beyond the quote, rounded away from it."""
    if side is Side.BUY:
        return ceil_to(quote.ask * (1 + width), price_increment)
    return max(price_increment, floor_to(quote.bid * (1 - width), price_increment))


def marketable_price(side: Side, limit: Decimal | None, quote: Quote) -> Decimal | None:
    """The quote's price where the limit allows it; None: the order rests."""
    if limit is None or not quote.is_usable:
        return None
    if side is Side.BUY:
        return quote.ask if quote.ask <= limit else None
    return quote.bid if quote.bid >= limit else None


def stop_is_reached(order: Order, quote: Quote) -> bool:
    if order.type is not OrderType.STOP_LIMIT or order.stop_price is None or not quote.is_usable:
        return False
    if order.side is Side.BUY:
        return quote.ask >= order.stop_price
    return quote.bid <= order.stop_price


def plan_execution(order: Order, quote: Quote, trade_increment: Decimal) -> Execution | None:
    """What fills on this quote, or None."""
    price = marketable_price(order.side, order.working_limit, quote)
    if price is None:
        return None
    remaining = _remaining(order, price, trade_increment)
    if remaining <= 0:
        return None
    if order.first_part is not None and not order.filled_qty:
        part = floor_to(remaining * order.first_part, trade_increment)
        if 0 < part < remaining:
            return Execution(part, price, is_final=False)
    return Execution(remaining, price, is_final=True)


def _remaining(order: Order, price: Decimal, trade_increment: Decimal) -> Decimal:
    if order.qty is not None:
        return order.qty - order.filled_qty
    assert order.notional is not None
    return floor_to((order.notional - order.filled_value) / price, trade_increment)


def draw_first_part(seed: int, ordinal: int, probability: float) -> Decimal | None:
    """Whether the n-th order fills in two parts, and which fraction comes first.

    Drawn from (seed, ordinal) alone, so that the timing of quotes and requests cannot change it.
    """
    chance = random.Random(f"{seed}:part:{ordinal}")
    if chance.random() >= probability:
        return None
    return Decimal(chance.randint(10, 90)) / 100
