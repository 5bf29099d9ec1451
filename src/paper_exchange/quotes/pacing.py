"""Paces the quotes of a source: real time, faster, paused, or as fast as possible."""

import asyncio
from collections.abc import Callable, Iterator
from enum import Enum

from paper_exchange.quotes.synthetic import TimedQuote

_QUOTES_BETWEEN_PAUSES = 50
_SHORTEST_SLEEP_SECONDS = 0.001


class FeedStatus(Enum):
    RUNNING = "running"
    PAUSED = "paused"
    ENDED = "ended"


class MarketFeed:
    """Emits each quote when its time has come. Speed and pause may change at any moment."""

    def __init__(
        self,
        source: Iterator[TimedQuote],
        emit: Callable[[TimedQuote], None],
        *,
        speed: float = 1.0,
        paused: bool = False,
    ) -> None:
        self.quotes_emitted = 0
        self.position_seconds: float | None = None
        """Recorded time of the last quote."""
        self._source = source
        self._emit = emit
        self._speed = speed
        self._paused = paused
        self._ended = False
        self._changed = asyncio.Event()
        self._anchor: tuple[float, float] | None = None

    @property
    def status(self) -> FeedStatus:
        if self._ended:
            return FeedStatus.ENDED
        return FeedStatus.PAUSED if self._paused else FeedStatus.RUNNING

    @property
    def speed(self) -> float:
        return self._speed

    def configure(self, *, speed: float | None = None, paused: bool | None = None) -> None:
        if speed is not None:
            self._speed = speed
        if paused is not None:
            self._paused = paused
        self._changed.set()

    async def run(self) -> None:
        """Until the source ends, or for ever."""
        for quote in self._source:
            await self._wait_for(quote)
            self._emit(quote)
            self.quotes_emitted += 1
            self.position_seconds = quote.at_seconds
            if self.quotes_emitted % _QUOTES_BETWEEN_PAUSES == 0:
                await asyncio.sleep(0)
        self._ended = True

    async def _wait_for(self, quote: TimedQuote) -> None:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            if self._changed.is_set() or self._anchor is None:
                # Time counts from here: a pause or another speed is not made up for.
                self._changed.clear()
                start = quote.at_seconds if self.position_seconds is None else self.position_seconds
                self._anchor = (now, start)
            if self._paused:
                await self._changed.wait()
                continue
            if self._speed == 0:
                return
            started_at, started_seconds = self._anchor
            delay = started_at + (quote.at_seconds - started_seconds) / self._speed - now
            if delay < _SHORTEST_SLEEP_SECONDS:
                return
            try:
                await asyncio.wait_for(self._changed.wait(), delay)
            except TimeoutError:
                return
