"""The running bot: its parts and the side tasks that keep them true.

Owns: when it recovers, sweeps, refreshes its triggers, beats and stops. Decides nothing about an
order.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from config import Settings, notify_socket
from domain.orders import ExchangeOrder
from runtime.account_lock import LOCK_IDLE_SECONDS, AccountLock
from runtime.env_of_daemon import read_daemon_settings
from runtime.heartbeat import Heartbeat, save_heartbeat
from runtime.memory import give_memory_back
from runtime.pid_file import AlreadyRunning
from runtime.service_notify import ServiceManager
from trading.cooldown_ends import CooldownTimer
from trading.engine import build_engine
from trading.market_data_handler import MarketDataHandler
from trading.order_lists import LATE_FILL_WINDOW
from trading.peak_saver import SAVE_SECONDS, save_peaks
from trading.stall_watch import THE_DAEMON, log_edges
from trading.state_reader import StateReader
from trading.sweep_result import EVENT_DUE, SweepResult, find_missed, log_sweep
from trading.trade_update_handler import TradeUpdateHandler
from utils.alpaca_client_rest import ExchangeError, keep_connections_warm
from utils.alpaca_streams import AlpacaStreams, Handler
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event
from utils.state_file import read_boot_id
from utils.waiting import wait_for_event

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
SHUTDOWN_SECONDS = 5.0
WARM_SECONDS = 2.0  # a server that closes what is idle is noticed so soon


class Bot:
    """The parts of a running daemon and the side tasks that keep them true."""

    def __init__(
        self, settings: Settings, account_id: str, *, on_quote: Handler, on_trade_update: Handler
    ) -> None:
        self._settings = settings
        self._env_settings = read_daemon_settings()
        self._loop = asyncio.get_running_loop()
        engine = build_engine(
            settings, why_no_orders=self._why_no_orders, on_change=self._order_changed
        )
        self.reconciler = engine.reconciler
        self.market = MarketDataHandler(
            settings, engine.rules, engine.placer, on_rules=self._request_refresh
        )
        self.cooldowns = CooldownTimer(self.market.assets.cooldowns, self._refresh_one)
        self._states = StateReader(engine.rules, settings.taker_fee_rate)
        self.updates = TradeUpdateHandler(
            engine.client,
            engine.rules,
            settings.taker_fee_rate,
            on_change=self._order_changed,
            request_sweep=self._request_sweep,
            on_unclaimed=self.reconciler.note_unclaimed,
            confirm_end_seconds=settings.reconcile_seconds,
        )
        self.streams = AlpacaStreams(
            settings,
            on_quote=on_quote,
            on_trade_update=on_trade_update,
            on_trade_connect=self._request_recovery,
        )
        self._account_lock = AccountLock(account_id)
        self._manager = ServiceManager(notify_socket())
        # Signs of life, sweeps and refreshes wait for no slow request of the symbols.
        self._own_threads = ThreadPoolExecutor(2, thread_name_prefix="bot-own")
        self._sweep_thread = ThreadPoolExecutor(1, thread_name_prefix="bot-sweeps")
        self._refresh_thread = ThreadPoolExecutor(1, thread_name_prefix="bot-refresh")
        self._warm_thread = ThreadPoolExecutor(1, thread_name_prefix="bot-warm")
        self._lock_trouble: str | None = None
        self._is_stopping = False
        self._recovered = False
        self._recovery_wanted = True
        self._sweep_wanted = asyncio.Event()
        self._refresh_wanted = asyncio.Event()
        self._changed_symbols: set[str] = set()
        self._refresh_due_at = 0.0  # monotonic seconds: of all that changed
        self._started_at = time.monotonic()
        self._last_sweep_at: float | None = None
        self._troubles: dict[LogEvent, str] = {}

    # Called from any thread.

    def _request_sweep(self, reason: str) -> None:
        log_event(log, LogEvent.SWEEP_REQUESTED, reason=reason)
        self._loop.call_soon_threadsafe(self._sweep_wanted.set)

    def _order_changed(self, order: ExchangeOrder) -> None:
        self._loop.call_soon_threadsafe(self._refresh_one, order.symbol)
        self._loop.call_soon_threadsafe(self.market.order_changed, order)

    def _why_no_orders(self) -> str | None:
        if self._is_stopping:
            return "stopping"
        if not self._recovered:
            return "start-up recovery has not finished"
        return self._lock_trouble

    # Called in the event loop.

    def _request_recovery(self) -> None:
        self._recovery_wanted = True
        self._sweep_wanted.set()

    def _request_refresh(self) -> None:
        self._refresh_due_at = 0.0
        self._refresh_wanted.set()

    def _refresh_one(self, symbol: str) -> None:
        self._changed_symbols.add(symbol)
        self._refresh_wanted.set()

    def take_account(self) -> bool:
        """Whether this daemon is the only one on the account. Blocking."""
        return self._account_lock.hold()

    async def keep_reconciled(self) -> None:
        """Recover at the start and after each connect; sweep every RECONCILE_SECONDS."""
        while True:
            self._sweep_wanted.clear()
            wants_recovery = self._recovery_wanted or self._has_missed_sweeps()
            self._recovery_wanted = False
            work = self.reconciler.recover if wants_recovery else self.reconciler.sweep
            try:
                result = await self._loop.run_in_executor(self._sweep_thread, _tidily, work)
            except (ExchangeError, DatabaseError) as error:
                self._recovery_wanted |= wants_recovery
                self._note_edge(LogEvent.SWEEP_POSTPONED, LogEvent.SWEEP_RESUMED, error)
                await asyncio.sleep(RETRY_SECONDS)
                self._sweep_wanted.set()
                continue
            self._last_sweep_at = time.monotonic()
            self._note_edge(LogEvent.SWEEP_POSTPONED, LogEvent.SWEEP_RESUMED, None)
            source = "recovery" if wants_recovery else "sweep"
            log_sweep(result, source, datetime.now(UTC))
            if not self._recovered:
                self._recovered = True
                log_event(log, LogEvent.RECOVERY_FINISHED, orders=result.orders_seen)
            self._request_refresh()
            await self._reconnect_if_stalled(result)
            await wait_for_event(self._sweep_wanted, self._settings.reconcile_seconds)

    def _note_edge(self, begun: LogEvent, ended: LogEvent, error: Exception | None) -> None:
        """What fails every few seconds in an outage is logged when that begins and when it ends."""
        if (error is None) is (begun in self._troubles):
            log_event(log, ended if error is None else begun, reason=error)
        self._troubles.pop(begun, None)
        if error is not None:
            self._troubles[begun] = str(error)

    def _has_missed_sweeps(self) -> bool:
        """A sweep reads the last hour: after a longer outage only a recovery finds everything."""
        last = self._last_sweep_at
        return last is not None and time.monotonic() - last > LATE_FILL_WINDOW.total_seconds() / 2

    async def _reconnect_if_stalled(self, result: SweepResult) -> None:
        """A connected stream that did not send what a sweep found is stalled."""
        health = self.streams.trade_health
        missed = find_missed(result.changed, datetime.now(UTC))
        silent_seconds = time.monotonic() - (health.last_message_at or 0.0)
        if missed and health.is_connected and silent_seconds > EVENT_DUE.total_seconds():
            await self.streams.reconnect_trade_stream("stalled: a sweep found what it did not send")

    async def keep_triggers_fresh(self) -> None:
        """Read what changed in the database every few seconds, and the asset of an order at once;
        subscribe new assets.
        """
        while True:
            self._refresh_wanted.clear()
            symbols, self._changed_symbols = self._changed_symbols, set()
            is_due = time.monotonic() >= self._refresh_due_at
            if is_due:  # first: who wants one meanwhile gets another
                self._refresh_due_at = time.monotonic() + self._settings.refresh_seconds
            try:
                reader = self._states
                work = reader.read_some if symbols and not is_due else reader.read_changed
                changes = await self._loop.run_in_executor(self._refresh_thread, work, symbols)
                await self.market.assets.take(changes)
                self.cooldowns.states_read.set()
                await self.streams.watch(self.market.symbols())
                self._note_edge(LogEvent.REFRESH_POSTPONED, LogEvent.REFRESH_RESUMED, None)
            except DatabaseError as error:
                self._note_edge(LogEvent.REFRESH_POSTPONED, LogEvent.REFRESH_RESUMED, error)
                self._changed_symbols |= symbols
            wait_seconds = max(0.0, self._refresh_due_at - time.monotonic())
            await wait_for_event(self._refresh_wanted, wait_seconds)

    async def keep_peaks_saved(self) -> None:
        """Save the peaks of take profits that trail, a second after they rose at the latest."""
        risen = self.market.assets.peaks
        while True:
            await risen.waits.wait()
            peaks = risen.take()
            try:
                await self._loop.run_in_executor(self._refresh_thread, save_peaks, peaks)
                self._note_edge(LogEvent.PEAKS_POSTPONED, LogEvent.PEAKS_RESUMED, None)
            except DatabaseError as error:
                risen.put_back(peaks)
                self._note_edge(LogEvent.PEAKS_POSTPONED, LogEvent.PEAKS_RESUMED, error)
            await asyncio.sleep(SAVE_SECONDS)

    async def keep_warm(self) -> None:
        """Have ready what the next order needs, however long ago the last one was, if ever."""
        await asyncio.gather(self._keep_connections_warm(), self._rehearse())

    async def _rehearse(self) -> None:
        """Once, after the start-up recovery, as soon as there is an asset that can be traded."""
        while not (self._recovered and await self.market.rehearse()):
            await asyncio.sleep(WARM_SECONDS)

    async def _keep_connections_warm(self) -> None:
        while True:
            await self._loop.run_in_executor(self._warm_thread, keep_connections_warm)
            await asyncio.sleep(WARM_SECONDS)

    async def keep_account(self) -> None:
        """Hold the account's lock, often enough that the server does not end our session."""
        while True:
            await self._check_account_lock()
            await asyncio.sleep(min(self._settings.heartbeat_seconds, LOCK_IDLE_SECONDS / 4))

    async def keep_beating(self) -> None:
        """Write the heartbeat. Waits for no database: a database that hangs is no hung daemon."""
        while True:
            beat = self._heartbeat()
            self._manager.beat(beat.state, self._settings.heartbeat_max_age_seconds)
            try:
                await self._loop.run_in_executor(
                    self._own_threads, save_heartbeat, self._settings.run_dir, beat
                )
            except OSError as error:
                log_event(log, LogEvent.HEARTBEAT_FAILED, reason=error)
            await asyncio.sleep(self._settings.heartbeat_seconds)

    async def _check_account_lock(self) -> None:
        is_taken = False
        try:
            is_taken = not await self._loop.run_in_executor(
                self._own_threads, self._account_lock.hold
            )
            trouble = "another daemon has taken the account" if is_taken else None
        except DatabaseError as error:
            trouble = f"cannot hold the account's lock: {error}"
        if trouble != self._lock_trouble:
            log_event(
                log, LogEvent.ORDERS_HALTED if trouble else LogEvent.ORDERS_RESUMED, reason=trouble
            )
            self._lock_trouble = trouble
        if is_taken:
            raise AlreadyRunning(trouble)

    def _note_stall(self, now: float) -> None:
        """Whether the daemon as a whole is held back, and the alerts that are due."""
        stalls = self.market.stalls
        compared_at = self._last_sweep_at or self._started_at
        if self._lock_trouble:
            stalls.hold(THE_DAEMON, self._lock_trouble, now, cure="is the database up?")
        elif now - compared_at > self._settings.sweep_overdue_seconds:
            trouble = self._troubles.get(LogEvent.SWEEP_POSTPONED, "it takes longer than that")
            reason = f"it cannot compare with the exchange: {trouble}"
            cure = "it goes on trying by itself; scripts/doctor"
            stalls.hold(THE_DAEMON, reason, now, since=compared_at, cure=cure)
        else:
            stalls.release(THE_DAEMON, "it compares with the exchange again")
        log_edges(stalls.edges(now))

    def _heartbeat(self) -> Heartbeat:
        now = time.monotonic()
        self._note_stall(now)
        reason = self._why_no_orders()
        falls = self.market.dumps.falls
        state = "recovering" if not self._recovered else "halted" if reason else "trading"
        return Heartbeat(
            pid=os.getpid(),
            boot_id=read_boot_id(),
            beat_at=now,
            started_at=self._started_at,
            state=state,
            reason=reason,
            data_stream_connected=self.streams.data_health.is_connected,
            trade_stream_connected=self.streams.trade_health.is_connected,
            data_stream_lost_at=self.streams.data_health.lost_at,
            trade_stream_lost_at=self.streams.trade_health.lost_at,
            last_quote_at=self.market.last_quote_at,
            last_update_at=self.streams.trade_health.last_message_at,
            last_sweep_at=self._last_sweep_at,
            symbols=sorted(self.market.symbols()),
            held_back=self.market.stalls.held_back(),
            assets_fallen=len(falls.fallen) if falls else None,
            assets_needed=falls.needed if falls else None,
            settings=self._env_settings,
        )

    async def stop(self) -> None:
        """End the streams and the workers, within a bound."""
        self._is_stopping = True
        self._manager.stop()
        try:
            await asyncio.wait_for(
                asyncio.gather(self.streams.stop(), self.market.stop()), SHUTDOWN_SECONDS
            )
        except TimeoutError:
            log_event(log, LogEvent.STOP_HURRIED, seconds=SHUTDOWN_SECONDS)


def _tidily(work: Callable[[], SweepResult]) -> SweepResult:
    """A sweep reads thousands of orders on a lively day: what it needed for that goes back."""
    try:
        return work()
    finally:
        give_memory_back()
