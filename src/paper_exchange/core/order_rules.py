"""Which order requests are well formed: shape, time in force, increments, sizes.

Pure; knows no balances and no orders. Every refusal is an ApiError in Alpaca's words. Quantities
and prices may come as JSON numbers or strings.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import Enum
from typing import TypeVar

from paper_exchange.core import errors
from paper_exchange.core.assets import Asset, AssetCatalog
from paper_exchange.core.decimals import decimal_places, plain, to_decimal
from paper_exchange.core.orders import Order, OrderType, Side, TimeInForce

MAX_DECIMAL_PLACES = 9
MAX_CLIENT_ORDER_ID_LENGTH = 128
MIN_BUY_COST = Decimal(10)
MAX_ORDER_COST = Decimal(200_000)

E = TypeVar("E", bound=Enum)
Body = Mapping[str, object]

_TICKET_FIELDS = frozenset(
    {"symbol", "qty", "notional", "side", "type", "time_in_force", "limit_price", "stop_price",
     "client_order_id", "order_class", "extended_hours", "position_intent"}
)  # fmt: skip
_REPLACEABLE_FIELDS = frozenset(
    {"qty", "limit_price", "stop_price", "time_in_force", "client_order_id"}
)
_STOCK_FIELDS = frozenset(
    {"advanced_instructions", "legs", "notional", "stop_loss", "take_profit", "trail",
     "trail_percent", "trail_price"}
)  # fmt: skip
_INTENTS = {Side.BUY: "buy_to_open", Side.SELL: "sell_to_close"}
"""Coins cannot be sold short."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A well-formed request to trade, not yet an order."""

    asset: Asset
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    stop_price: Decimal | None
    client_order_id: str | None


def parse_ticket(request: Body, assets: AssetCatalog) -> Ticket:
    """Reads the body of POST /v2/orders."""
    _check_fields(request, _TICKET_FIELDS)
    asset = _asset(request.get("symbol"), assets)
    order_class = request.get("order_class")
    if order_class not in (None, "", "simple"):
        raise errors.unprocessable(
            "crypto orders not allowed for advanced order_class: " + str(order_class)
        )
    invalid_type = errors.unprocessable("invalid order type for crypto order")
    ticket = Ticket(
        asset=asset,
        side=_choice(request, "side", Side, errors.invalid("side is required")),
        type=_choice(request, "type", OrderType, invalid_type),
        time_in_force=_time_in_force(request),
        qty=_positive(request, "qty"),
        notional=_positive(request, "notional"),
        limit_price=_positive(request, "limit_price"),
        stop_price=_positive(request, "stop_price"),
        client_order_id=_client_order_id(request.get("client_order_id")),
    )
    if request.get("extended_hours"):
        raise errors.unprocessable("extended hours orders are not allowed for crypto")
    if (intent := request.get("position_intent")) not in (None, _INTENTS[ticket.side]):
        raise errors.invalid(f"invalid position_intent {intent} of a {ticket.side.value} order")
    _check_prices(ticket)
    _check_size(ticket)
    return ticket


def parse_replacement(request: Body, order: Order, asset: Asset) -> Ticket:
    """Reads the body of PATCH /v2/orders/{id}; what it does not name stays, of qty the unfilled."""
    _check_fields(request, _REPLACEABLE_FIELDS)
    if order.notional is not None:
        raise errors.unprocessable("notional orders cannot be replaced")
    remaining = None if order.qty is None else order.qty - order.filled_qty
    keeps_time_in_force = request.get("time_in_force") is None
    ticket = Ticket(
        asset=asset,
        side=order.side,
        type=order.type,
        time_in_force=order.time_in_force if keeps_time_in_force else _time_in_force(request),
        qty=_positive(request, "qty") or remaining,
        notional=None,
        limit_price=_positive(request, "limit_price") or order.limit_price,
        stop_price=_positive(request, "stop_price") or order.stop_price,
        client_order_id=_client_order_id(request.get("client_order_id")),
    )
    _check_prices(ticket)
    _check_size(ticket)
    return ticket


def check_cost(side: Side, cost: Decimal | None) -> None:
    """Minimum (of buys only) and maximum, in USD; None: there is no price yet."""
    if cost is None:
        return
    if side is Side.BUY and cost < MIN_BUY_COST:
        raise errors.forbidden(
            f"cost basis must be >= minimal amount of order {plain(MIN_BUY_COST)}"
        )
    if cost > MAX_ORDER_COST:
        raise errors.forbidden(
            f"order cost must be <= maximal amount of order {plain(MAX_ORDER_COST)}"
        )


def check_wash_trade(ticket: Ticket, open_orders: list[Order]) -> None:
    """Refuses an order that could trade with an open one of the other side."""
    for order in open_orders:
        if order.side is ticket.side:
            continue
        if order.type is OrderType.LIMIT and ticket.type is OrderType.LIMIT:
            buy, sell = ticket.limit_price, order.limit_price
            if ticket.side is Side.SELL:
                buy, sell = sell, buy
            if buy is not None and sell is not None and buy < sell:
                continue
        raise errors.forbidden(
            "potential wash trade detected. use complex orders",
            existing_order_id=order.id,
            reject_reason=f"opposite side {order.type.value.partition('_')[0]} order exists",
        )


def _check_fields(request: Body, known: frozenset[str]) -> None:
    """A field is known or refused, never ignored. Null is no value."""
    for name, value in request.items():
        if value is None or name in known:
            continue
        if name in _STOCK_FIELDS:
            raise errors.unprocessable(f"{name} is not supported for crypto orders")
        raise errors.malformed_body(f": unknown field {name}")


def _asset(symbol: object, assets: AssetCatalog) -> Asset:
    if not isinstance(symbol, str) or not symbol:
        raise errors.invalid("symbol is required")
    asset = assets.find(symbol)
    if asset is None:
        raise errors.unprocessable(f'asset "{symbol}" not found')
    if not asset.tradable:
        raise errors.unprocessable(f"asset {asset.symbol} is not active")
    return asset


def _choice(request: Body, name: str, kind: type[E], refusal: errors.ApiError) -> E:
    try:
        return kind(request.get(name))
    except ValueError:
        raise refusal from None


def _time_in_force(request: Body) -> TimeInForce:
    refusal = errors.unprocessable("invalid crypto time_in_force")
    return _choice(request, "time_in_force", TimeInForce, refusal)


def _positive(request: Body, name: str) -> Decimal | None:
    value = request.get(name)
    if value is None or value == "":
        return None
    try:
        number = to_decimal(value)
    except ValueError:
        raise errors.invalid(f"{name} must be a number") from None
    if number <= 0:
        raise errors.invalid(f"{name} must be > 0")
    if decimal_places(number) > MAX_DECIMAL_PLACES:
        raise errors.unprocessable(f"{name} must be limited to {MAX_DECIMAL_PLACES} decimal places")
    return number


def _client_order_id(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise errors.invalid("client_order_id must be a string")
    if len(value) > MAX_CLIENT_ORDER_ID_LENGTH:
        raise errors.invalid(
            f"client_order_id must be no more than {MAX_CLIENT_ORDER_ID_LENGTH} characters"
        )
    return value


def _check_prices(ticket: Ticket) -> None:
    match ticket.type:
        case OrderType.MARKET:
            if ticket.limit_price is not None or ticket.stop_price is not None:
                raise errors.invalid("market orders require no stop or limit price")
        case OrderType.LIMIT:
            if ticket.limit_price is None:
                raise errors.invalid("limit orders require a limit price")
            if ticket.stop_price is not None:
                raise errors.invalid("limit orders require only limit price")
        case OrderType.STOP_LIMIT:
            if ticket.limit_price is None or ticket.stop_price is None:
                raise errors.invalid("stop limit orders require both stop and limit price")
    step = ticket.asset.price_increment
    for name, price in (("limit_price", ticket.limit_price), ("stop_price", ticket.stop_price)):
        if price is not None and price % step:
            raise errors.unprocessable(
                f"invalid {name} {plain(price)}. "
                f"price must be a multiple of the price increment {plain(step)}"
            )


def _check_size(ticket: Ticket) -> None:
    if ticket.qty is None and ticket.notional is None:
        raise errors.invalid("qty or notional is required")
    if ticket.qty is not None and ticket.notional is not None:
        raise errors.invalid("only one of qty or notional is accepted")
    if ticket.notional is not None and decimal_places(ticket.notional) > 2:
        raise errors.unprocessable("notional value must be limited to 2 decimal places")
    if ticket.qty is None:
        return
    if ticket.qty < ticket.asset.min_order_size:
        # Bots quote this text and 403 from live refusals, as for the minimal cost.
        smallest = plain(ticket.asset.min_order_size)
        raise errors.forbidden(f"order qty must be >= minimal qty of order {smallest}")
    if ticket.qty % ticket.asset.min_trade_increment:
        raise errors.unprocessable(
            f"invalid qty {plain(ticket.qty)}. qty must be a multiple of the trade increment "
            f"{plain(ticket.asset.min_trade_increment)}"
        )
