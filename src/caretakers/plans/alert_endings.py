"""When an alert is over: for each kind, what must be gone. Pure.

What a fact is not known of stays as it is: an alert never ends because something could not be read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from domain.cycle import CycleStatus, DcaCycle
from domain.events import NEWS_SECONDS, EventKind, EventRow
from domain.orders import ExchangeOrder

ORDER_KINDS = (
    EventKind.ORDER_CANCEL_LASTING,
    EventKind.ORDER_LONG_OPEN,
    EventKind.ORDER_UNCLAIMED,
    EventKind.ORDER_UNREADABLE,
    EventKind.ORDER_UNWRITABLE,
)
POSITION_KINDS = (
    EventKind.POSITION_EXCESS,
    EventKind.POSITION_SHORT,
    EventKind.POSITION_UNEXPECTED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertFacts:
    """What is so now, of what the alert is about.

    Args:
        is_order_known: the exchange gave a certain answer about the order: `order`, None for 404.
        is_order_booked: the journal has its end.
        is_order_explained: it ended, and all coins of the account are explained.
        cycle, symbol: as the database has them; None: the cycle or its asset is gone.
        holding_kind: what comparing the cycle with the account finds; `is_holding_known` else.
        is_cooldown_endless: the cycle's cooldown has no end that can be computed.
        is_limit_reached: the limit that stops buys still does; None: not known.
        may_end_in_error: fewer cycles than hold the others back ended in error within the hour.
    """

    age_seconds: float
    is_order_known: bool = False
    order: ExchangeOrder | None = None
    is_order_booked: bool = False
    is_order_explained: bool = False
    cycle: DcaCycle | None = None
    symbol: str | None = None
    is_holding_known: bool = False
    holding_kind: EventKind | None = None
    is_cooldown_endless: bool = False
    is_limit_reached: bool | None = None
    may_end_in_error: bool = False


def why_over(alert: EventRow, facts: AlertFacts) -> str | None:
    """What ended it, for a person; None: it goes on."""
    if alert.kind in ORDER_KINDS:
        return _order_is_gone(alert, facts)
    if alert.kind in POSITION_KINDS:
        return _position_fits(alert, facts)
    if rule := _RULES.get(alert.kind):
        return rule(alert, facts)
    if not alert.lasts and facts.age_seconds > NEWS_SECONDS:
        return "nothing follows from it any more"
    return None


def _order_is_gone(alert: EventRow, facts: AlertFacts) -> str | None:
    if facts.is_order_booked:
        return "the order is booked"
    if not facts.is_order_known:
        return None
    order = facts.order
    if order is None:
        return "the exchange knows no such order"
    match alert.kind:
        case EventKind.ORDER_UNREADABLE:
            return "the order can be read again"
        case EventKind.ORDER_CANCEL_LASTING if order.is_ended:
            return f"the order has ended ({order.status})"
        case EventKind.ORDER_LONG_OPEN if order.is_ended or order.status != alert.dedupe_key:
            return f"the order is {order.status} now"
        case EventKind.ORDER_UNCLAIMED if order.is_ended and not order.filled_qty:
            return "no cycle claims it, and it ended without a fill"
        case EventKind.ORDER_UNCLAIMED if facts.is_order_explained:
            return "no cycle claims it, and all coins of the account are explained"
    return None


def _position_fits(alert: EventRow, facts: AlertFacts) -> str | None:
    if facts.cycle is None or not facts.cycle.is_open:
        return "its cycle has ended"
    if facts.is_holding_known and facts.holding_kind != alert.kind:
        return "the account's coins are those of the cycle again"
    return None


def _has_its_symbol(alert: EventRow, facts: AlertFacts) -> str | None:
    if facts.cycle is None or not facts.cycle.is_open:
        return "its cycle has ended"
    if facts.symbol == alert.symbol:
        return f"its asset is {alert.symbol} again"
    return None


def _cooldown_ends(alert: EventRow, facts: AlertFacts) -> str | None:
    if facts.cycle is None or facts.cycle.status is not CycleStatus.COOLDOWN:
        return "the cycle cools down no more"
    return None if facts.is_cooldown_endless else "the end of the cooldown can be computed again"


def _goes_on(alert: EventRow, facts: AlertFacts) -> str | None:
    return "the hour has passed: positions are compared again" if facts.may_end_in_error else None


def _buys_go_on(alert: EventRow, facts: AlertFacts) -> str | None:
    return "the limit stops no buys any more" if facts.is_limit_reached is False else None


_RULES: dict[str, Callable[[EventRow, AlertFacts], str | None]] = {
    EventKind.ASSET_RENAMED: _has_its_symbol,
    EventKind.BUYS_STOPPED: _buys_go_on,
    EventKind.COOLDOWN_ENDLESS: _cooldown_ends,
    EventKind.POSITIONS_DOUBTED: _goes_on,
}
