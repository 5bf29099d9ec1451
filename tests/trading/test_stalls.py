"""What wants to trade and cannot is an alert when that begins and a line when it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace

import pytest

from bot_parts import BotParts, wire_quote
from builders import build_order
from domain.market import AssetRules
from domain.orders import Side
from models.asset_config import update_asset_config
from runtime.operator_flags import set_flag
from trading import order_placement, placement_guard
from trading.stall_watch import THE_DAEMON, StallWatch, log_edges
from utils.alpaca_client_rest import place_limit_buy_order
from utils.db_utils import execute_query

BTC = "BTC/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}
ALERT_SECONDS = 600.0


def due_alerts(parts: BotParts, later_seconds: float = 0.0) -> list[tuple[bool, str]]:
    """The alerts that are due: whether a stall begins, and why it is or why it ended."""
    edges = parts.market.stalls.edges(time.monotonic() + later_seconds)
    return [(edge.has_begun, edge.reason) for edge in edges]


def wake(parts: BotParts) -> None:
    """Let the symbol try at once, however long it backs off."""
    for watch in parts.market._watches.values():
        watch.backs_off_until = {side: 0.0 for side in Side}


# What counts: each of these is wanted, cannot be had, and is one alert after ten minutes.


async def wide_spread(parts, start, exchange):
    start(**HELD)
    await parts.see(parts.quote_both(47000, 49000))
    return "the spread is wider than MAX_SPREAD_PERCENT=2: no buys", "MAX_SPREAD_PERCENT in .env"


async def late_quotes(parts, start, exchange):
    start(**HELD)
    await parts.see(wire_quote(BTC, 49000, 49001, datetime.now(UTC) - timedelta(seconds=40)))
    return "its quotes are older than 15 s when they come, by our clock", "timedatectl"


async def below_the_minimum(parts, start, exchange):
    start(**HELD, asset={"safety_order_amount": Decimal(5)})
    await parts.see(parts.quote_both(49000, 49001))
    return "below the exchange's minimum 10", "scripts/assets edit BTC/USD --safety USD"


async def not_tradable(parts, start, exchange):
    start()
    known = await asyncio.to_thread(parts.rules.get, BTC)
    fields = {name: getattr(known, name) for name in known.__slots__}
    parts.rules = None
    forbidden = AssetRules(**fields | {"is_tradable": False})
    parts.placer.rules = SimpleNamespace(
        get=lambda symbol: forbidden, find=lambda symbol: forbidden
    )
    await parts.see(parts.quote_both(50000, 50001))
    return "BTC/USD is not tradable on Alpaca", "scripts/assets disable BTC/USD"


async def foreign_coins(parts, start, exchange):
    start(coins="0.5")
    await parts.see(parts.quote_both(50000, 50001))
    return "existing position found on Alpaca: 0.5", "scripts/assets adopt BTC/USD"


async def foreign_order(parts, start, exchange):
    start()
    place_limit_buy_order(
        parts.client, BTC, Decimal("0.01"), Decimal(2000), client_order_id="by hand"
    )
    await parts.see(parts.quote_both(50000, 50001))
    return "open order found on Alpaca: by hand", "cancel it on Alpaca's page"


async def refused_order(parts, start, exchange):
    start()
    exchange.set_balance("USD", "20")
    await parts.see(parts.quote_both(50000, 50001))
    return "base order refused", "order.refused in logs/app.log"


async def rejected_order(parts, start, exchange):
    start()
    await parts.see(parts.quote_both(50000, 50001))
    parts.market.order_changed(build_order(status="rejected"))
    return "the exchange rejects its buy orders", "Alpaca's page"


async def away(parts, start, exchange):
    start()
    await parts.see()
    exchange.arm("http_500", match={"path": "/v2/positions/BTCUSD"})
    await parts.see(parts.quote_both(50000, 50001))
    return "HTTP 500", None


async def quotes_that_die_before_the_position_is_known(parts, start, exchange):
    parts.market._settings = replace(parts.settings, max_quote_age_seconds=0.3)
    start(**HELD)
    exchange.arm("http_slow", seconds=0.5, match={"path": "/v2/positions/BTCUSD"})
    await parts.see(parts.quote_both(51500, 51501))
    return "the newest quote is too old", None


@pytest.mark.parametrize(
    "situation",
    [
        wide_spread, late_quotes, below_the_minimum, not_tradable, foreign_coins, foreign_order,
        refused_order, rejected_order, away, quotes_that_die_before_the_position_is_known,
    ],
    ids=lambda situation: situation.__name__,
)  # fmt: skip
async def test_what_keeps_an_asset_from_an_order_it_wants_is_one_alert_and_a_line_when_it_is_over(
    parts, start, exchange, situation
):
    reason, cure = await situation(parts, start, exchange)
    [held] = parts.market.stalls.held_back()
    assert (held.symbol, held.is_stalled, held.is_requested) == (BTC, False, False)
    assert reason in held.reason
    assert (cure is None) or (cure in held.cure)
    assert held.has_foreign_coins is (situation is foreign_coins)
    assert due_alerts(parts, ALERT_SECONDS - 5) == [], "a short one is no alert"
    await parts.see()
    [(has_begun, words)] = due_alerts(parts, ALERT_SECONDS)
    assert (has_begun, reason in words) == (True, True)
    assert parts.market.stalls.held_back()[0].is_stalled
    await parts.see()
    assert due_alerts(parts, 10 * ALERT_SECONDS) == [], "once, however long it lasts"
    # The market moves on: nothing is wanted any more.
    execute_query("UPDATE dca_assets SET is_enabled = 0", db_conn=None)
    execute_query("UPDATE dca_cycles SET quantity = 0", db_conn=None)
    await parts.see()
    assert due_alerts(parts) == [(False, "it is disabled and holds nothing")]
    assert parts.market.stalls.held_back() == ()


async def test_a_price_that_moves_away_ends_it_and_one_that_returns_begins_anew(parts, start):
    start(**HELD)
    await parts.see(parts.quote_both(47000, 49000))
    assert [has_begun for has_begun, _ in due_alerts(parts, ALERT_SECONDS)] == [True]
    await parts.see(parts.quote_both(50000, 50001))
    await parts.see()
    assert due_alerts(parts) == [(False, "the price asks for no order any more")]
    wake(parts)
    await parts.see(parts.quote_both(47500, 49000))
    assert due_alerts(parts, ALERT_SECONDS - 5) == []


async def test_an_order_that_fills_ends_it_and_an_open_one_does_not_count(
    parts, start, exchange, db_conn
):
    exchange.arm("rest_after_part", fraction=0.5)
    start(**HELD)
    await parts.see(parts.quote_both(47000, 49000))
    assert [has_begun for has_begun, _ in due_alerts(parts, ALERT_SECONDS)] == [True]
    wake(parts)
    await parts.see(parts.quote_both(48990, 49000))
    parts.sweep()
    await parts.see()
    assert execute_query("SELECT status FROM dca_cycles", fetch_one=True) == {"status": "buying"}
    assert due_alerts(parts, 3 * ALERT_SECONDS) == [], "whether it is over, the order's end decides"
    exchange.clear_faults()
    parts.quote_both(48990, 49000)
    parts.sweep()
    assert due_alerts(parts) == [(False, "an order was filled")]


async def test_orders_that_are_rejected_again_and_again_are_one_stall(parts, start):
    start()
    await parts.see(parts.quote_both(50000, 50001))
    stalls, now = parts.market.stalls, time.monotonic()
    parts.market.order_changed(build_order(status="rejected"))
    for _ in range(5):
        stalls.trying(BTC)  # the next attempt is under way
        assert stalls.edges(now + ALERT_SECONDS + 5) == []
    parts.market.order_changed(build_order(status="rejected"))
    assert [edge.has_begun for edge in stalls.edges(now + ALERT_SECONDS + 5)] == [True]


async def test_orders_that_nobody_answers_again_and_again_are_a_stall_until_one_fills(
    parts, start, exchange
):
    """The exchange answers every question, and each POST with an error: nothing is sold."""
    start(**HELD)
    exchange.arm("http_500", match={"path": "/v2/orders", "method": "POST"})
    await parts.see()
    guard = parts.placer.guard(BTC)
    guard._unknown_outcome_seconds = 0.0
    for _ in range(4):
        guard._ask_at = 0.0
        wake(parts)
        await parts.see(parts.quote_both(51500, 51501))
    assert exchange.times_applied("http_500") >= 2
    [(has_begun, reason)] = due_alerts(parts, ALERT_SECONDS + 5)
    assert has_begun
    assert "HTTP 500" in reason
    exchange.clear_faults()
    for _ in range(3):
        guard._ask_at = 0.0
        wake(parts)
        await parts.see(parts.quote_both(51500, 51501))
    parts.sweep()
    assert due_alerts(parts) == [(False, "an order was filled")]


async def test_a_buy_that_does_not_end_and_keeps_coins_from_their_take_profit_is_a_stall(
    parts, start, exchange, monkeypatch
):
    monkeypatch.setattr(placement_guard, "FIRST_CANCEL_SECONDS", 0.0)
    exchange.arm("rest_after_part", fraction=0.5)
    start(**HELD)
    await parts.see(parts.quote_both(48990, 49000))
    parts.sweep()
    exchange.arm("http_500", match={"method": "DELETE"})
    for _ in range(placement_guard.MAX_CANCEL_REQUESTS + 1):
        wake(parts)
        await parts.see(parts.quote_both(51500, 51501))
    [(has_begun, reason)] = due_alerts(parts, ALERT_SECONDS + 5)
    assert has_begun
    assert "the open buy does not end" in reason


async def test_orders_that_are_accepted_and_never_exist_are_a_stall(parts, start, monkeypatch):
    monkeypatch.setattr(order_placement, "place_market_sell_order", lambda *_, **__: object())
    start(**HELD)
    await parts.see()
    guard = parts.placer.guard(BTC)
    guard._unknown_outcome_seconds = 0.0
    for _ in range(3):  # it is sent, and missed twice
        guard._ask_at = 0.0
        wake(parts)
        await parts.see(parts.quote_both(51500, 51501))
    [(has_begun, reason)] = due_alerts(parts, ALERT_SECONDS + 5)
    assert has_begun
    assert "does not exist" in reason


# What does not count.


async def paused(parts, start):
    set_flag(parts.settings.run_dir, "paused", wanted=True)
    start()
    await parts.see(parts.quote_both(50000, 50001))
    return "buying is paused"


async def at_a_buy_limit(parts, start):
    start()
    object.__setattr__(parts.settings, "max_buy_usd_per_day", Decimal(50))
    await parts.see(parts.quote_both(50000, 50001))
    return "MAX_BUY_USD_PER_DAY=50 is reached"


async def halted(parts, start):
    start()
    parts.why_no_orders = lambda: "start-up recovery has not finished"
    await parts.see(parts.quote_both(50000, 50001))
    return "recovery has not finished"


@pytest.mark.parametrize("situation", [paused, at_a_buy_limit, halted])
async def test_what_the_user_wants_or_another_alert_says_is_shown_and_no_stall(
    parts, start, situation, caplog
):
    reason = await situation(parts, start)
    [held] = parts.market.stalls.held_back()
    assert (reason in held.reason, held.is_requested) == (True, True)
    assert due_alerts(parts, 10 * ALERT_SECONDS) == []


async def test_another_buy_limit_is_another_alert_and_another_figure_is_not(
    parts, start, db_conn, caplog
):
    """No stall follows a buy limit: its mail must not be held back for that of the limit before."""
    cycle = start()
    quote = parts.quote_both(50000, 50001)
    for day, position in ((Decimal(50), None), (None, Decimal(50))):
        object.__setattr__(parts.settings, "max_buy_usd_per_day", day)
        object.__setattr__(parts.settings, "max_position_usd", position)
        wake(parts)
        await parts.see(quote)
    object.__setattr__(parts.settings, "max_position_usd", None)
    for usd in (5, 6):
        update_asset_config(db_conn, cycle.asset_id, {"base_order_amount": Decimal(usd)})
        wake(parts)
        await parts.see(quote)
    skips = [one for one in caplog.records if one.getMessage().startswith("order.skipped")]
    day, position, *too_small = [one.alert.key for one in skips if one.levelname == "ERROR"]
    assert day != position
    assert len(too_small) == 2
    assert len({*too_small}) == 1


async def test_a_user_who_pauses_ends_the_stall_and_one_who_resumes_begins_anew(parts, start):
    start(coins="0.5")
    await parts.see(parts.quote_both(50000, 50001))
    assert [has_begun for has_begun, _ in due_alerts(parts, ALERT_SECONDS)] == [True]
    set_flag(parts.settings.run_dir, "paused", wanted=True)
    wake(parts)
    await parts.see(parts.quote_both(50000, 50001))
    assert due_alerts(parts) == [(False, "buying is paused: scripts/bot resume")]
    set_flag(parts.settings.run_dir, "paused", wanted=False)
    wake(parts)
    await parts.see(parts.quote_both(50000, 50001))
    assert due_alerts(parts, ALERT_SECONDS - 5) == []
    assert not parts.market.stalls.held_back()[0].is_requested


async def test_assets_that_want_nothing_are_not_held_back(parts, start, db_conn):
    start(**HELD)
    start("cooldown", symbol="ETH/USD")
    off = start(symbol="SOL/USD", coins="1")
    update_asset_config(db_conn, off.asset_id, {"is_enabled": False})
    await parts.see(
        parts.quote_both(48000, 51000),
        parts.quote_both(2000, 2001, "ETH/USD"),
        parts.quote_both(100, 101, "SOL/USD"),
    )
    assert parts.market.stalls.held_back() == ()


async def test_a_row_that_cannot_trade_is_held_back_with_its_cure_until_it_is_corrected(
    parts, start, db_conn
):
    cycle = start(asset={"safety_order_deviation": Decimal(-1)})
    await parts.see(parts.quote_both(50000, 50001))
    [held] = parts.market.stalls.held_back()
    assert "the deviation must be more than 0" in held.reason
    assert held.cure == "scripts/assets edit BTC/USD"
    assert [has_begun for has_begun, _ in due_alerts(parts, ALERT_SECONDS)] == [True]
    update_asset_config(db_conn, cycle.asset_id, {"safety_order_deviation": Decimal(1)})
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    assert [has_begun for has_begun, _ in due_alerts(parts)] == [False]


async def test_a_correction_works_at_once_although_the_symbol_backs_off(parts, start, db_conn):
    cycle = start(**HELD, asset={"safety_order_amount": Decimal(5)})
    await parts.see(parts.quote_both(49000, 49001))
    assert "below the exchange's minimum" in parts.market.stalls.held_back()[0].reason
    await parts.see(parts.quote_both(49000, 49001))
    assert parts.orders() == []
    update_asset_config(db_conn, cycle.asset_id, {"safety_order_amount": Decimal(50)})
    await parts.see(parts.quote_both(49000, 49001))
    assert len(parts.orders()) == 1


async def test_an_asset_that_is_removed_is_forgotten(parts, start, db_conn):
    start(coins="0.5")
    await parts.see(parts.quote_both(50000, 50001))
    assert [has_begun for has_begun, _ in due_alerts(parts, ALERT_SECONDS)] == [True]
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    execute_query("DELETE FROM dca_assets", db_conn=db_conn)
    await parts.see()
    assert due_alerts(parts) == [(False, "it is configured no more")]


# The daemon as a whole, and the lines.


def test_while_the_daemon_itself_is_held_back_only_that_is_an_alert():
    stalls = StallWatch(60)
    stalls.hold("BTC/USD", "no market", 0.0)
    stalls.hold(THE_DAEMON, "no exchange", 10.0, since=5.0)
    stalls.hold("ETH/USD", "no market", 20.0)
    assert [edge.symbol for edge in stalls.edges(64.9)] == []
    assert [edge.symbol for edge in stalls.edges(65.0)] == [THE_DAEMON]
    assert [edge.symbol for edge in stalls.edges(500.0)] == []
    stalls.release(THE_DAEMON, "it is back")
    assert [(edge.symbol, edge.has_begun) for edge in stalls.edges(505.0)] == [(THE_DAEMON, False)]
    stalls.release("ETH/USD", "an order was filled")
    assert stalls.edges(559.0) == [], "each may try again first"
    assert [(edge.symbol, edge.has_begun) for edge in stalls.edges(560.0)] == [("BTC/USD", True)]
    assert [held.symbol for held in stalls.held_back()] == ["BTC/USD"]


def test_the_lines_name_symbol_cause_cure_and_end_and_both_are_mailed(caplog):
    stalls = StallWatch(60)
    stalls.hold("BTC/USD", "coins are there", 0.0, cure="scripts/assets adopt BTC/USD")
    with caplog.at_level(logging.INFO):
        log_edges(stalls.edges(60.0))
        stalls.release("BTC/USD", "an order was filled")
        log_edges(stalls.edges(90.0))
        log_edges(stalls.edges(90.0))
    assert [(one.levelname, one.mail, one.getMessage()) for one in caplog.records] == [
        (
            "ERROR",
            True,
            'trading.stalled symbol=BTC/USD seconds=60 reason="coins are there"'
            ' cure="scripts/assets adopt BTC/USD"',
        ),
        (
            "WARNING",
            True,
            'stall.ended symbol=BTC/USD seconds=90 reason="an order was filled"',
        ),
    ]
