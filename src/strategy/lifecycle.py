"""The life of a cycle: which fact leads from which status to which. Pure.

`TRANSITIONS` is the whole machine, and nothing else chooses a status. A pair that is not in it is
forbidden and changes nothing. docs/how-it-works.md has its picture, drawn from it.

A fact is what the exchange says about the one order that the cycle's state can have (see
order_identity), so facts overtake one another without harm: a fill that arrives before its `new`
finds `watching` and is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import NamedTuple

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.records import Record
from strategy.sizing import is_dust, is_explained_by_fees

_NONE, _BUY = Decimal(0), Side.BUY  # looked up once: see strategy.ladder


class Fact(StrEnum):
    BUY_OPENED = "buy_opened"  # the exchange has the order and it has not ended
    SELL_OPENED = "sell_opened"
    BUY_ENDED = "buy_ended"  # filled, canceled, expired or rejected, with whatever was filled
    BUY_REPLACED = "buy_replaced"  # the user edited it: another order goes on in its place
    SELL_ENDED = "sell_ended"  # filled, canceled, expired or rejected, with whatever was sold
    SELL_REPLACED = "sell_replaced"
    BUY_FILLED_LATE = "buy_filled_late"  # more of an order whose end is booked already
    SELL_FILLED_LATE = "sell_filled_late"
    ORDER_MISSING = "order_missing"  # the exchange knows neither the order nor the id it would have
    COOLDOWN_OVER = "cooldown_over"
    POSITION_GONE = "position_gone"  # coins in the database, none on the exchange


class Circumstances(Record, frozen=True, kw_only=True):
    """What a change needs besides cycle and order. `coin_fees`: of the cycle's ended buys."""

    asset: DcaAsset
    rules: AssetRules
    fee_rate: Decimal
    now: datetime
    cooldown_until: datetime | None = None
    after_error: bool = False
    coin_fees: Decimal = Decimal(0)

    def is_dust(self, quantity: Decimal) -> bool:
        """Whether `quantity` (as filled) leaves too little to be sold."""
        return is_dust(quantity, self.rules, self.fee_rate)


class Outcome(Record, frozen=True, kw_only=True):
    """What a fact leaves of a cycle: the coins held after it (as filled), those that it sold, and
    the order that goes on in place of its own.
    """

    circumstances: Circumstances
    quantity: Decimal
    sold_qty: Decimal = Decimal(0)
    replaced_by: str | None = None

    @property
    def holds_nothing(self) -> bool:
        return self.circumstances.is_dust(self.quantity)


# The guards. Each gets the cycle as it was before the fact, and the outcome.


def has_replacement(cycle: DcaCycle, outcome: Outcome) -> bool:
    """The user edited the order: another one goes on in its place."""
    return outcome.replaced_by is not None


def is_sold_out(cycle: DcaCycle, outcome: Outcome) -> bool:
    """Something was sold, and what is left is no more than the coin fees explain, or cannot be
    sold. (A filled sell can leave coins, too: its quantity came from a position that lagged.)
    """
    left, facts = cycle.quantity - outcome.sold_qty, outcome.circumstances
    return outcome.sold_qty > 0 and is_explained_by_fees(
        cycle.quantity, left, facts.coin_fees, facts.rules, facts.fee_rate
    )


def is_closed_by_user(cycle: DcaCycle, outcome: Outcome) -> bool:
    """The user, or its stop loss, wants the cycle closed, and nothing is held: in `watching` it
    would wait for ever for a sale.
    """
    return cycle.sells_now and outcome.holds_nothing


def was_sold_meanwhile(cycle: DcaCycle, outcome: Outcome) -> bool:
    """While its order was open, a late fill of an earlier sell sold its coins: in `watching` it
    would buy again. Only a buy of more than dust leaves a reference price: where there is one and
    only dust is left, the coins were sold.
    """
    was_bought = cycle.quantity > 0 and cycle.last_order_fill_price is not None
    return was_bought and outcome.holds_nothing


def is_cooling_down(cycle: DcaCycle, outcome: Outcome) -> bool:
    """Nothing is held and the cooldown is not over: an early restart bought nothing."""
    facts = outcome.circumstances
    waits = facts.cooldown_until is not None and facts.now < facts.cooldown_until
    return waits and not facts.after_error and outcome.holds_nothing


class Way(NamedTuple):
    """Where a fact can lead (None: the status stays). Without a guard it is taken in any case."""

    target: CycleStatus | None
    guard: Callable[[DcaCycle, Outcome], bool] | None = None


_S, _F = CycleStatus, Fact
_BUYING, _SELLING = (Way(_S.BUYING),), (Way(_S.SELLING),)
_WATCHING, _ERROR, _STAYS = (Way(_S.WATCHING),), (Way(_S.ERROR),), (Way(None),)
_COMPLETE_IF_SOLD = Way(_S.COMPLETE, is_sold_out)
_IDLE = (Way(_S.COOLDOWN, is_cooling_down), *_WATCHING)
_AFTER_SELL = (_COMPLETE_IF_SOLD, *_IDLE)
_AFTER_BUY = (Way(_S.COMPLETE, is_closed_by_user), Way(_S.COMPLETE, was_sold_meanwhile), *_IDLE)
_BUY_GOES_ON = (Way(_S.BUYING, has_replacement), *_AFTER_BUY)
_SELL_GOES_ON = (Way(_S.SELLING, has_replacement), *_AFTER_SELL)

# The first way whose guard holds is taken.
TRANSITIONS: Mapping[tuple[CycleStatus, Fact], tuple[Way, ...]] = MappingProxyType(
    {
        (_S.WATCHING, _F.BUY_OPENED): _BUYING,
        (_S.WATCHING, _F.SELL_OPENED): _SELLING,
        (_S.WATCHING, _F.BUY_ENDED): _AFTER_BUY,
        (_S.WATCHING, _F.BUY_REPLACED): _BUY_GOES_ON,
        (_S.WATCHING, _F.SELL_ENDED): _AFTER_SELL,
        (_S.WATCHING, _F.SELL_REPLACED): _SELL_GOES_ON,
        (_S.WATCHING, _F.POSITION_GONE): _ERROR,
        (_S.BUYING, _F.BUY_OPENED): _BUYING,
        (_S.BUYING, _F.SELL_OPENED): _SELLING,
        (_S.BUYING, _F.BUY_ENDED): _AFTER_BUY,
        (_S.BUYING, _F.BUY_REPLACED): _BUY_GOES_ON,
        (_S.BUYING, _F.SELL_ENDED): _AFTER_SELL,
        (_S.BUYING, _F.SELL_REPLACED): _SELL_GOES_ON,
        (_S.BUYING, _F.ORDER_MISSING): _AFTER_BUY,
        (_S.SELLING, _F.BUY_OPENED): _BUYING,
        (_S.SELLING, _F.SELL_OPENED): _SELLING,
        (_S.SELLING, _F.BUY_ENDED): _AFTER_BUY,
        (_S.SELLING, _F.BUY_REPLACED): _BUY_GOES_ON,
        (_S.SELLING, _F.SELL_ENDED): _AFTER_SELL,
        (_S.SELLING, _F.SELL_REPLACED): _SELL_GOES_ON,
        (_S.SELLING, _F.ORDER_MISSING): _AFTER_BUY,
        (_S.COOLDOWN, _F.BUY_OPENED): _BUYING,
        (_S.COOLDOWN, _F.BUY_ENDED): _AFTER_BUY,
        (_S.COOLDOWN, _F.BUY_REPLACED): _BUY_GOES_ON,
        (_S.COOLDOWN, _F.COOLDOWN_OVER): _WATCHING,
        # In any status: what is closed stays closed, and an order under way decides at its end.
        **{(status, _F.BUY_FILLED_LATE): _STAYS for status in _S},
        **{(status, _F.SELL_FILLED_LATE): _STAYS for status in _S},
        (_S.WATCHING, _F.SELL_FILLED_LATE): (_COMPLETE_IF_SOLD, *_STAYS),
    }
)
# What ends is followed at once, so that an asset always has one open cycle.
SUCCESSORS: Mapping[CycleStatus, CycleStatus] = MappingProxyType(
    {_S.COMPLETE: _S.COOLDOWN, _S.ERROR: _S.WATCHING}
)


_BUY_ENDED, _SELL_ENDED = Fact.BUY_ENDED, Fact.SELL_ENDED


class ForbiddenTransition(Exception):
    """A fact that this status cannot have. Nothing was changed."""


def fact_of(order: ExchangeOrder) -> Fact:
    """What an order's state means for its cycle."""
    buys = order.side is _BUY
    match order.status:
        case "filled" | "canceled" | "expired" | "rejected":
            return _BUY_ENDED if buys else _SELL_ENDED
        case "replaced":
            return Fact.BUY_REPLACED if buys else Fact.SELL_REPLACED
        case _:
            return Fact.BUY_OPENED if buys else Fact.SELL_OPENED


def outcome_of(cycle: DcaCycle, order: ExchangeOrder, circumstances: Circumstances) -> Outcome:
    """What `cycle` is left with after the fills of `order`."""
    buys = order.side is _BUY
    after = cycle.quantity + order.filled_qty if buys else cycle.quantity - order.filled_qty
    return Outcome(
        circumstances=circumstances,
        quantity=after if after > _NONE else _NONE,
        sold_qty=_NONE if buys else order.filled_qty,
        replaced_by=order.replaced_by,
    )


def target_of(cycle: DcaCycle, fact: Fact, outcome: Outcome | None = None) -> CycleStatus:
    """Where `fact` leads a cycle. Facts whose ways have no guards need no `outcome`.

    Raises:
        ForbiddenTransition: when the pair is not in the table.
    """
    for target, guard in TRANSITIONS.get((cycle.status, fact), ()):
        if guard is not None:
            assert outcome is not None, f"{guard.__name__} judges by the outcome"
            if not guard(cycle, outcome):
                continue
        return target or cycle.status
    raise ForbiddenTransition(f"a cycle in {cycle.status} cannot have {fact}")
