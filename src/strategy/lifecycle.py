"""The life of a cycle: which fact leads from which status to which, and what it writes. Pure.

    cooldown --over--> watching --buy order--> buying --its end--> watching
                       watching --sell order-> selling --sold out--> complete, and a new cycle in
                       cooldown watching --no position on the exchange----> error, and a new cycle
                       in watching

A fact is what the exchange says about the one order that the cycle's state can have (see
order_identity), so facts overtake one another without harm: a fill that arrives before its `new`
finds `watching` and is applied. `TRANSITIONS` is the whole machine. A pair that is not in it is
forbidden and changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, StrEnum
from types import MappingProxyType

from domain.cycle import CycleStatus, DcaCycle
from domain.orders import ExchangeOrder, Side


class Fact(StrEnum):
    BUY_OPENED = "buy_opened"  # the exchange has the order and it has not ended
    SELL_OPENED = "sell_opened"
    BUY_ENDED = "buy_ended"  # filled, canceled, expired or rejected, with whatever was filled
    BUY_REPLACED = "buy_replaced"  # the user edited it: another order goes on in its place
    SELL_ENDED = "sell_ended"  # filled, canceled, expired or rejected, with whatever was sold
    SELL_REPLACED = "sell_replaced"
    ORDER_MISSING = "order_missing"  # the exchange knows neither the order nor the id it would have
    COOLDOWN_OVER = "cooldown_over"
    POSITION_GONE = "position_gone"  # coins in the books, none on the exchange


class Next(Enum):
    """Where a transition leads.

    REST is `watching`, or `cooldown` while that is not over and no coins are held, or `complete`
    after a sell that left no more than fees and dust explain (filled or not: a position that lagged
    can have named fewer coins than there are), or when the user wants it closed and there is
    nothing to sell.
    """

    BUYING = "buying"
    SELLING = "selling"
    REST = "rest"
    SAME = "same"
    WATCHING = "watching"
    ERROR = "error"


_S, _F = CycleStatus, Fact
TRANSITIONS: Mapping[tuple[CycleStatus, Fact], Next] = MappingProxyType(
    {
        (_S.WATCHING, _F.BUY_OPENED): Next.BUYING,
        (_S.WATCHING, _F.SELL_OPENED): Next.SELLING,
        (_S.WATCHING, _F.BUY_ENDED): Next.REST,
        (_S.WATCHING, _F.BUY_REPLACED): Next.BUYING,
        (_S.WATCHING, _F.SELL_ENDED): Next.REST,
        (_S.WATCHING, _F.SELL_REPLACED): Next.SELLING,
        (_S.WATCHING, _F.POSITION_GONE): Next.ERROR,
        (_S.BUYING, _F.BUY_OPENED): Next.SAME,
        (_S.BUYING, _F.SELL_OPENED): Next.SELLING,
        (_S.BUYING, _F.BUY_ENDED): Next.REST,
        (_S.BUYING, _F.BUY_REPLACED): Next.SAME,
        (_S.BUYING, _F.SELL_ENDED): Next.REST,
        (_S.BUYING, _F.SELL_REPLACED): Next.SELLING,
        (_S.BUYING, _F.ORDER_MISSING): Next.REST,
        (_S.SELLING, _F.BUY_OPENED): Next.BUYING,
        (_S.SELLING, _F.SELL_OPENED): Next.SAME,
        (_S.SELLING, _F.BUY_ENDED): Next.REST,
        (_S.SELLING, _F.BUY_REPLACED): Next.BUYING,
        (_S.SELLING, _F.SELL_ENDED): Next.REST,
        (_S.SELLING, _F.SELL_REPLACED): Next.SAME,
        (_S.SELLING, _F.ORDER_MISSING): Next.REST,
        (_S.COOLDOWN, _F.BUY_OPENED): Next.BUYING,
        (_S.COOLDOWN, _F.BUY_ENDED): Next.REST,
        (_S.COOLDOWN, _F.BUY_REPLACED): Next.BUYING,
        (_S.COOLDOWN, _F.COOLDOWN_OVER): Next.WATCHING,
    }
)


class ForbiddenTransition(Exception):
    """A fact that this status cannot have. Nothing was changed."""


def fact_of(order: ExchangeOrder) -> Fact:
    """What an order's state means for its cycle."""
    buys = order.side is Side.BUY
    match order.status:
        case "filled" | "canceled" | "expired" | "rejected":
            return Fact.BUY_ENDED if buys else Fact.SELL_ENDED
        case "replaced":
            return Fact.BUY_REPLACED if buys else Fact.SELL_REPLACED
        case _:
            return Fact.BUY_OPENED if buys else Fact.SELL_OPENED


def target_of(cycle: DcaCycle, fact: Fact) -> Next:
    """Where `fact` leads a cycle.

    Raises:
        ForbiddenTransition: when the pair is not in the table.
    """
    try:
        return TRANSITIONS[cycle.status, fact]
    except KeyError:
        raise ForbiddenTransition(f"a cycle in {cycle.status} cannot have {fact}") from None
