"""Whether the account may place this order now, and what the order will hold back. Changes nothing.

Comes after order_rules: here the ticket is well formed, and balances, prices and other orders
count.
"""

from decimal import Decimal

from . import errors, matching, order_rules
from .account import Reservation
from .decimals import ZERO, floor_to
from .order_rules import Ticket
from .orders import OrderType, Side
from .state import State


def plan_reservation(state: State, ticket: Ticket, freed: Reservation | None = None) -> Reservation:
    """Raises ApiError when the order may not be placed.

    `freed` is what the order that this one replaces gives back.
    """
    _check_client_order_id(state, ticket)
    wash = order_rules.find_wash_trade(ticket, state.book.open_on(ticket.asset.symbol))
    if wash is not None:
        raise errors.wash_trade(wash[0].id, wash[1])
    likely_price, worst_price = _prices(state, ticket)
    order_rules.check_cost(ticket.side, ticket.notional or times(ticket.qty, likely_price))
    freed = freed or Reservation(ticket.asset.symbol)
    if ticket.side is Side.BUY:
        usd = ticket.notional or times(ticket.qty, worst_price) or ZERO
        return _reserve_usd(state, ticket, usd, freed)
    return _reserve_coins(state, ticket, _coins(ticket, likely_price), freed)


def times(qty: Decimal | None, price: Decimal | None) -> Decimal | None:
    return None if qty is None or price is None else qty * price


def _check_client_order_id(state: State, ticket: Ticket) -> None:
    wanted = ticket.client_order_id
    if wanted and state.habits.duplicate_ids_refused and state.book.has_client_id(wanted):
        raise errors.duplicate_client_order_id()


def _prices(state: State, ticket: Ticket) -> tuple[Decimal | None, Decimal | None]:
    """The price it would probably fill at and the worst one; None while nobody can know."""
    quote = state.market.quote(ticket.asset.symbol)
    if ticket.type is not OrderType.MARKET:
        return ticket.limit_price, ticket.limit_price
    if quote is None:
        return None, None
    likely = quote.ask if ticket.side is Side.BUY else quote.bid
    return likely, matching.collar_price(ticket.side, quote, ticket.asset.price_increment)


def _coins(ticket: Ticket, price: Decimal | None) -> Decimal:
    if ticket.qty is not None:
        return ticket.qty
    assert ticket.notional is not None
    return floor_to(ticket.notional / price, ticket.asset.min_trade_increment) if price else ZERO


def _reserve_usd(state: State, ticket: Ticket, usd: Decimal, freed: Reservation) -> Reservation:
    available = state.account.available_usd() + freed.usd
    if usd > available:
        raise errors.insufficient_balance("USD", usd, available, state.account.cash)
    return Reservation(ticket.asset.symbol, usd=usd)


def _reserve_coins(state: State, ticket: Ticket, coins: Decimal, freed: Reservation) -> Reservation:
    symbol = ticket.asset.symbol
    available = state.account.available_coins(symbol) + freed.coins
    if coins > available or not available:
        held = state.account.qty(symbol)
        raise errors.insufficient_balance(ticket.asset.coin, coins, available, held)
    return Reservation(symbol, coins=coins)
