"""The limits on losses and the dump guard: no asset buys, sells go on, each is one alert."""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from bot_parts import BotParts, wire_quote
from builders import build_entry, build_order
from caretaker_process import run_script
from config import get_settings, reset_settings
from daemon_process import DaemonProcess, wait_until
from domain.orders import Side
from models.asset_config import create_asset
from models.cycle_data import create_cycle
from models.events import get_events, get_open_alerts
from models.meta import get_meta, put_meta
from models.order_journal import append_journal_entry
from monitoring.status.status import StatusReader
from runtime.heartbeat import Heartbeat, load_heartbeat
from utils.alpaca_client_rest import place_limit_buy_order
from utils.db_utils import DatabaseError, execute_query

BTC, ETH, SOL = "BTC/USD", "ETH/USD", "SOL/USD"
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}


@pytest.fixture
def parts_with(settings, exchange, db_conn):
    """The parts of a bot with these settings; ended with the test."""
    made = []

    def make(**changes) -> BotParts:
        made.append(BotParts(replace(settings, **changes), exchange))
        return made[-1]

    yield make
    for parts in made:
        parts.market.dumps.stop()


def stopped(db_conn) -> list[tuple[str, str]]:
    """The alerts' rows, oldest first: which limit, and how it stands."""
    rows = [row for row in get_events(db_conn) if row["kind"] == "buys_stopped"]
    return [(row["dedupe_key"], row["severity"]) for row in reversed(rows)]


def lose(db_conn, make_asset, usd, symbol="LTC/USD", at=None):
    """A complete cycle that lost so much (a gain: below zero), its last coins sold just now."""
    cycle = create_cycle(db_conn, make_asset(symbol).id, "complete")
    for seq, (side, price) in enumerate([(Side.BUY, 1000), (Side.SELL, 1000 - Decimal(usd))]):
        order = build_order(
            cycle, client_order_id=f"own-{cycle.id}-{seq}", id=f"{cycle.id}-{seq}", side=side,
            symbol=symbol, filled_qty="1", filled_avg_price=str(price), status="filled",
        )  # fmt: skip
        known = {"asset_id": cycle.asset_id, "cycle_id": cycle.id, "order_seq": seq}
        entry = build_entry(order, **known, ended_at=at or datetime.now(UTC))
        append_journal_entry(db_conn, entry)


async def see_both(parts, btc, eth) -> list[str]:
    """Quotes of both assets; the sides of what was sent."""
    before = len(parts.orders())
    parts.exchange.push_quote(BTC, btc, btc)
    parts.exchange.push_quote(ETH, eth, eth)
    for watch in parts.market._watches.values():
        parts.market.assets.end_backoff(watch)
    await parts.see(wire_quote(BTC, btc, btc), wire_quote(ETH, eth, eth))
    await parts.see(wire_quote(BTC, btc, btc), wire_quote(ETH, eth, eth))  # who was quoted first
    parts.sweep()
    return sorted(f"{order.side} {order.symbol}" for order in parts.orders()[before:])


# MAX_OPEN_LOSS_USD


async def test_while_too_much_is_lost_nothing_is_bought_and_sells_go_on(parts_with, start, db_conn):
    parts = parts_with(max_open_loss_usd=Decimal(10))
    start("watching", **HELD)
    start("watching", symbol=ETH)
    assert await see_both(parts, 45000.0, 2000.0) == [], "10.46 USD are lost"
    assert stopped(db_conn) == [("MAX_OPEN_LOSS_USD", "error")], "one alert for all assets"
    assert await see_both(parts, 45000.0, 2000.0) == []
    assert stopped(db_conn) == [("MAX_OPEN_LOSS_USD", "error")], "and only one"
    assert await see_both(parts, 46000.0, 2000.0) == [f"buy {BTC}", f"buy {ETH}"]
    assert stopped(db_conn)[-1] == ("MAX_OPEN_LOSS_USD", "info"), "it is over"
    assert len(stopped(db_conn)) == 2
    assert get_open_alerts(db_conn) == []


async def test_a_position_is_sold_while_the_limit_is_reached(parts_with, start, db_conn):
    parts = parts_with(max_open_loss_usd=Decimal(10))
    start("watching", asset={"max_safety_orders": 0}, **HELD)
    coins = HELD | {"quantity": Decimal("0.05"), "average_purchase_price": Decimal(2000)}
    start("watching", symbol=ETH, **coins | {"last_order_fill_price": Decimal(2000)})
    assert await see_both(parts, 42000.0, 2050.0) == [f"sell {ETH}"]


async def test_gains_of_others_count(parts_with, start, db_conn):
    parts = parts_with(max_open_loss_usd=Decimal(10))
    start("watching", asset={"take_profit_percent": Decimal(50)}, **HELD)
    coins = HELD | {"quantity": Decimal("0.05"), "average_purchase_price": Decimal(2000)}
    start("watching", symbol=ETH, asset={"take_profit_percent": Decimal(50)},
          **coins | {"last_order_fill_price": Decimal(2000)})  # fmt: skip
    assert await see_both(parts, 45000.0, 2100.0) == [f"buy {BTC}"]


async def test_a_coin_that_is_quoted_seldom_is_judged_by_the_exchanges_latest_quote(
    parts_with, start, exchange, db_conn
):
    parts = parts_with(max_open_loss_usd=Decimal(10))
    start("watching", **HELD)
    start("watching", symbol=ETH)
    exchange.push_quote(BTC, 45000, 45000)  # no quote of it comes on the stream
    await parts.see(parts.quote_both(2000.0, 2000.0, ETH))
    assert (parts.orders(), stopped(db_conn)) == ([], [("MAX_OPEN_LOSS_USD", "error")])


async def test_what_cannot_be_judged_is_no_buy(parts_with, start, exchange, db_conn):
    parts = parts_with(max_open_loss_usd=Decimal(1000000))
    start("watching", **HELD)
    start("watching", symbol=ETH)
    await parts.see(parts.quote_both(2000.0, 2000.0, ETH))
    assert parts.orders() == []
    [held] = [one for one in parts.market.stalls.held_back() if one.symbol == ETH]
    assert "what is held of BTC/USD cannot be judged" in held.reason
    assert not held.is_requested, "it stalls: a person is told in time"
    exchange.arm("http_500", match={"path": "*quotes*"})
    parts.market.assets.end_backoff(parts.market._watches[ETH])
    await parts.see(parts.quote_both(2000.0, 2000.0, ETH))
    assert parts.orders() == [], "nor while the exchange gives no answer"


async def test_without_the_limits_nothing_is_asked_and_nothing_is_read(parts_with, start, db_conn):
    parts = parts_with()
    start("watching", **HELD)
    start("watching", symbol=ETH)
    with patch("trading.loss_limits.load_loss_records", side_effect=AssertionError):
        assert await see_both(parts, 40000.0, 2000.0) == [f"buy {BTC}", f"buy {ETH}"]


# MAX_LOSS_USD_PER_DAY


@pytest.mark.parametrize(
    ("losses", "buys"),
    [
        ((), True),
        (("4.99",), True),
        (("5",), False),
        (("20", "-16"), True),
        (("20", "-15"), False),
    ],
)
async def test_the_loss_of_a_day_is_that_of_its_cycles_together(
    parts_with, start, db_conn, make_asset, losses, buys
):
    parts = parts_with(max_loss_usd_per_day=Decimal(5))
    start("watching")
    start("watching", symbol=ETH)
    for number, usd in enumerate(losses):
        lose(db_conn, make_asset, usd, f"C{number}/USD")
    found = await see_both(parts, 50000.0, 2000.0)
    assert found == ([f"buy {BTC}", f"buy {ETH}"] if buys else [])
    assert stopped(db_conn) == ([] if buys else [("MAX_LOSS_USD_PER_DAY", "error")])


async def test_yesterdays_loss_is_yesterdays(parts_with, start, db_conn, make_asset):
    parts = parts_with(max_loss_usd_per_day=Decimal(5))
    start("watching")
    start("watching", symbol=ETH)
    lose(db_conn, make_asset, "500", at=datetime.now(UTC) - timedelta(days=1))
    assert len(await see_both(parts, 50000.0, 2000.0)) == 2


def test_the_end_of_an_alert_is_found_by_consistency_checker_when_nobody_buys(
    parts_with, bot_environment, start, exchange, db_conn, make_asset, monkeypatch
):
    start("watching")
    lose(db_conn, make_asset, "20")
    bot_environment["MAX_LOSS_USD_PER_DAY"] = "5"
    parts = parts_with(max_loss_usd_per_day=Decimal(5))
    assert parts.limits.losses.why_no_buys() is not None
    for expected in (["error"], ["error", "info"]):
        run_script("consistency_checker", environment=bot_environment)
        assert [severity for _, severity in stopped(db_conn)] == expected
        if len(expected) == 1:
            lose(db_conn, make_asset, "-30", "BCH/USD")


# The dump guard


class Market:
    """Quotes of three assets, one sample of the guard after each second of its own clock."""

    def __init__(self, parts):
        self.parts, self.now = parts, time.monotonic()

    async def second(self, *prices: float) -> None:
        """Samples first take the new quote's place in time."""
        self.now += 1
        for symbol, price in zip((BTC, ETH, SOL), prices, strict=False):
            self.parts.exchange.push_quote(symbol, price, price)
            await self.parts.market.on_crypto_quote(wire_quote(symbol, price, price))
            watch = self.parts.market._watches[symbol]
            watch.received_at = self.now
        self.parts.market.dumps.sample(self.now)


@pytest.fixture
async def guarded(parts_with, start):
    """A bot with a dump guard of 5 % and 10 minutes; BTC waits for a safety order."""
    parts = parts_with(dump_pause_percent=Decimal(5), dump_pause_minutes=Decimal(10))
    start("watching", **HELD)
    start("watching", symbol=ETH, asset={"is_enabled": False})
    start("watching", symbol=SOL, asset={"is_enabled": False})
    await parts.see()
    return parts


async def fall(parts) -> Market:
    market = Market(parts)
    for prices in [(50500.0, 2000.0, 100.0)] * 3 + [(50400.0, 1880.0, 93.0)] * 2:
        await market.second(*prices)
    return market


async def test_a_falling_market_pauses_buys_and_not_sells(guarded, db_conn):
    market = await fall(guarded)
    pause = guarded.limits.losses.pause
    assert pause.until > datetime.now(UTC) + timedelta(minutes=9)
    await market.second(49000.0, 1880.0, 93.0)
    await guarded.market.wait_until_idle()
    assert guarded.orders() == []
    await market.second(51100.0, 1880.0, 93.0)
    await guarded.market.wait_until_idle()
    assert [order.side for order in guarded.orders()] == ["sell"]


async def test_one_asset_that_falls_pauses_nothing(guarded):
    market = Market(guarded)
    for prices in [(50500.0, 2000.0, 100.0)] * 3 + [(50400.0, 2000.0, 80.0)] * 3:
        await market.second(*prices)
    assert guarded.limits.losses.pause.until is None
    assert len(guarded.market.dumps.falls.fallen) == 1


async def test_the_pause_outlives_the_daemon_and_is_one_alert(guarded, parts_with, db_conn):
    await fall(guarded)
    pause = guarded.limits.losses.pause
    for _ in range(2):
        assert pause.needs_saving(datetime.now(UTC)) is (not stopped(db_conn))
        pause.save()
    assert stopped(db_conn) == [("DUMP_PAUSE_PERCENT", "error")]
    [alert] = get_open_alerts(db_conn)
    assert alert.reason == (
        "2 of 3 watched assets fell by 5 % or more within five minutes (SOL/USD 7.0 %,"
        " ETH/USD 6.0 %): no buys for 10 minutes; sells go on"
    )
    again = parts_with(dump_pause_percent=Decimal(5), dump_pause_minutes=Decimal(10))
    await again.see(again.quote_both(49000.0, 49000.0))
    assert again.orders() == [], "another daemon knows of it before its first buy"
    assert again.limits.losses.pause.until == pause.until

    over = datetime.now(UTC) + timedelta(minutes=11)
    assert again.limits.losses.pause.needs_saving(over)
    again.limits.losses.pause.save()
    assert stopped(db_conn)[-1] == ("DUMP_PAUSE_PERCENT", "info")
    assert get_meta(db_conn, "dump_pause_until") == ""
    again.market.assets.end_backoff(again.market._watches[BTC])
    await again.see(again.quote_both(49000.0, 49000.0))
    assert [order.side for order in again.orders()] == ["buy"]


async def test_until_it_is_known_whether_there_is_a_pause_nothing_is_bought(
    parts_with, start, db_conn
):
    parts = parts_with(dump_pause_percent=Decimal(5))
    start("watching")
    with patch("trading.dump_guard.get_meta", side_effect=DatabaseError("away")):
        await parts.see(parts.quote_both(50000.0, 50000.0))
        assert parts.orders() == []
    for side in Side:
        parts.market._watches[BTC].backs_off_until[side] = 0.0
    await parts.see(parts.quote_both(50000.0, 50000.0))
    assert len(parts.orders()) == 1


@pytest.mark.parametrize(
    "text", ["nonsense", "", "2024-01-01T00:00:00", "9999-12-31T00:00:00+00:00"]
)
def test_what_the_database_says_of_the_pause_is_never_trusted_too_far(parts_with, db_conn, text):
    put_meta(db_conn, "dump_pause_until", text)
    pause = parts_with(dump_pause_percent=Decimal(5)).limits.losses.pause
    pause.load()
    most = datetime.now(UTC) + timedelta(minutes=30)
    assert pause.until is None or pause.until <= most


async def test_a_pause_that_ended_while_no_daemon_ran_ends_its_alert_at_the_next_start(
    guarded, parts_with, db_conn
):
    await fall(guarded)
    guarded.limits.losses.pause.save()
    put_meta(db_conn, "dump_pause_until", (datetime.now(UTC) - timedelta(seconds=1)).isoformat())
    for _ in range(2):  # and only once
        parts_with(dump_pause_percent=Decimal(5)).limits.losses.pause.save()
        assert stopped(db_conn) == [
            ("DUMP_PAUSE_PERCENT", "error"),
            ("DUMP_PAUSE_PERCENT", "info"),
        ]


async def test_another_fall_makes_the_pause_longer_and_is_no_other_alert(guarded, db_conn):
    market = await fall(guarded)
    pause = guarded.limits.losses.pause
    first = pause.until
    pause.save()
    for prices in [(50400.0, 1880.0, 93.0)] * 3 + [(50400.0, 1760.0, 87.0)] * 2:
        await market.second(*prices)
    assert pause.until > first
    pause.save()
    assert stopped(db_conn) == [("DUMP_PAUSE_PERCENT", "error")]


# All of it, on random markets.

LIMIT = Decimal(5)


@hypothesis_settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(st.integers(-9, 6), st.integers(-9, 6)), min_size=2, max_size=5))
def test_with_a_limit_reached_no_buy_is_ever_sent_and_sells_go_on(
    settings, exchange, db_conn, moves
):
    """Two assets that hold coins, in a market that goes up and down."""
    exchange.configure(rate_limit_per_minute=0)
    sent = asyncio.run(_walk(replace(settings, max_open_loss_usd=LIMIT), exchange, db_conn, moves))
    assert all(loss_usd < LIMIT for loss_usd in sent), "each buy with what was lost just before"


async def _walk(settings, exchange, db_conn, moves) -> list[Fraction]:
    prices = {BTC: 50000.0, ETH: 2000.0}
    _begin_with(db_conn, exchange, prices)
    parts, sent = BotParts(settings, exchange), []

    def submit(*args, **more):
        sent.append(_lost(prices))
        return place_limit_buy_order(*args, **more)

    with patch("trading.order_placement.place_limit_buy_order", submit):
        for move in moves:
            for symbol, percent in zip(prices, move, strict=True):
                prices[symbol] = round(prices[symbol] * (1 + percent / 100), 2)
                exchange.push_quote(symbol, prices[symbol], prices[symbol])
            for _ in range(2):
                for watch in parts.market._watches.values():
                    parts.market.assets.end_backoff(watch)
                await parts.see(*(wire_quote(one, price, price) for one, price in prices.items()))
                parts.sweep()
            for symbol, row in _held().items():
                target = row["average_purchase_price"] * Decimal("1.02")
                assert Decimal(str(prices[symbol])) < target, f"{symbol} was sold"
    await parts.market.stop()
    return sent


def _begin_with(db_conn, exchange, prices) -> None:
    for table in ("dca_cycles", "dca_assets", "dca_orders"):
        execute_query(f"DELETE FROM {table}", db_conn=db_conn)
    columns = {"base_order_amount": 100, "safety_order_amount": 50, "max_safety_orders": 9}
    columns |= {"safety_order_deviation": 1, "take_profit_percent": 2, "cooldown_period": 3600}
    for symbol, price in prices.items():
        asset = create_asset(db_conn, {"asset_symbol": symbol, **columns})
        qty, average = Decimal(100) / Decimal(price), Decimal(price)
        held = {"average_purchase_price": average, "last_order_fill_price": average}
        create_cycle(db_conn, asset.id, "watching", quantity=qty, **held)
        exchange.set_balance(symbol, str(qty), price=str(price))


def _held() -> dict[str, dict]:
    rows = execute_query(
        "SELECT a.asset_symbol, c.* FROM dca_cycles c JOIN dca_assets a ON a.id = c.asset_id"
        " WHERE c.status NOT IN ('complete', 'error') AND c.quantity > 0.0001",
        fetch_all=True,
    )
    return {row["asset_symbol"]: row for row in rows}


def _lost(prices) -> Fraction:
    """In fractions, after about 0.5 % of fees."""
    total = Fraction(0)
    for symbol, row in _held().items():
        coins, paid = Fraction(row["quantity"]), Fraction(row["average_purchase_price"])
        kept = Fraction(399, 400) ** 2
        total += coins * (kept * Fraction(str(prices[symbol])) - paid)
    return -total - Fraction(1, 50)  # the exchange rounds its fees up


# The real daemon, several assets.


def _beat() -> Heartbeat:
    beat = load_heartbeat(get_settings().run_dir)
    assert beat is not None, "it trades"
    return beat


def test_the_daemon_stops_buys_for_a_falling_market_across_a_restart(
    bot_environment, exchange, db_conn, make_asset, monkeypatch
):
    guard = {"DUMP_PAUSE_PERCENT": "4", "DUMP_PAUSE_MINUTES": "30"}
    bot_environment |= guard
    for name, value in guard.items():
        monkeypatch.setenv(name, value)
    reset_settings()
    symbols = (BTC, ETH, SOL)
    for symbol in symbols:
        create_cycle(db_conn, make_asset(symbol, start_mode="manual").id, "watching")

    def push(factor: float) -> None:
        for symbol, price in zip(symbols, (50000, 2000, 100), strict=True):
            exchange.push_quote(symbol, round(price * factor, 2), round(price * factor, 2))

    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        beats: set[float] = set()  # two a second: the guard has seen quotes in a row
        wait_until(lambda: push(1.0) or beats.add(_beat().beat_at) or len(beats) > 12)
        wait_until(lambda: push(0.95) or stopped(db_conn) == [("DUMP_PAUSE_PERCENT", "error")])
        daemon.process.kill()
        daemon.wait_for_exit()
    execute_query("UPDATE dca_assets SET start_mode = 'at_once'", db_conn=db_conn)
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        wait_until(lambda: push(0.95) or daemon.output.count("the market fell") >= 3)
        assert exchange.ledger()["orders"] == [], "no asset buys"
        limits = StatusReader(get_settings()).load().buy_limits
        [guard] = [one for one in limits if one.name == "DUMP_PAUSE_PERCENT"]
        assert (guard.holds, guard.until > datetime.now(UTC)) == (True, True)
        soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
        put_meta(db_conn, "dump_pause_until", soon)
        daemon.process.kill()
        daemon.wait_for_exit()
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        wait_until(lambda: push(0.95) or len(exchange.ledger()["orders"]) == 3, 90)
        wait_until(lambda: stopped(db_conn)[-1] == ("DUMP_PAUSE_PERCENT", "info"))
        assert len(stopped(db_conn)) == 2
        daemon.stop()
