"""The real daemon's parts for a lockstep: they get one quote at a time, and are waited for.

Handlers, placer, trade stream, updates and the refresh of the triggers are those of trading.bot and
work over sockets and in a real database. Owns: when the bot is at rest, and that nothing but the
market and the account's limits holds a quote back then. What is missing of the daemon is what goes
by the clock: sweeps, signs of life, and the timers that end cooldowns and sample the market for the
dump guard (the lockstep's recording is their clock, and that of the limits' days).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

from config import Settings
from domain.cycle import CycleStatus
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from local_stack.exchange_process import StackError
from operations.open_cycle import request_open
from operations.refused import Refused
from strategy.order_identity import compute_client_order_id
from trading.cooldown_ends import end_cooldown
from trading.engine import build_engine
from trading.market_data_handler import MarketDataHandler
from trading.peak_saver import save_peaks
from trading.quote_watch import SymbolWatch
from trading.state_reader import StateReader
from trading.trade_update_handler import TradeUpdateHandler
from utils.alpaca_streams import AlpacaStreams
from utils.db_utils import close_thread_connection, execute_query, thread_connection
from utils.waiting import wait_for_event

T = TypeVar("T")
START_SECONDS = 30.0
REST_SECONDS = 20.0  # for the end of an order that was sent; it takes milliseconds


class LockstepBot:
    """`async with LockstepBot(settings, on_end=...) as bot`, in the loop that it works in.

    Args:
        on_end: called with each order whose end was booked.
        now: the recording's clock, which the limits go by.
        quoted_at: of the newest quote that counted, in seconds of that clock.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        on_end: Callable[[ExchangeOrder], None],
        now: Callable[[], datetime],
        quoted_at: Callable[[SymbolWatch], float],
    ) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._on_end = on_end
        engine = build_engine(settings, on_change=self._order_changed, now=now)
        self.rules, self.placer = engine.rules, engine.placer
        self.market = MarketDataHandler(settings, engine.rules, engine.placer)
        self.market.dumps.quoted_at = quoted_at
        self.updates = TradeUpdateHandler(
            engine.client,
            engine.rules,
            settings.taker_fee_rate,
            on_change=self._order_changed,
            request_sweep=self._fail,
            on_unclaimed=engine.reconciler.note_unclaimed,
            confirm_end_seconds=settings.reconcile_seconds,
        )
        self._states = StateReader(engine.rules, settings.taker_fee_rate)
        self._connected = asyncio.Event()
        self._streams = AlpacaStreams(
            settings,
            on_quote=self.market.on_crypto_quote,
            on_trade_update=self.updates.on_crypto_trade_update,
            on_trade_connect=lambda: self._call(self._connected.set),
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="lockstep-refresh")
        self._changed_symbols: set[str] = set()
        self._changed = asyncio.Event()
        self._trouble: str | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> LockstepBot:
        self._tasks = [
            asyncio.create_task(self.updates.run(), name="trade updates"),
            asyncio.create_task(self._streams.run_trade_stream(), name="trade stream"),
        ]
        await wait_for_event(self._connected, START_SECONDS)
        if not self._connected.is_set():
            await self._stop()
            raise StackError(f"the trade stream did not connect within {START_SECONDS:.0f} s")
        return self

    async def __aexit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._streams.stop()
        await self.market.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._run(close_thread_connection)
        self._thread.shutdown()

    def watch(self, symbol: str) -> SymbolWatch:
        """What the handler knows of `symbol`.

        Raises:
            KeyError: it is not watched.
        """
        return self.market.assets.by_symbol[symbol]

    def state(self, symbol: str) -> TradingState:
        """The state of `symbol` as the bot read it last."""
        state = self.watch(symbol).state
        assert state is not None, "what is played can be traded"
        return state

    async def watch_all(self, symbols: Collection[str]) -> None:
        """Read every asset and its rules, as at the daemon's start.

        Raises:
            ExchangeError, DatabaseError: they cannot be read.
            StackError: one of `symbols` cannot be traded.
        """
        for symbol in symbols:
            await self._run(partial(self.rules.get, symbol))
        await self.market.assets.take(await self._run(self._states.read_changed))
        for symbol in symbols:
            if symbol not in self.market.symbols():
                raise StackError(f"{symbol} cannot be traded with these settings")

    async def rest(self, symbol: str) -> bool:
        """Return when nothing is under way any more, and nothing holds the next quote back. Whether
        the exchange refused an order.

        Raises:
            StackError: an order was sent and its end is not booked in time.
        """
        while True:
            await self.market.wait_until_idle()
            await self.updates.wait_until_idle()
            if self._changed_symbols:
                await self.refresh(())
            elif self._awaits_order(symbol):
                await self._wait_for_change(symbol)
            else:
                break
        is_refused = any(self.placer.guard(symbol).refusals.values())
        self._end_backoffs(symbol)
        return is_refused

    async def refresh(self, symbols: Collection[str]) -> None:
        """Read these assets and those of which an order was booked."""
        symbols = {*symbols, *self._changed_symbols}
        self._changed_symbols.clear()
        self._changed.clear()
        await self.save_peaks()
        await self.market.assets.take(await self._run(lambda: self._states.read_some(symbols)))

    async def save_peaks(self) -> None:
        """What the daemon does each second."""
        if peaks := self.market.assets.peaks.take():
            await self._run(lambda: save_peaks(peaks))

    async def open(self, symbol: str) -> None:
        """What `scripts/bot open` does; what it refuses is refused."""
        asset = self.state(symbol).asset
        with suppress(Refused):
            await self._run(lambda: request_open(self._settings, asset))
        await self.refresh({symbol})

    async def date_order(self, client_order_id: str, ended_at: datetime) -> None:
        """Give the order in the journal the recording's time: what a day's limits count goes by
        it.
        """
        query = "UPDATE dca_orders SET ended_at = %s WHERE client_order_id = %s"
        await self._run(
            lambda: execute_query(
                query, (ended_at, client_order_id), commit=True, db_conn=thread_connection()
            )
        )

    def cools_down(self, symbol: str) -> bool:
        return self.state(symbol).cycle.status is CycleStatus.COOLDOWN

    async def end_cooldown(self, symbol: str) -> None:
        """What the daemon's timer does when the cooldown is over; the caller says that it is.

        Raises:
            StackError: the row is not as it was read.
        """
        cooldown = self.market.assets.cooldowns[symbol]
        until = cooldown.cooldown_until
        assert until is not None, "a cooldown follows a cycle that ended"
        if not await self._run(lambda: end_cooldown(cooldown, until, "lockstep")):
            raise StackError(f"the cooldown of {symbol} did not end")
        await self.refresh({symbol})

    def _awaits_order(self, symbol: str) -> bool:
        """Whether an order was sent for the very state that the bot knows."""
        identity = compute_client_order_id(self.state(symbol).cycle)
        return self.placer.guard(symbol).is_waiting_for(identity)

    async def _wait_for_change(self, symbol: str) -> None:
        await wait_for_event(self._changed, REST_SECONDS)
        if not self._changed.is_set():
            reason = self._trouble or f"it was not told within {REST_SECONDS:.0f} s"
            raise StackError(f"the end of an order of {symbol} was not booked: {reason}")

    def _end_backoffs(self, symbol: str) -> None:
        """Their seconds are of this machine's clock, which says nothing of the recording's."""
        watch, guard = self.watch(symbol), self.placer.guard(symbol)
        for side in Side:
            guard.succeeded(side)
        self.market.assets.end_backoff(watch)
        if watch.exits is not None:
            watch.exits.confirms_at = 0.0

    # Called from any thread.

    def _order_changed(self, order: ExchangeOrder) -> None:
        self._call(lambda: self._note_change(order))

    def _note_change(self, order: ExchangeOrder) -> None:
        self.market.order_changed(order)
        self._changed_symbols.add(order.symbol)
        self._changed.set()
        if order.is_ended:
            self._on_end(order)

    def _fail(self, reason: str) -> None:
        self._trouble = reason

    def _call(self, function: Callable[[], Any]) -> None:
        self._loop.call_soon_threadsafe(function)

    async def _run(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._thread, work)
