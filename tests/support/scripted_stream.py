"""A data stream that says what a test tells it to, over a real socket; it signs everybody in."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import msgpack
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Script = Callable[["ScriptedStream", ServerConnection], Awaitable[None]]


def quote(bid: float, symbol: str = "BTC/USD") -> dict[str, Any]:
    at = msgpack.Timestamp.from_unix_nano(1_700_000_000_000_000_000)
    return {"T": "q", "S": symbol, "bp": bid, "bs": 1.0, "ap": bid + 1, "as": 1.0, "t": at}


def frame(*messages: Any) -> bytes:
    return msgpack.packb(list(messages))


class ScriptedStream:
    """`scripts`: what each connection does once it is subscribed; the last one goes on for ever.
    `auth_answers`: other answers to the first who sign in.
    """

    def __init__(self, *scripts: Script) -> None:
        self._scripts: Iterator[Script] = iter(scripts)
        self.auth_answers: list[dict[str, Any]] = []
        self.headers: list[Any] = []
        self.subscribed: list[list[str]] = []
        self.close_codes: list[int | None] = []
        self.connections: list[ServerConnection] = []
        self.url = ""

    async def talk(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        self.headers.append(connection.request.headers)
        self.connections.append(connection)
        try:
            await connection.send(frame({"T": "success", "msg": "connected"}))
            await connection.recv()
            if self.auth_answers:
                await connection.send(frame(self.auth_answers.pop(0)))
                return
            await connection.send(frame({"T": "success", "msg": "authenticated"}))
            await self.subscribe(connection)
            await next(self._scripts, listen)(self, connection)
        except ConnectionClosed:
            pass
        finally:
            await connection.wait_closed()
            self.close_codes.append(connection.close_code)

    async def subscribe(self, connection: ServerConnection) -> None:
        request = msgpack.unpackb(await connection.recv())
        self.subscribed.append(request["quotes"])
        await connection.send(frame({"T": "subscription", "quotes": request["quotes"]}))


async def listen(stream: ScriptedStream, connection: ServerConnection) -> None:
    """Send one quote, then take what comes."""
    await connection.send(frame(quote(50000)))
    while True:
        await stream.subscribe(connection)


def say(*frames: bytes | str | list[bytes]) -> Script:
    """Send these and stay."""

    async def script(_: ScriptedStream, connection: ServerConnection) -> None:
        for one in frames:
            await connection.send(one)
        await connection.wait_closed()

    return script


def close(code: int, reason: str = "") -> Script:
    async def script(_: ScriptedStream, connection: ServerConnection) -> None:
        await connection.close(code, reason)

    return script


@asynccontextmanager
async def scripted_stream(*scripts: Script, **options: Any) -> AsyncIterator[ScriptedStream]:
    stream = ScriptedStream(*scripts)
    options = {"compression": None, "close_timeout": 0.2, "ping_interval": None, **options}
    async with serve(stream.talk, "127.0.0.1", 0, max_size=None, **options) as server:
        scheme = "wss" if options.get("ssl") else "ws"
        stream.url = f"{scheme}://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/data"
        yield stream
