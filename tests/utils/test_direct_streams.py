"""The streams on a connection of ours, against a server that cuts, stalls and sends rubbish."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import ssl
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import pairwise

import pytest
from alpaca.data.live.crypto import CryptoDataStream
from alpaca.trading.stream import TradingStream
from websockets.asyncio.server import serve

from config import get_settings, reset_settings
from mail_server import CA_FILE, TLS_FOLDER
from scripted_stream import close, frame, listen, quote, say, scripted_stream
from silent_proxy import silent_proxy
from utils import direct_streams
from utils.alpaca_streams import AlpacaStreams
from utils.stream_connection import READ_BYTES

BTC, ETH = "BTC/USD", "ETH/USD"


@pytest.fixture
def delays(monkeypatch):
    """How many tries in vain the SDK counted before each wait; it does not wait for long here."""
    counted = []

    def reconnect_delay(_self, retries):
        counted.append(retries)
        return 0.01

    for stream in (CryptoDataStream, TradingStream):
        monkeypatch.setattr(stream, "_reconnect_delay", reconnect_delay)
    return counted


@pytest.fixture
def listening(monkeypatch, tmp_path, delays):
    """The streams that run in a block, with the quotes and updates that they brought."""

    @asynccontextmanager
    async def run(
        data_url="ws://127.0.0.1:9/data",
        trade_url=None,
        on_quote=None,
        silence_seconds=30.0,
        **proxies,
    ):
        for name, value in {
            "ENV_FILE": str(tmp_path / "none.env"),
            "DB_USER": "nobody",
            "DB_NAME": "nowhere_test",
            "ALPACA_API_KEY": "key",
            "ALPACA_SECRET_KEY": "secret",
            "ALPACA_TRADING_URL": "http://127.0.0.1:9",
            "ALPACA_DATA_URL": "http://127.0.0.1:9",
            "ALPACA_DATA_STREAM_URL": data_url,
            "ALPACA_TRADING_STREAM_URL": trade_url or "ws://127.0.0.1:9/stream",
            **proxies,
        }.items():
            monkeypatch.setenv(name, value)
        reset_settings()
        others = asyncio.all_tasks()
        settings = replace(get_settings(), stream_silence_seconds=silence_seconds)
        listener = Listener(settings, on_quote)
        streams = listener.streams
        runs = streams.run_trade_stream() if trade_url else streams.run_data_stream()
        task = asyncio.create_task(runs)
        await streams.watch([BTC])
        yield listener
        began = time.monotonic()
        await streams.stop()
        await asyncio.wait_for(task, 30)
        assert time.monotonic() - began < 20
        assert {one for one in asyncio.all_tasks() if "server" not in repr(one)} <= others

    yield run
    reset_settings()


class Listener:
    def __init__(self, settings, on_quote):
        self.quotes, self.updates, self.connects = [], [], 0
        self.streams = AlpacaStreams(
            settings,
            on_quote=on_quote or self._on_quote,
            on_trade_update=self._on_update,
            on_trade_connect=self._on_connect,
        )
        self.health = self.streams.data_health

    async def _on_quote(self, quote):
        self.quotes.append(quote)

    async def _on_update(self, update):
        self.updates.append(update)

    def _on_connect(self):
        self.connects += 1

    @property
    def bids(self):
        return [quote["bp"] for quote in self.quotes]


async def until(condition, seconds=60.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "not in time"
        await asyncio.sleep(0.005)


def said(caplog, event):
    return [one.getMessage() for one in caplog.records if one.getMessage().startswith(event)]


# What is read.


async def test_a_burst_of_20000_quotes_arrives_in_order_and_the_loop_turns_between(listening):
    turns, count = 0, 20_000
    turns_of_quotes = []

    async def on_quote(quote):
        turns_of_quotes.append((turns, quote["bp"]))

    async def burst(stream, connection):
        for bid in range(count):
            connection.protocol.send_binary(frame(quote(float(bid))))
        connection.send_data()
        await listen(stream, connection)

    async with scripted_stream(burst) as server, listening(server.url, on_quote=on_quote):
        while len(turns_of_quotes) <= count:
            turns += 1
            await asyncio.sleep(0)
    assert [bid for _, bid in turns_of_quotes] == [*map(float, range(count)), 50000]
    at_once = {}
    for turn, _ in turns_of_quotes:
        at_once[turn] = at_once.get(turn, 0) + 1
    assert max(at_once.values()) <= READ_BYTES // len(frame(quote(1.0))) + 1


@pytest.fixture
def over_tls(monkeypatch):
    """The options of a server that speaks TLS, as the exchange does."""
    monkeypatch.setenv("SSL_CERT_FILE", str(CA_FILE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS_FOLDER / "server.pem")
    return {"ssl": context}


@pytest.mark.parametrize("in_a_frame", [1, 400, 4000])
async def test_over_tls_a_burst_beyond_every_buffer_arrives_whole_and_in_order(
    listening, over_tls, in_a_frame
):
    count = 12_000
    frames = [
        frame(*(quote(float(bid)) for bid in range(first, first + in_a_frame)))
        for first in range(1, count + 1, in_a_frame)
    ]
    assert sum(map(len, frames)) > 3 * 256 * 1024, "asyncio reads so much of TLS at once"

    async def burst(_stream, connection):
        for one in frames:
            connection.protocol.send_binary(one)
        connection.send_data()
        await connection.wait_closed()

    async with scripted_stream(burst, **over_tls) as server, listening(server.url) as listener:
        await until(lambda: len(listener.quotes) >= count)
        assert listener.bids == [float(bid) for bid in range(1, count + 1)]
        assert (listener.health.dropped, listener.health.connects) == (0, 1)


async def test_over_tls_what_came_before_a_close_is_taken_and_a_cut_record_is_none(
    listening, over_tls
):
    async def closes(_stream, connection):
        for bid in range(1, 6001):
            connection.protocol.send_binary(frame(quote(float(bid))))
        connection.send_data()
        await connection.close(1001, "going away")

    async def cuts(_stream, connection):
        raw = connection.transport.get_extra_info("socket")
        await connection.send(frame(quote(6001.0)))
        os.write(raw.fileno(), b"\x17\x03\x03\x10\x00half a record")
        connection.transport.abort()

    async with (
        scripted_stream(closes, cuts, listen, **over_tls) as server,
        listening(server.url) as listener,
    ):
        await until(lambda: 50000 in listener.bids)
        assert listener.bids == [*map(float, range(1, 6002)), 50000]
        assert (listener.health.dropped, listener.health.connects) == (0, 3)


async def test_what_comes_in_fragments_or_before_there_is_a_reader_keeps_its_place(listening):
    async def early(stream, connection):
        await connection.send(frame(quote(2), quote(3)))
        whole = frame(quote(4))
        await connection.send([whole[:1], whole[1:20], b"", whole[20:]])
        await connection.send(frame(quote(5)))
        await listen(stream, connection)

    async with scripted_stream(early) as server, listening(server.url) as listener:
        await until(lambda: len(listener.quotes) == 5)
        assert listener.bids == [2, 3, 4, 5, 50000]
        assert listener.health.connects == 1


async def test_quotes_that_come_with_the_answer_to_the_keys_are_taken(listening):
    async def answer(connection):
        await connection.send(frame({"T": "success", "msg": "connected"}))
        await connection.recv()
        for one in ({"T": "success", "msg": "authenticated"}, quote(1), quote(2)):
            connection.protocol.send_binary(frame(one))
        connection.send_data()
        await connection.wait_closed()

    async with serve(answer, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with listening(f"ws://127.0.0.1:{port}/data") as listener:
            await until(lambda: listener.bids == [1, 2])


@pytest.mark.parametrize(
    "garbage",
    [
        b"",
        b"\xc1\xc1",
        frame(quote(1))[:-3],
        b"\x05",
        b"\x81\xa1T\xa1q",
        frame(7, None, "text", [1]),
        frame({"T": "q", "bp": 1}),
        frame({"T": "q", "S": ["BTC"]}),
        frame({"S": BTC}),
        json.dumps([{"T": "q", "S": BTC, "bp": 1, "ap": 2}]),
        "text",
    ],
)
async def test_garbage_is_counted_and_said_once_and_the_next_quote_is_taken(
    listening, garbage, caplog
):
    script = say(garbage, garbage, frame(quote(3)))
    async with scripted_stream(script) as server, listening(server.url) as listener:
        await until(lambda: listener.quotes)
        assert listener.bids == [3]
        assert (listener.health.connects, listener.health.dropped > 1) == (1, True)
        kinds = said(caplog, "message.dropped")
        assert 1 <= len(kinds) == len({line.partition("reason=")[2] for line in kinds})


async def test_a_handler_that_raises_loses_one_quote_and_that_is_said_with_its_traceback(
    listening, caplog
):
    bids = []

    async def on_quote(quote):
        if quote["bp"] == 1:
            raise ZeroDivisionError("a bug")
        bids.append(quote["bp"])

    script = say(frame(quote(0), quote(1), quote(2)), frame(quote(1)), frame(quote(3)))
    async with scripted_stream(script) as server, listening(server.url, on_quote=on_quote) as one:
        await until(lambda: len(bids) == 3)
        assert bids == [0, 2, 3]
        assert one.health.dropped == 2
    [record] = [one for one in caplog.records if one.getMessage().startswith("message.dropped")]
    assert record.levelno == logging.ERROR
    assert record.exc_info[0] is ZeroDivisionError


async def test_a_handler_that_waits_is_a_bug_and_holds_nobody_up(listening, caplog):
    bids = []

    async def on_quote(quote):
        if quote["bp"] == 1:
            await asyncio.sleep(3600)
        bids.append(quote["bp"])

    script = say(frame(quote(0)), frame(quote(1)), frame(quote(2)))
    async with scripted_stream(script) as server, listening(server.url, on_quote=on_quote):
        await until(lambda: bids == [0, 2])
    assert "without waiting" in said(caplog, "message.dropped")[0]


async def test_compressed_frames_are_read_where_compression_is_wanted(listening, monkeypatch):
    monkeypatch.setitem(direct_streams.WEBSOCKET_OPTIONS, "compression", "deflate")
    script = say(frame(*map(quote, range(1, 100))), frame(quote(100)))
    async with (
        scripted_stream(script, compression="deflate") as server,
        listening(server.url) as listener,
    ):
        await until(lambda: len(listener.quotes) == 100)
        assert listener.bids == [*range(1, 101)]


async def test_it_says_who_it_is_offers_no_compression_and_goes_through_no_proxy(listening):
    proxies = dict.fromkeys(("HTTP_PROXY", "https_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    async with scripted_stream(compression="deflate") as server:
        async with listening(server.url, **proxies) as listener:
            await until(lambda: listener.quotes)
        [headers] = server.headers
        assert headers["User-Agent"].startswith("APCA-PY/")
        assert headers["Content-Type"] == "application/msgpack"
        assert "Sec-WebSocket-Extensions" not in headers


# What ends a connection.


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011, 1013, 4000])
async def test_a_stream_that_the_server_closes_comes_back_and_its_code_is_said(
    listening, code, caplog
):
    async with scripted_stream(close(code, "so be it")) as server:
        async with listening(server.url) as listener:
            await until(lambda: listener.quotes)
            assert listener.health.connects == 2
        [line, *_] = said(caplog, "stream.disconnected")
        assert f"{code} " in line
        assert "so be it" in line


async def test_a_frame_too_large_ends_the_connection_before_it_has_come(listening):
    async def boast(stream, connection):
        connection.transport.write(b"\x82\x7f" + (1 << 21).to_bytes(8, "big") + b"x")
        await connection.wait_closed()

    async with scripted_stream(boast) as server, listening(server.url) as listener:
        await until(lambda: listener.quotes)
        assert server.close_codes == [1009]


async def test_a_half_open_connection_is_noticed_by_its_pings(listening, monkeypatch, caplog):
    monkeypatch.setitem(direct_streams.WEBSOCKET_OPTIONS, "ping_interval", 0.1)
    monkeypatch.setitem(direct_streams.WEBSOCKET_OPTIONS, "ping_timeout", 0.2)
    monkeypatch.setitem(direct_streams.WEBSOCKET_OPTIONS, "close_timeout", 0.1)
    async with scripted_stream() as server:
        with silent_proxy(int(server.url.rpartition(":")[2].partition("/")[0])) as line:
            async with listening(f"ws://127.0.0.1:{line.port}/data") as listener:
                await until(lambda: listener.quotes)
                line.go_silent()
                await until(lambda: len(listener.quotes) == 2)
                assert listener.health.connects == 2
    assert "ping timeout" in said(caplog, "stream.disconnected")[0]


async def test_only_quotes_keep_a_stream_from_being_mute(listening, delays, caplog):
    async def chatter(stream, connection):
        while True:
            await connection.send(frame({"T": "subscription", "quotes": [BTC]}))
            await connection.ping()
            await asyncio.sleep(0.05)

    async def slow_quotes(stream, connection):
        for bid in range(8):
            await connection.send(frame(quote(bid)))
            await asyncio.sleep(0.15)
        await connection.wait_closed()

    async with scripted_stream(chatter, chatter, slow_quotes) as server:
        async with listening(server.url, silence_seconds=0.8) as listener:
            await until(lambda: listener.health.connects == 4)
            assert listener.bids[:8] == [*range(8)]
        assert delays[:3] == [1, 2, 1]
        assert "mute for 0.8 s" in said(caplog, "stream.disconnected")[0]


# What goes wrong before it is subscribed.


async def test_a_cut_at_any_step_of_the_handshake_is_tried_again_later_each_time(
    listening, delays, caplog
):
    steps = []

    async def cut(reader, writer):
        """Answers more of the handshake each time."""
        steps.append(len(steps))
        answer = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 4\r\n\r\nbusy"
        if steps[-1]:
            await reader.readuntil(b"\r\n\r\n")
            writer.write([b"HTTP/1.1 101 Swi", b"nonsense\r\n\r\n", answer][(steps[-1] - 1) % 3])
            await writer.drain()
        writer.transport.abort() if steps[-1] % 2 else writer.close()

    async with await asyncio.start_server(cut, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with listening(f"ws://127.0.0.1:{port}/data") as listener:
            await until(lambda: len(steps) > 6)
            assert listener.health.connects == 0
            assert not listener.health.is_connected
            assert listener.health.lost_at is not None
    assert delays[:6] == [1, 2, 3, 4, 5, 6]
    assert "HTTP 503" in "".join(said(caplog, "stream.disconnected"))


@pytest.mark.parametrize(
    ("code", "words"),
    [(402, "auth failed"), (406, "connection limit exceeded"), (404, "auth timeout")],
)
async def test_refused_keys_are_tried_again_and_the_reason_is_said(listening, code, words, caplog):
    async with scripted_stream() as server:
        server.auth_answers = [{"T": "error", "code": code, "msg": words}] * 2
        async with listening(server.url) as listener:
            await until(lambda: listener.quotes)
            assert listener.health.connects == 1
        lines = said(caplog, "stream.disconnected")
        assert len([line for line in lines if words in line]) == 1


async def test_after_insufficient_subscription_the_stream_is_started_again(
    listening, monkeypatch, caplog
):
    monkeypatch.setattr("utils.alpaca_streams.RESTART_WAIT_SECONDS", 0.05)
    async with scripted_stream() as server:
        server.auth_answers = [{"T": "error", "code": 409, "msg": "insufficient subscription"}]
        async with listening(server.url) as listener:
            await until(lambda: listener.quotes)
        assert said(caplog, "stream.ended")


async def test_an_error_that_closes_a_running_stream_is_said_and_it_comes_back(listening, caplog):
    async def slow_client(stream, connection):
        await connection.send(frame({"T": "error", "code": 407, "msg": "slow client"}))
        await connection.close(1008)

    async with scripted_stream(slow_client) as server, listening(server.url) as listener:
        await until(lambda: listener.quotes)
    assert "slow client" in said(caplog, "stream.error")[0]


async def test_symbols_added_while_it_runs_and_while_it_reconnects_are_all_subscribed(listening):
    async with scripted_stream(listen, listen) as server:
        async with listening(server.url) as listener:
            await until(lambda: listener.quotes)
            await listener.streams.watch([ETH])
            await until(lambda: len(server.subscribed) == 2)
            server.connections[0].transport.abort()
            await until(lambda: not listener.health.is_connected)
            await listener.streams.watch(["LTC/USD"])
            await until(lambda: listener.health.connects == 2)
            await until(lambda: len(listener.quotes) == 2)
        assert [sorted(one) for one in server.subscribed] == [
            [BTC],
            [BTC, ETH],
            [BTC, ETH, "LTC/USD"],
        ]
        assert all(set(one) <= set(two) for one, two in pairwise(server.subscribed))


@pytest.mark.parametrize("answered", [0, 1])
async def test_it_stops_at_once_in_the_middle_of_a_handshake(listening, answered):
    connected, ended = asyncio.Event(), asyncio.Event()

    async def hang(connection):
        await connection.send(frame({"T": "success", "msg": "connected"}))
        connected.set()
        await connection.wait_closed()
        ended.set()

    async def hang_before(reader, writer):
        connected.set()
        await reader.read()
        ended.set()
        writer.close()

    begin = serve(hang, "127.0.0.1", 0) if answered else None
    server = await (begin or asyncio.start_server(hang_before, "127.0.0.1", 0))
    async with server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with listening(f"ws://127.0.0.1:{port}/data"):
            await connected.wait()
        await asyncio.wait_for(ended.wait(), 30)


# The trade stream.


async def test_updates_come_from_text_and_binary_frames_and_garbage_ends_nothing(listening, caplog):
    def update(number):
        return json.dumps({"stream": "trade_updates", "data": {"number": number}})

    async def talk(connection):
        await connection.recv()
        answer = {"stream": "authorization", "data": {"status": "authorized"}}
        await connection.send(json.dumps(answer))
        await connection.recv()
        await connection.send(json.dumps({"stream": "listening", "data": {}}).encode())
        for one in (
            update(1),
            update(2).encode(),
            "{",
            b"\xff",
            "7",
            [update(3)[:9], update(3)[9:]],
        ):
            await connection.send(one)
        await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with listening(trade_url=f"ws://127.0.0.1:{port}/stream") as listener:
            await until(lambda: len(listener.updates) == 3)
            assert [one["data"]["number"] for one in listener.updates] == [1, 2, 3]
            health = listener.streams.trade_health
            assert (listener.connects, health.connects, health.dropped) == (1, 1, 3)
            assert health.last_message_at is not None
    assert len(said(caplog, "message.dropped")) == 3
