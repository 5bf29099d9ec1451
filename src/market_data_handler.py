"""Quotes in, crossed triggers out: newest quote per symbol -> strategy -> an order. Phases 4 to 6
of the plan.

Owns: one worker per symbol that never overlaps itself, and what of its quotes is told. A quote
costs a few comparisons (symbol_watch); everything slow runs in the worker's thread. Writes nothing
to the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from config import Settings
from models.cycle_data import CycleStatus, DcaCycle
from models.exchange import AssetRules, ExchangeOrder, Quote, Side, WireError
from models.trading_state import TradingState
from order_placement import OrderPlacer, Outcome, Placement
from strategy.asset_checks import find_state_problem
from strategy.triggers import NEVER, compute_triggers
from symbol_watch import SymbolWatch
from utils.alpaca_client_rest import ExchangeError
from utils.asset_rules_cache import AssetRulesCache
from utils.db_utils import DatabaseError
from utils.logging_setup import log_event

log = logging.getLogger(__name__)

DATABASE_WAIT_SECONDS = 2.0
FAILURE_WAIT_SECONDS = 30.0
RULES_THREADS = 4  # for the few symbols that the list of all rules does not bring
LATE_SECONDS = 60.0  # quotes that are late for so long are no hiccup
_INFINITY = float("inf")


class MarketDataHandler:
    """`on_crypto_quote` for the data stream, and one worker per symbol behind it."""

    def __init__(self, settings: Settings, rules: AssetRulesCache, placer: OrderPlacer) -> None:
        self._settings = settings
        self._rules = rules
        self._placer = placer
        self._silence_seconds = settings.stream_silence_seconds
        self._watches: dict[str, SymbolWatch] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._rules_threads = ThreadPoolExecutor(RULES_THREADS, thread_name_prefix="bot-rules")
        self._buy_turn = asyncio.Lock()
        self._idle = asyncio.Event()
        self._idle.set()
        self._busy = 0
        self.last_quote_at: float | None = None  # monotonic seconds, for the heartbeat
        self._lives_since = 0.0  # since when the stream as a whole is not silent

    async def on_crypto_quote(self, q: Any) -> None:
        """Take one quote: a raw dict of the wire or the SDK's `Quote`.

        Never raises, never waits.
        """
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
            log.debug("quote.malformed reason=%s", type(error).__name__)

    def symbols(self) -> set[str]:
        """The symbols that can be traded: what the exchange does not know is not subscribed."""
        return {symbol for symbol, watch in self._watches.items() if watch.state is not None}

    def state_of(self, symbol: str) -> TradingState | None:
        """What the triggers of `symbol` were last computed from."""
        watch = self._watches.get(symbol)
        return watch.state if watch else None

    async def refresh(self, states: Iterable[TradingState]) -> None:
        """Compute the triggers anew from what the database says; starts watching new assets."""
        states = list(states)
        found = await asyncio.gather(*(self._rules_of(state) for state in states))
        present = set()
        for state, rules in zip(states, found, strict=True):
            symbol = state.asset.asset_symbol
            present.add(symbol)
            watch = self._watch(symbol)
            problem = find_state_problem(state)
            if not state.other_symbol and (problem or isinstance(rules, AssetRules)):
                self._wake_to_close(watch, state.cycle)
            if problem:
                watch.set_triggers(NEVER)
                self._note(watch, f"asset cannot be traded: {problem}", logging.ERROR)
                continue
            if not isinstance(rules, AssetRules):
                self._note(watch, f"asset cannot be traded: {rules}", logging.ERROR)
                continue
            watch.state = state
            triggers = compute_triggers(state, rules, self._settings.taker_fee_rate)
            if triggers.buy_not_before and datetime.now(UTC) < triggers.buy_not_before:
                triggers = replace(triggers, buy_at_or_below=None)  # the next refresh looks again
            watch.set_triggers(triggers)
            if state.asset.is_enabled or state.cycle.quantity > 0:
                self._note_silence(watch)
        for symbol in self._watches.keys() - present:
            self._watches[symbol].set_triggers(NEVER)

    async def _rules_of(self, state: TradingState) -> AssetRules | ExchangeError | None:
        """All at once: one that the exchange is slow to tell must not keep the others waiting."""
        if find_state_problem(state):
            return None
        try:
            symbol, loop = state.asset.asset_symbol, asyncio.get_running_loop()
            return self._rules.find(symbol) or await loop.run_in_executor(
                self._rules_threads, self._rules.get, symbol
            )
        except ExchangeError as error:
            return error

    def _wake_to_close(self, watch: SymbolWatch, cycle: DcaCycle) -> None:
        """What the user wants sold now waits for no quote, and for no better configuration.

        Not where it could not be sold anyway, which is said already.
        """
        rests = time.monotonic() < watch.quiet_until[Side.SELL]
        if cycle.close_requested and cycle.status is CycleStatus.WATCHING and not rests:
            watch.wake.set()

    def order_changed(self, order: ExchangeOrder) -> None:
        """An order's state was written.

        The next quote may act at once; rejections make the symbol rest.
        """
        guard, now = self._placer.guard(order.symbol), time.monotonic()
        if order.status == "rejected":
            guard.refused(order.side, now)
        elif order.is_ended and order.filled_qty > 0:
            guard.succeeded(order.side)
        if watch := self._watches.get(order.symbol):
            for side in Side:
                watch.quiet_until[side] = now + guard.seconds_until_allowed(side, now)

    def _watch(self, symbol: str) -> SymbolWatch:
        if symbol not in self._watches:
            watch = SymbolWatch(symbol, self._settings.max_quote_jump_percent)
            self._watches[symbol] = watch
            self._workers[symbol] = asyncio.create_task(self._work(watch), name=f"worker {symbol}")
        return self._watches[symbol]

    async def _work(self, watch: SymbolWatch) -> None:
        """Look once per wake-up. One sick symbol rests, the others go on."""
        while True:
            await watch.wake.wait()
            watch.wake.clear()
            self._busy += 1
            self._idle.clear()
            try:
                placement = await self._consider(watch)
            except DatabaseError as error:
                placement = Placement(
                    outcome=Outcome.SKIPPED, reason=str(error), quiet_seconds=DATABASE_WAIT_SECONDS
                )
            except Exception:  # the top of a task: one symbol's fault must not end the others
                log.exception("worker.failed symbol=%s", watch.symbol)
                placement = Placement(
                    outcome=Outcome.SKIPPED, reason="see above", quiet_seconds=FAILURE_WAIT_SECONDS
                )
            finally:
                self._busy -= 1
                if self._busy == 0:
                    self._idle.set()
            for side in (placement.side,) if placement.side else Side:
                until = time.monotonic() + placement.quiet_seconds
                watch.quiet_until[side] = max(watch.quiet_until[side], until)
            self._report(watch, placement)

    async def _consider(self, watch: SymbolWatch) -> Placement:
        """Where a buy limit is set, buys have their turn one after another: whoever waits for it
        holds no thread, or sells and bookings would wait for buyers.
        """
        consider = partial(self._placer.consider, watch.symbol, lambda: self._usable_quote(watch))
        placement = await asyncio.to_thread(consider)
        if placement.outcome is not Outcome.NEEDS_TURN:
            return placement
        async with self._buy_turn:
            return await asyncio.to_thread(consider, has_turn=True)

    def _report(self, watch: SymbolWatch, placement: Placement) -> None:
        if placement.outcome is Outcome.SKIPPED:
            self._note(watch, placement.reason, placement.level)
        elif placement.outcome is not Outcome.WAITING:
            watch.last_reason = ""

    def _note(self, watch: SymbolWatch, reason: str, level: int) -> None:
        """A reason to wait is logged when it changes."""
        if reason != watch.last_reason:
            watch.last_reason = reason
            log_event(log, level, "order.skipped", symbol=watch.symbol, reason=reason)

    def _usable_quote(self, watch: SymbolWatch) -> Quote | None:
        """The newest quote in Decimal, or None when it is too old to trade on."""
        age_seconds = time.monotonic() - watch.received_at
        if watch.newest is None or age_seconds > self._settings.max_quote_age_seconds:
            return None
        try:
            quote = Quote.from_wire(watch.symbol, watch.newest)
        except WireError:
            return None
        age_seconds = (datetime.now(UTC) - quote.quoted_at).total_seconds()
        if age_seconds > self._settings.max_quote_age_seconds:
            self._note_late(watch, age_seconds)
            return None
        watch.late_since = None
        return quote

    def _note_silence(self, watch: SymbolWatch) -> None:
        """A symbol without usable quotes while the stream lives: the watchdog sees only a stream
        that is silent as a whole.
        """
        now = time.monotonic()
        silent_seconds = now - max(watch.received_at, self._lives_since)
        is_silent = silent_seconds >= self._settings.stream_lost_seconds
        heard_at = self.last_quote_at if self.last_quote_at is not None else -_INFINITY
        stream_lives = now - heard_at < self._silence_seconds
        if is_silent == watch.is_silent or (is_silent and not stream_lives):
            return
        watch.is_silent = is_silent
        log_event(
            log,
            logging.WARNING,
            "quotes.missing" if is_silent else "quotes.back",
            mail=True,
            symbol=watch.symbol,
            reason=f"none that is usable for {silent_seconds:.0f} s although its stream lives:"
            " it is not traded meanwhile"
            if is_silent
            else None,
        )

    def _note_late(self, watch: SymbolWatch, age_seconds: float) -> None:
        """A quote that came just now is old. When that lasts, nothing is traded: say so once."""
        now = time.monotonic()
        if watch.late_since is None:
            watch.late_since = now
        elif 0 < watch.late_since < now - LATE_SECONDS:
            watch.late_since = -_INFINITY
            log_event(
                log,
                logging.ERROR,
                "quotes.late",
                symbol=watch.symbol,
                seconds=round(age_seconds),
                reason="nothing is traded on quotes this old: check the clock of this machine",
            )

    async def settled(self) -> None:
        """Wait until no worker has anything to do (for tests and the end of the program)."""
        await asyncio.sleep(0)
        while self._busy or any(watch.wake.is_set() for watch in self._watches.values()):
            await (self._idle.wait() if self._busy else asyncio.sleep(0))

    async def stop(self) -> None:
        """End the workers. A placement that is under way in its thread ends by itself, bounded by
        time-outs.
        """
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
