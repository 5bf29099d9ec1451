"""A stop loss, from quotes to its sale and what follows: on the real exchange and database."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from bot_parts import BTC, HELD, BotParts, buy, wire_quote
from domain.asset import StopLossAction
from domain.cycle import CycleStatus
from domain.events import EventKind
from domain.journal import Purpose
from domain.orders import Side
from models.asset_config import get_asset_by_id
from models.cycle_data import get_cycle, get_latest_cycle, update_cycle
from models.order_journal import get_entries_of_cycle
from models.trading_state import load_trading_state
from utils.alpaca_client_rest import OrderOutcomeUnknown
from utils.db_utils import execute_query

STOPS = {"stop_loss_percent": Decimal(10), "max_safety_orders": 0}  # at 45,000


async def bids(parts: BotParts, *prices: float) -> None:
    """One quote after the other; each is the exchange's own, too."""
    for price in prices:
        await parts.see(parts.quote_both(price, price + 1))


def events(db_conn, kind):
    query = "SELECT * FROM dca_events WHERE kind = %s"
    return execute_query(query, (kind,), fetch_all=True, db_conn=db_conn)


def purposes(db_conn, cycle):
    return [entry.purpose for entry in get_entries_of_cycle(db_conn, cycle.id)]


async def test_it_sells_everything_at_the_market_and_disables_the_asset(parts, start, db_conn):
    cycle = start(asset=STOPS, **HELD)
    await bids(parts, 45001)
    assert (parts.orders(), get_cycle(db_conn, cycle.id).stop_loss_fired) == ([], False)
    await bids(parts, 45000)
    [order] = parts.orders()
    assert (order.side, order.order_type, order.qty) == (Side.SELL, "market", Decimal("0.002"))
    assert get_cycle(db_conn, cycle.id).stop_loss_fired
    assert len(events(db_conn, EventKind.STOP_LOSS_FIRED)) == 1
    parts.sweep()
    done, after = get_cycle(db_conn, cycle.id), get_latest_cycle(db_conn, cycle.asset_id)
    assert (done.status, after.status) == (CycleStatus.COMPLETE, CycleStatus.COOLDOWN)
    assert purposes(db_conn, cycle) == [Purpose.STOP_LOSS]
    asset = get_asset_by_id(db_conn, cycle.asset_id)
    assert (asset.is_enabled, asset.last_sell_price) == (False, Decimal(45000))
    [stopped] = events(db_conn, EventKind.ASSET_STOPPED)
    assert "scripts/assets enable BTC/USD" in stopped["reason"]


async def test_after_a_cooldown_it_goes_on_but_never_restarts_early(parts, start, db_conn):
    early = {"buy_order_price_deviation_percent": Decimal(1)}
    cool = {"stop_loss_action": StopLossAction.COOLDOWN}
    cycle = start(asset=STOPS | early | cool, **HELD)
    await bids(parts, 45000)
    parts.sweep()
    state = load_trading_state(db_conn, BTC)
    assert (state.cycle.status, state.previous_stop_loss) == (CycleStatus.COOLDOWN, True)
    assert (state.asset.is_enabled, state.asset.last_sell_price) == (True, Decimal(45000))
    await bids(parts, 41000, 41000)
    assert len(parts.orders()) == 1
    update_cycle(db_conn, state.cycle.id, {"status": "watching"})
    await bids(parts, 41000)
    assert [order.side for order in parts.orders()] == [Side.SELL, Side.BUY]
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE


async def test_it_needs_a_second_source(parts, start, exchange, db_conn):
    cycle = start(asset=STOPS, **HELD)
    await bids(parts, 48000)
    exchange.push_quote(BTC, 45001, 45002)
    await parts.see(wire_quote(BTC, 44999, 45000))
    assert (parts.orders(), get_cycle(db_conn, cycle.id).stop_loss_fired) == ([], False)


async def test_a_jump_fires_only_when_the_next_quote_confirms_it(parts, start, db_conn):
    cycle = start(asset=STOPS, **HELD)
    await bids(parts, 50000)
    await bids(parts, 44000)
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired
    await bids(parts, 44000)
    assert get_cycle(db_conn, cycle.id).stop_loss_fired


async def test_a_stale_quote_does_not_fire_it(parts, start, exchange, db_conn):
    cycle = start(asset=STOPS, **HELD)
    exchange.push_quote(BTC, 44000, 44001)
    await parts.see(wire_quote(BTC, 44000, 44001, at=datetime.now(UTC) - timedelta(seconds=60)))
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired


async def test_a_wide_spread_does_not_hold_it_up(parts, start, exchange, db_conn):
    start(asset=STOPS, **HELD)
    exchange.push_quote(BTC, 44000, 48000)
    await parts.see(wire_quote(BTC, 44000, 48000))
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_the_clock_fires_it_after_its_seconds_without_a_break(parts, start, db_conn):
    cycle = start(asset=STOPS | {"stop_loss_seconds": 60}, **HELD)
    await bids(parts, 44000)
    watch = parts.market.assets.by_symbol[BTC]
    now, price = time.monotonic(), 44000.0

    def quote(bid, at):
        return watch.accept(wire_quote(BTC, bid, bid + 1), bid, bid + 1, at)

    assert not any(quote(price, now + second) for second in range(0, 50, 10))
    assert not quote(45001.0, now + 50), "this one breaks it"
    assert not any(quote(price, now + second) for second in range(60, 120, 10))
    assert quote(price, now + 120)
    assert not quote(price, now + 140), "no quote for longer than one may be old: it begins anew"
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired


async def test_the_clock_begins_anew_after_a_safety_fill_and_a_restart(
    parts, settings, exchange, start, db_conn
):
    start(asset=STOPS | {"stop_loss_seconds": 3600, "max_safety_orders": 1}, **HELD)
    await bids(parts, 45500)  # the safety order
    parts.sweep()
    await bids(parts, 42000, 42000)
    watch = parts.market.assets.by_symbol[BTC]
    assert watch.track.holding[2] == 1
    assert watch.track.below_since is not None
    again = BotParts(settings, exchange)
    try:
        await again.see()
        assert again.market.assets.by_symbol[BTC].track.below_since is None
    finally:
        await again.market.stop()


async def test_a_buy_that_rests_is_canceled_and_booked_before_it_fires(
    parts, start, exchange, db_conn
):
    cycle = start(asset=STOPS | {"max_safety_orders": 2}, **HELD)
    exchange.push_quote(BTC, 49000, 49001)
    buy(parts, cycle, qty="0.001", price="44000")
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.BUYING
    await bids(parts, 45000)
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired
    parts.sweep()
    await bids(parts, 45000)
    assert get_cycle(db_conn, cycle.id).stop_loss_fired
    await parts.see()
    parts.sweep()
    assert [order.status for order in parts.orders()] == ["canceled", "filled"]
    assert purposes(db_conn, cycle) == [Purpose.SAFETY, Purpose.STOP_LOSS]


async def test_a_safety_order_that_filled_and_is_not_booked_lowers_the_stop_first(
    parts, start, exchange, db_conn
):
    """Found by chaos: the stop of the average before the fill is no stop any more."""
    cycle = start(asset=STOPS | {"max_safety_orders": 2}, **HELD)
    exchange.push_quote(BTC, 49000, 49001)
    buy(parts, cycle, qty="0.001", price="44000")
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.BUYING
    exchange.push_quote(BTC, 43990, 43991)  # it fills, and nothing is booked
    await bids(parts, 44900)
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired
    parts.sweep()
    await bids(parts, 44900)
    held = get_cycle(db_conn, cycle.id)
    assert (held.status, held.stop_loss_fired) == (CycleStatus.WATCHING, False)
    assert held.average_purchase_price < 50000


async def test_it_does_not_fire_while_a_sale_is_on_its_way(parts, start, exchange, db_conn):
    cycle = start(asset=STOPS, **HELD)
    exchange.arm("rest_market_order")
    await bids(parts, 51000)
    assert len(parts.orders()) == 1
    await bids(parts, 46500, 44000)  # the row is not linked yet: what was sent comes first
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired
    parts.sweep()
    await bids(parts, 44000)
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.SELLING
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired


async def test_it_fires_once_and_a_price_that_comes_back_changes_nothing(
    parts, start, exchange, db_conn
):
    cycle = start(asset=STOPS, **HELD)
    exchange.arm("reject_order", count=1)
    await bids(parts, 45000)
    parts.sweep()
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.WATCHING
    parts.placer.guard(BTC).succeeded(Side.SELL)
    parts.market.assets.end_backoff(parts.market.assets.by_symbol[BTC])
    await bids(parts, 49000, 51500)
    parts.sweep()
    assert len(events(db_conn, EventKind.STOP_LOSS_FIRED)) == 1
    assert purposes(db_conn, cycle) == [Purpose.STOP_LOSS] * 2
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE


async def test_a_process_that_dies_after_it_fired_sells_at_its_next_start_without_a_quote(
    parts, settings, exchange, start, db_conn
):
    cycle = start(asset=STOPS, **HELD)
    update_cycle(db_conn, cycle.id, {"stop_loss_fired": True})
    exchange.push_quote(BTC, 47000, 47001)
    await parts.see()
    parts.sweep()
    assert purposes(db_conn, cycle) == [Purpose.STOP_LOSS]


async def test_a_user_who_closes_as_well_is_noted(parts, start, exchange, db_conn):
    cycle = start(asset=STOPS, **HELD)
    update_cycle(db_conn, cycle.id, {"stop_loss_fired": True, "close_requested": True})
    exchange.push_quote(BTC, 47000, 47001)
    await parts.see()
    parts.sweep()
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert (entry.purpose, entry.note) == (Purpose.STOP_LOSS, "closed by the user")


async def test_who_disables_an_asset_keeps_its_stop_loss(parts, start):
    start(asset=STOPS | {"is_enabled": False}, **HELD)
    await bids(parts, 45000)
    assert [order.side for order in parts.orders()] == [Side.SELL]


async def test_a_halted_daemon_does_not_fire_it(parts, start, db_conn):
    cycle = start(asset=STOPS, **HELD)
    parts.why_no_orders = lambda: "another daemon has taken the account"
    await bids(parts, 45000)
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired


async def test_a_sale_without_an_answer_is_waited_for_before_anything_fires(
    parts, start, exchange, db_conn, monkeypatch
):
    cycle = start(asset=STOPS, **HELD)

    def lose(*args, **kwargs):
        raise OrderOutcomeUnknown("no answer")

    monkeypatch.setattr("trading.order_placement.place_market_sell_order", lose)
    await bids(parts, 51000)
    await bids(parts, 46500, 44000)
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired


@pytest.mark.parametrize("column", ["stop_loss_percent", "take_profit_percent"])
async def test_an_edit_while_it_was_confirmed_is_decided_anew(
    parts, start, exchange, db_conn, monkeypatch, column
):
    cycle = start(asset=STOPS, **HELD)
    real = parts.placer.__class__._ask_second_source

    def edit_meanwhile(self, attempt, decision):
        found = real(self, attempt, decision)
        execute_query(f"UPDATE dca_assets SET {column} = 50", commit=True)
        return found

    monkeypatch.setattr(parts.placer.__class__, "_ask_second_source", edit_meanwhile)
    exchange.push_quote(BTC, 45000, 45001)
    await parts.see(wire_quote(BTC, 45000, 45001))
    assert not get_cycle(db_conn, cycle.id).stop_loss_fired
