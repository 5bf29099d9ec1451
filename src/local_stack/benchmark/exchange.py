"""An exchange that answers at once: Alpaca's wire with nothing behind it but the benchmark.

Every client, be it the daemon or a rival, talks to this one server in the same way. It runs in the
benchmark's own loop, so that a quote's departure and an order's arrival are stamped by one clock.
Keep-alive as real servers do; `idle_seconds` closes a connection that asks nothing for so long.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import time
from collections import defaultdict
from collections.abc import Sequence
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import msgpack

from local_stack.benchmark.accounts import Account, Placed, Request, now
from local_stack.benchmark.frames import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    FrameReader,
    Quote,
    accept_of,
    frame,
    quotes_frame,
)
from mariadb_server.endpoint import HOST

DATA_PATH, TRADE_PATH = "/v1beta3/crypto/us", "/stream"
MANY_REQUESTS = 100_000  # nobody waits, and yet every request is counted as on the real exchange
_REASONS = {200: "OK", 404: "Not Found"}


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive; after an upgrade a websocket."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._buffer = b""
        self._reader: FrameReader | None = None
        self._idle: asyncio.TimerHandle | None = None
        self.is_data = False
        self.account: Account | None = None
        self.pongs = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport), "a stream of bytes"
        self.transport = transport
        self._exchange.connections.add(self)
        self._await_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._exchange.forget(self)
        if self._idle is not None:
            self._idle.cancel()

    def _await_request(self) -> None:
        if (seconds := self._exchange.idle_seconds) is not None:
            if self._idle is not None:
                self._idle.cancel()
            loop = asyncio.get_running_loop()
            self._idle = loop.call_later(seconds, self.transport.close)

    def data_received(self, data: bytes) -> None:
        at = now()
        if self._reader is not None:
            for opcode, payload in self._reader.feed(data):
                self._on_message(opcode, payload)
            return
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].decode("latin-1").split("\r\n")
            headers = {
                k.lower(): v.strip() for k, _, v in (line.partition(":") for line in head[1:])
            }
            size, start = int(headers.get("content-length", 0)), end + 4
            if len(self._buffer) < start + size:
                return
            body, self._buffer = self._buffer[start : start + size], self._buffer[start + size :]
            self._on_request(head[0], headers, body, at)

    def _on_request(self, first: str, headers: dict[str, str], body: bytes, at: float) -> None:
        method, target, _ = first.split(" ", 2)
        parts = urlsplit(target)
        if "sec-websocket-key" in headers:
            self._upgrade(parts.path, headers["sec-websocket-key"])
            return
        self._await_request()
        query = dict(parse_qsl(parts.query))
        account = self._exchange.account_of(headers.get("apca-api-key-id", ""))
        request = Request(method, parts.path, query, body, at)
        status, answer = account.answer(request) if account else (401, b"{}")
        self.transport.write(
            f"HTTP/1.1 {status} {_REASONS.get(status, 'Refused')}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(answer)}\r\n"
            f"{self._exchange.allowance(account)}\r\n".encode()
            + answer
        )

    def _upgrade(self, path: str, key: str) -> None:
        if self._idle is not None:
            self._idle.cancel()
        self._reader, self.is_data = FrameReader(), path == DATA_PATH
        self.transport.write(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Accept: {accept_of(key)}\r\n\r\n".encode()
        )
        if self.is_data:
            self._say([{"T": "success", "msg": "connected"}])

    def _on_message(self, opcode: int, payload: bytes) -> None:
        if opcode == PING:
            self.transport.write(frame(payload, PONG))
        elif opcode == PONG:
            self._exchange.noted(self)
        elif opcode == CLOSE:
            self.transport.write(frame(payload, CLOSE))
            self.transport.close()
        elif self.is_data:
            self._on_data_message(msgpack.unpackb(payload))
        else:
            self._on_trade_message(json.loads(payload))

    def _on_data_message(self, message: dict[str, object]) -> None:
        if message.get("action") == "auth":
            self.account = self._exchange.account_of(str(message["key"]))
            self._say([{"T": "success", "msg": "authenticated"}])
        elif message.get("action") == "subscribe":
            self._say([{"T": "subscription", "quotes": message.get("quotes", [])}])
            self._exchange.opened(self)

    def _on_trade_message(self, message: dict[str, object]) -> None:
        if message.get("action") in ("auth", "authenticate"):
            key = message.get("key")
            if key is None and isinstance(data := message.get("data"), dict):
                key = data.get("key_id")
            self.account = self._exchange.account_of(str(key))
            data = {"status": "authorized", "action": "authenticate"}
            self._say({"stream": "authorization", "data": data})
        elif message.get("action") == "listen":
            self._say({"stream": "listening", "data": {"streams": ["trade_updates"]}})
            self._exchange.opened(self)

    def _say(self, message: object) -> None:
        packed = msgpack.packb(message) if self.is_data else json.dumps(message).encode()
        self.transport.write(frame(packed, BINARY))


class Exchange:
    """The server and what the benchmark does on it."""

    def __init__(self) -> None:
        self.idle_seconds: float | None = None
        self.requests_a_minute: int | None = None
        self.connections: set[_Connection] = set()
        self._accounts: dict[str, Account] = {}
        self._streams: dict[tuple[str, bool], _Connection] = {}
        self._news = asyncio.Condition()
        self._changes: set[asyncio.Task[None]] = set()
        self._pongs: dict[str, int] = defaultdict(int)
        self._servers: list[asyncio.Server] = []

    # Life

    async def listen(self, tls: ssl.SSLContext | None = None) -> int:
        """The port on which it answers from now on."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self), HOST, 0, ssl=tls)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        for server in self._servers:
            server.close()
        for connection in list(self.connections):
            connection.transport.abort()
        for task in self._changes:
            task.cancel()

    def open_account(self, key: str, symbols: Sequence[str]) -> Account:
        account = self._accounts[key] = Account(key, tuple(symbols))
        return account

    # What connections report

    def account_of(self, key: str) -> Account | None:
        return self._accounts.get(key)

    def allowance(self, account: Account | None) -> str:
        """The headers that say how many requests are left of the exchange's own minute."""
        minute, limit = int(time.time() // 60), self.requests_a_minute or MANY_REQUESTS
        left = limit - account.requests_of(minute) if account else limit
        return (
            f"X-RateLimit-Limit: {limit}\r\nX-RateLimit-Remaining: {max(0, left)}\r\n"
            f"X-RateLimit-Reset: {(minute + 1) * 60}\r\n"
        )

    def opened(self, connection: _Connection) -> None:
        if connection.account is not None:
            self._streams[connection.account.key, connection.is_data] = connection
            self._tell()

    def noted(self, connection: _Connection) -> None:
        """A pong came back."""
        if connection.account is not None and connection.is_data:
            self._pongs[connection.account.key] += 1
            self._tell()

    def forget(self, connection: _Connection) -> None:
        self.connections.discard(connection)
        for name, known in list(self._streams.items()):
            if known is connection:
                del self._streams[name]

    def _tell(self) -> None:
        async def notify() -> None:
            async with self._news:
                self._news.notify_all()

        task = asyncio.get_running_loop().create_task(notify())
        self._changes.add(task)
        task.add_done_callback(self._changes.discard)

    # What the benchmark does

    async def wait_for_streams(self, key: str, seconds: float, *, trade: bool = True) -> bool:
        """Whether the client has both streams (or the data stream alone) within this time."""
        wanted = {(key, True), (key, False)} if trade else {(key, True)}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(lambda: wanted <= self._streams.keys())
        return wanted <= self._streams.keys()

    def send_quote(self, account: Account, quote: Quote) -> float:
        """Send one quote in a frame of its own; when it left."""
        account.quoted(quote)
        packed = quotes_frame([quote])
        transport = self._streams[account.key, True].transport
        at = now()
        transport.write(packed)
        return at

    def send_opened(self, account: Account, placed: Placed) -> float:
        return self._send_update(account, account.opened(placed))

    def send_filled(self, account: Account, placed: Placed, price: Decimal) -> float:
        """Send the fill; when it left."""
        return self._send_update(account, account.filled(placed, price))

    def _send_update(self, account: Account, message: bytes) -> float:
        transport = self._streams[account.key, False].transport
        at = now()
        transport.write(frame(message, BINARY))
        return at

    async def flood(self, account: Account, frames: Sequence[bytes], seconds: float) -> bool:
        """Send all of `frames` as fast as the client reads, and then a ping; whether its pong came
        within this time.
        """
        connection = self._streams[account.key, True]
        before = self._pongs[account.key]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                for chunk in frames:
                    connection.transport.write(chunk)
                    while connection.transport.get_write_buffer_size() > 65_536:
                        await asyncio.sleep(0.0005)  # the client is slower: nothing to await
                connection.transport.write(frame(b"end", PING))
                async with self._news:
                    await self._news.wait_for(lambda: self._pongs[account.key] > before)
        return self._pongs[account.key] > before
