"""Plays recorded quotes through the real bot, one after another, by the recording's clock.

A quote goes to the handler, whose two comparisons decide whether anything can happen. Where it
crosses a trigger, the exchange gets it before the bot may ask or send anything, and the next quote
waits until the bot is at rest: hundreds of thousands of quotes take as long as their orders.

Owns: what time it is. Cooldowns, the seconds of a stop loss, days and pauses of limits end when the
recording says so, and the user opens cycles by its clock; an order's time is that of the quote at
which it was sent.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np

from config import Settings
from domain.cycle import DcaCycle
from domain.orders import ExchangeOrder, Side
from local_stack.exchange_process import ExchangeProcess
from local_stack.lockstep.bot import LockstepBot
from research.quotes import Quotes
from strategy.limits import OPEN_LOSS, AccountLimits

MICROS = 1_000_000
_DAY = 86_400 * MICROS
ASKED_AT_FIRST, ASKED_EACH = 20, 100
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# The exit watch may see so much less of a gap than there was: to the handler the clock runs on
# between our reading it and its own.
SLACK_SECONDS = 0.01


@dataclass(frozen=True, slots=True)
class Recording:
    """The quotes of one symbol, and when the user asks for a cycle of it to be opened."""

    symbol: str
    quotes: Quotes
    opens: Sequence[datetime] = ()


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
    number: int = -1  # of that quote
    opens: list[int] = field(default_factory=list)  # the next one last


@dataclass(slots=True)
class _InVain:
    """What was tried since an order was booked, or something else than a price changed. At the same
    prices the bot finds the same reasons again, and the exchange refuses the same order: without
    money each quote would cost a request.
    """

    refused: set[tuple[str, float]] = field(default_factory=set)  # by their ask
    # By bid and ask; and by the bids of the others, where what is held counts.
    skipped: set[tuple[str, float, float, tuple[float, ...]]] = field(default_factory=set)
    # Quotes of a symbol since a limit first said no whatever the price; after so many of them only
    # each so-and-so-many-th asks again: it could be for days.
    limited: dict[str, int] = field(default_factory=dict)

    def is_limited(self, symbol: str) -> bool:
        if (count := self.limited.get(symbol)) is None:
            return False
        self.limited[symbol] = count + 1
        return count >= ASKED_AT_FIRST and count % ASKED_EACH != 0


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
    _clocks: dict[str, _Clock] = field(default_factory=dict)
    _at: int = 0  # the recording's time in microseconds
    _is_paused: bool = False  # by the dump guard
    _told: dict[str, int] = field(default_factory=dict)  # the quote that the exchange has

    async def run(self) -> None:
        """Raises StackError, ExchangeError or DatabaseError where it cannot go on."""
        for one in self.recordings:
            opens = [_micros(moment) for moment in sorted(one.opens, reverse=True)]
            self._clocks[one.symbol] = _Clock(opens=opens)
        clocks = list(self._clocks.values())
        async with LockstepBot(
            self.settings,
            on_end=self._ended.append,
            now=self._now,
            quoted_at=lambda watch: self._clocks[watch.symbol].last / MICROS,
        ) as bot:
            await bot.watch_all([one.symbol for one in self.recordings])
            for count, (which, number, at, bid, ask) in enumerate(_in_order(self.recordings), 1):
                recording, clock = self.recordings[which], clocks[which]
                self._pass_to(bot, at)
                await self._let_time_pass(bot, recording.symbol, clock, at)
                quote = _wire_quote(recording.symbol, bid, ask)
                await self._play(bot, recording, clock, number, at, quote)
                if count % 10_000 == 0:
                    self.on_progress(count)
            await bot.save_peaks()

    @property
    def _limits_without_price(self) -> set[str]:
        return AccountLimits.of(self.settings).set_ones.keys() - {OPEN_LOSS}

    def _now(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self._at)

    def _pass_to(self, bot: LockstepBot, at: int) -> None:
        """Until `at`, when the next quote of any symbol comes: the dump guard samples each second,
        a day of the limits or a pause may end.
        """
        before, is_paused = self._at, False
        if before and self.settings.dump_pause_percent is not None:
            for second in range(before // MICROS + 1, at // MICROS + 1):
                self._at = second * MICROS
                bot.market.dumps.sample(second)
        self._at = at
        if self.settings.dump_pause_percent is not None:
            is_paused = bot.placer.limits.losses.why_paused() is not None
        if is_paused != self._is_paused or at // _DAY != before // _DAY:
            self._in_vain = _InVain()
        self._is_paused = is_paused

    async def _end_cooldown(self, bot: LockstepBot, symbol: str, clock: _Clock, at: int) -> None:
        if clock.cools_down_until is not None and at >= clock.cools_down_until:
            clock.cools_down_until = None
            await bot.end_cooldown(symbol)
            self._in_vain = _InVain()

    async def _let_time_pass(self, bot: LockstepBot, symbol: str, clock: _Clock, at: int) -> None:
        """Until `at`, when the next quote of `symbol` comes."""
        while clock.opens and clock.opens[-1] <= at:
            await self._end_cooldown(bot, symbol, clock, clock.opens[-1])
            clock.opens.pop()
            await bot.open(symbol)
            self._in_vain = _InVain()
        await self._end_cooldown(bot, symbol, clock, at)
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
        bid, ask, now = quote["bp"], quote["ap"], time.monotonic()
        prices = symbol, bid, ask, self._others_bids(bot, symbol)
        is_in_vain = (symbol, ask) in self._in_vain.refused or prices in self._in_vain.skipped
        if self._in_vain.is_limited(symbol) or is_in_vain:
            watch.backs_off_until[Side.BUY] = math.inf  # in the daemon, too, nothing is asked then
        await bot.market.on_crypto_quote(quote)
        watch.backs_off_until[Side.BUY] = 0.0
        if watch.newest is quote:  # it counted
            self._note_clock(bot, symbol, clock, at, now)
            clock.number = number
        if not watch.wake.is_set():
            return
        only_buys = not watch.wants_sale()
        # The worker has not begun: it waits for this very loop.
        self.crossings += 1
        for one in self.recordings:
            if one is recording or prices[-1]:
                self._tell_exchange(one, self._clocks[one.symbol].number)
        is_refused = await bot.rest(symbol)
        if self._ended:
            self._in_vain = _InVain()
            await self._note_orders(bot, symbol, clock, number, at)
        elif only_buys and is_refused:
            self._in_vain.refused.add((symbol, ask))
        elif only_buys:
            self._in_vain.skipped.add(prices)
            if any(name in watch.last_reason for name in self._limits_without_price):
                self._in_vain.limited.setdefault(symbol, 0)

    def _others_bids(self, bot: LockstepBot, symbol: str) -> tuple[float, ...]:
        """Of what else may be held, where a limit asks what that would lose."""
        if self.settings.max_open_loss_usd is None:
            return ()
        return tuple(bot.watch(one.symbol).bid for one in self.recordings if one.symbol != symbol)

    def _tell_exchange(self, recording: Recording, number: int) -> None:
        symbol, quotes = recording.symbol, recording.quotes
        if number < 0 or self._told.get(symbol) == number:
            return
        self._told[symbol] = number
        bid, ask = (int(one[number]) * quotes.step for one in (quotes.bids, quotes.asks))
        self.exchange.control("quote", symbol=symbol, bid=f"{bid:f}", ask=f"{ask:f}")

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

    async def _note_orders(
        self, bot: LockstepBot, symbol: str, clock: _Clock, number: int, at: int
    ) -> None:
        state = bot.state(symbol)
        for order in self._ended:
            cycle = state.cycle if order.side is Side.BUY else None
            self.played.append(Played(order.client_order_id, number, at, cycle))
            await bot.date_order(order.client_order_id, self._now())
        self._ended.clear()
        clock.cools_down_until = clock.below_since = None
        if bot.cools_down(symbol):
            clock.cools_down_until = at + state.asset.cooldown_period * MICROS


def _micros(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


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
