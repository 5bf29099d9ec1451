"""Ways to lose money that an attack on trailing, stop loss and limits found: each of them cured."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BTC, HELD, wire_quote
from domain.orders import Side
from models.cycle_data import get_cycle
from strategy.dump import Falls
from trading import peak_saver
from trading.dump_guard import DumpPause
from trading.peak_saver import save_peaks
from utils.db_utils import DatabaseError, execute_query

TRAILS = {"trailing_take_profit_percent": Decimal(1)}  # target 51,000, bought at 50,000


async def bids(parts, *prices):
    for price in prices:
        await parts.see(parts.quote_both(price, price + 1))


async def save(parts):
    await asyncio.to_thread(save_peaks, parts.market.assets.peaks.take())


def edit(column, value):
    execute_query(f"UPDATE dca_assets SET {column} = %s", (value,), commit=True)


async def test_a_peak_of_before_the_trail_was_switched_off_sells_nothing(parts, start, db_conn):
    cycle = start(asset=TRAILS | {"max_safety_orders": 0}, **HELD)
    await bids(parts, 51000, 50900)
    await save(parts)
    edit("trailing_take_profit_percent", None)
    await bids(parts, 50800)
    await save(parts)
    await bids(parts, 47000)
    edit("trailing_take_profit_percent", 1)
    await bids(parts, 47000, 46900)
    assert parts.orders() == [], "at a loss of 6 %, though the target was not reached since"
    assert get_cycle(db_conn, cycle.id).trailing_peak is None


async def test_a_peak_of_a_target_that_was_raised_is_none_when_it_is_lowered_again(parts, start):
    start(asset=TRAILS | {"max_safety_orders": 0}, **HELD)
    await bids(parts, 51000, 50900)
    await save(parts)
    edit("take_profit_percent", 5)
    await bids(parts, 50800)
    await save(parts)
    await bids(parts, 47000)
    edit("take_profit_percent", 2)
    await bids(parts, 47000, 46900)
    assert parts.orders() == []


async def test_a_stop_loss_that_old_quotes_hold_up_is_said(parts, start, exchange):
    start(asset={"stop_loss_percent": Decimal(10), "max_safety_orders": 0}, **HELD)
    stale = datetime.now(UTC) - timedelta(seconds=60)
    exchange.push_quote(BTC, 44000, 44001)
    await parts.see(wire_quote(BTC, 44000, 44001, at=stale))
    assert "by our clock" in parts.market.assets.by_symbol[BTC].last_reason
    assert parts.orders() == []


async def test_what_keeps_a_safety_order_back_does_not_keep_a_trail_from_its_sale(
    parts, start, monkeypatch
):
    start(asset=TRAILS | {"max_safety_orders": 3}, **HELD)
    await bids(parts, 51000)
    monkeypatch.setattr("trading.buy_limits.is_paused", lambda *args: True)
    await bids(parts, 48000)  # below the safety order's price as well
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_a_spread_too_wide_for_a_safety_order_does_not_keep_a_trail_from_its_sale(
    parts, start
):
    start(asset=TRAILS | {"max_safety_orders": 3}, **HELD)
    await bids(parts, 51000)
    await parts.see(parts.quote_both(47000, 48500))
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_a_safety_order_that_was_refused_does_not_keep_a_trail_from_its_sale(
    parts, start, monkeypatch
):
    start(asset=TRAILS | {"max_safety_orders": 3}, **HELD)
    await bids(parts, 51000)
    monkeypatch.setattr("trading.order_placement.place_limit_buy_order", lambda *args, **kw: None)
    await bids(parts, 48000)
    assert parts.orders() == []
    await bids(parts, 47999)
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_a_safety_order_that_can_be_bought_still_comes_before_the_trail(parts, start):
    start(asset=TRAILS | {"max_safety_orders": 3}, **HELD)
    await bids(parts, 51000, 48000)
    assert [order.side for order in parts.orders()] == [Side.BUY]


def test_a_clock_that_was_set_back_makes_no_pause_longer_than_it_can_be(settings):
    pause = DumpPause(
        replace(settings, dump_pause_percent=Decimal(5), dump_pause_minutes=Decimal(30))
    )
    now = datetime.now(UTC)
    pause.begin(Falls(percents={"A": 6.0, "B": 6.0}, limit_percent=5.0), now)
    set_back = now - timedelta(days=1)
    assert pause.why_no_buys(set_back) is not None
    assert pause.why_no_buys(set_back + timedelta(minutes=29)) is not None
    assert pause.why_no_buys(set_back + timedelta(minutes=31)) is None


async def test_a_machine_that_slept_begins_the_clock_of_a_stop_anew(parts, start, monkeypatch):
    """The monotonic clock stands still meanwhile, and nobody watched: it was no time below."""
    stops = {"stop_loss_percent": Decimal(10), "stop_loss_seconds": 60, "max_safety_orders": 0}
    start(asset=stops, **HELD)
    await bids(parts, 44000)
    watch, woke = parts.market.assets.by_symbol[BTC], datetime.now(UTC) + timedelta(hours=8)
    now = watch.received_at

    class Later(datetime):
        @classmethod
        def now(cls, tz=None):
            return woke

    monkeypatch.setattr("trading.exit_watch.datetime", Later)

    def quote(at):
        return watch.accept(wire_quote(BTC, 44000.0, 44001.0, at=woke), 44000.0, 44001.0, at)

    assert not any(quote(now + second) for second in (10, 20, 30, 40, 50, 60))
    assert quote(now + 70)


async def test_quotes_too_seldom_for_the_clock_of_a_stop_are_a_stall(parts, start):
    stops = {"stop_loss_percent": Decimal(10), "stop_loss_seconds": 60, "max_safety_orders": 0}
    start(asset=stops, **HELD)
    await bids(parts, 44000)
    watch = parts.market.assets.by_symbol[BTC]
    first = watch.received_at
    watch.exits.below_first_at = first - 700  # as if quotes came every 20 s, for so long
    await bids(parts, 44000)
    [held] = parts.market.stalls.held_back()
    assert "come too seldom" in held.reason
    await bids(parts, 45001)
    await parts.see()
    assert parts.market.stalls.held_back() == ()


def test_a_peak_that_cannot_be_saved_keeps_no_other_from_being_saved(start, db_conn, monkeypatch):
    locked = start(asset=TRAILS, **HELD)
    other = start(symbol="ETH/USD", asset=TRAILS, **HELD)
    real = peak_saver.save_trailing_peak

    def save_one(connection, cycle, peak):
        if cycle.id == locked.id:
            raise DatabaseError("somebody holds a lock on its row")
        return real(connection, cycle, peak)

    monkeypatch.setattr(peak_saver, "save_trailing_peak", save_one)
    with pytest.raises(DatabaseError):
        save_peaks({cycle.id: (cycle, Decimal(52000)) for cycle in (locked, other)})
    assert get_cycle(db_conn, other.id).trailing_peak == 52000
