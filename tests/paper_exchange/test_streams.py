"""Both websockets, with the SDK's streams and with a bare client that breaks the protocol."""

import asyncio
import json
import socket
from datetime import UTC, datetime

import aiohttp
import msgpack
import pytest
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest

from paper_exchange.core.config import ExchangeConfig
from running_exchange import RunningExchange

BTC = "BTC/USD"
KEYS = {"key": "local-key", "secret": "local-secret"}
MSGPACK = {"Content-Type": "application/msgpack"}


def buy(clients, price=60_020, qty=0.1):
    return clients.trading.submit_order(
        LimitOrderRequest(
            symbol=BTC,
            qty=qty,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.GTC,
            limit_price=price,
        )
    )


def test_the_sdk_receives_every_step_of_an_order(clients):
    clients.listen_to_trades()
    clients.exchange.push_quote(BTC, 59_990, 60_010)
    order = buy(clients)
    clients.wait_for_event(order.id, "fill")
    assert clients.events(order.id) == ["pending_new", "new", "fill"]
    fill = clients.trade_updates[-1]
    assert (fill["qty"], fill["price"], fill["position_qty"]) == ("0.1", "60010", "0.09975")
    assert (fill["order"]["filled_qty"], fill["order"]["status"]) == ("0.1", "filled")
    assert clients.trade_updates[0]["execution_id"] is None


def test_partial_fills_carry_this_execution_and_the_sum(clients):
    clients.exchange.configure(partial_fill_probability=1)
    clients.listen_to_trades()
    clients.exchange.push_quote(BTC, 59_990, 60_010)
    order = buy(clients)
    clients.exchange.finish()
    clients.exchange.push_quote(BTC, 59_980, 60_000)
    clients.wait_for_event(order.id, "fill")
    part, rest = clients.trade_updates[-2:]
    assert (part["event"], rest["event"]) == ("partial_fill", "fill")
    assert part["order"]["filled_qty"] == part["qty"]
    assert float(part["qty"]) + float(rest["qty"]) == pytest.approx(0.1)
    assert rest["order"]["filled_qty"] == "0.1"


def test_a_second_trade_stream_is_refused_at_the_handshake(clients):
    clients.listen_to_trades()

    async def connect():
        async with aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
                await session.ws_connect(clients.exchange.urls.trading_stream_url)
            return refusal.value.status

    assert asyncio.run(connect()) == 429


def test_of_two_trade_streams_at_the_same_moment_one_is_refused(exchange):
    async def connect():
        async with aiohttp.ClientSession() as session:
            url = exchange.urls.trading_stream_url
            both = [session.ws_connect(url) for _ in range(2)]
            outcomes = await asyncio.gather(*both, return_exceptions=True)
            return sorted(type(one).__name__ for one in outcomes)

    assert asyncio.run(connect()) == ["ClientWebSocketResponse", "WSServerHandshakeError"]


def test_the_trade_stream_says_who_is_not_authorized(exchange):
    async def talk():
        async with aiohttp.ClientSession() as session:
            stream = await session.ws_connect(exchange.urls.trading_stream_url)
            listen = {"action": "listen", "data": {"streams": ["trade_updates"]}}
            await stream.send_str(json.dumps(listen))
            early = await stream.receive()
            wrong = {"action": "authenticate", "data": {"key_id": "x", "secret_key": "y"}}
            await stream.send_str(json.dumps(wrong))
            refused = await stream.receive()
            return early, refused

    early, refused = asyncio.run(talk())
    assert early.type is aiohttp.WSMsgType.BINARY
    expected = {"status": "unauthorized", "action": "listen"}
    assert json.loads(early.data) == {"stream": "authorization", "data": expected}
    assert json.loads(refused.data)["data"]["action"] == "authenticate"


@pytest.mark.parametrize("raw_data", [True, False])
def test_the_sdk_receives_quotes_with_the_wall_clock(clients, eventually, raw_data):
    clients.listen_to_quotes(BTC, raw_data=raw_data)
    clients.exchange.push_quote("ETH/USD", 2_000, 2_001)
    clients.exchange.push_quote(BTC, "60000.01", "60010.02")
    eventually(lambda: clients.quotes)
    quote = clients.quotes[0]
    if raw_data:
        assert (quote["S"], quote["bp"], quote["ap"]) == (BTC, 60000.01, 60010.02)
        assert isinstance(quote["t"], msgpack.Timestamp)
    else:
        assert (quote.symbol, quote.bid_price, quote.ask_price) == (BTC, 60000.01, 60010.02)
        assert abs((datetime.now(UTC) - quote.timestamp).total_seconds()) < 5


class DataConversation:
    """A bare msgpack client of the data stream."""

    def __init__(self, session, url):
        self._session, self._url, self.socket = session, url, None

    async def open(self):
        self.socket = await self._session.ws_connect(self._url, headers=MSGPACK)
        return await self.receive()

    async def send(self, message):
        await self.socket.send_bytes(msgpack.packb(message))
        return await self.receive()

    async def receive(self):
        message = await self.socket.receive(timeout=5)
        return msgpack.unpackb(message.data) if isinstance(message.data, bytes) else message

    async def log_in(self):
        await self.open()
        return await self.send({"action": "auth", **KEYS})


def converse(exchange, script):
    async def run():
        async with aiohttp.ClientSession() as session:
            url = exchange.urls.data_stream_url
            return await script(lambda: DataConversation(session, url))

    return asyncio.run(run())


def test_the_handshake_of_the_data_stream_is_word_for_word(exchange):
    async def script(new):
        one = new()
        assert await one.open() == [{"T": "success", "msg": "connected"}]
        assert await one.send({"action": "auth", **KEYS}) == [
            {"T": "success", "msg": "authenticated"}
        ]
        answer = await one.send({"action": "subscribe", "quotes": [BTC, "ETH/USD"], "bars": ["*"]})
        empty = {"trades": [], "orderbooks": [], "updatedBars": [], "dailyBars": []}
        expected = {"T": "subscription", "quotes": [BTC, "ETH/USD"], "bars": ["*"], **empty}
        assert answer == [expected]
        (answer,) = await one.send({"action": "unsubscribe", "quotes": [BTC]})
        assert answer["quotes"] == ["ETH/USD"]

    converse(exchange, script)


def test_every_mistake_on_the_data_stream_has_its_code(exchange):
    async def script(new):
        one = new()
        await one.open()
        codes = []
        for message in (
            {"action": "subscribe", "quotes": [BTC]},
            {"action": "nonsense"},
            ["not", "a", "dict"],
        ):
            codes.append((await one.send(message))[0]["code"])
        await one.send({"action": "auth", **KEYS})
        codes.append((await one.send({"action": "auth", **KEYS}))[0]["code"])
        codes.append((await one.send({"action": "subscribe", "quotes": BTC}))[0]["code"])
        many = [f"A{number}/USD" for number in range(1_001)]
        codes.append((await one.send({"action": "subscribe", "quotes": many}))[0]["code"])
        return codes

    assert converse(exchange, script) == [401, 400, 400, 403, 400, 405]


def test_wrong_keys_and_a_second_connection_are_sent_the_reason_and_cut(exchange):
    async def script(new):
        first, second, stranger = new(), new(), new()
        await first.log_in()
        assert await second.log_in() == [
            {"T": "error", "code": 406, "msg": "connection limit exceeded"}
        ]
        assert (await second.receive()).type is aiohttp.WSMsgType.CLOSE
        await stranger.open()
        wrong = {"action": "auth", "key": "x", "secret": "y"}
        assert await stranger.send(wrong) == [{"T": "error", "code": 402, "msg": "auth failed"}]

    converse(exchange, script)


def test_a_client_that_sends_json_is_answered_in_json(exchange):
    async def talk():
        async with aiohttp.ClientSession() as session:
            stream = await session.ws_connect(exchange.urls.data_stream_url)
            hello = await stream.receive()
            await stream.send_str(json.dumps({"action": "auth", **KEYS}))
            return json.loads(hello.data), json.loads((await stream.receive()).data)

    hello, answer = asyncio.run(talk())
    assert hello == [{"T": "success", "msg": "connected"}]
    assert answer == [{"T": "success", "msg": "authenticated"}]


def test_trades_and_wildcards_can_be_subscribed(exchange):
    async def script(new):
        one = new()
        await one.log_in()
        await one.send({"action": "subscribe", "trades": ["*"], "quotes": ["*"]})
        await asyncio.to_thread(exchange.push_quote, BTC, 60_000, 60_010)
        return await one.receive()

    quote, trade = converse(exchange, script)
    assert (quote["T"], quote["S"], quote["bp"]) == ("q", BTC, 60_000)
    assert (trade["T"], trade["S"], trade["p"]) == ("t", BTC, 60_010)


CHANNELS = ("quotes", "trades", "bars", "updated_bars", "daily_bars", "orderbooks")


@pytest.mark.parametrize("raw_data", [True, False])
def test_the_sdk_receives_every_channel_that_it_may_subscribe_to(
    clients, eventually, turn_clock, raw_data
):
    exchange = clients.exchange
    exchange.push_quote(BTC, 60_000, 60_010, bid_size=2)
    clients.listen_to([BTC], CHANNELS, raw_data=raw_data)
    turn_clock(exchange, second=31)  # nothing of the minute before is due any more
    exchange.push_quote(BTC, 60_020, 60_030)
    turn_clock(exchange, second=1)
    exchange.push_quote(BTC, 60_040, 60_050)  # closes the minute
    turn_clock(exchange, second=31)
    exchange.push_quote(BTC, 60_040, 60_060)
    eventually(lambda: all(clients.received[channel] for channel in CHANNELS))
    eventually(lambda: len(clients.received["orderbooks"]) >= 4)
    if raw_data:
        kinds = {channel: clients.received[channel][0]["T"] for channel in CHANNELS}
        assert list(kinds.values()) == ["q", "t", "b", "u", "d", "o"]
        first, second = clients.received["orderbooks"][:2]
        assert (first["r"], first["b"], first["a"]) == (
            True,
            [{"p": 60_000, "s": 2}],
            [{"p": 60_010, "s": 1}],
        )
        assert "r" not in second
        assert second["b"] == [{"p": 60_000, "s": 0}, {"p": 60_020, "s": 1}]
    else:
        (updated,) = clients.received["updated_bars"]
        closed = clients.received["bars"][-1]
        assert (updated.timestamp, updated.close) == (closed.timestamp, closed.close)
        assert clients.received["daily_bars"][-1].high == 60_050
        assert clients.received["orderbooks"][0].reset


def test_a_subscription_that_is_never_served_is_not_confirmed(exchange):
    async def script(new):
        one = new()
        await one.log_in()
        for wrong in ({"news": ["*"]}, {"quotes": ["BTCUSD"]}, {"orderbooks": ["btc/usd"]}):
            answer = await one.send({"action": "subscribe", **wrong})
            assert answer == [{"T": "error", "code": 400, "msg": "invalid syntax"}], wrong

    converse(exchange, script)


def test_an_order_book_is_sent_whole_to_a_client_that_subscribes_again(exchange):
    exchange.push_quote(BTC, 60_000, 60_010)
    book = {"b": [{"p": 60_000, "s": 1}], "a": [{"p": 60_010, "s": 1}], "r": True}

    async def script(new):
        one = new()
        await one.log_in()
        for _ in range(2):
            await one.send({"action": "subscribe", "orderbooks": ["*"]})
            (whole,) = await one.receive()
            del whole["t"]
            assert whole == {"T": "o", "S": BTC, **book}
            await one.send({"action": "unsubscribe", "orderbooks": ["*"]})

    converse(exchange, script)


def small_socket(address):
    """A socket that soon has no room for what it does not read."""
    family, kind, protocol, _, _ = address
    made = socket.socket(family, kind, protocol)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    return made


@pytest.mark.parametrize("reads", [True, False])
def test_a_client_that_does_not_read_is_cut_with_407_and_one_that_reads_is_not(reads):
    quotes = [{"symbol": BTC, "bid": 60_000, "ask": 60_010}] * 400

    async def talk(exchange):
        connector = aiohttp.TCPConnector(socket_factory=small_socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            one = DataConversation(session, exchange.urls.data_stream_url)
            await one.log_in()
            await one.send({"action": "subscribe", "quotes": [BTC]})
            if not reads:
                one.socket._conn.transport.pause_reading()
            received = []
            for batch in range(1, 61):
                await asyncio.to_thread(exchange.call, "POST", "quote", quotes=quotes)
                while reads and len(received) < batch * len(quotes):
                    received += await one.receive()
                if not exchange.state()["clients"]["data"]:
                    break
            if not reads:
                one.socket._conn.transport.resume_reading()
                while received[-1:] != [{"T": "error", "code": 407, "msg": "slow client"}]:
                    received += await one.receive()
            return len(exchange.state()["clients"]["data"])

    with RunningExchange(ExchangeConfig(client_queue_limit=1_000)) as exchange:
        still_there = asyncio.run(talk(exchange))
    assert still_there == (1 if reads else 0)
