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
from collections.abc import Iterable
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
from strategy.asset_checks import find_state_problem
from strategy.triggers import NEVER, compute_triggers
from trading.asset_rules_cache import AssetRulesCache
from trading.order_placement import OrderPlacer
from trading.placement import Outcome, Placement, Skip
from trading.quote_watch import SymbolWatch
from trading.stall_watch import StallWatch
from utils.alpaca_client_rest import ExchangeError, ExchangeRefused
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event
from utils.ready_threads import ReadyThreads

log = logging.getLogger(__name__)

DATABASE_WAIT_SECONDS = 2.0
FAILURE_WAIT_SECONDS = 30.0
THREADS = 16  # for buys, and as many for sales: each symbol may have a slow request under way
RULES_THREADS = 4  # for the few symbols that the list of all rules does not bring
_ALPACAS_PAGE = "look at the coin on Alpaca's page"


class MarketDataHandler:
    """`on_crypto_quote` for the data stream, and one worker per symbol behind it."""

    def __init__(self, settings: Settings, rules: AssetRulesCache, placer: OrderPlacer) -> None:
        self._settings = settings
        self._rules = rules
        self._placer = placer
        self._silence_seconds = settings.stream_silence_seconds
        self.stalls = StallWatch(settings.stalled_alert_seconds)
        self._watches: dict[str, SymbolWatch] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._rules_threads = ThreadPoolExecutor(RULES_THREADS, thread_name_prefix="bot-rules")
        # Each with threads of their own: no sale waits until slow buys have ended.
        self._buy_threads = ReadyThreads("bot-buys", THREADS)
        self._sell_threads = ReadyThreads("bot-sells", THREADS)
        self._buy_turn = asyncio.Lock()
        self._waiting_for_turn = 0
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
        """Compute the triggers anew from what the database says; starts watching new assets."""
        states = list(states)
        found = await asyncio.gather(*(self._rules_of(state) for state in states))
        present = set()
        for state, rules in zip(states, found, strict=True):
            symbol = state.asset.asset_symbol
            present.add(symbol)
            watch = self._watch(symbol)
            if not state.other_symbol and not isinstance(rules, ExchangeError):
                self._wake_to_close(watch, state.cycle)
            if not isinstance(rules, AssetRules):
                if isinstance(rules, str):
                    watch.set_triggers(NEVER)
                self._note_untradable(watch, state, rules)
                continue
            if watch.state is not None and watch.state.asset != state.asset:
                self._end_backoff(watch)  # what kept it from trading may be cured
            watch.state = state
            triggers = compute_triggers(state, rules, self._settings.taker_fee_rate)
            if triggers.buy_not_before and datetime.now(UTC) < triggers.buy_not_before:
                triggers = replace(triggers, buy_at_or_below=None)  # until a later refresh
            watch.set_triggers(triggers)
            self._note_state(watch, state)
        for symbol in self._watches.keys() - present:
            self._watches[symbol].set_triggers(NEVER)
            self.stalls.release(symbol, "it is configured no more")

    async def _rules_of(self, state: TradingState) -> AssetRules | ExchangeError | str:
        """For all at once: a slow answer about one must not keep the others waiting. A text says
        why nothing was asked: the state itself cannot be traded.
        """
        if problem := find_state_problem(state):
            return problem
        try:
            symbol, loop = state.asset.asset_symbol, asyncio.get_running_loop()
            if known := self._rules.find(symbol):
                return known
            return await loop.run_in_executor(self._rules_threads, self._rules.get, symbol)
        except ExchangeError as error:
            return error

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
            self._buy_threads.make_ready()
            self._sell_threads.make_ready()
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
        """Where a buy limit is set, buys take turns. Who waits for a turn holds no thread, or
        buyers would wait for buyers, and does not keep its own symbol from a sale.
        """
        has_turn = not _wants_sale(watch) and await self._take_free_turn()
        while True:
            threads = self._sell_threads if _wants_sale(watch) else self._buy_threads
            consider = partial(
                self._placer.consider,
                watch.symbol,
                lambda: self._usable_quote(watch),
                has_turn=has_turn,
                known=watch.state,
            )
            try:
                placement = await threads.run(consider)
            finally:
                if has_turn:
                    self._buy_turn.release()
            if placement.outcome is not Outcome.NEEDS_TURN:
                return placement
            has_turn = await self._wait_for_turn(watch)

    async def _take_free_turn(self) -> bool:
        """The turn to buy, where there are turns and nobody has it or waits for it."""
        if not self._placer.limits.has_buy_limits:
            return False
        if self._buy_turn.locked() or self._waiting_for_turn:
            return False
        return await self._buy_turn.acquire()

    async def _wait_for_turn(self, watch: SymbolWatch) -> bool:
        """True with the turn to buy; False without it, when a quote reaches the sell trigger."""
        turn = asyncio.create_task(self._buy_turn.acquire())
        wake = asyncio.create_task(watch.wake.wait())
        has_turn = False
        self._waiting_for_turn += 1
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
            self._waiting_for_turn -= 1
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
        for worker in self._workers.values():
            worker.cancel()
        await asyncio.gather(*self._workers.values(), return_exceptions=True)
        self._buy_threads.stop()
        self._sell_threads.stop()


def _wants_sale(watch: SymbolWatch) -> bool:
    """Whether its newest quote asks for a sale, or the user does, whatever the price."""
    is_to_be_closed = watch.state is not None and watch.state.cycle.close_requested
    return watch.bid >= watch.sell_above or is_to_be_closed


def _is_traded(state: TradingState) -> bool:
    """Whether it may buy, or has coins to sell."""
    return state.asset.is_enabled or state.cycle.quantity > 0
