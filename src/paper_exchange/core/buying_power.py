"""Whether the account may place this order now, and what the order reserves. Changes nothing.

Comes after order_rules: the ticket is well formed; balances, prices and other orders decide here.
"""

from decimal import Decimal

from paper_exchange.core import errors, matching, order_rules
from paper_exchange.core.account import Reservation
from paper_exchange.core.assets import Asset
from paper_exchange.core.decimals import ZERO, floor_to
from paper_exchange.core.order_rules import Ticket
from paper_exchange.core.orders import OrderType, Side
from paper_exchange.core.state import State


def plan_reservation(state: State, ticket: Ticket, freed: Reservation | None = None) -> Reservation:
    """Raises ApiError when the order may not be placed.

    `freed` is the reservation of the order that this one replaces.
    """
    wanted_id = ticket.client_order_id
    if wanted_id and state.switches.duplicate_ids_refused and state.book.by_client_id(wanted_id):
        raise errors.invalid("client_order_id must be unique")
    asset, account = ticket.asset, state.account
    order_rules.check_wash_trade(ticket, state.book.open_on(asset.symbol))
    likely_price, worst_price = _prices(state, ticket)
    order_rules.check_cost(ticket.side, ticket.notional or _cost(ticket.qty, likely_price))
    wanted = needed(asset, ticket.side, ticket.qty, ticket.notional, worst_price)
    freed = freed or Reservation(asset.symbol)
    if ticket.side is Side.BUY:
        available = account.available_usd() + freed.usd
        if wanted.usd > available:
            raise errors.insufficient_balance("USD", wanted.usd, available, account.cash)
        return wanted
    available = account.available_coins(asset.symbol) + freed.coins
    if wanted.coins > available or not available:
        held = account.qty(asset.symbol)
        raise errors.insufficient_balance(asset.coin, wanted.coins, available, held)
    return wanted


def needed(
    asset: Asset,
    side: Side,
    qty: Decimal | None,
    notional: Decimal | None,
    worst_price: Decimal | None,
) -> Reservation:
    """What (still) has to be reserved; nothing while that depends on an unknown price."""
    if side is Side.BUY:
        return Reservation(asset.symbol, usd=notional or _cost(qty, worst_price) or ZERO)
    if qty is None:
        qty = ZERO
        if notional and worst_price:
            qty = floor_to(notional / worst_price, asset.min_trade_increment)
    return Reservation(asset.symbol, coins=qty)


def _cost(qty: Decimal | None, price: Decimal | None) -> Decimal | None:
    return None if qty is None or price is None else qty * price


def _prices(state: State, ticket: Ticket) -> tuple[Decimal | None, Decimal | None]:
    """The price it would probably fill at and the worst one; None while there is no quote."""
    quote = state.market.quote(ticket.asset.symbol)
    if ticket.type is not OrderType.MARKET:
        return ticket.limit_price, ticket.limit_price
    if quote is None:
        return None, None
    likely = quote.ask if ticket.side is Side.BUY else quote.bid
    return likely, matching.collar_price(ticket.side, quote, ticket.asset.price_increment)
