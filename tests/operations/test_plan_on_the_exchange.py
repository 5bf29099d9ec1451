"""The plan comes true: quotes at each trigger price, and the bot's real orders beside it."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import pytest

from bot_parts import BotParts, wire_quote
from domain.cycle import CycleStatus
from domain.orders import Side
from models.cycle_data import get_cycle, get_latest_cycle
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset
from operations.preview import load_preview

FEE = Fraction(1, 400)


def nearest(price: Decimal, *, up: bool) -> Decimal:
    """The quote's float is no further than `price`, on the named side of it."""
    number = float(price)
    exact = Decimal(repr(number))
    if (exact < price) if up else (exact > price):
        number = math.nextafter(number, math.inf if up else 0.0)
    return Decimal(repr(number))


def cash(exchange) -> Fraction:
    return Fraction(exchange.state()["balances"]["cash"])


async def quote(parts, symbol, bid, ask, *, exact_ask):
    """The exchange quotes the exact price; the handler gets the float beside it, as from a wire."""
    parts.exchange.push_quote(symbol, bid, exact_ask)
    await parts.see(wire_quote(symbol, float(bid), float(ask)))
    parts.sweep()


@pytest.mark.parametrize(
    ("symbol", "ask", "base", "safety", "count", "deviation", "profit", "net_of_fee"),
    [
        ("BTC/USD", "63613.46", "20", "20", 5, "1.5", "1.2", None),
        ("ETH/USD", "2617.3", "33.33", "21.21", 3, "2.5", "2", None),
        ("WHOLE/USD", "100", "300", "290", 2, "4", "2", None),
        ("TINY/USD", "0.00001234", "25", "15", 3, "3", "4", "0.25"),
    ],
)
async def test_the_bot_does_what_the_plan_says(
    settings, exchange, db_conn, symbol, ask, base, safety, count, deviation, profit, net_of_fee
):
    values = {
        "base_order_amount": Decimal(base),
        "safety_order_amount": Decimal(safety),
        "max_safety_orders": count,
        "safety_order_deviation": Decimal(deviation),
        "take_profit_percent": Decimal(profit),
        "cooldown_period": 60,
        "take_profit_fee_percent": Decimal(net_of_fee) if net_of_fee else None,
    }
    exchange.push_quote(symbol, ask, ask)
    wanted = build_asset(symbol, values)
    preview = load_preview(settings, db_conn, wanted)
    assert not preview.refusals
    plan = preview.plan
    asset = save_new_asset(wanted)
    parts, cash_before = BotParts(settings, exchange), cash(exchange)
    cycle = get_latest_cycle(db_conn, asset.id)

    for planned in plan.orders:
        price = planned.trigger_price
        seen = nearest(price, up=False)
        await quote(parts, symbol, seen, seen, exact_ask=price)
        order = parts.orders()[-1]
        assert (order.side, order.qty) == (Side.BUY, planned.qty)
        assert order.limit_price == planned.limit_price
        assert (order.filled_qty, order.filled_avg_price) == (planned.qty, price)
        cycle = get_cycle(db_conn, cycle.id)
        assert cycle.safety_orders == planned.number
        assert cycle.quantity == planned.after.quantity
        assert cycle.average_purchase_price == planned.after.average_price
    assert len(parts.orders()) == count + 1

    sale = plan.orders[-1].after.sale
    bid = nearest(sale.price, up=True)
    just_below = nearest(sale.price * Decimal("0.999"), up=False)
    await quote(parts, symbol, just_below, just_below, exact_ask=just_below)
    assert len(parts.orders()) == count + 1, "nothing is sold below the plan's price"
    await quote(parts, symbol, bid, bid, exact_ask=bid)
    sold = parts.orders()[-1]
    assert (sold.side, sold.filled_qty, sold.filled_avg_price) == (Side.SELL, sale.qty, bid)
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE

    proceeds = Fraction(sale.qty) * Fraction(bid)
    fee = Fraction(math.ceil(proceeds * FEE * 100), 100)
    earned = cash(exchange) - cash_before
    assert earned == proceeds - fee - Fraction(plan.orders[-1].after.paid_usd)
    assert abs(earned - Fraction(sale.net_profit_usd)) < Fraction(1, 10**9)


# Symbol, ask, base, safety, count, deviation, profit; trail, stop, seconds; how it ends.
EXITS = [
    ("BTC/USD", "63613.46", "20", "20", 3, "1.5", "1.2", "0.5", None, 0, "trail"),
    ("BTC/USD", "63613.46", "20", "20", 0, "1.5", "1.2", "1", None, 0, "trail"),
    ("BTC/USD", "63613.46", "50", "20", 2, "1", "3", "0.123456", None, 0, "trail"),
    ("BTC/USD", "63613.46", "50", "20", 2, "1", "2", "1", "5", 0, "trail"),
    ("BTC/USD", "63613.46", "50", "20", 2, "1", "2", "1", "5", 0, "stop"),
    ("BTC/USD", "63613.46", "20", "20", 2, "1.5", "1.2", None, "2.5", 0, "stop"),
    ("BTC/USD", "63613.46", "20", "20", 5, "1.5", "1.2", None, "2", 0, "stop"),
    ("BTC/USD", "63613.46", "20", "20", 4, "1.5", "1.2", None, "2", 3600, "sale"),
    ("ETH/USD", "2617.3", "33.33", "21.21", 2, "2.5", "2", "0.7", None, 0, "trail"),
    ("ETH/USD", "2617.3", "33.33", "21.21", 2, "2.5", "2", None, "4.4", 0, "stop"),
    ("ETH/USD", "2617.3", "33.33", "21.21", 0, "2.5", "2", None, "0.333333", 0, "stop"),
    ("ETH/USD", "2617.3", "33.33", "21.21", 1, "2.5", "2.2", "0.9", "6", 60, "trail"),
    ("WHOLE/USD", "100", "300", "290", 2, "4", "2", "0.5", "6", 0, "trail"),
    ("WHOLE/USD", "100", "300", "290", 2, "4", "2", "0.5", "6", 0, "stop"),
    ("TINY/USD", "0.00001234", "25", "15", 2, "3", "4", "1", None, 0, "trail"),
    ("TINY/USD", "0.00001234", "25", "15", 2, "3", "4", "1", "5", 0, "stop"),
    ("TINY/USD", "0.00001234", "25", "15", 2, "3", "4", None, "5", 0, "sale"),
]


@pytest.mark.parametrize(
    ("symbol", "ask", "base", "safety", "count", "deviation", "profit", "trail", "stop", "seconds",
     "end"),
    EXITS,
)  # fmt: skip
async def test_a_cycle_ends_where_the_plan_says(
    settings, exchange, db_conn, symbol, ask, base, safety, count, deviation, profit, trail, stop,
    seconds, end,
):  # fmt: skip
    values = {
        "base_order_amount": Decimal(base),
        "safety_order_amount": Decimal(safety),
        "max_safety_orders": count,
        "safety_order_deviation": Decimal(deviation),
        "take_profit_percent": Decimal(profit),
        "cooldown_period": 60,
        "trailing_take_profit_percent": Decimal(trail) if trail else None,
        "stop_loss_percent": Decimal(stop) if stop else None,
        "stop_loss_seconds": seconds,
    }
    exchange.push_quote(symbol, ask, ask)
    preview = load_preview(settings, db_conn, build_asset(symbol, values))
    assert not preview.refusals
    plan = preview.plan
    asset = save_new_asset(build_asset(symbol, values))
    parts, cash_before = BotParts(settings, exchange), cash(exchange)
    cycle = get_latest_cycle(db_conn, asset.id)

    async def bid_at(price: Decimal) -> int:
        """How many orders there are after this bid."""
        await quote(parts, symbol, price, price, exact_ask=price)
        return len(parts.orders())

    for planned in plan.orders:
        seen = nearest(planned.trigger_price, up=False)
        await quote(parts, symbol, seen, seen, exact_ask=planned.trigger_price)
        order = parts.orders()[-1]
        assert (order.filled_qty, order.filled_avg_price) == (planned.qty, planned.trigger_price)
    bought, after = len(plan.orders), plan.orders[-1].after
    assert len(parts.orders()) == bought

    sale = after.stop if end == "stop" else after.sale
    if end == "sale":
        bid = nearest(sale.price, up=True)
    else:
        bid = nearest(sale.price, up=False)
        above = nearest(sale.price * Decimal("1.0001"), up=True)
        if end == "trail":
            assert await bid_at(nearest(sale.trails_from, up=True)) == bought, "it follows"
        assert await bid_at(above) == bought, "nothing is sold above the plan's price"
    assert await bid_at(bid) == bought + 1
    sold = parts.orders()[-1]
    assert (sold.side, sold.filled_qty, sold.filled_avg_price) == (Side.SELL, sale.qty, bid)
    done = get_cycle(db_conn, cycle.id)
    assert (done.status, done.stop_loss_fired) == (CycleStatus.COMPLETE, end == "stop")
    earned = cash(exchange) - cash_before
    assert abs(earned - Fraction(sale.net_profit_usd)) < Fraction(1, 10**9)
    await parts.market.stop()
