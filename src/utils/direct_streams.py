"""The SDK's two streams on a connection of ours. The SDK authenticates, subscribes, backs off and
dispatches what is no quote; we open the connection, read it, and notice when it is silent.

Private names used (alpaca-py 0.44): `_connect`, `_start_ws`, `_consume`, `_dispatch`, `_handlers`,
`_send_subscribe_msg`, `_endpoint`, `_ws`, `_running`, `_should_run`, `_data_timeout` and
`_data_received` of the streams.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any

from msgpack import unpackb
from websockets.asyncio.client import connect
from websockets.exceptions import WebSocketException

from config import Settings
from utils.alpaca_sdk import CryptoDataStream, TradingStream, get_default_user_agent
from utils.log_events import LogEvent, log_event
from utils.stream_connection import StreamConnection
from utils.stream_health import StreamHealth

log = logging.getLogger(__name__)
Handler = Callable[[Any], Coroutine[Any, Any, None]]

HANDSHAKE_TIMEOUT_SECONDS = 15
WEBSOCKET_OPTIONS: dict[str, Any] = {
    # Half-open connections are noticed within 30 s (the SDK's default: 190 s).
    "ping_interval": 10,
    "ping_timeout": 20,
    "close_timeout": 2,
    "proxy": None,  # as the SDK; `scripts/doctor` tries the streams without one, too
    # The SDK offers deflate. To inflate a quote costs more than all else that we do with it.
    "compression": None,
}
_WAITED = "a handler must return without waiting for anything"
# The SDK logs each failed try with a traceback; we log the edges ourselves.
for _name in ("alpaca.data.live.websocket", "alpaca.trading.stream"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class _DirectStream:
    """What is ours in both streams: the connection, its reading, its silence and its end.

    Whatever ends a connection, the SDK's `_run_forever` backs off and opens the next one.
    """

    # The SDK's.
    _endpoint: str
    _ws: Any  # a StreamConnection, or None
    _running: bool
    _should_run: bool
    _data_timeout: float | None = None
    _data_received: bool

    health: StreamHealth
    _handshake: asyncio.Timeout | None = None

    def _take(self, payload: bytes) -> None:
        """Take a message of the connection, at once. Never raises."""
        raise NotImplementedError

    async def _open(self, **headers: str) -> StreamConnection:
        connection = await connect(
            self._endpoint,
            create_connection=StreamConnection,
            additional_headers=headers,
            user_agent_header=get_default_user_agent(),
            open_timeout=None,  # _start_ws bounds it
            **WEBSOCKET_OPTIONS,
        )
        assert isinstance(connection, StreamConnection)
        self._ws = connection
        return connection

    async def _start_ws(self) -> None:
        """Bound the handshake (the SDK waits for ever) and note why it failed."""
        try:
            async with asyncio.timeout(HANDSHAKE_TIMEOUT_SECONDS) as self._handshake:
                await super()._start_ws()  # type: ignore[misc]
        except Exception as error:  # noted and raised on: the SDK's loop backs off and tries again
            self.health.lost(f"{type(error).__name__}: {error}")
            raise
        finally:
            self._handshake = None

    async def _consume(self) -> bool:
        """Let the connection call `_take` until it ends. True: it was mute for too long.

        Raises:
            ConnectionClosed: it has ended.
        """
        connection: StreamConnection | None = self._ws
        began_at, due = time.monotonic(), None
        if connection is None or not self._should_run:
            await self.close()
            return False
        while connection.recv_messages.frames:  # they came before there was a reader
            self._take(await connection.recv(decode=False))
        connection.reader = self._take
        while True:
            if self._data_timeout is not None:
                due = max(began_at, self.health.last_message_at or 0.0) + self._data_timeout
                if due <= time.monotonic():
                    break
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):  # the loop's clock is monotonic(), too
                    await connection.wait_closed()
                if self.health.is_connected:
                    self.health.lost(connection.close_exc)
                raise connection.close_exc
        self.health.lost(f"mute for {self._data_timeout:g} s")
        await self.close()
        return True

    async def close(self) -> None:
        """Close the connection that there is; `_run_forever` opens the next one."""
        if self.health.is_connected:
            self.health.lost("closed")
        with suppress(WebSocketException, OSError):  # a socket that breaks now is closed, too
            await super().close()  # type: ignore[misc]

    async def stop_ws(self) -> None:
        """End the stream for good, in the middle of a handshake as well."""
        await super().stop_ws()  # type: ignore[misc]
        if self._handshake is not None:
            self._handshake.reschedule(time.monotonic())
        await self.close()


class DataStream(_DirectStream, CryptoDataStream):
    def __init__(self, settings: Settings, health: StreamHealth, on_quote: Handler) -> None:
        super().__init__(
            settings.alpaca_api_key,
            settings.alpaca_secret_key,
            raw_data=True,
            url_override=settings.alpaca_data_stream_url,
            data_timeout=settings.stream_silence_seconds,
        )
        self.health = health
        self._on_quote = on_quote

    async def add_symbols(self, symbols: Iterable[str]) -> None:
        """Subscribe more symbols, now or at the next connect. Runs in the stream's own loop."""
        for symbol in symbols:
            self._handlers["quotes"][symbol] = self._on_quote
        if self._running and self._ws is not None:
            try:
                await self._send_subscribe_msg()
            except WebSocketException as error:  # the next connect subscribes all
                log_event(log, LogEvent.SUBSCRIBE_POSTPONED, reason=error)

    async def _send_subscribe_msg(self) -> None:
        """Repeated when a symbol was added while it was sent: nothing else would subscribe it."""
        sent = None
        while sent != (wanted := set(self._handlers["quotes"])):
            await super()._send_subscribe_msg()
            sent = wanted

    async def _connect(self) -> None:
        connection = await self._open(**{"Content-Type": "application/msgpack"})
        message = unpackb(await connection.recv(decode=False))[0]
        if (message["T"], message["msg"]) != ("success", "connected"):
            raise ValueError(message["msg"])

    async def _start_ws(self) -> None:
        await super()._start_ws()
        self.health.connected()

    def _take(self, payload: bytes) -> None:
        """Call the handler of each quote; the SDK sees to what is no quote.

        A handler is a coroutine that never waits: it is run here, without a task of its own.
        """
        quotes, has_quotes = self._handlers["quotes"], False
        try:
            for message in unpackb(payload):
                try:
                    if message["T"] == "q":
                        handler = quotes.get(message["S"]) or self._dispatch
                        has_quotes = True
                    else:
                        handler = self._dispatch
                    handler(message).send(None)
                except StopIteration:
                    continue  # it has returned
                except Exception as error:  # noqa: BLE001 - whatever it is, the next message counts
                    self.health.drop(error)
                else:
                    self.health.drop(RuntimeError(_WAITED))
        except Exception as error:  # noqa: BLE001 - no frame may end the reading of the next one
            self.health.drop(error)
        if has_quotes:  # not what else comes: a mute stream must not look alive
            self._data_received = True
            self.health.heard()

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("T") == "error":
            log_event(log, LogEvent.STREAM_ERROR, stream="data", reason=msg)
        await super()._dispatch(msg)


class TradeStream(_DirectStream, TradingStream):
    def __init__(
        self, settings: Settings, health: StreamHealth, on_connect: Callable[[], None]
    ) -> None:
        super().__init__(
            settings.alpaca_api_key,
            settings.alpaca_secret_key,
            paper=settings.alpaca_paper,
            raw_data=True,
            url_override=settings.alpaca_trading_stream_url or "",
        )
        self.health = health
        self._on_connect = on_connect

    async def _connect(self) -> None:
        await self._open()

    def _take(self, payload: bytes) -> None:
        try:
            self._dispatch(json.loads(payload)).send(None)
        except StopIteration:
            pass  # its handler has returned
        except Exception as error:  # noqa: BLE001 - the next update counts; a sweep finds this one
            self.health.drop(error)
        else:
            self.health.drop(RuntimeError(_WAITED))

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        stream = msg.get("stream")
        self.health.heard()
        if stream == "listening":
            # From here on nothing is missed; what came before is asked for over REST.
            self.health.connected()
            self._on_connect()
        elif stream == "trade_updates":
            self._data_received = True
        await super()._dispatch(msg)
