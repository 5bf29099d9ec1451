"""The plan comes true whatever options meet: every pair of values of two options is in some row."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from itertools import combinations, product

import pytest

from bot_parts import BotParts, wire_quote
from domain.asset import SafetyOrderReference, StartMode, StopLossAction
from domain.cycle import CycleStatus
from domain.orders import Side
from exact_quotes import cash, nearest
from models.asset_config import get_asset_config
from models.cycle_data import get_cycle, get_latest_cycle
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset
from operations.open_cycle import request_open
from operations.preview import load_preview

ASK, SYMBOL = Decimal("63613.46"), "BTC/USD"
OPTIONS = {
    "safety_order_volume_scale": (Decimal(1), Decimal("1.5")),
    "safety_order_step_scale": (Decimal(1), Decimal("1.3")),
    "safety_order_reference": tuple(SafetyOrderReference),
    "take_profit_fee_percent": (None, Decimal("0.25")),
    "trailing_take_profit_percent": (None, Decimal("0.5")),
    "stop_loss_percent": (None, Decimal(12)),
    "stop_loss_seconds": (0, 3600),
    "stop_loss_action": tuple(StopLossAction),
    "start_mode": tuple(StartMode),
    "max_entry_price": (None, Decimal("63000.005")),
    "buy_order_price_deviation_percent": (None, Decimal("2.5")),
    "falls_first": (False, True),
}


def pairs_of(row):
    return set(combinations(row.items(), 2))


def cover_pairs():
    """Rows that have every pair, each chosen for the most pairs that are still missing."""
    rows = [dict(zip(OPTIONS, values, strict=True)) for values in product(*OPTIONS.values())]
    wanted, chosen = set().union(*map(pairs_of, rows[:1])), []
    wanted = {
        ((one, first), (other, second))
        for one, other in combinations(OPTIONS, 2)
        for first, second in product(OPTIONS[one], OPTIONS[other])
    }
    while wanted:
        best = max(rows, key=lambda row: len(wanted & pairs_of(row)))
        chosen.append(best)
        wanted -= pairs_of(best)
    return chosen


ROWS = cover_pairs()


def test_every_pair_of_options_is_in_a_row():
    assert len(ROWS) >= 8
    met = set().union(*map(pairs_of, ROWS))
    assert len(met) == sum(
        len(OPTIONS[one]) * len(OPTIONS[other]) for one, other in combinations(OPTIONS, 2)
    )


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"row{ROWS.index(row) + 1}")
async def test_options_that_meet_do_what_the_plan_says(settings, exchange, db_conn, row):
    options = dict(row)
    falls_first = options.pop("falls_first")
    values = options | {
        "base_order_amount": Decimal(50),
        "safety_order_amount": Decimal("33.33"),
        "max_safety_orders": 2,
        "safety_order_deviation": Decimal("1.5"),
        "take_profit_percent": Decimal("2.2"),
        "cooldown_period": 60,
    }
    exchange.push_quote(SYMBOL, ASK, ASK)
    wanted = build_asset(SYMBOL, values)
    preview = load_preview(settings, db_conn, wanted)
    assert not preview.refusals
    plan = preview.plan
    asset = save_new_asset(wanted)
    parts, cash_before = BotParts(settings, exchange), cash(exchange)
    cycle = get_latest_cycle(db_conn, asset.id)

    async def orders_after(price: Decimal, *, up: bool = False) -> int:
        """The exchange has the price; the handler the float beside it, as from a wire."""
        seen = nearest(price, up=up)
        exchange.push_quote(SYMBOL, seen if up else price, seen if up else price)
        await parts.see(wire_quote(SYMBOL, float(seen), float(seen)))
        parts.sweep()
        return len(parts.orders())

    if values["max_entry_price"] is not None:
        assert await orders_after(plan.ask + Decimal("0.01")) == 0, "nothing above the entry"
    if values["start_mode"] is StartMode.MANUAL:
        assert await orders_after(plan.ask) == 0, "nothing before scripts/bot open"
        request_open(settings, asset)
    for number, planned in enumerate(plan.orders):
        assert await orders_after(planned.trigger_price) == number + 1
        order = parts.orders()[-1]
        assert (order.side, order.qty) == (Side.BUY, planned.qty)
        assert (order.limit_price, order.filled_avg_price) == (
            planned.limit_price, planned.trigger_price,
        )  # fmt: skip
    bought, after = len(plan.orders), plan.orders[-1].after
    held = get_cycle(db_conn, cycle.id)
    assert (held.quantity, held.average_purchase_price) == (after.quantity, after.average_price)
    assert bought == 3

    stops = after.stop is not None and values["stop_loss_seconds"] == 0 and falls_first
    assert (after.stop is None) == (values["stop_loss_percent"] is None)
    sale = after.stop if stops else after.sale
    trails = values["trailing_take_profit_percent"] is not None and not stops
    if falls_first and not stops:
        deepest = plan.orders[-1].trigger_price * Decimal("0.85")
        for price in (deepest, deepest):  # a jump is confirmed by the next one
            assert await orders_after(price) == bought, "it waits, or there is no stop"
        for percent in ("0.9", "0.96", "1"):
            await orders_after(after.average_price * Decimal(percent))
    if stops:
        assert await orders_after(sale.price * Decimal("1.001")) == bought
    if trails:
        assert await orders_after(sale.trails_from, up=True) == bought, "it is followed"
        assert await orders_after(sale.price * Decimal("1.0001"), up=True) == bought
    falling = stops or trails
    assert await orders_after(sale.price, up=not falling) == bought + 1
    sold = parts.orders()[-1]
    assert (sold.side, sold.filled_qty) == (Side.SELL, sale.qty)
    ended = get_cycle(db_conn, cycle.id)
    assert (ended.status, ended.stop_loss_fired) == (CycleStatus.COMPLETE, stops)
    disables = stops and values["stop_loss_action"] is StopLossAction.DISABLE
    assert get_asset_config(db_conn, SYMBOL).is_enabled is not disables
    earned = cash(exchange) - cash_before
    assert abs(earned - Fraction(sale.net_profit_usd)) < Fraction(1, 10**7)
    await parts.market.stop()
