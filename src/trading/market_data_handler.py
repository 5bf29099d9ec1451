"""Quotes in, crossed triggers out: newest quote per symbol -> strategy -> an order. Phases 4 to 6
of the plan.

Owns: one worker per symbol that never overlaps itself, and what is said of a symbol that cannot
trade. A quote costs a few comparisons (quote_watch); everything slow runs in the worker's thread.
Writes nothing to the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from config import Settings
from domain.cycle import CycleStatus, DcaCycle
from domain.market import AssetRules, Quote
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from domain.wire import WireError
from strategy.triggers import NEVER
from trading.asset_rules_cache import AssetRulesCache
from trading.order_placement import OrderPlacer
from trading.placement import Outcome, Placement, Skip
from trading.quote_watch import SymbolWatch
from trading.stall_watch import StallWatch
from trading.state_reader import Changes, Reading, read
from utils.alpaca_client_rest import ExchangeError, ExchangeRefused
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

DATABASE_WAIT_SECONDS = 2.0
FAILURE_WAIT_SECONDS = 30.0
RULES_THREADS = 4  # for the few symbols that the list of all rules does not bring
AT_ONCE = 25  # assets between two looks at the quotes: one or two milliseconds
_ALPACAS_PAGE = "look at the coin on Alpaca's page"


class MarketDataHandler:
    """`on_crypto_quote` for the data stream, and one worker per symbol behind it.

    Args:
        on_rules: called when rules came that were asked for: there may be more symbols to watch.
    """

    def __init__(
        self,
        settings: Settings,
        rules: AssetRulesCache,
        placer: OrderPlacer,
        *,
        on_rules: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self._rules = rules
        self._placer = placer
        self._silence_seconds = settings.stream_silence_seconds
        self.stalls = StallWatch(settings.stalled_alert_seconds)
        self._watches: dict[str, SymbolWatch] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._readings: dict[str, Reading] = {}  # the newest, by symbol
        self._rules_asked: set[str] = set()
        self._rules_tasks: set[asyncio.Task[None]] = set()
        self._on_rules = on_rules
        self._rules_threads = ThreadPoolExecutor(RULES_THREADS, thread_name_prefix="bot-rules")
        self._buy_turn = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = 0
        self.last_quote_at: float | None = None  # monotonic seconds, for the heartbeat
        self._lives_since = 0.0  # since when the stream as a whole is not silent

    async def on_crypto_quote(self, q: Any) -> None:
        """Take a quote: a raw dict of the wire or the SDK's `Quote`. Never raises, never waits."""
        now = time.monotonic()
        try:
            if type(q) is dict:
                symbol, bid, ask = q["S"], q["bp"], q["ap"]
            else:
                symbol, bid, ask = q.symbol, q.bid_price, q.ask_price
            watch = self._watches.get(symbol)
            if watch is None:
                return
            if self.last_quote_at is None or now - self.last_quote_at > self._silence_seconds:
                self._lives_since = now
            self.last_quote_at = now
            if watch.accept(q, bid, ask, now):
                watch.wake.set()
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            log_event(log, LogEvent.QUOTE_MALFORMED, reason=type(error).__name__)

    def symbols(self) -> set[str]:
        """The symbols that can be traded: what the exchange does not know is not subscribed."""
        return {symbol for symbol, watch in self._watches.items() if watch.state is not None}

    async def refresh(self, states: Iterable[TradingState]) -> None:
        """Take the states of all assets, and wait for what is asked about them: for who has no
        StateReader.
        """
        readings = [read(state, self._rules, self._settings.taker_fee_rate) for state in states]
        symbols = frozenset(reading.state.asset.asset_symbol for reading in readings)
        await self.take(Changes(readings, symbols))
        await asyncio.gather(*self._rules_tasks)

    async def take(self, changes: Changes) -> None:
        """Wait for the prices that `changes` name; starts watching new assets. Of what did not
        change, see what depends on the time. Quotes are taken in between.
        """
        for number, reading in enumerate(changes.readings, 1):
            self._take(reading)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if changes.symbols is not None:
            await self._review_all(changes.symbols)

    def _take(self, reading: Reading) -> None:
        state, symbol = reading.state, reading.state.asset.asset_symbol
        watch, before = self._watch(symbol), self._readings.get(symbol)
        # They can have come since it was read.
        rules: AssetRules | ExchangeError | None = self._rules.find_last(symbol)
        if rules is None and reading.awaits_rules and before is not None:
            rules = before.rules
        if rules is not None and rules is not reading.rules:
            reading = reading.with_rules(rules, self._settings.taker_fee_rate)
        self._readings[symbol] = reading
        if reading.is_tradable:
            if watch.state is not None and watch.state.asset != state.asset:
                self._end_backoff(watch)  # what kept it from trading may be cured
            watch.state = state
        self._set_triggers(watch, reading)
        self._review(watch, reading)

    async def _review_all(self, symbols: frozenset[str]) -> None:
        """Of every asset that is configured, and of those that are no more."""
        for task in [task for task in self._rules_tasks if task.done()]:
            self._rules_tasks.discard(task)
            task.result()  # a fault of ours ends the daemon, and the watchdog starts it again
        due = []
        for number, watch in enumerate(list(self._watches.values()), 1):
            reading = self._readings.get(watch.symbol)
            if watch.symbol not in symbols:
                self._readings.pop(watch.symbol, None)
                watch.set_triggers(NEVER)
                self.stalls.release(watch.symbol, "it is configured no more")
            elif reading is not None:
                self._review(watch, reading)
                if reading.problem is None and self._rules.is_due(watch.symbol):
                    due.append(watch.symbol)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
        if new := [symbol for symbol in due if symbol not in self._rules_asked]:
            self._rules_asked |= set(new)
            self._rules_tasks.add(asyncio.create_task(self._bring_rules(new), name="rules"))

    def _set_triggers(self, watch: SymbolWatch, reading: Reading) -> None:
        """Where the rules could not be had, the prices of before go on to count."""
        triggers = reading.triggers
        if triggers is None:
            return
        if triggers.buy_not_before and datetime.now(UTC) < triggers.buy_not_before:
            triggers = replace(triggers, buy_at_or_below=None)  # until a later refresh
        watch.set_triggers(triggers)

    def _review(self, watch: SymbolWatch, reading: Reading) -> None:
        """What is to be done though nothing changed: time goes by."""
        state = reading.state
        if reading.awaits_rules:
            return
        if not state.other_symbol and not isinstance(reading.rules, ExchangeError):
            self._wake_to_close(watch, state.cycle)
        if (obstacle := reading.obstacle) is not None:
            self._note_untradable(watch, state, obstacle)
            return
        if reading.triggers is not None and reading.triggers.buy_not_before is not None:
            self._set_triggers(watch, reading)
        self._note_state(watch, state)

    async def _bring_rules(self, symbols: list[str]) -> None:
        """One list where many are due, then one question after another for what it lacks. An asset
        goes on by its last rules meanwhile, and a slow answer about one keeps no other waiting.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._rules_threads, self._rules.prefetch, symbols)
        left = iter(symbols)
        await asyncio.gather(*(self._bring_one_by_one(left) for _ in range(RULES_THREADS)))
        self._on_rules()

    async def _bring_one_by_one(self, symbols: Iterator[str]) -> None:
        loop, renew = asyncio.get_running_loop(), self._rules.renew
        for number, symbol in enumerate(symbols, 1):
            found: AssetRules | ExchangeError | None = self._rules.find(symbol)
            if found is None or self._rules.is_due(symbol):
                try:
                    found = await loop.run_in_executor(self._rules_threads, renew, symbol)
                except ExchangeError as error:
                    found = error
            self._rules_asked.discard(symbol)
            if (reading := self._readings.get(symbol)) is not None:
                self._take(reading.with_rules(found, self._settings.taker_fee_rate))
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)

    def _wake_to_close(self, watch: SymbolWatch, cycle: DcaCycle) -> None:
        """What the user wants sold now waits for no quote, and for no better configuration."""
        backs_off = time.monotonic() < watch.backs_off_until[Side.SELL]
        if cycle.close_requested and cycle.status is CycleStatus.WATCHING and not backs_off:
            watch.wake.set()

    def order_changed(self, order: ExchangeOrder) -> None:
        """An order's state was written: the next quote may act at once; after a rejection the
        symbol backs off.
        """
        guard, now = self._placer.guard(order.symbol), time.monotonic()
        watch = self._watches.get(order.symbol)
        if order.status == "rejected":
            guard.refused(order.side, now)
        elif order.is_ended and order.filled_qty > 0:
            guard.succeeded(order.side)
            self.stalls.release(order.symbol, "an order was filled")
        if watch is None:
            return
        self._end_backoff(watch)
        if order.status == "rejected":
            reason = f"the exchange rejects its {order.side} orders"
            self.stalls.hold(order.symbol, reason, now, cure="see why on Alpaca's page")

    def _end_backoff(self, watch: SymbolWatch) -> None:
        """The next quote may act at once, but for what was refused."""
        guard, now = self._placer.guard(watch.symbol), time.monotonic()
        for side in Side:
            watch.backs_off_until[side] = now + guard.seconds_until_allowed(side, now)

    def _watch(self, symbol: str) -> SymbolWatch:
        if symbol not in self._watches:
            watch = SymbolWatch(symbol, self._settings.max_quote_jump_percent)
            self._watches[symbol] = watch
            self._workers[symbol] = asyncio.create_task(self._work(watch), name=f"worker {symbol}")
        return self._watches[symbol]

    async def _work(self, watch: SymbolWatch) -> None:
        """Decide once per wake-up. A failing symbol backs off, the others go on."""
        while True:
            await watch.wake.wait()
            watch.wake.clear()
            self._busy += 1
            self._idle.clear()
            watch.unusable = None
            try:
                placement = await self._consider(watch)
            except DatabaseError as error:
                placement = Skip(str(error), DATABASE_WAIT_SECONDS).placement
            except Exception:  # noqa: BLE001 - the top of a task: one symbol's fault must not end the others
                log_event(log, LogEvent.WORKER_FAILED, symbol=watch.symbol, traceback=True)
                reason = "a fault of this program: see worker.failed in the log"
                placement = Skip(reason, FAILURE_WAIT_SECONDS).placement
            finally:
                self._busy -= 1
                if self._busy == 0:
                    self._idle.set()
            for side in (placement.side,) if placement.side else Side:
                until = time.monotonic() + placement.backs_off_seconds
                watch.backs_off_until[side] = max(watch.backs_off_until[side], until)
            self._report(watch, placement)

    async def _consider(self, watch: SymbolWatch) -> Placement:
        """Where a buy limit is set, buys take turns. Who waits for a turn holds no thread, or sells
        and bookings would wait for buyers, and does not keep its own symbol from a sale.
        """
        consider = partial(self._placer.consider, watch.symbol, lambda: self._usable_quote(watch))
        while (placement := await asyncio.to_thread(consider)).outcome is Outcome.NEEDS_TURN:
            if not await self._wait_for_turn(watch):
                continue
            try:
                return await asyncio.to_thread(consider, has_turn=True)
            finally:
                self._buy_turn.release()
        return placement

    async def _wait_for_turn(self, watch: SymbolWatch) -> bool:
        """True with the turn to buy; False without it, when a quote reaches the sell trigger."""
        turn = asyncio.create_task(self._buy_turn.acquire())
        wake = asyncio.create_task(watch.wake.wait())
        has_turn = False
        try:
            while not turn.done():
                await asyncio.wait({turn, wake}, return_when=asyncio.FIRST_COMPLETED)
                if turn.done() or not wake.done():
                    continue
                watch.wake.clear()  # the newest quote decides when the turn comes
                if watch.bid >= watch.sell_above:
                    return False
                wake = asyncio.create_task(watch.wake.wait())
            has_turn = True
            return True
        finally:
            wake.cancel()
            if not has_turn and not turn.cancel():
                self._buy_turn.release()

    def _report(self, watch: SymbolWatch, placement: Placement) -> None:
        """What became of a crossed trigger, for the log and for who asks what is held back."""
        if placement.side is None and watch.unusable is not None:
            reason, cure = watch.unusable
            placement = replace(placement, reason=reason, cure=cure)
        match placement.outcome:
            case Outcome.SKIPPED:
                self._note(watch, placement)
                return
            case Outcome.REFUSED | Outcome.UNKNOWN:
                # Unknown, too: an order without an answer for hours trades nothing. A fill ends it.
                self._hold(watch, placement)
            case Outcome.SENT:
                self.stalls.trying(watch.symbol)
            case Outcome.WAITING:
                return
        watch.last_reason = ""

    def _note(self, watch: SymbolWatch, skipped: Placement) -> None:
        """A reason to wait is logged when it changes; when it lasts, that is an alert."""
        self._hold(watch, skipped)
        level, reason = skipped.level, skipped.reason
        if reason != watch.last_reason:
            watch.last_reason = reason
            # Not by its words where they have moving figures; what has no cure has none of those.
            about = f"{watch.symbol} skipped: {skipped.cure or reason}"
            log_event(
                log,
                LogEvent.ORDER_SKIPPED,
                level=level,
                about=about,
                symbol=watch.symbol,
                reason=reason,
            )

    def _hold(self, watch: SymbolWatch, placement: Placement) -> None:
        self.stalls.hold(
            watch.symbol,
            placement.reason,
            time.monotonic(),
            cure=placement.cure,
            is_requested=placement.is_requested,
            has_foreign_coins=placement.has_foreign_coins,
        )

    def _note_untradable(
        self, watch: SymbolWatch, state: TradingState, problem: str | ExchangeError
    ) -> None:
        """Nothing of it can be traded, whatever the price. An exchange that is away may be back
        in a moment.
        """
        passes = isinstance(problem, ExchangeError) and not isinstance(problem, ExchangeRefused)
        cure = f"scripts/assets edit {watch.symbol}" if isinstance(problem, str) else None
        level = logging.WARNING if passes else logging.ERROR
        skip = Skip(f"asset cannot be traded: {problem}", level=level, cure=cure)
        self._note(watch, skip.placement)
        if not _is_traded(state):
            self.stalls.release(watch.symbol, "it is disabled and holds nothing")

    def _note_state(self, watch: SymbolWatch, state: TradingState) -> None:
        """What the newest state and quote say of what held the asset back."""
        now, heard_at = time.monotonic(), self.last_quote_at
        stream_lives = heard_at is not None and now - heard_at < self._silence_seconds
        blind_since = max(watch.received_at, self._lives_since)
        max_seconds = max(self._settings.stalled_alert_seconds, self._silence_seconds)
        is_blind = stream_lives and now - blind_since >= max_seconds
        status, wants = state.cycle.status, watch.wants_to_trade()
        if not _is_traded(state):
            self.stalls.release(watch.symbol, "it is disabled and holds nothing")
        elif status in (CycleStatus.BUYING, CycleStatus.SELLING) and not wants:
            self.stalls.trying(watch.symbol)
        elif is_blind:
            # The watchdog sees only a stream that is silent as a whole.
            reason = "no usable quote of it comes although the stream lives"
            self.stalls.hold(watch.symbol, reason, now, since=blind_since, cure=_ALPACAS_PAGE)
        elif stream_lives and not wants:
            self.stalls.release(watch.symbol, "the price asks for no order any more")

    def _usable_quote(self, watch: SymbolWatch) -> Quote | None:
        """The newest quote in Decimal, or None when it is too old to trade on."""
        max_seconds = self._settings.max_quote_age_seconds
        if watch.newest is None or time.monotonic() - watch.received_at > max_seconds:
            watch.unusable = f"its newest quote is older than {max_seconds:g} s", None
            return None
        try:
            quote = Quote.from_wire(watch.symbol, watch.newest)
        except WireError:
            watch.unusable = "its newest quote cannot be read", None
            return None
        if (datetime.now(UTC) - quote.quoted_at).total_seconds() > max_seconds:
            watch.unusable = (
                f"its quotes are older than {max_seconds:g} s when they come, by our clock",
                "set the clock of this machine: timedatectl set-ntp true",
            )
            return None
        watch.unusable = None
        return quote

    async def wait_until_idle(self) -> None:
        """Wait until no worker has anything to do (for tests)."""
        await asyncio.sleep(0)
        while self._busy or any(watch.wake.is_set() for watch in self._watches.values()):
            await (self._idle.wait() if self._busy else asyncio.sleep(0))

    async def stop(self) -> None:
        """End the workers. A placement that is under way in its thread ends by itself, bounded by
        time-outs.
        """
        tasks = [*self._workers.values(), *self._rules_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _is_traded(state: TradingState) -> bool:
    """Whether it may buy, or has coins to sell."""
    return state.asset.is_enabled or state.cycle.quantity > 0
