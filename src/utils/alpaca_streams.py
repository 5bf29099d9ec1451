"""Both websocket streams of an account in one event loop.

Owns: when the streams run and end, and which symbols are watched. Must never know what a message
means; handlers get the raw dicts.

Private names used (alpaca-py 0.44): `_run_forever` of the streams.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable

from config import Settings
from utils.direct_streams import DataStream, Handler, TradeStream
from utils.log_events import LogEvent, log_event
from utils.stream_health import StreamHealth
from utils.waiting import wait_for_event

__all__ = ["AlpacaStreams", "Handler"]
log = logging.getLogger(__name__)

RESTART_WAIT_SECONDS = 5


class AlpacaStreams:
    """The quote stream and the trade update stream of one account, in the running loop.

    Args:
        on_quote: called with each raw quote. Must return without waiting and never raise.
        on_trade_update: called with each raw trade update message. Same rules.
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
        self._data = DataStream(settings, self.data_health, on_quote)
        self._trade = TradeStream(settings, self.trade_health, on_trade_connect)
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

    async def _supervise(self, stream: DataStream | TradeStream) -> None:
        """The SDK returns silently on some errors (insufficient subscription): start it again."""
        stream.health.lost_at = time.monotonic()
        while not self._stopping.is_set():
            try:
                await stream._run_forever()
            finally:
                await stream.close()
            if not self._stopping.is_set():
                log_event(log, LogEvent.STREAM_ENDED, stream=stream.health.name)
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
        await asyncio.gather(self._data.stop_ws(), self._trade.stop_ws())
