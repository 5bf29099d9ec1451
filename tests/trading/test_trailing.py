"""A take profit that trails, from quotes to its sale: on the real exchange and database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BTC, HELD, BotParts, wire_quote
from domain.cycle import CycleStatus
from domain.journal import Purpose
from domain.orders import Side
from models.current_state import is_current
from models.cycle_data import get_cycle, get_latest_cycle, save_trailing_peak, update_cycle
from models.order_journal import get_entries_of_cycle
from models.trading_state import load_fingerprints, load_trading_state
from trading import quote_watch
from trading.peak_saver import save_peaks

TRAILS = {"trailing_take_profit_percent": Decimal(1)}  # target 51,000, bought at 50,000


def peak_of(parts):
    track = parts.market.assets.by_symbol[BTC].track
    return track and track.peak


async def save(parts):
    await asyncio.to_thread(save_peaks, parts.market.assets.peaks.take())


async def bids(parts: BotParts, *prices: float) -> None:
    """One quote after the other; each is the exchange's own, too."""
    for price in prices:
        await parts.see(parts.quote_both(price, price + 1))


async def test_the_target_is_followed_and_the_fall_from_the_peak_sells(parts, start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    await bids(parts, 50999)
    assert peak_of(parts) is None
    await bids(parts, 51000)
    assert (parts.orders(), peak_of(parts)) == ([], Decimal(51000))
    await bids(parts, 51300, 51400, 51350)
    assert (parts.orders(), peak_of(parts)) == ([], Decimal(51350)), "two in a row reached it"
    await bids(parts, 50836.51)
    assert parts.orders() == []
    await bids(parts, 50836.50)
    [order] = parts.orders()
    assert (order.side, order.order_type, order.qty) == (Side.SELL, "market", Decimal("0.002"))
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert entry.purpose is Purpose.TAKE_PROFIT


async def test_a_first_peak_needs_a_second_source(parts, start, exchange):
    start(asset=TRAILS, **HELD)
    exchange.push_quote(BTC, 50500, 50501)
    await parts.see(wire_quote(BTC, 51000, 51001))
    assert peak_of(parts) is None
    exchange.push_quote(BTC, 51100, 51101)
    parts.market.assets.end_backoff(parts.market.assets.by_symbol[BTC])
    await parts.see(wire_quote(BTC, 51200, 51201))
    assert peak_of(parts) == 51100, "the lower of the two"


async def test_a_spike_below_the_jump_limit_is_no_peak_and_sells_nothing(parts, start, exchange):
    start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    exchange.push_quote(BTC, 51000, 51001)
    await parts.see(wire_quote(BTC, 55000, 55001))  # 7.8 % up, for one quote
    await bids(parts, 51050, 51000)
    assert (peak_of(parts), parts.orders()) == (Decimal(51000), [])


async def test_quotes_above_the_peak_that_do_not_follow_one_another_are_no_peak(parts, start):
    start(asset=TRAILS, **HELD)
    await bids(parts, 51000, 51200, 50900, 51300, 50900)
    assert peak_of(parts) == 51000


async def test_a_jump_of_the_market_is_followed_once_the_second_source_agrees(parts, start):
    start(asset=TRAILS, **HELD)
    await bids(parts, 51000, 54000, 54000)
    assert peak_of(parts) == 51000, "it was asked a moment ago"
    parts.market.assets.by_symbol[BTC].exits.confirms_at = 0.0
    await bids(parts, 54000)
    assert peak_of(parts) == 54000


@pytest.mark.parametrize("first", [51000, None])
async def test_a_wide_or_stale_quote_is_no_peak(parts, start, exchange, first):
    start(asset=TRAILS, **HELD)
    if first:
        await bids(parts, first)
    exchange.push_quote(BTC, 51200, 51201)
    stale = datetime.now(UTC) - timedelta(seconds=60)
    for _ in range(2):
        await parts.see(wire_quote(BTC, 51200, 51200 * 1.03))
        await parts.see(wire_quote(BTC, 51200, 51201, at=stale))
    assert peak_of(parts) == (first and Decimal(first))


async def test_a_dip_that_the_second_source_does_not_see_sells_nothing(parts, start, exchange):
    start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    exchange.push_quote(BTC, 50900, 50901)
    await parts.see(wire_quote(BTC, 50400, 50401))
    assert parts.orders() == []


async def test_a_peak_is_saved_and_survives_a_restart(parts, settings, exchange, start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    await bids(parts, 51000, 51400, 51400)
    await save(parts)
    assert get_cycle(db_conn, cycle.id).trailing_peak == 51400
    again = BotParts(settings, exchange)
    try:
        await bids(again, 50886.01)
        assert (again.orders(), peak_of(again)) == ([], Decimal(51400))
        await bids(again, 50886)
        assert len(again.orders()) == 1
    finally:
        await again.market.stop()


async def test_only_what_rose_is_saved(parts, start):
    start(asset=TRAILS, **HELD)
    assert not parts.market.assets.peaks.waits.is_set()
    await bids(parts, 51000)
    assert parts.market.assets.peaks.waits.is_set()
    await save(parts)
    await bids(parts, 50900, 50990)
    assert not parts.market.assets.peaks.waits.is_set()
    taken = parts.market.assets.peaks.take()
    assert taken == {}


async def test_a_peak_that_could_not_be_saved_is_tried_again(parts, start):
    start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    risen = parts.market.assets.peaks
    lost = risen.take()
    await bids(parts, 51200, 51200)
    risen.put_back(lost)
    [(_, peak)] = risen.take().values()
    assert peak == 51200, "the newer one"


def test_the_statement_never_lowers_a_peak_nor_writes_into_another_state(start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    state = load_trading_state(db_conn, BTC)
    assert save_trailing_peak(db_conn, cycle, Decimal(51500))
    assert not save_trailing_peak(db_conn, cycle, Decimal(51400))
    assert not save_trailing_peak(db_conn, cycle, Decimal(51500))
    assert get_cycle(db_conn, cycle.id).trailing_peak == 51500
    assert is_current(db_conn, state), "who read the row before need not read it again"
    for columns in (
        {"status": "buying"},
        {"status": "watching", "order_seq": 5},
        {"order_seq": 0, "quantity": Decimal("0.004")},
    ):
        update_cycle(db_conn, cycle.id, columns)
        assert not save_trailing_peak(db_conn, cycle, Decimal(60000))


def test_a_refresh_sees_a_saved_peak(start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    before = load_fingerprints(db_conn)
    save_trailing_peak(db_conn, cycle, Decimal(51500))
    assert load_fingerprints(db_conn) != before


async def test_a_safety_fill_begins_the_peak_anew(parts, start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    await save(parts)
    await bids(parts, 46800)  # no spike: it falls in two
    await bids(parts, 46800)
    parts.sweep()
    after = get_cycle(db_conn, cycle.id)
    assert (after.safety_orders, after.trailing_peak) == (1, None)
    await parts.see()
    assert peak_of(parts) is None


async def test_a_peak_of_before_is_not_saved_into_the_position_after_a_fill(parts, start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    await bids(parts, 46800, 46800)
    parts.sweep()
    await save(parts)  # taken before the refresh knew of the fill
    assert get_cycle(db_conn, cycle.id).trailing_peak is None


async def test_without_a_trail_nothing_is_followed(parts, start):
    start(**HELD)
    await bids(parts, 50000)
    assert parts.market.assets.by_symbol[BTC].exits is None
    await bids(parts, 51000)
    assert len(parts.orders()) == 1


async def test_an_ordinary_quote_is_not_even_looked_at_while_a_peak_is_followed(
    parts, start, monkeypatch
):
    start(asset=TRAILS, **HELD)
    await bids(parts, 51000)

    def follow(watch, quote, now):
        raise AssertionError("between the trail and the peak nothing is to be done")

    watch = parts.market.assets.by_symbol[BTC]
    monkeypatch.setattr(quote_watch.ExitWatch, "follow", follow)
    for price in (50990, 50500, 50700):
        assert not watch.accept(wire_quote(BTC, price, price + 1), price, price + 1, 0.0)


async def test_a_close_request_sells_at_once_as_without_a_trail(parts, start, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    update_cycle(db_conn, cycle.id, {"close_requested": True})
    await parts.see()
    assert len(parts.orders()) == 1


async def test_a_disabled_asset_keeps_its_trail(parts, start):
    start(asset=TRAILS | {"is_enabled": False}, **HELD)
    await bids(parts, 51000, 50490)
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_a_sale_that_was_rejected_goes_on_from_the_same_peak(parts, start, exchange, db_conn):
    cycle = start(asset=TRAILS, **HELD)
    await bids(parts, 51000)
    exchange.arm("reject_order", count=1)
    await bids(parts, 50490)
    parts.sweep()
    parts.placer.guard(BTC).succeeded(Side.SELL)
    parts.market.assets.end_backoff(parts.market.assets.by_symbol[BTC])
    assert get_latest_cycle(db_conn, cycle.asset_id).order_seq == 1
    await bids(parts, 50480)
    assert len(parts.orders()) == 2
