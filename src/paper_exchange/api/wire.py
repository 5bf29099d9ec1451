"""The JSON shapes of Alpaca's trading and market data APIs. Reads the exchange, changes nothing.

Trading numbers are strings, market data numbers are floats: as on the real wire.
"""

import uuid
from datetime import timedelta
from decimal import Decimal

from paper_exchange.core.account import Position
from paper_exchange.core.activities import Activity, FeeActivity, FillActivity
from paper_exchange.core.assets import Asset
from paper_exchange.core.clock import NANOS, rfc3339
from paper_exchange.core.decimals import ZERO, plain
from paper_exchange.core.exchange import Exchange
from paper_exchange.core.orders import Order
from paper_exchange.core.state import TradeUpdate

_ACCOUNT_NAMESPACE = uuid.UUID("0f6c4d0e-2f3b-4b53-9a55-54a2a9f0a6de")
_GTC_LIFE_NS = int(timedelta(days=90).total_seconds()) * NANOS
_MULTIPLIER = 2
_RATIO_PLACES = Decimal("0.0000000001")

Json = dict[str, object]


def account_id(key: str) -> str:
    """The same key is the same account, also after a restart."""
    return str(uuid.uuid5(_ACCOUNT_NAMESPACE, key))


def _text(value: Decimal | None) -> str | None:
    return None if value is None else plain(value)


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else rfc3339(at_ns)


def account_json(exchange: Exchange) -> Json:
    account, profile = exchange.account, exchange.profile
    equity = exchange.equity()
    holdings = equity - account.cash
    free = account.available_usd()
    identity = account_id(exchange.config.key)
    return {
        "id": identity,
        "admin_configurations": {},
        "user_configurations": None,
        "account_number": "PA" + identity.replace("-", "")[:10].upper(),
        "status": "ACTIVE",
        "crypto_status": "ACTIVE",
        "currency": "USD",
        # No margin for crypto: buys are checked against non_marginable_buying_power only.
        "buying_power": plain(free * _MULTIPLIER),
        "regt_buying_power": plain(free * _MULTIPLIER),
        "effective_buying_power": plain(free),
        "non_marginable_buying_power": plain(free),
        "options_buying_power": plain(free),
        "cash": plain(account.cash),
        "accrued_fees": "0",
        "portfolio_value": plain(equity),
        "trading_blocked": False,
        "transfers_blocked": False,
        "account_blocked": False,
        "created_at": rfc3339(profile.created_at_ns),
        "trade_suspended_by_user": profile.is_suspended,
        "multiplier": str(_MULTIPLIER),
        "shorting_enabled": False,
        "equity": plain(equity),
        "last_equity": plain(profile.last_equity),
        "long_market_value": plain(holdings),
        "short_market_value": "0",
        "position_market_value": plain(holdings),
        "initial_margin": "0",
        "maintenance_margin": "0",
        "last_maintenance_margin": "0",
        "sma": "0",
        "crypto_tier": 1,
        "options_approved_level": 0,
        "options_trading_level": 0,
    }


def position_json(exchange: Exchange, position: Position) -> Json:
    asset = exchange.asset(position.symbol)
    price = exchange.price(position)
    value = position.qty * price
    gain = value - position.cost_basis
    ratio = (gain / position.cost_basis).quantize(_RATIO_PLACES) if position.cost_basis else ZERO
    return {
        "asset_id": asset.id,
        "symbol": asset.position_symbol,
        "exchange": "CRYPTO",
        "asset_class": "crypto",
        "asset_marginable": False,
        "qty": plain(position.qty),
        "qty_available": plain(exchange.account.available_coins(position.symbol)),
        "avg_entry_price": plain(position.avg_entry_price),
        "side": "long",
        "market_value": plain(value),
        "cost_basis": plain(position.cost_basis),
        "unrealized_pl": plain(gain),
        "unrealized_plpc": plain(ratio),
        "unrealized_intraday_pl": plain(gain),
        "unrealized_intraday_plpc": plain(ratio),
        "current_price": plain(price),
        "lastday_price": plain(position.avg_entry_price),
        "change_today": plain(ratio),
    }


def asset_json(asset: Asset) -> Json:
    return {
        "id": asset.id,
        "class": "crypto",
        "exchange": "CRYPTO",
        "symbol": asset.symbol,
        "name": asset.name,
        "status": "active" if asset.tradable else "inactive",
        "tradable": asset.tradable,
        "marginable": False,
        "maintenance_margin_requirement": 100,
        "margin_requirement_long": "100",
        "margin_requirement_short": "100",
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
        "attributes": [],
        "min_order_size": plain(asset.min_order_size),
        "min_trade_increment": plain(asset.min_trade_increment),
        "price_increment": plain(asset.price_increment),
    }


def order_json(order: Order, asset: Asset) -> Json:
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": rfc3339(order.created_at_ns),
        "updated_at": rfc3339(order.updated_at_ns),
        "submitted_at": rfc3339(order.submitted_at_ns),
        "filled_at": _time(order.filled_at_ns),
        "expired_at": _time(order.expired_at_ns),
        "expires_at": rfc3339(order.submitted_at_ns + _GTC_LIFE_NS),
        "canceled_at": _time(order.canceled_at_ns),
        "failed_at": _time(order.failed_at_ns),
        "replaced_at": _time(order.replaced_at_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": asset.id,
        "symbol": order.symbol,
        "asset_class": "crypto",
        "notional": _text(order.notional),
        "qty": _text(order.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": _text(order.filled_avg_price),
        "order_class": "",
        "order_type": order.type.value,
        "type": order.type.value,
        "side": order.side.value,
        "time_in_force": order.time_in_force.value,
        "limit_price": _text(order.limit_price),
        "stop_price": _text(order.stop_price),
        "status": order.status.value,
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
        "position_intent": "buy_to_open" if order.side.value == "buy" else "sell_to_close",
        "subtag": None,
        "source": "access_key",
    }


def trade_update_json(update: TradeUpdate, asset: Asset) -> Json:
    """The `data` of a trade update: price and qty of this execution, order.filled_* of all."""
    order = order_json(update.order, asset)
    order["cancel_requested_at"] = _time(update.order.cancel_requested_at_ns)
    return {
        "event": update.event.value,
        "execution_id": update.execution_id,
        "order": order,
        "position_qty": _text(update.position_qty),
        "price": _text(update.price),
        "qty": _text(update.qty),
        "timestamp": rfc3339(update.at_ns),
    }


def activity_json(exchange: Exchange, activity: Activity) -> Json:
    account = account_id(exchange.config.key)
    match activity:
        case FillActivity(execution=execution):
            return {
                "id": activity.id,
                "account_id": account,
                "activity_type": "FILL",
                "transaction_time": rfc3339(execution.at_ns),
                "type": "fill" if activity.is_final else "partial_fill",
                "price": plain(execution.price),
                "qty": plain(execution.qty),
                "side": execution.side.value,
                "symbol": execution.symbol,
                "leaves_qty": plain(activity.leaves_qty),
                "order_id": execution.order_id,
                "cum_qty": plain(activity.cum_qty),
                "order_status": activity.order_status,
                "swap_rate": "1",
            }
        case FeeActivity():
            in_coins = activity.qty is not None
            fee: Json = {
                "id": activity.id,
                "account_id": account,
                "activity_type": activity.kind,
                "date": activity.date.isoformat(),
                "created_at": rfc3339(activity.created_ns),
                "net_amount": plain(activity.net_amount),
                "description": f"Coin Pair Transaction Fee ({'Non USD' if in_coins else 'USD'})",
                "status": "executed",
            }
            if activity.symbol is not None:
                fee["symbol"] = activity.symbol.replace("/", "")
            if in_coins:
                fee |= {"qty": _text(activity.qty), "price": _text(activity.price)}
            return fee
