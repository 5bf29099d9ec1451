"""What a second pair of eyes found in the core: each finding stays found."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from websockets.exceptions import ConnectionClosedError

import main_app
from bot_parts import wire_quote
from builders import (
    build_circumstances,
    build_cycle,
    build_entry,
    build_order,
    build_wire_order,
    build_wire_update,
)
from canned_server import canned_server
from config import get_settings, reset_settings
from domain.cycle import CycleStatus
from domain.orders import Side, TradeUpdate
from domain.wire import ForeignAssetClass
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.events import get_events
from models.trading_state import (
    load_all_trading_states,
    load_cooldowns,
    load_fingerprints,
    load_trading_state,
    load_trading_states,
)
from strategy.order_identity import compute_client_order_id
from strategy.repairs import compute_correction
from trading import asset_rules_cache, market_data_handler, state_reader
from trading import bot as trading_bot
from trading.asset_rules_cache import AssetRulesCache
from trading.bot import Bot
from trading.placement_guard import PlacementGuard
from trading.reconciler import Reconciler
from utils.alpaca_client_rest import ExchangeRefused, get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_orders
from utils.db_utils import DatabaseUnavailable, execute_query

BTC = "BTC/USD"
# As Alpaca documents the parent of a multi-leg options order: its texts are empty.
MULTI_LEG = build_wire_order(
    id="d5c6d1a4-0a5b-4a8f-8f6e-6d2e3a9d1c11",
    asset_id="",
    symbol="",
    asset_class="",
    side="",
    order_class="mleg",
)


async def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.01)


@pytest.fixture
async def bot(settings, db_conn):
    """The daemon's parts without its tasks."""
    bot = Bot(
        settings,
        "account",
        on_quote=main_app.on_crypto_quote,
        on_trade_update=main_app.on_crypto_trade_update,
    )
    yield bot
    await bot.stop()


# The user's own business.


def test_a_multi_leg_options_order_of_the_user_does_not_stop_the_sweeps(
    bot_environment, monkeypatch
):
    with canned_server() as canned:
        for name in ("ALPACA_TRADING_URL", "ALPACA_DATA_URL"):
            monkeypatch.setenv(name, canned.url)
        reset_settings()
        canned.say(200, [build_wire_order(), MULTI_LEG])
        [order] = fetch_orders(get_trading_client(), status="all")
    assert order.symbol == BTC
    with pytest.raises(ForeignAssetClass):
        TradeUpdate.from_wire({"event": "new", "order": MULTI_LEG})


# Streams.


async def test_a_socket_that_breaks_while_it_is_closed_does_not_end_the_daemon(bot):
    class Broken:
        async def close(self):
            raise ConnectionClosedError(None, None)

    for stream in (bot.streams._data, bot.streams._trade):
        stream._ws = Broken()
        await stream.close()
        assert stream._ws is None
    bot.streams._trade._ws = Broken()
    await bot.streams.reconnect_trade_stream("stalled")


async def test_a_symbol_added_while_the_stream_subscribes_is_subscribed_too(bot):
    stream, sent = bot.streams._data, []

    class Socket:
        async def send(self, frames):
            sent.append(b"".join(frames))
            await stream.add_symbols(["ETH/USD"])

        async def close(self):
            pass

    stream._ws = Socket()
    await stream.add_symbols([BTC])  # not running yet: the connect subscribes
    await stream._send_subscribe_msg()
    assert b"ETH/USD" in sent[-1]


# The daemon's tasks.


async def test_after_a_gap_longer_than_a_sweep_reads_the_next_one_is_a_recovery(
    bot, exchange, db_conn, start, monkeypatch, caplog
):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(trading_bot, "RETRY_SECONDS", 0.05)
    cycle, sweep, is_down = start(), bot.reconciler.sweep, False

    def sweep_or_fail():
        if is_down:
            raise DatabaseUnavailable("gone")
        return sweep()

    monkeypatch.setattr(bot.reconciler, "sweep", sweep_or_fail)
    work = asyncio.create_task(bot.keep_reconciled())
    await until(lambda: bot._recovered)
    is_down = True
    await until(lambda: "sweep.postponed" in caplog.text)
    exchange.push_quote(BTC, 49999, 50000)
    exchange.arm("skew_clock", seconds=-7200)  # two hours ago, its events were lost
    await asyncio.to_thread(
        place_limit_buy_order,
        get_trading_client(),
        BTC,
        Decimal("0.002"),
        Decimal(50000),
        client_order_id=compute_client_order_id(cycle),
    )
    exchange.finish()
    exchange.clear_faults("skew_clock")
    bot._last_sweep_at -= 7200
    is_down = False
    await until(lambda: get_cycle(db_conn, cycle.id).order_seq == 1)
    work.cancel()


async def test_what_a_sweep_needed_goes_back_to_the_system_also_when_it_fails_never_in_the_loop(
    bot, start, monkeypatch
):
    monkeypatch.setattr(trading_bot, "RETRY_SECONDS", 0.05)
    sweep, threads = bot.reconciler.recover, list[str]()

    def fail_once():
        monkeypatch.setattr(bot.reconciler, "recover", sweep)
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(bot.reconciler, "recover", fail_once)
    monkeypatch.setattr(
        trading_bot, "give_memory_back", lambda: threads.append(threading.current_thread().name)
    )
    start()
    work = asyncio.create_task(bot.keep_reconciled())
    await until(lambda: bot._recovered)
    work.cancel()
    assert len(threads) == 2
    assert all(name.startswith("bot-sweeps") for name in threads), threads


async def test_an_outage_is_logged_when_it_begins_and_when_it_ends(bot, start, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(trading_bot, "RETRY_SECONDS", 0.05)
    tries = {"sweep": 0, "refresh": 0}

    def counted(name, work):
        def run(*arguments):
            tries[name] += 1
            return work(*arguments)

        return run

    for work in ("recover", "sweep"):
        monkeypatch.setattr(bot.reconciler, work, counted("sweep", getattr(bot.reconciler, work)))
    for work in ("read_changed", "read_some"):
        monkeypatch.setattr(bot._states, work, counted("refresh", getattr(bot._states, work)))

    def has_tried(times):
        bot._refresh_wanted.set()
        return min(tries.values()) >= times

    start()
    loops = [bot.keep_reconciled(), bot.keep_triggers_fresh()]
    tasks = [asyncio.create_task(loop) for loop in loops]
    await until(lambda: bot._recovered and has_tried(1))
    await asyncio.to_thread(execute_query, "RENAME TABLE dca_cycles TO cycles_away")
    try:
        bot._sweep_wanted.set()
        await until(lambda: "sweep.postponed" in caplog.text and "refresh.postponed" in caplog.text)
        tries.update(sweep=0, refresh=0)
        await until(lambda: has_tried(4))
    finally:
        await asyncio.to_thread(execute_query, "RENAME TABLE cycles_away TO dca_cycles")
    await until(lambda: "sweep.resumed" in caplog.text and "refresh.resumed" in caplog.text)
    tries.update(sweep=0, refresh=0)
    bot._sweep_wanted.set()
    await until(lambda: has_tried(1))
    for task in tasks:
        task.cancel()
    lines = [message.split()[0] for message in caplog.messages]
    for name in ("sweep", "refresh"):
        edges = [line for line in lines if line in (f"{name}.postponed", f"{name}.resumed")]
        assert edges == [f"{name}.postponed", f"{name}.resumed"]


async def test_an_order_has_its_own_asset_read_at_once_and_the_timer_what_changed(
    bot, start, monkeypatch, db_conn
):
    asked = []

    def load(connection, symbols):
        asked.append(list(symbols))
        return load_trading_states(connection, symbols)

    monkeypatch.setattr(state_reader, "load_trading_states", load)
    cycle = start()
    start(symbol="ETH/USD")
    refreshing = asyncio.create_task(bot.keep_triggers_fresh())
    await until(lambda: bot.market.symbols() == {BTC, "ETH/USD"})
    await until(lambda: all(task.done() for task in bot.market.assets.rules_tasks))
    asked.clear()
    bot._refresh_due_at += 3600
    update_cycle(db_conn, cycle.id, {"quantity": Decimal(1)})
    bot._order_changed(build_order(cycle, symbol=BTC))
    await until(lambda: bot.market._watches[BTC].state.cycle.quantity == 1)
    assert all(one in ([], [BTC]) for one in asked), "one that ran already may read it, too"
    update_cycle(db_conn, cycle.id, {"quantity": Decimal(2)})
    bot._request_refresh()
    await until(lambda: bot.market._watches[BTC].state.cycle.quantity == 2)
    assert all(one in ([], [BTC]) for one in asked)
    refreshing.cancel()


async def test_a_lock_lost_during_recovery_still_halts_when_recovery_is_done(bot, monkeypatch):
    def lost():
        raise DatabaseUnavailable("gone")

    monkeypatch.setattr(bot._account_lock, "hold", lost)
    await bot._check_account_lock()
    work = asyncio.create_task(bot.keep_reconciled())
    await until(lambda: bot._recovered)
    work.cancel()
    assert "account's lock" in bot._why_no_orders()


async def test_a_stopping_daemon_sends_nothing_though_its_lock_is_fine(bot, monkeypatch):
    monkeypatch.setattr(bot._account_lock, "hold", lambda: True)
    bot._recovered = True
    await bot._check_account_lock()
    assert bot._why_no_orders() is None
    await bot.stop()
    await bot._check_account_lock()
    assert bot._why_no_orders() == "stopping"


async def test_the_heartbeat_waits_for_no_slow_request(bot, settings):
    release = threading.Event()
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    slow = asyncio.create_task(asyncio.to_thread(release.wait, 10))
    await asyncio.sleep(0)
    beat = asyncio.create_task(bot.keep_beating())
    try:
        await until((settings.run_dir / "heartbeat.json").exists, 3)
    finally:
        release.set()
        beat.cancel()
        await slow


async def test_buyers_that_wait_for_their_turn_hold_up_no_fill_no_refresh_and_no_sale(
    settings, db_conn, exchange, start, monkeypatch
):
    """A buy limit, an exchange that is slow to list what is open, and fewer threads than buyers."""
    monkeypatch.setenv("MAX_BUY_USD_PER_DAY", "1000000")
    monkeypatch.setattr(market_data_handler, "THREADS", 2)
    reset_settings()
    bot = Bot(
        get_settings(),
        "account",
        on_quote=main_app.on_crypto_quote,
        on_trade_update=main_app.on_crypto_trade_update,
    )
    bot._recovered = True
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    buyers = ["ETH/USD", "SOL/USD", "LTC/USD", "LINK/USD", "AVAX/USD"]
    for symbol in buyers:
        start(symbol=symbol)
    filled = start(symbol="BCH/USD")
    held = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
    start(**held, last_order_fill_price=Decimal(50000))
    await bot.market.refresh(load_all_trading_states(db_conn))
    exchange.push_quote("BCH/USD", 499, 500)
    order = await asyncio.to_thread(
        place_limit_buy_order,
        get_trading_client(),
        "BCH/USD",
        Decimal("0.2"),
        Decimal(500),
        client_order_id=compute_client_order_id(filled),
    )
    exchange.finish()
    slow = exchange.arm("http_hang", match={"path": "/v2/orders", "method": "GET"}, seconds=60)
    tasks = [asyncio.create_task(bot.updates.run()), asyncio.create_task(bot.keep_triggers_fresh())]
    try:
        for symbol in buyers:
            await bot.market.on_crypto_quote(wire_quote(symbol, 99, 100))
        await until(lambda: exchange.times_applied("http_hang") > 0)
        update = build_wire_update(
            "fill", id=str(order.id), client_order_id=order.client_order_id, status="filled",
            symbol="BCH/USD", filled_qty="0.2", filled_avg_price="500",
        )  # fmt: skip
        await bot.updates.on_crypto_trade_update(update)
        await until(lambda: get_cycle(db_conn, filled.id).order_seq == 1)
        await until(lambda: bot.market._watches["BCH/USD"].state.cycle.order_seq == 1)
        exchange.push_quote(BTC, 52000, 52001)
        await bot.market.on_crypto_quote(wire_quote(BTC, 52000, 52001))
        route = "POST /v2/orders"
        await until(lambda: exchange.state()["requests"]["by_route"].get(route, 0) == 2)
    finally:
        exchange.clear_faults(slow)
        for task in tasks:
            task.cancel()
        await bot.stop()


def test_what_nobody_foresaw_at_the_start_stands_in_the_log(bot_environment, monkeypatch, caplog):
    def fail():
        raise KeyError("unforeseen")

    monkeypatch.setattr(main_app, "_run_loop", fail)
    monkeypatch.setattr(main_app, "setup_logging", lambda settings, program: None)
    assert main_app.main() == main_app.EXIT_FAILED
    assert [one.levelname for one in caplog.records if "unforeseen" in str(one.exc_info)] == [
        "CRITICAL"
    ]


# Money.


def test_a_late_fill_never_has_a_price_below_zero():
    """The exchange rounds its average: the difference of two averages times a large quantity."""
    cycle = build_cycle(quantity=Decimal(10000), average_purchase_price=Decimal("0.0012"))
    early = build_order(
        cycle, status="canceled", qty="20000", filled_qty="10000", filled_avg_price="0.0012"
    )
    late = build_order(
        cycle, status="canceled", qty="20000", filled_qty="10001", filled_avg_price="0.0011"
    )
    change = compute_correction(cycle, late, [build_entry(early)], 0, build_circumstances())
    assert change.journal.filled_avg_price == Decimal("0.0011")
    assert change.cycle_updates["last_order_fill_price"] == Decimal("0.0011")


def test_sells_that_are_refused_again_and_again_are_an_alert(caplog):
    guard = PlacementGuard(BTC, 30.0)
    for number in range(5):
        guard.refused(Side.SELL, 1000.0 * number)
    assert [one.levelname for one in caplog.records] == ["ERROR"]
    assert guard.seconds_until_allowed(Side.SELL, 4000.0) <= 300, "and tried again all the same"


# Exchange rules.


def test_a_coin_that_alpaca_delists_is_not_bought_and_its_rules_are_kept(
    exchange, settings, monkeypatch
):
    monkeypatch.setattr(asset_rules_cache, "REFRESH_SECONDS", 0)
    cache = AssetRulesCache(get_trading_client(), Decimal(10))
    known = cache.get(BTC)
    monkeypatch.setattr(asset_rules_cache, "fetch_asset_rules", lambda *_, **__: None)
    after = cache.get(BTC)
    assert (known.is_tradable, after.is_tradable) == (True, False)
    assert after.min_trade_increment == known.min_trade_increment


def test_two_that_need_the_rules_of_many_at_once_share_one_list(exchange, settings):
    cache = AssetRulesCache(get_trading_client(), Decimal(10))
    symbols = [BTC, "ETH/USD", "SOL/USD", "LTC/USD"]
    exchange.arm("http_slow", match={"path": "/v2/assets"}, seconds=0.5)
    with ThreadPoolExecutor(4) as threads:
        for _ in range(4):
            threads.submit(lambda: (cache.prefetch(symbols), [cache.get(one) for one in symbols]))
    by_route = exchange.state()["requests"]["by_route"]
    assert {route: count for route, count in by_route.items() if "assets" in route} == {
        "GET /v2/assets": 1
    }
    # The next list comes before these are too old, and needs no question about one either.
    for symbol, known in cache._known.items():
        cache._known[symbol] = replace(known, due_at=0.0)
    cache._list_not_before = 0.0
    cache.prefetch(symbols)
    assert exchange.state()["requests"]["by_route"]["GET /v2/assets"] == 2
    assert not any(cache.is_due(symbol) for symbol in symbols)


# Years.


def test_the_state_of_an_asset_is_read_without_reading_its_past(db_conn, make_asset):
    for symbol in (BTC, "ETH/USD", "SOL/USD"):
        asset = make_asset(symbol)
        ends = [
            f"({asset.id}, IF({hour} MOD 9, 'complete', 'error'),"
            f" '2024-01-01' + INTERVAL {hour} HOUR, '2024-01-01' + INTERVAL {hour} HOUR)"
            for hour in range(2000)
        ]
        execute_query(
            "INSERT INTO dca_cycles (asset_id, status, created_at, completed_at)"
            f" VALUES {', '.join(ends)}",
            db_conn=db_conn,
        )
        if symbol != BTC:  # a coin that was left alone for long
            create_cycle(db_conn, asset.id, "cooldown")

    def rows_read():
        rows = execute_query(
            "SHOW SESSION STATUS LIKE 'Handler_read%'", fetch_all=True, db_conn=db_conn
        )
        return sum(int(row["Value"]) for row in rows)

    for count, load in (
        (3, lambda: load_all_trading_states(db_conn)),
        (3, lambda: load_fingerprints(db_conn)),
        (2, lambda: load_trading_states(db_conn, [BTC, "ETH/USD"])),
        (1, lambda: [load_trading_state(db_conn, BTC).cycle]),
        (2, lambda: load_cooldowns(db_conn)),
    ):
        before = rows_read()
        assert len(load()) == count
        assert rows_read() - before < 200  # for MySQL the question itself counts 100


def test_rows_made_by_plain_sql_in_another_time_zone_are_of_this_moment(db_conn, make_asset):
    """Or the next cycle of the bot would lie before them, and its cooldown would never end."""
    asset = make_asset()
    execute_query("SET time_zone = '+05:00'", db_conn=db_conn)
    execute_query(
        "INSERT INTO dca_cycles (asset_id, status) VALUES (%s, 'watching')",
        (asset.id,),
        db_conn=db_conn,
    )
    execute_query("SET time_zone = '+00:00'", db_conn=db_conn)
    first = load_trading_state(db_conn, BTC).cycle
    assert abs(datetime.now(UTC) - first.created_at) < timedelta(minutes=1)
    execute_query(
        "UPDATE dca_cycles SET status = 'complete', completed_at = UTC_TIMESTAMP(6)",
        db_conn=db_conn,
    )
    create_cycle(db_conn, asset.id, "cooldown")
    assert load_trading_state(db_conn, BTC).previous_status is CycleStatus.COMPLETE


# One failing order or symbol.


def send(parts, cycle, symbol, qty, price, identity=None):
    order = place_limit_buy_order(
        parts.client,
        symbol,
        Decimal(qty),
        Decimal(price),
        client_order_id=identity or compute_client_order_id(cycle),
    )
    parts.exchange.finish()
    return str(order.id)


def test_a_coin_that_alpaca_does_not_know_any_more_keeps_no_other_from_its_recovery(
    parts, start, db_conn, exchange, monkeypatch
):
    btc, eth = start(), start(symbol="ETH/USD")
    missing = start("buying", symbol="LTC/USD", latest_order_id=MULTI_LEG["id"])
    send(parts, eth, "ETH/USD", "0.02", "1000")
    exchange.push_quote(BTC, 49999, 50000)
    send(parts, btc, BTC, "0.002", "50000")
    get = parts.rules.get

    def get_or_refuse(symbol):
        if symbol == BTC:
            return get(symbol)
        raise ExchangeRefused(404, 0, f"Alpaca does not know the symbol {symbol}")

    monkeypatch.setattr(parts.rules, "get", get_or_refuse)
    for _ in range(2):
        result = parts.reconciler.recover()
    assert get_cycle(db_conn, btc.id).order_seq == 1
    assert get_cycle(db_conn, eth.id).status is CycleStatus.WATCHING
    assert get_cycle(db_conn, missing.id).status is CycleStatus.BUYING
    assert result.unresolved_cycles == 1
    assert parts.reconciler.blocked_symbols() == {"ETH/USD"}
    assert [one["symbol"] for one in get_events(db_conn)] == ["ETH/USD"]


def test_orders_of_a_lost_database_are_not_asked_for_one_by_one_for_ever(
    parts, start, exchange, monkeypatch
):
    start()
    exchange.push_quote(BTC, 49999, 50000)
    for number in range(3):
        send(parts, None, BTC, "0.002", "50000", f"dca-99{number}-a1b2c3d4-0")
    parts.reconciler.sweep()
    for list_of in ("fetch_orders", "read_order_pages"):  # they are old by now
        monkeypatch.setattr(f"trading.order_lists.{list_of}", lambda *_, **__: iter(()))
    before = exchange.state()["requests"]["total"]
    parts.reconciler.sweep()
    assert exchange.state()["requests"]["total"] == before + 1, "the coins of their symbol"
    assert parts.reconciler.blocked_symbols() == {BTC}


def test_an_order_that_was_seen_between_two_sweeps_must_be_missed_twice_again(
    parts, start, db_conn, monkeypatch
):
    cycle = start("buying")
    order_id = send(parts, cycle, BTC, "0.02", "1000")
    update_cycle(db_conn, cycle.id, {"latest_order_id": order_id})
    sweeper = Reconciler(parts.client, parts.rules, Decimal("0.0025"), confirm_seconds=0.2)

    def sweep_blindly():
        """The exchange's replica lags: it knows nothing of the order."""
        with monkeypatch.context() as lagging:
            for list_of in ("fetch_orders", "read_order_pages"):
                lagging.setattr(f"trading.order_lists.{list_of}", lambda *_, **__: iter(()))
            lagging.setattr("trading.waiting_cycles.fetch_order_of", lambda *_: None)
            return sweeper.sweep()

    assert sweep_blindly().unresolved_cycles == 1
    time.sleep(0.25)
    assert sweeper.sweep().unresolved_cycles == 0
    assert sweep_blindly().unresolved_cycles == 1
    assert get_cycle(db_conn, cycle.id).status is CycleStatus.BUYING
    assert len(sweeper._waiting._missing_since) == 1
    sweeper.sweep()
    assert sweeper._waiting._missing_since == {}
