"""Everything that uses private parts of alpaca-py's streams: an upgrade of the SDK is checked here
and in alpaca_http.

Owns: both websocket streams in one event loop, the moment of each (re)connect, sockets that are
open but silent, and symbols that are added while running. Must never know what a message means;
handlers get the raw dicts.

Private names used (alpaca-py 0.44): `_start_ws`, `_dispatch`, `_run_forever`, `_handlers`,
`_send_subscribe_msg`, `_running`, `_ws` of the streams.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from typing import Any

from alpaca.data.live.crypto import CryptoDataStream
from alpaca.trading.stream import TradingStream
from websockets.exceptions import WebSocketException

from config import Settings
from utils.log_events import LogEvent, log_event
from utils.waiting import wait_for_event

log = logging.getLogger(__name__)
Handler = Callable[[Any], Awaitable[None]]

HANDSHAKE_TIMEOUT_SECONDS = 15
RESTART_WAIT_SECONDS = 5
# Half-open connections are noticed within 30 s (the SDK's default: 190 s).
_WEBSOCKET_PARAMS = {"ping_interval": 10, "ping_timeout": 20, "max_queue": 1024, "close_timeout": 2}
# The SDK logs each failed try with a traceback; we log the edges ourselves.
for _name in ("alpaca.data.live.websocket", "alpaca.trading.stream"):
    logging.getLogger(_name).setLevel(logging.CRITICAL + 1)


class StreamHealth:
    """What is known of one stream's connection. Times are `time.monotonic()` seconds."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_connected = False
        self.lost_at: float | None = None  # since when it tries in vain; None before it began
        self.connects = 0
        self.last_message_at: float | None = None
        self.is_stopping = False
        self._last_trouble = ""

    def connected(self) -> None:
        self.is_connected = True
        self.lost_at = None
        self.connects += 1
        self._last_trouble = ""
        log_event(log, LogEvent.STREAM_CONNECTED, stream=self.name, connects=self.connects)

    def lost(self, reason: object) -> None:
        trouble = str(reason) or type(reason).__name__
        if self.is_connected or trouble != self._last_trouble:
            event = LogEvent.STREAM_DISCONNECTED
            level = logging.INFO if self.is_stopping else event.level
            log_event(log, event, level=level, stream=self.name, reason=trouble)
        self.is_connected = False
        self.lost_at = self.lost_at or time.monotonic()
        self._last_trouble = trouble

    def heard(self) -> None:
        self.last_message_at = time.monotonic()


class _DataStream(CryptoDataStream):
    def __init__(self, settings: Settings, health: StreamHealth, on_quote: Handler) -> None:
        super().__init__(
            settings.alpaca_api_key,
            settings.alpaca_secret_key,
            raw_data=True,
            url_override=settings.alpaca_data_stream_url,
            websocket_params=_WEBSOCKET_PARAMS,
            data_timeout=settings.stream_silence_seconds,
        )
        self._health = health
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

    async def _start_ws(self) -> None:
        await _guarded(super()._start_ws(), self._health)
        self._health.connected()

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        if msg.get("T") == "error":
            log_event(log, LogEvent.STREAM_ERROR, stream="data", reason=msg)
        if msg.get("T") == "q":
            self._health.heard()
        await super()._dispatch(msg)

    async def close(self) -> None:
        await _closed(super().close(), self._health)


class _TradeStream(TradingStream):
    def __init__(
        self, settings: Settings, health: StreamHealth, on_connect: Callable[[], None]
    ) -> None:
        super().__init__(
            settings.alpaca_api_key,
            settings.alpaca_secret_key,
            paper=settings.alpaca_paper,
            raw_data=True,
            url_override=settings.alpaca_trading_stream_url or "",
            websocket_params=_WEBSOCKET_PARAMS,
        )
        self._health = health
        self._on_connect = on_connect

    async def _start_ws(self) -> None:
        await _guarded(TradingStream._start_ws(self), self._health)

    async def _dispatch(self, msg: dict[str, Any]) -> None:
        self._health.heard()
        if msg.get("stream") == "listening":
            # From here on nothing is missed; what came before is asked for over REST.
            self._health.connected()
            self._on_connect()
        await super()._dispatch(msg)

    async def close(self) -> None:
        await _closed(super().close(), self._health)


async def _guarded(connecting: Awaitable[None], health: StreamHealth) -> None:
    """Bound a handshake (the SDK waits for ever) and note why it failed."""
    try:
        await asyncio.wait_for(connecting, HANDSHAKE_TIMEOUT_SECONDS)
    except Exception as error:  # noted and raised on: the SDK's loop backs off and tries again
        health.lost(f"{type(error).__name__}: {error}")
        raise


async def _closed(closing: Awaitable[None], health: StreamHealth) -> None:
    if health.is_connected:
        health.lost("closed")
    with suppress(WebSocketException, OSError):  # a socket that breaks now is closed, too
        await closing


class AlpacaStreams:
    """The quote stream and the trade update stream of one account, in the running loop.

    Args:
        on_quote: awaited with each raw quote. Must return at once and never raise.
        on_trade_update: awaited with each raw trade update message. Same rules.
        on_trade_connect: called after each (re)connect of the trade stream.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_quote: Handler,
        on_trade_update: Handler,
        on_trade_connect: Callable[[], None],
    ) -> None:
        self.data_health = StreamHealth("data")
        self.trade_health = StreamHealth("trade")
        self._data = _DataStream(settings, self.data_health, on_quote)
        self._trade = _TradeStream(settings, self.trade_health, on_trade_connect)
        self._trade.subscribe_trade_updates(on_trade_update)
        self._symbols: set[str] = set()
        self._has_symbols = asyncio.Event()
        self._stopping = asyncio.Event()

    async def watch(self, symbols: Iterable[str]) -> None:
        """Subscribe the quotes of `symbols` in addition to those watched already."""
        if new := set(symbols) - self._symbols:
            self._symbols |= new
            await self._data.add_symbols(sorted(new))
            self._has_symbols.set()
            log_event(log, LogEvent.SYMBOLS_WATCHED, symbols=",".join(sorted(self._symbols)))

    async def run_data_stream(self) -> None:
        """Run the quote stream until `stop`; with nothing to subscribe the SDK would spin."""
        await self._has_symbols.wait()
        await self._supervise(self._data)

    async def run_trade_stream(self) -> None:
        """Run the trade update stream until `stop`."""
        await self._supervise(self._trade)

    async def _supervise(self, stream: _DataStream | _TradeStream) -> None:
        """The SDK returns silently on some errors (insufficient subscription): start it again."""
        stream._health.lost_at = time.monotonic()
        while not self._stopping.is_set():
            try:
                await stream._run_forever()
            finally:
                await stream.close()
            if not self._stopping.is_set():
                log_event(log, LogEvent.STREAM_ENDED, stream=stream._health.name)
                await wait_for_event(self._stopping, RESTART_WAIT_SECONDS)

    async def reconnect_trade_stream(self, reason: str) -> None:
        """Drop the trade stream's connection, so that the SDK opens a new one."""
        self.trade_health.lost(reason)
        await self._trade.close()

    async def stop(self) -> None:
        """End both streams within a few seconds."""
        self._stopping.set()
        self._has_symbols.set()
        self.data_health.is_stopping = self.trade_health.is_stopping = True
        for stream in (self._data, self._trade):
            await stream.stop_ws()
            await stream.close()  # or the SDK would stop only after its receive time-out of 5 s
