"""From quotes to orders on the real exchange and database: phases 4 to 6, and what must not be."""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from alpaca.data.models import Quote as SdkQuote

from bot_parts import BotParts, wire_quote
from config import get_settings, reset_settings
from domain.orders import Side
from models.cycle_data import get_cycle, update_cycle
from strategy.order_identity import compute_client_order_id
from trading import market_data_handler, order_placement, placement_guard, take_profit_checks
from utils.alpaca_client_rest import place_limit_buy_order
from utils.db_utils import execute_query

BTC = "BTC/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}


def rows(db_conn):
    return [
        execute_query(f"SELECT * FROM {table} ORDER BY 1", fetch_all=True, db_conn=db_conn)
        for table in ("dca_assets", "dca_cycles", "dca_orders")
    ]


def posts(exchange):
    return exchange.state()["requests"]["by_route"].get("POST /v2/orders", 0)


# The plan's tests.


async def test_base_order_conditions_met(parts, db_conn, start):
    cycle = start()
    before = rows(db_conn)
    await parts.see(parts.quote_both(50000, 50001))
    [order] = parts.orders()
    assert (order.symbol, order.side, order.order_type) == (BTC, Side.BUY, "limit")
    assert (order.limit_price, order.qty) == (Decimal(50001), Decimal("0.001999960"))
    assert order.client_order_id == compute_client_order_id(cycle)
    assert rows(db_conn) == before, "this stream writes nothing"


async def test_base_order_skipped_if_position_exists(parts, start, exchange, caplog):
    start(coins="0.5")
    await parts.see(parts.quote_both(50000, 50001))
    assert parts.orders() == []
    [record] = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert (
        "Base order for BTC/USD skipped, existing position found on Alpaca" in record.getMessage()
    )


async def test_safety_order_conditions_met(parts, db_conn, start):
    cycle = start(**HELD)
    before = rows(db_conn)
    await parts.see(parts.quote_both(49499, 49500))
    [order] = parts.orders()
    assert (order.side, order.limit_price) == (Side.BUY, Decimal(49500))
    assert order.qty == Decimal("0.001010101"), "50 USD at the ask, rounded down"
    assert order.client_order_id == compute_client_order_id(cycle)
    assert rows(db_conn) == before


async def test_safety_order_conditions_not_met_max_orders(parts, start):
    start(**HELD, safety_orders=3)
    await parts.see(parts.quote_both(40000, 40001))
    assert parts.orders() == []


async def test_safety_order_conditions_not_met_price_not_low_enough(parts, start):
    start(**HELD)
    await parts.see(parts.quote_both(49499, 49500.01))
    assert parts.orders() == []


async def test_take_profit_conditions_met(parts, db_conn, start):
    cycle = start(**HELD)
    before = rows(db_conn)
    await parts.see(parts.quote_both(51000, 51001))
    [order] = parts.orders()
    assert (order.side, order.order_type, order.qty) == (Side.SELL, "market", Decimal("0.002"))
    assert order.client_order_id == compute_client_order_id(cycle)
    assert rows(db_conn) == before


async def test_take_profit_conditions_not_met_price_not_high_enough(parts, start):
    start(**HELD)
    await parts.see(parts.quote_both(50999.99, 51000.5))
    assert parts.orders() == []


# Which states trade.


@pytest.mark.parametrize("status", ["buying", "selling", "cooldown", "complete", "error"])
async def test_only_a_watching_cycle_trades(parts, start, status):
    start(status, **HELD)
    await parts.see(parts.quote_both(45000, 45001), parts.quote_both(55000, 55001))
    await parts.see(parts.quote_both(55000, 55001))
    assert parts.orders() == []


async def test_a_disabled_asset_buys_nothing_and_still_sells(parts, start):
    start(asset={"is_enabled": False})
    start(symbol="ETH/USD", asset={"is_enabled": False}, **HELD | {"quantity": Decimal("0.01")})
    await parts.see(
        parts.quote_both(50000, 50001),
        parts.quote_both(40000, 40001, "ETH/USD"),
    )
    assert parts.orders() == []
    eth_above = parts.quote_both(51500, 51501, "ETH/USD")
    await parts.see(eth_above)
    await parts.see(eth_above)
    [order] = parts.orders()
    assert (order.symbol, order.side) == ("ETH/USD", Side.SELL)


async def test_a_resting_asset_buys_early_only_below_its_deviation(parts, start):
    start("cooldown", asset={"buy_order_price_deviation_percent": 1, "last_sell_price": 50000})
    await parts.see(parts.quote_both(49500, 49500.01))
    assert parts.orders() == []
    await parts.see(parts.quote_both(49499, 49500))
    [order] = parts.orders()
    assert order.limit_price == Decimal(49500)


async def test_quantities_and_prices_fit_the_increments_of_each_symbol(parts, start):
    start(symbol="ETH/USD")
    start(symbol="LTC/USD")
    await parts.see(
        parts.quote_both(2999.97, 3000.03, "ETH/USD"), parts.quote_both(69.991, 70.001, "LTC/USD")
    )
    found = {order.symbol: (order.qty, order.limit_price) for order in parts.orders()}
    assert found == {
        "ETH/USD": (Decimal("0.0333"), Decimal("3000.1")),
        "LTC/USD": (Decimal("1.428"), Decimal("70.005")),
    }


# Quotes.


async def test_the_sdk_quote_of_the_plans_tests_is_taken_too(parts, start):
    start()
    parts.quote_both(50000, 50001)
    raw = {"t": datetime.now(UTC), "bp": 50000, "bs": 1, "ap": 50001, "as": 1}
    await parts.see(SdkQuote(BTC, raw))
    assert len(parts.orders()) == 1


NAN, INF = float("nan"), float("inf")


async def test_insane_quotes_neither_raise_nor_trade(parts, start, exchange):
    start()
    parts.quote_both(50000, 50001)
    good = wire_quote(BTC, 50000, 50001)
    insane = [
        *({**good, "bp": bid, "ap": ask} for bid, ask in [(0, 0), (0, 1), (1, 0), (-1, 1)]),
        *({**good, "bp": bid, "ap": ask} for bid, ask in [(50002, 50001), (NAN, 50001), (1, INF)]),
        *({**good, "bp": bid, "ap": ask} for bid, ask in [("50000", "50001"), (None, None)]),
        *({key: value for key, value in good.items() if key != left} for left in ("S", "bp", "ap")),
        good | {"S": "ETH/USD"},
        good | {"S": None},
        good | {"S": ["BTC/USD"]},
        *(None, 5, "quote", [], object()),
    ]
    await parts.see(*insane)
    assert posts(exchange) == 0
    await parts.see(good)
    assert posts(exchange) == 1, "and the handler still lives"


@pytest.mark.parametrize(
    ("why", "quote"),
    [
        ("its time is old", wire_quote(BTC, 50000, 50001, datetime.now(UTC) - timedelta(hours=1))),
        ("it has no time", wire_quote(BTC, 50000, 50001) | {"t": None}),
        ("its spread is wide", wire_quote(BTC, 48999, 50001)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_quote_one_cannot_trade_on_is_skipped_and_said_once(
    parts, start, exchange, caplog, why, quote
):
    start()
    await parts.see(quote)
    await parts.see(quote, quote)
    assert posts(exchange) == 0
    skipped = [one for one in caplog.records if one.getMessage().startswith("order.skipped")]
    assert len(skipped) == 1


@pytest.mark.parametrize(
    ("why", "prices", "sends"),
    [
        ("a spike down", [40000, 50000], False),
        ("a spike up", [60000, 50000], False),
        ("two spikes apart", [40000, 30000, 50000], False),
        ("spikes on both sides", [40000, 60000, 50000], False),
        ("a fall that is confirmed", [40000, 40010], True),
        ("a rise that is confirmed", [60000, 59990], True),
        ("a fall within the limit", [45500], True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_jump_trades_only_when_the_next_quote_confirms_it(
    parts, start, exchange, why, prices, sends
):
    start(**HELD)
    await parts.see(parts.quote_both(50000, 50001))
    exchange.push_quote(BTC, prices[-1], prices[-1] + 1)
    await parts.see(*(wire_quote(BTC, price, price + 1) for price in prices))
    assert (posts(exchange) == 1) is sends


# Take profit.


async def test_a_take_profit_needs_a_second_source_that_agrees(parts, start, exchange):
    start(**HELD)
    exchange.push_quote(BTC, 50000, 50001)
    await parts.see(wire_quote(BTC, 51500, 51501))
    assert parts.orders() == [], "the stream alone saw that price"
    parts.market._watches[BTC].backs_off_until = dict.fromkeys(Side, 0.0)
    await parts.see(parts.quote_both(51500, 51501))
    assert len(parts.orders()) == 1


async def test_coins_of_the_users_own_are_not_sold(parts, start):
    start(**HELD, coins="7")
    await parts.see(parts.quote_both(51500, 51501))
    [order] = parts.orders()
    assert order.qty == Decimal("0.001995"), "ours is what the fee left of what we bought"


async def test_missing_coins_are_asked_for_twice_then_the_rest_is_sold_and_reported(
    parts, start, exchange, monkeypatch, caplog
):
    monkeypatch.setattr(take_profit_checks, "POSITION_LAG_SECONDS", 0)
    start(**HELD, coins="0.001")
    await parts.see(parts.quote_both(51500, 51501))
    [order] = parts.orders()
    assert order.qty == Decimal("0.001")
    assert exchange.state()["requests"]["by_route"]["GET /v2/positions/{name}"] == 2
    [record] = [one for one in caplog.records if "take_profit.short" in one.getMessage()]
    assert (record.levelno, record.mail) == (logging.WARNING, True)


async def test_a_position_that_lags_behind_its_fill_is_sold_whole(
    parts, start, exchange, monkeypatch, caplog
):
    monkeypatch.setattr(take_profit_checks, "POSITION_LAG_SECONDS", 0)
    start(**HELD)
    exchange.arm("positions_empty", count=1, match={"route": "single"})
    await parts.see(parts.quote_both(51500, 51501))
    [order] = parts.orders()
    assert order.qty == Decimal("0.002")
    assert "take_profit.short" not in caplog.text


async def test_without_any_coins_nothing_is_sold(parts, start, monkeypatch):
    monkeypatch.setattr(take_profit_checks, "POSITION_LAG_SECONDS", 0)
    start(**HELD, coins="0.000001")
    await parts.see(parts.quote_both(51500, 51501))
    assert parts.orders() == []


# What else can stand in the way of a buy.


async def test_dust_in_the_account_is_no_position(parts, start):
    start(coins="0.00001")
    await parts.see(parts.quote_both(50000, 50001))
    assert len(parts.orders()) == 1


@pytest.mark.parametrize("spelling", ["pair", "joined"])
async def test_an_open_order_of_the_user_on_the_symbol_holds_back_a_base_order(
    parts, start, exchange, caplog, spelling
):
    exchange.configure(symbols_filter=spelling)
    start()
    place_limit_buy_order(parts.client, BTC, Decimal("0.011"), Decimal(1000))
    await parts.see(parts.quote_both(50000, 50001))
    assert posts(exchange) == 1
    assert "open order found on Alpaca" in caplog.text


async def test_an_own_order_whose_events_were_lost_is_linked_instead_of_repeated(
    parts, start, db_conn, exchange
):
    cycle = start()
    identity = compute_client_order_id(cycle)
    place_limit_buy_order(
        parts.client, BTC, Decimal("0.011"), Decimal(1000), client_order_id=identity
    )
    exchange.finish()
    await parts.see(parts.quote_both(50000, 50001))
    assert posts(exchange) == 1
    linked = get_cycle(db_conn, cycle.id)
    assert (linked.status, linked.latest_order_id) == ("buying", parts.orders()[0].id)


async def test_an_amount_that_could_not_be_sold_again_is_an_error_said_once(parts, start, caplog):
    start(asset={"base_order_amount": Decimal(11)})
    await parts.see(parts.quote_both(50000, 50001))
    await parts.see(parts.quote_both(50000, 50001))
    assert parts.orders() == []
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "base_order_amount 11 USD is below 11.03 USD" in record.getMessage()


async def test_a_coin_that_is_not_tradable_is_not_bought(parts, start, monkeypatch, caplog):
    start()
    rules = replace(await asyncio.to_thread(parts.rules.get, BTC), is_tradable=False)
    monkeypatch.setattr(parts.rules, "get", lambda symbol: rules)
    await parts.see(parts.quote_both(50000, 50001))
    assert parts.orders() == []
    assert "not tradable" in caplog.text


async def test_a_halted_bot_sends_nothing_not_even_a_sell(parts, start):
    start(**HELD)
    parts.why_no_orders = lambda: "another daemon has taken the account"
    await parts.see(parts.quote_both(51500, 51501))
    await parts.see(parts.quote_both(49000, 49001))
    assert parts.orders() == []


async def test_a_row_that_changed_since_the_triggers_were_computed_decides(parts, start, db_conn):
    cycle = start()
    await parts.see()
    update_cycle(db_conn, cycle.id, {"status": "buying"})
    await parts.market.on_crypto_quote(parts.quote_both(50000, 50001))
    await parts.market.wait_until_idle()
    assert parts.orders() == []


async def test_one_coin_without_usable_quotes_is_one_alert_and_a_line_when_they_are_back(
    parts, start, monkeypatch, caplog
):
    start(**HELD)
    start(symbol="ETH/USD", quantity="0.1", average_purchase_price=Decimal(2000))
    await parts.see(parts.quote_both(50000, 50001), parts.quote_both(2000, 2001, "ETH/USD"))
    real, passed = time.monotonic, 0.0
    monkeypatch.setattr(market_data_handler.time, "monotonic", lambda: real() + passed)

    def alerts():
        edges = parts.market.stalls.edges(real() + passed)
        return [(edge.symbol, edge.has_begun, edge.reason) for edge in edges]

    passed = 900.0
    await parts.see()
    await parts.see(parts.quote_both(50000, 50001))
    await parts.see()
    assert alerts() == [], "the whole stream was away: that alert is the watchdog's"
    found = []
    for _ in range(14):
        passed += 50.0
        await parts.see(parts.quote_both(50000, 50001), wire_quote("ETH/USD", 0, 2001))
        found += alerts()
    reason = "no usable quote of it comes although the stream lives"
    assert found == [("ETH/USD", True, reason)]
    await parts.see(parts.quote_both(2000, 2001, "ETH/USD"))
    await parts.see()
    assert alerts() == [("ETH/USD", False, "the price asks for no order any more")]


# One state, one order.


@pytest.mark.parametrize("quotes_while", ["the answer is slow", "the order is slow to appear"])
async def test_a_thousand_quotes_while_a_post_takes_two_seconds_are_one_order(
    parts, start, exchange, quotes_while
):
    start()
    quote = parts.quote_both(50000, 50001)
    await parts.see()
    if quotes_while == "the answer is slow":
        exchange.arm("http_slow", seconds=2, match={"method": "POST"})
    else:
        exchange.configure(latency_seconds=2)
    began = time.monotonic()
    for _ in range(1000):
        await parts.market.on_crypto_quote(quote)
        await asyncio.sleep(0)
    took_seconds = time.monotonic() - began
    await parts.market.wait_until_idle()
    for _ in range(100):
        await parts.market.on_crypto_quote(quote)
    await parts.market.wait_until_idle()
    assert took_seconds < 2
    assert posts(exchange) == 1
    assert len(parts.orders()) == 1


@pytest.mark.parametrize("limit", ["MAX_POSITION_USD", "MAX_BUY_USD_PER_DAY", "MAX_OPEN_CYCLES"])
async def test_a_refused_buy_holds_back_neither_itself_nor_another_coin(
    settings, start, exchange, monkeypatch, caplog, limit
):
    monkeypatch.setenv(limit, "1" if limit == "MAX_OPEN_CYCLES" else "150")
    monkeypatch.setattr(placement_guard, "FIRST_BACKOFF_SECONDS", 0)
    reset_settings()
    parts = BotParts(get_settings(), exchange)
    start()
    start(symbol="ETH/USD")
    exchange.set_balance("USD", "1")
    btc, eth = parts.quote_both(50000, 50001), parts.quote_both(3000, 3001, "ETH/USD")
    for _ in range(2):
        await parts.see(btc)
    assert (posts(exchange), parts.orders()) == (2, []), "its own second try"
    exchange.set_balance("USD", "1000")
    await parts.see(eth)
    assert [one.symbol for one in parts.orders()] == ["ETH/USD"]
    assert "buy limit" not in caplog.text
    await parts.market.stop()


async def test_an_order_that_no_request_was_left_for_is_no_refused_one(
    parts, start, exchange, monkeypatch, caplog
):
    monkeypatch.setattr(order_placement, "UNAVAILABLE_SECONDS", 0)
    start(**HELD)
    exchange.arm("http_429", count=6, match={"method": "POST"})
    low = parts.quote_both(49000, 49001)
    for _ in range(6):
        await parts.see(low)
    assert (posts(exchange), parts.orders()) == (6, [])
    assert [one for one in caplog.records if one.levelno >= logging.ERROR] == []
    await parts.see(low)
    assert len(parts.orders()) == 1


async def test_a_price_that_is_never_confirmed_costs_one_request_of_the_account_not_one_each_time(
    parts, start, exchange
):
    start(**HELD)
    await parts.see()
    exchange.push_quote(BTC, 50000, 50001)
    before = exchange.state()["requests"]["total"]
    for _ in range(5):
        await parts.market.on_crypto_quote(wire_quote(BTC, 51500, 51501))
        await parts.market.wait_until_idle()
        parts.market._watches[BTC].backs_off_until = dict.fromkeys(Side, 0.0)
    assert exchange.state()["requests"]["total"] == before + 1, "the position, asked for ahead"


async def test_daemons_that_do_not_know_of_one_another_place_one_order(
    parts, settings, start, exchange
):
    start()
    quote = parts.quote_both(50000, 50001)
    exchange.arm("http_slow", seconds=0.3, match={"method": "GET", "path": "/v2/orders"})
    others = [BotParts(settings, exchange) for _ in range(3)]
    await asyncio.gather(*(one.see(quote) for one in (parts, *others)))
    for one in others:
        await one.market.stop()
    assert posts(exchange) > 1, "they did try"
    assert len(parts.orders()) == 1


async def test_a_restarted_daemon_does_not_repeat_the_order_of_the_killed_one(
    parts, settings, start, exchange
):
    start(**HELD)
    await parts.see(parts.quote_both(49000, 49001))
    again = BotParts(settings, exchange)
    await again.see(parts.quote_both(48990, 48991))
    await again.market.stop()
    assert len(parts.orders()) == 1


# Outcomes.


async def test_refusals_back_off_and_five_pause_the_buys_while_sells_go_on(
    parts, start, exchange, monkeypatch, caplog
):
    monkeypatch.setattr(placement_guard, "FIRST_BACKOFF_SECONDS", 0)
    start(**HELD)
    exchange.set_balance("USD", "1")
    low = parts.quote_both(49000, 49001)
    for _ in range(12):
        await parts.see(low)
    assert posts(exchange) == 5
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "buying.paused" in record.getMessage()
    await parts.see(parts.quote_both(51500, 51501))
    [sell] = parts.orders()
    assert sell.side is Side.SELL


async def test_after_one_refusal_the_next_quotes_send_nothing(parts, start, exchange):
    start()
    exchange.set_balance("USD", "1")
    for _ in range(5):
        await parts.see(parts.quote_both(50000, 50001))
    assert posts(exchange) == 1


async def test_rejections_that_come_as_events_count_too(
    parts, start, exchange, db_conn, monkeypatch
):
    monkeypatch.setattr(placement_guard, "FIRST_BACKOFF_SECONDS", 0)
    cycle = start()
    exchange.arm("reject_order")
    for _ in range(8):
        await parts.see(parts.quote_both(50000, 50001))
        exchange.finish()
        await asyncio.to_thread(parts.reconciler.sweep)
    assert posts(exchange) == 5
    assert get_cycle(db_conn, cycle.id).order_seq == 5


async def test_after_an_unknown_outcome_nothing_is_sent_until_two_404s(parts, start, exchange):
    start()
    exchange.arm("http_500", when="before", count=1, match={"method": "POST"})
    quote = parts.quote_both(50000, 50001)
    began = time.monotonic()

    def asked():
        lookups = exchange.state()["requests"]["by_route"]
        return lookups.get("GET /v2/orders:by_client_order_id", 0)

    while posts(exchange) < 2:
        assert time.monotonic() - began < 60
        await parts.see(quote | {"t": datetime.now(UTC).isoformat()})
        await asyncio.sleep(0.02)
    assert time.monotonic() - began > parts.settings.unknown_outcome_seconds
    assert asked() == 2
    assert len(parts.orders()) == 1


async def test_an_unknown_outcome_that_was_an_order_is_found_by_its_id(
    parts, start, exchange, db_conn
):
    cycle = start()
    exchange.arm("http_504", match={"method": "POST"})
    for _ in range(3):
        await parts.see(parts.quote_both(50000, 50001))
    exchange.finish()
    assert exchange.times_applied("http_504") == 1
    [order] = parts.orders()
    await asyncio.to_thread(parts.reconciler.sweep)
    assert get_cycle(db_conn, cycle.id).quantity == order.filled_qty


async def test_an_exchange_that_cannot_be_asked_means_no_order(parts, start, exchange, caplog):
    start()
    await asyncio.to_thread(parts.rules.get, BTC)
    exchange.arm("http_html", match={"method": "GET", "path": "/v2/positions/*"})
    await parts.see(parts.quote_both(50000, 50001))
    exchange.clear_faults()
    assert posts(exchange) == 0
    assert "order.skipped" in caplog.text


# Side tasks.


async def test_a_database_that_is_away_costs_a_pause_and_no_order(
    parts, start, db_conn, exchange, monkeypatch, caplog
):
    monkeypatch.setattr("trading.market_data_handler.DATABASE_WAIT_SECONDS", 0)
    start()
    await parts.see()
    quote = parts.quote_both(50000, 50001)
    execute_query("RENAME TABLE dca_cycles TO away", db_conn=db_conn)
    await parts.market.on_crypto_quote(quote)
    await parts.market.wait_until_idle()
    assert posts(exchange) == 0
    assert "order.skipped" in caplog.text
    execute_query("RENAME TABLE away TO dca_cycles", db_conn=db_conn)
    await parts.see(quote)
    assert posts(exchange) == 1


async def test_one_failing_symbol_does_not_stop_the_others(parts, start, monkeypatch, caplog):
    start()
    start(symbol="ETH/USD")
    healthy = parts.placer.consider

    def consider(symbol, newest_quote, **turn):
        if symbol == BTC:
            raise ZeroDivisionError("broken")
        return healthy(symbol, newest_quote, **turn)

    monkeypatch.setattr(parts.placer, "consider", consider)
    await parts.see(parts.quote_both(50000, 50001), parts.quote_both(3000, 3001, "ETH/USD"))
    assert [order.symbol for order in parts.orders()] == ["ETH/USD"]
    assert "worker.failed symbol=BTC/USD" in caplog.text


@pytest.mark.parametrize(
    ("asset", "words"),
    [
        ({"take_profit_percent": Decimal(-5)}, "take profit"),
        ({"safety_order_deviation": Decimal(-1)}, "deviation"),
        ({"base_order_amount": Decimal(-100)}, "base order"),
        ({"symbol": "btc/usd"}, "must be written BTC/USD"),
        ({"symbol": "BTCUSD"}, "must be written BTC/USD"),
        ({"symbol": "AAPL"}, "not a crypto pair"),
        ({"symbol": "NOPE/USD"}, "does not know the symbol"),
    ],
    ids=str,
)
async def test_a_row_that_cannot_work_is_an_error_said_once_and_does_not_trade(
    parts, start, exchange, caplog, asset, words
):
    symbol = asset.pop("symbol", BTC)
    start(symbol=symbol, asset=asset, coins="", **HELD)
    exchange.set_balance(BTC, "0.002")
    start(symbol="ETH/USD")
    for _ in range(2):
        await parts.see(parts.quote_both(51500, 51501), parts.quote_both(3000, 3001, "ETH/USD"))
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert words in record.getMessage()
    assert [order.symbol for order in parts.orders()] == ["ETH/USD"], "the others go on"
    assert "ETH/USD" in parts.market.symbols()
    assert symbol not in parts.market.symbols()


async def test_assets_come_and_go_while_it_runs(parts, start, db_conn):
    await parts.see(parts.quote_both(50000, 50001))
    start()
    await parts.see(parts.quote_both(50000, 50001))
    await parts.see()
    assert len(parts.orders()) == 1
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    execute_query("DELETE FROM dca_assets", db_conn=db_conn)
    await parts.see(parts.quote_both(40000, 40001), parts.quote_both(40000, 40001))
    assert len(parts.orders()) == 1
