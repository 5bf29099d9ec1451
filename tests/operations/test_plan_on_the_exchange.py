"""The plan comes true: quotes at each trigger price, and the bot's real orders beside it."""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, Decimal
from fractions import Fraction

import pytest

from bot_parts import BotParts, wire_quote
from domain.asset import SafetyOrderReference
from domain.cycle import CycleStatus
from domain.orders import Side
from exact_quotes import cash, nearest
from models.asset_config import get_asset_config
from models.cycle_data import get_cycle, get_latest_cycle
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset
from operations.preview import load_preview
from strategy.cycle_plan import WIRE_STEP
from strategy.sizing import round_to_increment

FEE = Fraction(1, 400)


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
    await follow_the_plan(settings, exchange, db_conn, symbol, ask, values)


async def follow_the_plan(settings, exchange, db_conn, symbol, ask, values):
    """A whole cycle at the plan's prices: each order, the cycle after it, and what was earned."""
    exchange.push_quote(symbol, ask, ask)
    wanted = build_asset(symbol, values)
    preview = load_preview(settings, db_conn, wanted)
    assert not preview.refusals
    plan = preview.plan
    asset = save_new_asset(wanted)
    parts, cash_before = BotParts(settings, exchange), cash(exchange)
    cycle = get_latest_cycle(db_conn, asset.id)

    for number, planned in enumerate(plan.orders):
        price = planned.trigger_price
        if number:
            above = nearest((plan.orders[number - 1].trigger_price + price) / 2, up=True)
            await quote(parts, symbol, above, above, exact_ask=above)
            assert len(parts.orders()) == number, "nothing is bought above the plan's price"
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
    assert len(parts.orders()) == len(plan.orders) == values["max_safety_orders"] + 1
    assert cycle.base_order_price == plan.orders[0].trigger_price
    count = values["max_safety_orders"]

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
    return parts, bid


# Ladders: each pair of scales below each reference, twice, so that fee-aware and early restart meet
# every one of them.

SCALES = [
    (volume, step, reference)
    for reference in SafetyOrderReference
    for volume in ("1", "1.5", "0.9")
    for step in ("1", "1.35", "0.7")
]
MARKETS = [
    ("BTC/USD", "63613.46", "20", "20.05", 4, "1.5", "1.2"),
    ("ETH/USD", "2617.3", "33.33", "21.21", 3, "2.5", "2"),
    ("TINY/USD", "0.00001234", "25", "17.77777777", 5, "3", "4"),
    ("WHOLE/USD", "100", "300", "390", 2, "4", "3"),
]
LADDERS = [
    (*scales, fee, early, MARKETS[number % len(MARKETS)])
    for number, (scales, fee, early) in enumerate(
        [(one, fee, None) for one, fee in zip(SCALES, [None, "0.25"] * 9, strict=True)]
        + [(one, fee, "2.5") for one, fee in zip(SCALES, ["0.25", None] * 9, strict=True)]
    )
]


@pytest.mark.parametrize(
    ("volume", "step", "reference", "fee", "early", "market"),
    LADDERS,
    ids=lambda value: value[0].replace("/", "") if isinstance(value, tuple) else str(value),
)
async def test_a_scaled_ladder_does_what_its_plan_says(
    settings, exchange, db_conn, volume, step, reference, fee, early, market
):
    symbol, ask, base, safety, count, deviation, profit = market
    values = {
        "base_order_amount": Decimal(base),
        "safety_order_amount": Decimal(safety),
        "max_safety_orders": count,
        "safety_order_deviation": Decimal(deviation),
        "take_profit_percent": Decimal(profit),
        "cooldown_period": 60,
        "take_profit_fee_percent": Decimal(fee) if fee else None,
        "buy_order_price_deviation_percent": Decimal(early) if early else None,
        "safety_order_volume_scale": Decimal(volume),
        "safety_order_step_scale": Decimal(step),
        "safety_order_reference": reference,
    }
    parts, sold_at = await follow_the_plan(settings, exchange, db_conn, symbol, ask, values)
    orders = len(parts.orders())
    restart = sold_at * (1 - Decimal(early or "2.5") / 100)
    restart = round_to_increment(restart, WIRE_STEP, ROUND_FLOOR)
    above, below = nearest(restart * Decimal("1.001"), up=True), nearest(restart, up=False)
    await quote(parts, symbol, above, above, exact_ask=above)
    assert len(parts.orders()) == orders, "nothing is bought above the early restart"
    await quote(parts, symbol, below, below, exact_ask=below)
    assert len(parts.orders()) == orders + (early is not None)
    if early is not None:
        plan = load_preview(settings, db_conn, get_asset_config(db_conn, symbol)).plan
        [first, *_] = plan.orders
        assert (parts.orders()[-1].qty, parts.orders()[-1].limit_price) == (
            first.qty,
            first.limit_price,
        )


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
