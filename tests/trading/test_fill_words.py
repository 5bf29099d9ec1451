"""What ALERT_ON=sales,buys tells of a round on the local exchange: the money is the report's."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from decimal import Decimal

from bot_parts import BotParts
from builders import build_circumstances, build_cycle, build_entry, build_order
from config import Topic
from domain.cycle import CycleStatus
from domain.orders import Side
from models.cycle_data import create_cycle
from models.cycle_journals import load_cycle_journals
from performance.cycle_results import compute_figures
from strategy.booking import CycleChange, compute_order_change
from trading.fill_words import words_of_fill

D = Decimal


async def test_each_fill_is_told_once_with_its_price_and_a_sale_with_the_profit_that_the_report_has(
    settings, exchange, db_conn, make_asset, caplog
):
    caplog.set_level(logging.INFO)
    parts = BotParts(settings, exchange)
    cycle = create_cycle(db_conn, make_asset("BTC/USD", cooldown_period=0).id, "watching")
    for bid in (50000, 49000, 51000):
        await parts.see(parts.quote_both(bid, bid * 1.0001, "BTC/USD"))
        parts.sweep()
        parts.sweep()
    await parts.market.stop()
    told = [
        (record.topic, record.words)
        for record in caplog.records
        if getattr(record, "topic", None) is not None
    ]
    (buys, base), (again, safety), (sales, sale) = told
    assert (buys, again, sales) == (Topic.BUYS, Topic.BUYS, Topic.SALES)
    number = cycle.id
    assert re.fullmatch(
        r"BTC/USD: bought 0\.0019\d+ at 50,005\.00 for [\d.]+ USD"
        rf" \(base order of cycle {number}\)",
        base,
    )
    assert f"(safety order of cycle {number})" in safety
    [journal] = load_cycle_journals(db_conn, cycle_id=cycle.id)
    profit = compute_figures(journal).profit_usd
    said = re.fullmatch(
        r"BTC/USD: sold 0\.\d+ at 51,000\.00 for [\d.]+ USD, profit ~\+([\d.]+) USD after fees"
        rf" \(cycle {number} is complete\)",
        sale,
    )
    assert said is not None, sale
    assert abs(Decimal(said[1]) - profit) <= Decimal("0.01")


def test_what_booked_no_fill_is_not_told():
    linked = CycleChange(cycle_updates={"status": "buying", "latest_order_id": "x"})
    assert words_of_fill(build_cycle(), linked) is None
    canceled = replace(linked, journal=build_entry(build_order(status="canceled")))
    assert words_of_fill(build_cycle(), canceled) is None


def test_the_sales_of_a_cycle_add_up_to_its_profit():
    """Half is sold, then the rest: what the coin fee took of it is a cost of the last one."""
    held = build_cycle(quantity=D("0.002"))  # bought at 50,000
    part = build_order(
        held, side=Side.SELL, status="canceled", filled_qty=D("0.001"), filled_avg_price=D(51000)
    )
    first = CycleChange(cycle_updates={"status": "watching"}, journal=build_entry(part))
    assert "profit ~+1.00 USD after fees (cycle 42 goes on)" in words_of_fill(held, first)
    left = replace(held, quantity=D("0.001"))
    rest = replace(part, filled_qty=D("0.00099"))
    last = CycleChange(
        cycle_updates={"status": "complete"},
        journal=build_entry(rest, fee_usd=D("0.13")),
        next_cycle=CycleStatus.COOLDOWN,
    )
    assert "profit ~+0.36 USD after fees (cycle 42 is complete)" in words_of_fill(left, last)


def test_the_sale_of_a_stop_loss_is_told_as_one():
    cycle = build_cycle(quantity=D("0.002"), status="selling", stop_loss_fired=True)
    order = build_order(
        cycle, side="sell", status="filled", qty="0.001995", filled_qty="0.001995",
        filled_avg_price="44000",
    )  # fmt: skip
    words = words_of_fill(cycle, compute_order_change(cycle, order, build_circumstances()))
    assert words.startswith(
        "BTC/USD: stop loss sold 0.001995 at 44,000.00 for 87.78 USD, profit ~-"
    )
