"""Records for the tests: each builder gives a plain, valid one; keywords change single fields."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry, Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from strategy.lifecycle import Circumstances
from strategy.order_identity import compute_client_order_id

NOW = datetime(2024, 3, 1, 12, 0, tzinfo=UTC)
FEE_RATE = Decimal("0.0025")
SYMBOL = "BTC/USD"
ORDER_ID = "c2470331-8993-4051-bf5d-428d5bdc9a48"
OTHER_ORDER_ID = "5f781a30-b9a3-4c86-b466-2175850cf340"


def money(text: str | int | Decimal | None) -> Decimal | None:
    """A Decimal of what a test wrote as text; None stays None."""
    return None if text is None else Decimal(text)


def build_asset(**columns: Any) -> DcaAsset:
    plain = {
        "id": 7,
        "asset_symbol": SYMBOL,
        "is_enabled": True,
        "base_order_amount": Decimal(100),
        "safety_order_amount": Decimal(50),
        "max_safety_orders": 3,
        "safety_order_deviation": Decimal(1),
        "take_profit_percent": Decimal(2),
        "cooldown_period": 60,
    }
    return DcaAsset(**plain | columns)


def build_cycle(**columns: Any) -> DcaCycle:
    """A cycle that watches and holds nothing. `quantity` alone makes one that bought at 50,000."""
    plain: dict[str, Any] = {
        "id": 42,
        "asset_id": 7,
        "status": CycleStatus.WATCHING,
        "order_key": "a1b2c3d4",
        "created_at": NOW - timedelta(hours=1),
        "updated_at": NOW,
    }
    if columns.get("quantity"):
        plain |= {"average_purchase_price": Decimal(50000), "order_seq": 1}
        plain |= {"last_order_fill_price": Decimal(50000)}
    if "status" in columns:
        columns["status"] = CycleStatus(columns["status"])
    return DcaCycle(**plain | columns)


def build_order(cycle: DcaCycle | None = None, **fields: Any) -> ExchangeOrder:
    """The order that `cycle`'s state can have: an open limit buy for 0.002 at 50,000, unfilled."""
    plain: dict[str, Any] = {
        "id": ORDER_ID,
        "client_order_id": compute_client_order_id(cycle or build_cycle()),
        "symbol": SYMBOL,
        "side": Side.BUY,
        "order_type": "limit",
        "qty": Decimal("0.002"),
        "limit_price": Decimal(50000),
        "filled_qty": Decimal(0),
        "filled_avg_price": None,
        "status": "new",
        "created_at": NOW - timedelta(seconds=20),
        "submitted_at": NOW - timedelta(seconds=20),
        "ended_at": None,
    }
    if "side" in fields:
        fields["side"] = Side(fields["side"])
        if fields["side"] is Side.SELL:
            plain |= {"order_type": "market", "limit_price": None}
    for name in ("qty", "limit_price", "filled_qty", "filled_avg_price"):
        if name in fields:
            fields[name] = money(fields[name])
    order = ExchangeOrder(**plain | fields)
    if order.is_ended and order.ended_at is None:
        fields["ended_at"] = NOW - timedelta(seconds=1)
        order = ExchangeOrder(**plain | fields)
    return order


def build_rules(**fields: Any) -> AssetRules:
    plain: dict[str, Any] = {
        "symbol": SYMBOL,
        "min_order_size": Decimal("0.0001"),
        "min_trade_increment": Decimal("0.00000001"),
        "price_increment": Decimal("0.01"),
        "min_cost_usd": Decimal(10),
    }
    for name in fields:
        if name not in ("symbol", "is_tradable"):
            fields[name] = money(fields[name])
    return AssetRules(**plain | fields)


def build_circumstances(**fields: Any) -> Circumstances:
    plain: dict[str, Any] = {
        "asset": build_asset(),
        "rules": build_rules(),
        "fee_rate": FEE_RATE,
        "now": NOW,
    }
    return Circumstances(**plain | fields)


def build_state(
    asset: DcaAsset | None = None, cycle: DcaCycle | None = None, **fields: Any
) -> TradingState:
    return TradingState(asset=asset or build_asset(), cycle=cycle or build_cycle(), **fields)


def build_entry(order: ExchangeOrder | None = None, **fields: Any) -> JournalEntry:
    """The journal's row of `order` as the first order of the plain cycle."""
    order = order or build_order(status="canceled")
    plain: dict[str, Any] = {
        "asset_id": 7,
        "symbol": order.symbol,
        "cycle_id": 42,
        "order_seq": 0,
        "purpose": Purpose.BASE,
        "side": order.side,
        "alpaca_order_id": order.id,
        "client_order_id": order.client_order_id,
        "requested_qty": order.qty,
        "limit_price": order.limit_price,
        "filled_qty": order.filled_qty,
        "filled_avg_price": order.filled_avg_price,
        "final_status": order.status,
        "submitted_at": order.submitted_at,
        "ended_at": order.ended_at,
    }
    return JournalEntry(**plain | fields)


def build_wire_order(**fields: Any) -> dict[str, Any]:
    """An order as Alpaca sends it: the live `new` of a market buy, with its odd time zone."""
    plain: dict[str, Any] = {
        "id": ORDER_ID,
        "client_order_id": "0f1f3764-107a-4d09-8b9a-d75a11738f5c",
        "created_at": "2022-12-16T02:28:51.673531798-05:00",
        "updated_at": "2022-12-16T02:28:51.678736847-05:00",
        "submitted_at": "2022-12-16T02:28:51.673015558-05:00",
        "filled_at": None,
        "expired_at": None,
        "cancel_requested_at": None,
        "canceled_at": None,
        "failed_at": None,
        "replaced_at": None,
        "replaced_by": None,
        "replaces": None,
        "asset_id": "276e2673-764b-4ab6-a611-caf665ca6340",
        "symbol": "BTC/USD",
        "asset_class": "crypto",
        "notional": None,
        "qty": "0.01",
        "filled_qty": "0",
        "filled_avg_price": None,
        "order_class": "",
        "order_type": "market",
        "type": "market",
        "side": "buy",
        "time_in_force": "gtc",
        "limit_price": None,
        "stop_price": None,
        "status": "new",
        "extended_hours": False,
        "legs": None,
        "trail_percent": None,
        "trail_price": None,
        "hwm": None,
    }
    return plain | fields


def build_wire_update(event: str = "new", **fields: Any) -> dict[str, Any]:
    """A trade_updates message as the stream sends it."""
    return {
        "stream": "trade_updates",
        "data": {
            "event": event,
            "timestamp": "2022-12-16T07:28:51.67621869Z",
            "order": build_wire_order(**fields),
            "execution_id": "5f781a30-b9a3-4c86-b466-2175850cf340",
        },
    }
