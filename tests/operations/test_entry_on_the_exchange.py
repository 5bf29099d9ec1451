"""The plan comes true where a base order waits: for the user, for a price, or for both."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from bot_parts import BotParts, wire_quote
from domain.asset import StartMode
from domain.cycle import CycleStatus
from domain.orders import Side
from exact_quotes import nearest
from models.asset_config import update_asset_config
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset
from operations.open_cycle import request_open
from operations.preview import load_preview

ASK, ABOVE = Decimal("63613.46"), Decimal("64000.00")
EARLY_PERCENT, SOLD_AT = Decimal("1.5"), Decimal("64100")  # an early restart at 63138.50


@dataclass(frozen=True)
class Entry:
    """One configuration. `cools_down`: the cycle begins in a cooldown that is not over."""

    is_manual: bool = False
    highest: str | None = None
    early: bool = False
    fee_aware: bool = False
    cools_down: bool = False

    def __str__(self) -> str:
        words = ["manual" if self.is_manual else "at_once"]
        words += [f"max_{self.highest}"] if self.highest else []
        words += [name for name in ("early", "fee_aware", "cools_down") if getattr(self, name)]
        return "-".join(words)


ENTRIES = [
    Entry(is_manual=is_manual, highest=highest, early=early, fee_aware=fee_aware, cools_down=cools)
    for is_manual in (False, True)
    for highest in (None, "63000.005", "70000")
    for early, cools in ((False, False), (True, False), (True, True))
    for fee_aware in (False, True)
    if is_manual or highest
]


async def quote(parts, price: Decimal, *, up: bool = False) -> None:
    """The exchange quotes the exact price; the handler gets the float beside it, as from a wire."""
    seen = nearest(price, up=up)
    parts.exchange.push_quote("BTC/USD", seen if up else price, seen if up else price)
    await parts.see(wire_quote("BTC/USD", float(seen), float(seen)))
    parts.sweep()


@pytest.mark.parametrize("entry", ENTRIES, ids=str)
async def test_the_base_order_comes_where_the_plan_begins_and_not_before(
    settings, exchange, db_conn, entry
):
    values = {
        "base_order_amount": Decimal(20),
        "safety_order_amount": Decimal("21.21"),
        "max_safety_orders": 1,
        "safety_order_deviation": Decimal("1.5"),
        "take_profit_percent": Decimal("1.2"),
        "cooldown_period": 3600,
        "take_profit_fee_percent": Decimal("0.25") if entry.fee_aware else None,
        "buy_order_price_deviation_percent": EARLY_PERCENT if entry.early else None,
        "start_mode": StartMode.MANUAL if entry.is_manual else StartMode.AT_ONCE,
        "max_entry_price": entry.highest and Decimal(entry.highest),
    }
    exchange.push_quote("BTC/USD", ASK, ASK)
    wanted = build_asset("BTC/USD", values)
    preview = load_preview(settings, db_conn, wanted)
    assert not preview.refusals
    plan = preview.plan
    asset = save_new_asset(wanted)
    if entry.cools_down:
        update_asset_config(db_conn, asset.id, {"last_sell_price": SOLD_AT})
        first = get_latest_cycle(db_conn, asset.id)
        update_cycle(db_conn, first.id, {"status": "complete", "completed_at": datetime.now(UTC)})
        create_cycle(db_conn, asset.id, "cooldown")
    parts, cycle = BotParts(settings, exchange), get_latest_cycle(db_conn, asset.id)

    if entry.is_manual:
        await quote(parts, plan.ask)
        await quote(parts, Decimal(60000))
        assert parts.orders() == [], "not even far below an early restart"
        request_open(settings, asset)
    elif entry.cools_down:
        early = SOLD_AT * (1 - EARLY_PERCENT / 100)
        assert plan.ask in (ASK, Decimal("63000.00"))
        plan_ask = min(plan.ask, early)
        await quote(parts, plan_ask + Decimal("0.01"))
        assert parts.orders() == [], "the lower of both prices counts"
        if plan_ask != plan.ask:  # the plan that is shown does not know of the last sale
            exchange.push_quote("BTC/USD", plan_ask, plan_ask)
            plan = load_preview(settings, db_conn, asset).plan
    if entry.highest == "63000.005":
        assert plan.ask == Decimal("63000.00"), "down to the price increment"
        await quote(parts, Decimal("63000.01"))
        assert parts.orders() == [], "nothing is bought above it"

    for planned in plan.orders:
        await quote(parts, planned.trigger_price)
        order = parts.orders()[-1]
        assert (order.side, order.qty) == (Side.BUY, planned.qty)
        assert order.limit_price == planned.limit_price
        assert (order.filled_qty, order.filled_avg_price) == (planned.qty, planned.trigger_price)
        cycle = get_cycle(db_conn, cycle.id)
        assert (cycle.quantity, cycle.open_requested) == (planned.after.quantity, False)
        assert cycle.average_purchase_price == planned.after.average_price
    assert len(parts.orders()) == 2

    sale = plan.orders[-1].after.sale
    await quote(parts, sale.price, up=True)
    sold = parts.orders()[-1]
    assert (sold.side, sold.filled_qty) == (Side.SELL, sale.qty)
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE
    await parts.market.stop()
