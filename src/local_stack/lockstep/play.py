"""Plays recorded quotes through the real bot, one after another, by the recording's clock.

A quote goes to the handler, whose two comparisons decide whether anything can happen. Where it
crosses a trigger, the exchange gets it before the bot may ask or send anything, and the next quote
waits until the bot is at rest: hundreds of thousands of quotes take as long as their orders.

Owns: what time it is. Cooldowns and the seconds of a stop loss end when the recording says so; an
order's time is that of the quote at which it was sent.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from config import Settings
from domain.cycle import DcaCycle
from domain.orders import ExchangeOrder, Side
from local_stack.exchange_process import ExchangeProcess
from local_stack.lockstep.bot import LockstepBot
from research.quotes import Quotes

MICROS = 1_000_000
# The exit watch may see so much less of a gap than there was: to the handler the clock runs on
# between our reading it and its own.
SLACK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Recording:
    """The quotes of one symbol."""

    symbol: str
    quotes: Quotes


@dataclass(frozen=True, slots=True)
class Played:
    """One order whose end was booked: at which quote of its recording, and the cycle after it."""

    client_order_id: str
    number: int
    at_micros: int
    cycle: DcaCycle | None  # after a buy


@dataclass(slots=True)
class _Clock:
    """The recording's times that one symbol waits for, in microseconds."""

    cools_down_until: int | None = None
    below_since: int | None = None
    last: int = 0  # of the newest quote that counted


@dataclass(slots=True)
class _InVain:
    """What was tried since an order was booked or a cooldown ended. At the same prices the bot
    finds the same reasons again, and the exchange refuses the same order: without money each quote
    would cost a request.
    """

    refused: set[tuple[str, float]] = field(default_factory=set)  # by their ask
    skipped: set[tuple[str, float, float]] = field(default_factory=set)

    def knows(self, symbol: str, bid: float, ask: float) -> bool:
        return (symbol, ask) in self.refused or (symbol, bid, ask) in self.skipped


@dataclass(slots=True, eq=False)
class Lockstep:
    """One run. `played` are the orders, oldest first."""

    settings: Settings
    exchange: ExchangeProcess
    recordings: Sequence[Recording]
    on_progress: Callable[[int], None] = lambda quotes: None
    played: list[Played] = field(default_factory=list)
    crossings: int = 0
    _ended: list[ExchangeOrder] = field(default_factory=list)
    _in_vain: _InVain = field(default_factory=_InVain)

    async def run(self) -> None:
        """Raises StackError, ExchangeError or DatabaseError where it cannot go on."""
        async with LockstepBot(self.settings, on_end=self._ended.append) as bot:
            await bot.watch_all([one.symbol for one in self.recordings])
            clocks = [_Clock() for _ in self.recordings]
            for count, (which, number, at, bid, ask) in enumerate(_in_order(self.recordings), 1):
                recording, clock = self.recordings[which], clocks[which]
                await self._let_time_pass(bot, recording.symbol, clock, at)
                quote = _wire_quote(recording.symbol, bid, ask)
                await self._play(bot, recording, clock, number, at, quote)
                if count % 10_000 == 0:
                    self.on_progress(count)
            await bot.save_peaks()

    async def _let_time_pass(self, bot: LockstepBot, symbol: str, clock: _Clock, at: int) -> None:
        """Until `at`, when the next quote of `symbol` comes."""
        if clock.cools_down_until is not None and at >= clock.cools_down_until:
            clock.cools_down_until = None
            await bot.end_cooldown(symbol)
            self._in_vain = _InVain()
        watch = bot.watch(symbol)
        if watch.exits is None or clock.below_since is None:
            return
        track, now = watch.exits.track, time.monotonic()
        if track.below_since is not None:
            gap = (at - clock.last) / MICROS
            watch.exits.track = replace(
                track,
                below_since=now - (at - clock.below_since) / MICROS,
                below_until=now - gap + min(gap, SLACK_SECONDS),
            )
            watch.exits_changed()

    async def _play(
        self,
        bot: LockstepBot,
        recording: Recording,
        clock: _Clock,
        number: int,
        at: int,
        quote: dict[str, Any],
    ) -> None:
        symbol, watch = recording.symbol, bot.watch(recording.symbol)
        now = time.monotonic()
        await bot.market.on_crypto_quote(quote)
        if watch.newest is quote:  # it counted
            self._note_clock(bot, symbol, clock, at, now)
        if not watch.wake.is_set():
            return
        bid_seen, ask_seen, only_buys = watch.bid, watch.ask, not watch.wants_sale()
        if only_buys and self._in_vain.knows(symbol, bid_seen, ask_seen):
            watch.wake.clear()
            return
        # The worker has not begun: it waits for this very loop.
        self.crossings += 1
        quotes = recording.quotes
        bid, ask = (int(one[number]) * quotes.step for one in (quotes.bids, quotes.asks))
        self.exchange.control("quote", symbol=symbol, bid=f"{bid:f}", ask=f"{ask:f}")
        is_refused = await bot.rest(symbol)
        if self._ended:
            self._in_vain = _InVain()
            self._note_orders(bot, symbol, clock, number, at)
        elif only_buys and is_refused:
            self._in_vain.refused.add((symbol, ask_seen))
        elif only_buys:
            self._in_vain.skipped.add((symbol, bid_seen, ask_seen))

    def _note_clock(
        self, bot: LockstepBot, symbol: str, clock: _Clock, at: int, now: float
    ) -> None:
        """Since which recorded time the bids have been at or below the stop loss."""
        exits = bot.watch(symbol).exits
        since = None if exits is None else exits.track.below_since
        if since is None:
            clock.below_since = None
        elif clock.below_since is None or since >= now:  # it began, or began anew
            clock.below_since = at
        clock.last = at

    def _note_orders(
        self, bot: LockstepBot, symbol: str, clock: _Clock, number: int, at: int
    ) -> None:
        state = bot.state(symbol)
        for order in self._ended:
            cycle = state.cycle if order.side is Side.BUY else None
            self.played.append(Played(order.client_order_id, number, at, cycle))
        self._ended.clear()
        clock.cools_down_until = clock.below_since = None
        if bot.cools_down(symbol):
            clock.cools_down_until = at + state.asset.cooldown_period * MICROS


def _in_order(
    recordings: Sequence[Recording],
) -> Iterator[tuple[int, int, int, float, float]]:
    """Which recording, the number of the quote in it, its time in microseconds, bid and ask. By
    time, and of the same time in the order of the recordings.
    """
    which = np.concatenate([np.full(len(one.quotes.times), n) for n, one in enumerate(recordings)])
    numbers = np.concatenate([np.arange(len(one.quotes.times)) for one in recordings])
    times = np.concatenate([one.quotes.times for one in recordings])
    bids = np.concatenate([_floats(one.quotes.bids, one.quotes.step) for one in recordings])
    asks = np.concatenate([_floats(one.quotes.asks, one.quotes.step) for one in recordings])
    order = np.argsort(times, kind="stable")
    columns = (one[order].tolist() for one in (which, numbers, times, bids, asks))
    return zip(*columns, strict=True)


def _floats(steps: Any, step: Decimal) -> Any:
    """The float next to each price: what the wire brings."""
    return np.array([float(one * step) for one in steps.tolist()])


def _wire_quote(symbol: str, bid: float, ask: float) -> dict[str, Any]:
    """As the stream brings it, with the time of this machine: an old one would not be traded on."""
    at = datetime.now(UTC).isoformat()
    return {"T": "q", "S": symbol, "bp": bid, "bs": 1.0, "ap": ask, "as": 1.0, "t": at}
