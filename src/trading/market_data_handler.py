"""Quotes in, crossed triggers out: newest quote per symbol -> strategy -> an order. Phases 4 to 6
of the plan.

Owns: one worker per symbol that never overlaps itself. A quote costs a few comparisons
(quote_watch); everything slow runs in the worker's thread. Writes nothing to the database.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from config import Settings
from domain.market import Quote
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from domain.wire import WireError
from trading.asset_rules_cache import AssetRulesCache
from trading.asset_watches import AssetWatches
from trading.dump_guard import DumpGuard
from trading.order_placement import OrderPlacer
from trading.placement import Outcome, Placement, Skip
from trading.quote_watch import SymbolWatch
from trading.rehearsal import rehearse
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event
from utils.ready_threads import ReadyThreads

log = logging.getLogger(__name__)

DATABASE_WAIT_SECONDS = 2.0
FAILURE_WAIT_SECONDS = 30.0
THREADS = 8  # for buys, and as many for sales: a symbol may have a slow request under way


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
        self._placer = placer
        self._silence_seconds = settings.stream_silence_seconds
        self.assets = AssetWatches(
            settings,
            rules,
            guard=lambda symbol: placer.guard(symbol),
            quotes_live_since=self._quotes_live_since,
            on_watch=self._start_worker,
            on_rules=on_rules,
        )
        self.stalls, self._watches = self.assets.stalls, self.assets.by_symbol
        placer.limits.losses.fresh_bid_of = self._fresh_bid
        self.dumps = DumpGuard(settings, placer.limits.losses.pause, self._watches)
        self._workers: dict[str, asyncio.Task[None]] = {}
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
            last_at = self.last_quote_at
            if last_at is None or now - last_at > self._silence_seconds:
                self._lives_since = now
            self.last_quote_at = now
            if watch.accept(q, bid, ask, now):
                watch.wake.set()
        except (KeyError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
            log_event(log, LogEvent.QUOTE_MALFORMED, reason=type(error).__name__)

    def _quotes_live_since(self) -> float | None:
        """Since when the stream as a whole is not silent; None while it is."""
        heard_at = self.last_quote_at
        is_silent = heard_at is None or time.monotonic() - heard_at >= self._silence_seconds
        return None if is_silent else self._lives_since

    def symbols(self) -> set[str]:
        """The symbols that can be traded."""
        return self.assets.symbols()

    async def refresh(self, states: Iterable[TradingState]) -> None:
        """See `AssetWatches`."""
        await self.assets.refresh(states)

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
        self.assets.end_backoff(watch)
        if order.status == "rejected":
            reason = f"the exchange rejects its {order.side} orders"
            self.stalls.hold(order.symbol, reason, now, cure="see why on Alpaca's page")

    async def rehearse(self) -> bool:
        """Have the threads for buys and those for sales read and ask what comes before an order,
        in turn, or they would ask more at once than an order does. False: nothing can be traded.
        """
        states = (watch.state for watch in self._watches.values())
        if (state := next(filter(None, states), None)) is None:
            return False
        for threads, side in ((self._sell_threads, Side.SELL), (self._buy_threads, Side.BUY)):
            await threads.rehearse(partial(rehearse, self._placer.client, state, side))
        return True

    def _start_worker(self, watch: SymbolWatch) -> None:
        self._buy_threads.make_ready()
        self._sell_threads.make_ready()
        worker = asyncio.create_task(self._work(watch), name=f"worker {watch.symbol}")
        self._workers[watch.symbol] = worker

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
                track=lambda: watch.track,
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
                if watch.wants_sale():
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
                self.assets.note(watch, placement)
                return
            case Outcome.REFUSED | Outcome.UNKNOWN:
                # Unknown, too: an order without an answer for hours trades nothing. A fill ends it.
                self.assets.hold(watch, placement)
            case Outcome.SENT:
                self.stalls.trying(watch.symbol)
            case Outcome.FOLLOWED:
                self._follow(watch, placement)
            case Outcome.FIRED:
                watch.wake.set()  # its sale waits for no other quote
            case Outcome.WAITING:
                return
        watch.last_reason = ""

    def _follow(self, watch: SymbolWatch, placement: Placement) -> None:
        """The sale follows a peak from here on."""
        if watch.exits is not None and placement.track is not None:
            watch.exits.confirm(placement.track, time.monotonic())
            watch.exits_changed()

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

    def _fresh_bid(self, symbol: str) -> Decimal | None:
        """The bid of the newest quote, if an order could be decided on that. Called by workers."""
        max_seconds, watch = self._settings.max_quote_age_seconds, self._watches.get(symbol)
        if watch is None or watch.newest is None:
            return None
        if time.monotonic() - watch.received_at > max_seconds:
            return None
        try:
            quote = Quote.from_wire(symbol, watch.newest)
        except WireError:
            return None
        is_old = (datetime.now(UTC) - quote.quoted_at).total_seconds() > max_seconds
        return None if is_old else quote.bid

    async def wait_until_idle(self) -> None:
        """Wait until no worker has anything to do (for tests)."""
        await asyncio.sleep(0)
        while self._busy or any(watch.wake.is_set() for watch in self._watches.values()):
            await (self._idle.wait() if self._busy else asyncio.sleep(0))

    async def stop(self) -> None:
        """End the workers. A placement that is under way in its thread ends by itself, bounded by
        time-outs.
        """
        tasks = [*self._workers.values(), *self.assets.rules_tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.dumps.stop()
        self._buy_threads.stop()
        self._sell_threads.stop()


def _wants_sale(watch: SymbolWatch) -> bool:
    """Whether its newest quote asks for a sale, or it is to be sold whatever the price."""
    is_to_be_closed = watch.state is not None and watch.state.cycle.sells_now
    return watch.wants_sale() or is_to_be_closed
