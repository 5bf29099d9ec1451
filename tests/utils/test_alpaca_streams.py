"""Both streams in one loop, against the local exchange and its faults."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager
from decimal import Decimal

import pytest

from config import get_settings, reset_settings
from utils import direct_streams
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.alpaca_streams import AlpacaStreams

BTC = "BTC/USD"


class Listener:
    """What the streams reported, and the streams."""

    def __init__(self, settings):
        self.quotes, self.updates, self.connects = [], [], 0
        self.streams = AlpacaStreams(
            settings,
            on_quote=self._on_quote,
            on_trade_update=self._on_update,
            on_trade_connect=self._on_connect,
        )

    async def _on_quote(self, quote):
        self.quotes.append(quote)

    async def _on_update(self, update):
        self.updates.append(update)

    def _on_connect(self):
        self.connects += 1


async def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(settings, *symbols):
    listener = Listener(settings)
    streams = listener.streams
    tasks = [asyncio.create_task(streams.run_data_stream())]
    tasks.append(asyncio.create_task(streams.run_trade_stream()))
    if symbols:
        await streams.watch(symbols)
        await until(lambda: streams.data_health.is_connected)
    await until(lambda: streams.trade_health.is_connected)
    yield listener
    began = time.monotonic()
    await streams.stop()
    await asyncio.wait_for(asyncio.gather(*tasks), 30)
    assert time.monotonic() - began < 20


async def push(exchange, bid, symbol=BTC):
    await asyncio.to_thread(exchange.push_quote, symbol, bid, bid + 1)


async def quote_until(exchange, listener, count, symbol=BTC):
    """Frames that are sent while a socket is down are lost, as on the real exchange."""

    def heard():
        return sum(quote["S"] == symbol for quote in listener.quotes) >= count

    end = time.monotonic() + 60
    while not heard():
        assert time.monotonic() < end, "no quote"
        await push(exchange, 50000, symbol)
        await asyncio.sleep(0.02)


async def order(listener):
    return await asyncio.to_thread(
        place_limit_buy_order, get_trading_client(), BTC, Decimal("0.02"), Decimal(1000)
    )


async def test_quotes_and_trade_updates_arrive_as_raw_dicts(settings, exchange):
    async with listening(settings, BTC) as listener:
        await quote_until(exchange, listener, 1)
        quote = listener.quotes[0]
        assert type(quote) is dict
        assert (quote["T"], quote["S"], quote["bp"], quote["ap"]) == ("q", BTC, 50000, 50001)
        placed = await order(listener)
        await until(lambda: len(listener.updates) >= 2)
        events = [update["data"]["event"] for update in listener.updates]
        assert events[:2] == ["pending_new", "new"]
        assert listener.updates[0]["data"]["order"]["id"] == str(placed.id)
        assert listener.connects == 1
        assert listener.streams.data_health.last_message_at is not None
        assert listener.streams.trade_health.last_message_at is not None


async def test_a_symbol_added_while_running_is_heard_without_a_deadlock(settings, exchange):
    async with listening(settings, BTC) as listener:
        await asyncio.wait_for(listener.streams.watch([BTC, "ETH/USD"]), 30)
        await quote_until(exchange, listener, 1, "ETH/USD")
        await quote_until(exchange, listener, 1)
        assert listener.streams.data_health.connects == 1


async def test_without_symbols_the_data_stream_waits_instead_of_spinning(settings, exchange):
    async with listening(settings) as listener:
        assert exchange.state()["clients"]["data_connections"] == 0
        await listener.streams.watch([BTC])
        await quote_until(exchange, listener, 1)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_cut_stream_comes_back_and_says_that_it_did(settings, exchange, caplog, how):
    async with listening(settings, BTC) as listener:
        exchange.arm("cut_stream", count=1, match={"stream": "trading"}, how=how)
        await until(lambda: listener.connects == 2)
        exchange.arm("cut_stream", count=1, match={"stream": "data"}, how=how)
        await until(lambda: listener.streams.data_health.connects == 2)
        await quote_until(exchange, listener, 1)
        await order(listener)
        await until(lambda: listener.updates)
        lost = [one for one in caplog.records if "stream.disconnected" in one.getMessage()]
        assert {one.levelno for one in lost} == {logging.WARNING}


async def test_a_trade_stream_found_mute_is_dropped_and_opened_again(settings, exchange):
    async with listening(settings, BTC) as listener:
        exchange.arm("stall_stream", count=1, match={"stream": "trading"})
        await order(listener)
        await listener.streams.reconnect_trade_stream("a sweep found what it did not report")
        await until(lambda: listener.connects == 2)
        await order(listener)
        await until(lambda: listener.updates)


async def test_a_mute_data_stream_is_noticed_by_its_silence(bot_environment, exchange, monkeypatch):
    monkeypatch.setenv("STREAM_SILENCE_SECONDS", "2")
    reset_settings()
    async with listening(get_settings(), BTC) as listener:
        exchange.arm("stall_stream", count=1, match={"stream": "data"})
        await until(lambda: listener.streams.data_health.connects == 2, 20)
        await quote_until(exchange, listener, 1)


async def test_refused_connections_are_tried_again_and_their_reason_is_said_once(
    settings, exchange, caplog
):
    exchange.arm("refuse_handshake", count=2, match={"stream": "trading"})
    exchange.arm("refuse_auth", count=1, match={"stream": "data"}, code=406)
    async with listening(settings, BTC) as listener:
        await quote_until(exchange, listener, 1)
        assert listener.connects == 1
    lost = [one.getMessage() for one in caplog.records if "stream.disconnected" in one.getMessage()]
    assert len(lost) == len(set(lost))
    assert any("406" in line or "limit" in line for line in lost)


async def test_a_handshake_that_hangs_is_given_up(bot_environment, monkeypatch, caplog):
    monkeypatch.setattr(direct_streams, "HANDSHAKE_TIMEOUT_SECONDS", 0.2)
    calls = []
    silent = await asyncio.start_server(lambda *call: calls.append(call), "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    monkeypatch.setenv("ALPACA_TRADING_STREAM_URL", f"ws://127.0.0.1:{port}/stream")
    reset_settings()
    streams = Listener(get_settings()).streams
    task = asyncio.create_task(streams.run_trade_stream())
    await until(lambda: "stream.disconnected" in caplog.text)
    assert calls
    assert "TimeoutError" in caplog.text
    await streams.stop()
    await asyncio.wait_for(task, 30)
    silent.close()


@pytest.mark.parametrize("symbols", [(), (BTC,)])
async def test_it_can_be_stopped_while_nobody_answers(bot_environment, caplog, symbols):
    streams = Listener(get_settings()).streams
    tasks = [asyncio.create_task(streams.run_data_stream())]
    tasks.append(asyncio.create_task(streams.run_trade_stream()))
    await streams.watch(symbols)
    await until(lambda: "stream.disconnected stream=trade" in caplog.text)
    began = time.monotonic()
    await streams.stop()
    done, pending = await asyncio.wait(tasks, timeout=30)
    for task in pending:
        task.cancel()
    assert not pending
    assert time.monotonic() - began < 20
    assert all(task.exception() is None for task in done)


async def test_no_connection_is_left_behind(settings, exchange):
    async with listening(settings, BTC):
        clients = exchange.state()["clients"]
        assert (len(clients["data"]), len(clients["trading"])) == (1, 1)

    def gone():
        clients = exchange.state()["clients"]
        return not clients["data"] and not clients["trading"]

    await until(gone)
