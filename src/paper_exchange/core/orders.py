"""What an order is, how it may change, and the book that keeps every order.

All transitions stand in TRANSITIONS; a pair that is not there is forbidden. Orders are frozen: a
change makes a new record, and the book holds the newest one. Knows nothing of prices or balances.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import Enum
from typing import Any

from paper_exchange.core.decimals import ZERO

_AVERAGE_PLACES = Decimal("0.000000001")


class Side(Enum):
    BUY = "buy"
    SELL = "sell"


class OrderType(Enum):
    MARKET = "market"
    LIMIT = "limit"
    STOP_LIMIT = "stop_limit"


class TimeInForce(Enum):
    GTC = "gtc"
    IOC = "ioc"


class Status(Enum):
    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIALLY_FILLED = "partially_filled"
    PENDING_CANCEL = "pending_cancel"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"

    @property
    def is_open(self) -> bool:
        return self in OPEN_STATUSES


class Event(Enum):
    PENDING_NEW = "pending_new"
    NEW = "new"
    PARTIAL_FILL = "partial_fill"
    FILL = "fill"
    PENDING_CANCEL = "pending_cancel"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"
    REPLACED = "replaced"


OPEN_STATUSES = frozenset(
    {Status.PENDING_NEW, Status.NEW, Status.PARTIALLY_FILLED, Status.PENDING_CANCEL}
)
_ENDINGS = {
    Event.CANCELED: Status.CANCELED,
    Event.EXPIRED: Status.EXPIRED,
    Event.REJECTED: Status.REJECTED,
    Event.REPLACED: Status.REPLACED,
}
_FILLS = {Event.PARTIAL_FILL: Status.PARTIALLY_FILLED, Event.FILL: Status.FILLED}
_CANCEL = {Event.PENDING_CANCEL: Status.PENDING_CANCEL}

TRANSITIONS: dict[Status, dict[Event, Status]] = {
    Status.PENDING_NEW: {Event.NEW: Status.NEW, **_CANCEL, **_ENDINGS},
    Status.NEW: {**_FILLS, **_CANCEL, **_ENDINGS},
    Status.PARTIALLY_FILLED: {**_FILLS, **_CANCEL, **_ENDINGS},
    # A cancel that is under way does not stop fills; a partial one leaves the status as it is.
    Status.PENDING_CANCEL: {
        Event.PARTIAL_FILL: Status.PENDING_CANCEL,
        Event.FILL: Status.FILLED,
        **_ENDINGS,
    },
    # Only the fill_late fault asks for these.
    Status.CANCELED: {Event.PARTIAL_FILL: Status.CANCELED, Event.FILL: Status.FILLED},
    Status.FILLED: {},
    Status.EXPIRED: {},
    Status.REJECTED: {},
    Status.REPLACED: {},
}


class IllegalTransition(Exception):
    """A bug of the exchange: it tried to change an order in a way the table does not allow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    id: str
    client_order_id: str
    ordinal: int
    """1 for the first order of this exchange, 2 for the second: the seed of the order's chances."""
    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    status: Status = Status.PENDING_NEW
    filled_qty: Decimal = ZERO
    filled_value: Decimal = ZERO
    """Sum of price x qty over all executions, in USD."""
    submitted_at_ns: int
    created_at_ns: int
    updated_at_ns: int
    filled_at_ns: int | None = None
    expired_at_ns: int | None = None
    cancel_requested_at_ns: int | None = None
    canceled_at_ns: int | None = None
    failed_at_ns: int | None = None
    replaced_at_ns: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None

    collar_price: Decimal | None = None
    """Market orders: the hidden limit, 2 % from the quote."""
    first_part: Decimal | None = None
    """Fraction that fills first, when this order is one of those that fill in two parts."""
    has_arrived: bool = False
    """It has met the market once: from now on quotes may fill it."""
    is_taker: bool | None = None
    is_triggered: bool = False
    """Stop orders: the stop price was seen."""
    is_held: bool = False
    """A fault keeps it from filling further."""
    holds_after_part: bool = False
    """A fault will do so after its first part."""

    @property
    def filled_avg_price(self) -> Decimal | None:
        if not self.filled_qty:
            return None
        return (self.filled_value / self.filled_qty).quantize(_AVERAGE_PLACES)

    @property
    def working_limit(self) -> Decimal | None:
        """The worst price it may fill at; None while a market order has seen no quote."""
        return self.collar_price if self.type is OrderType.MARKET else self.limit_price

    @property
    def is_working(self) -> bool:
        """Open, met the market, and (if a stop) triggered."""
        triggered = self.is_triggered or self.type is not OrderType.STOP_LIMIT
        return self.status.is_open and self.has_arrived and triggered and not self.is_held


_TIME_FIELD = {
    Event.FILL: "filled_at_ns",
    Event.PARTIAL_FILL: "filled_at_ns",
    Event.PENDING_CANCEL: "cancel_requested_at_ns",
    Event.CANCELED: "canceled_at_ns",
    Event.EXPIRED: "expired_at_ns",
    Event.REJECTED: "failed_at_ns",
    Event.REPLACED: "replaced_at_ns",
}


def advance(order: Order, event: Event, at_ns: int, **changes: Any) -> Order:
    """The order after the event, with the times that the event sets."""
    try:
        status = TRANSITIONS[order.status][event]
    except KeyError:
        raise IllegalTransition(f"{event.value} on a {order.status.value} order") from None
    if (field := _TIME_FIELD.get(event)) is not None:
        changes[field] = at_ns
    return replace(order, status=status, updated_at_ns=at_ns, **changes)


class OrderBook:
    """Every order ever taken, in the order of submission, and which of them are open per symbol."""

    def __init__(self) -> None:
        self._orders: dict[str, Order] = {}  # in the order of submission
        self._id_by_client_id: dict[str, str] = {}
        self._open_ids: dict[str, dict[str, None]] = {}
        self.put_listeners: list[Callable[[Order], None]] = []

    def __len__(self) -> int:
        return len(self._orders)

    def add(self, order: Order) -> None:
        # With refusal of duplicates switched off the newest order answers for the id.
        self._id_by_client_id[order.client_order_id] = order.id
        self.put(order)

    def put(self, order: Order) -> None:
        """Stores a newer record of an order."""
        self._orders[order.id] = order
        open_ids = self._open_ids.setdefault(order.symbol, {})
        if order.status.is_open:
            open_ids[order.id] = None
        else:
            open_ids.pop(order.id, None)
        for listener in self.put_listeners:
            listener(order)

    def get(self, order_id: str) -> Order | None:
        return self._orders.get(order_id)

    def by_client_id(self, client_order_id: str) -> Order | None:
        order_id = self._id_by_client_id.get(client_order_id)
        return self._orders[order_id] if order_id else None

    def open_on(self, symbol: str) -> list[Order]:
        """Open orders of the symbol, oldest first: first come, first filled."""
        ids = self._open_ids.get(symbol)
        return [self._orders[order_id] for order_id in ids] if ids else []

    def all_open(self) -> list[Order]:
        orders = [self._orders[one] for ids in self._open_ids.values() for one in ids]
        return sorted(orders, key=lambda order: order.ordinal)

    def newest_first(self) -> Iterator[Order]:
        return reversed(self._orders.values())

    def oldest_first(self) -> Iterator[Order]:
        return iter(self._orders.values())
