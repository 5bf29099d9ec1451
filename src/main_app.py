"""The daemon: `python src/main_app.py`. Composition root and lifecycle: settings, recover, run both
streams, stop.

Wires the rooms together and decides nothing. Exit codes: 0 asked to stop, 1 could not go on (the
watchdog starts it again), 2 settings, 3 another daemon runs.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import utils.own_python  # noqa: F401 - first: what follows needs the packages

# isort: split
from buy_limits import BuyLimits
from config import Settings, SettingsError, find_loose_permissions, get_settings
from market_data_handler import MarketDataHandler
from models.exchange import ExchangeOrder
from models.meta import ForeignDatabase, check_schema, claim_account
from models.trading_state import TradingState, load_all_trading_states
from order_lists import SECOND_LOOK
from order_placement import OrderPlacer
from reconciler import EVENT_DUE, Reconciler, SweepResult, find_untold, log_sweep
from stall_watch import THE_DAEMON, log_edges
from trade_update_handler import TradeUpdateHandler
from utils.account_lock import LOCK_IDLE_SECONDS, AccountLock
from utils.alpaca_client_rest import ExchangeError, fetch_account_id, get_trading_client
from utils.alpaca_streams import AlpacaStreams
from utils.asset_rules_cache import AssetRulesCache
from utils.core_files import forbid_core_files
from utils.db_utils import DatabaseError, thread_connection
from utils.heartbeat import Heartbeat, read_boot_id, save_heartbeat
from utils.logging_setup import log_event, setup_logging
from utils.pid_file import AlreadyRunning, PidFile
from utils.waiting import wait_for_event

log = logging.getLogger("main_app")
T = TypeVar("T")

EXIT_STOPPED, EXIT_FAILED, EXIT_SETTINGS, EXIT_ALREADY_RUNNING = 0, 1, 2, 3
THREADS = 32  # of the symbols: each may have a slow request under way
SHUTDOWN_SECONDS = 5.0
RETRY_SECONDS = 5.0

_bot: Bot | None = None


async def on_crypto_quote(q: Any) -> None:
    """Handler of the quote stream (phases 3 to 6)."""
    if _bot is not None:
        await _bot.market.on_crypto_quote(q)


async def on_crypto_trade_update(tu: Any) -> None:
    """Handler of the trade update stream (phases 3 and 7 to 9)."""
    if _bot is not None:
        await _bot.updates.on_crypto_trade_update(tu)


class Bot:
    """The parts of a running daemon and the side tasks that keep them true."""

    def __init__(self, settings: Settings, account_id: str) -> None:
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        client = get_trading_client()
        rules = self._rules = AssetRulesCache(client, settings.minimum_order_usd)
        self.reconciler = Reconciler(
            client,
            rules,
            settings.taker_fee_rate,
            confirm_seconds=settings.unknown_outcome_seconds,
            on_change=self._order_changed,
        )
        placer = OrderPlacer(
            settings,
            client,
            rules,
            resolve=self.reconciler.resolve,
            limits=BuyLimits(settings, client, self.reconciler.blocked_symbols, rules_of=rules.get),
            why_no_orders=self._why_no_orders,
        )
        self.market = MarketDataHandler(settings, rules, placer)
        self.updates = TradeUpdateHandler(
            client,
            rules,
            settings.taker_fee_rate,
            on_change=self._order_changed,
            request_sweep=self._request_sweep,
            on_unclaimed=self.reconciler.note_unclaimed,
            look_again_seconds=settings.reconcile_seconds,
        )
        self.streams = AlpacaStreams(
            settings,
            on_quote=on_crypto_quote,
            on_trade_update=on_crypto_trade_update,
            on_trade_connect=self._request_recovery,
        )
        self._account_lock = AccountLock(account_id)
        # Signs of life, sweeps and refreshes wait for no slow request of the symbols.
        self._own_threads = ThreadPoolExecutor(2, thread_name_prefix="bot-own")
        self._sweep_thread = ThreadPoolExecutor(1, thread_name_prefix="bot-sweeps")
        self._refresh_thread = ThreadPoolExecutor(1, thread_name_prefix="bot-refresh")
        self._lock_trouble: str | None = None
        self._is_stopping = False
        self._recovered = False
        self._recovery_wanted = True
        self._sweep_wanted = asyncio.Event()
        self._refresh_wanted = asyncio.Event()
        self._started_at = time.monotonic()
        self._last_sweep_at: float | None = None
        self._sweep_trouble: str | None = None

    # Called from any thread.

    def _request_sweep(self, reason: str) -> None:
        log_event(log, logging.INFO, "sweep.requested", reason=reason)
        self._loop.call_soon_threadsafe(self._sweep_wanted.set)

    def _order_changed(self, order: ExchangeOrder) -> None:
        self._loop.call_soon_threadsafe(self._refresh_wanted.set)
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

    def take_account(self) -> bool:
        """Whether this daemon is the only one on the account. Blocking."""
        return self._account_lock.hold()

    async def keep_reconciled(self) -> None:
        """Recover at the start and after each connect.

        Sweep every RECONCILE_SECONDS and on request.
        """
        while True:
            self._sweep_wanted.clear()
            wants_recovery = self._recovery_wanted or self._has_missed_sweeps()
            self._recovery_wanted = False
            work = self.reconciler.recover if wants_recovery else self.reconciler.sweep
            try:
                result = await self._loop.run_in_executor(self._sweep_thread, work)
            except (ExchangeError, DatabaseError) as error:
                self._recovery_wanted |= wants_recovery
                log_event(log, logging.WARNING, "sweep.postponed", reason=error)
                self._sweep_trouble = str(error)
                await asyncio.sleep(RETRY_SECONDS)
                self._sweep_wanted.set()
                continue
            self._last_sweep_at, self._sweep_trouble = time.monotonic(), None
            source = "recovery" if wants_recovery else "sweep"
            log_sweep(result, source, datetime.now(UTC))
            if not self._recovered:
                self._recovered = True
                log_event(log, logging.INFO, "recovery.finished", orders=result.orders_seen)
            self._refresh_wanted.set()
            await self._reconnect_if_mute(result)
            await wait_for_event(self._sweep_wanted, self._settings.reconcile_seconds)

    def _has_missed_sweeps(self) -> bool:
        """A sweep looks back an hour: after a longer outage only a recovery finds everything."""
        last = self._last_sweep_at
        return last is not None and time.monotonic() - last > SECOND_LOOK.total_seconds() / 2

    async def _reconnect_if_mute(self, result: SweepResult) -> None:
        """Facts that a sweep found and a connected stream did not tell: that stream is mute."""
        health = self.streams.trade_health
        missed = find_untold(result.changed, datetime.now(UTC))
        silent_seconds = time.monotonic() - (health.last_message_at or 0.0)
        if missed and health.is_connected and silent_seconds > EVENT_DUE.total_seconds():
            await self.streams.reconnect_trade_stream("mute: a sweep found what it did not tell")

    async def keep_triggers_fresh(self) -> None:
        """Read the database every few seconds and after every change; subscribe new assets."""
        while True:
            self._refresh_wanted.clear()
            try:
                states = await self._loop.run_in_executor(self._refresh_thread, self._load_states)
                await self.market.refresh(states)
                await self.streams.watch(self.market.symbols())
            except DatabaseError as error:
                log_event(log, logging.WARNING, "refresh.postponed", reason=error)
            await wait_for_event(self._refresh_wanted, self._settings.refresh_seconds)

    def _load_states(self) -> list[TradingState]:
        states = load_all_trading_states(thread_connection())
        self._rules.prefetch(state.asset.asset_symbol for state in states)
        return states

    async def keep_account(self) -> None:
        """Make sure that the account is still ours alone, before the server takes us for dead."""
        while True:
            await self._check_account_lock()
            await asyncio.sleep(min(self._settings.heartbeat_seconds, LOCK_IDLE_SECONDS / 4))

    async def keep_beating(self) -> None:
        """Write the heartbeat. Waits for no database: a database that hangs is no hung daemon."""
        while True:
            try:
                await self._loop.run_in_executor(
                    self._own_threads, save_heartbeat, self._settings.run_dir, self._heartbeat()
                )
            except OSError as error:
                log_event(log, logging.ERROR, "heartbeat.failed", reason=error)
            await asyncio.sleep(self._settings.heartbeat_seconds)

    async def _check_account_lock(self) -> None:
        try:
            ours = await self._loop.run_in_executor(self._own_threads, self._account_lock.hold)
            trouble = None if ours else "another daemon has taken the account"
        except DatabaseError as error:
            trouble = f"cannot hold the account's lock: {error}"
        if trouble != self._lock_trouble:
            level = logging.INFO if trouble is None else logging.WARNING
            log_event(log, level, "orders.halted" if trouble else "orders.resumed", reason=trouble)
            self._lock_trouble = trouble
        if trouble == "another daemon has taken the account":
            raise AlreadyRunning(trouble)

    def _note_stall(self, now: float) -> None:
        """Whether the daemon as a whole is held back, and the alerts that are due."""
        stalls = self.market.stalls
        compared_at = self._last_sweep_at or self._started_at
        if self._lock_trouble:
            stalls.hold(THE_DAEMON, self._lock_trouble, now, cure="is the database up?")
        elif now - compared_at > self._settings.sweep_overdue_seconds:
            trouble = self._sweep_trouble or "it takes longer than that"
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
        )

    async def stop(self) -> None:
        """End the streams and the workers, within a bound."""
        self._is_stopping = True
        try:
            await asyncio.wait_for(
                asyncio.gather(self.streams.stop(), self.market.stop()), SHUTDOWN_SECONDS
            )
        except TimeoutError:
            log_event(log, logging.WARNING, "stop.hurried", seconds=SHUTDOWN_SECONDS)


def _check_world(settings: Settings) -> str:
    """Everything that must be right before anything starts; the account's id. Blocking.

    Raises:
        ExchangeError, DatabaseError, ForeignDatabase: one line each for the user.
    """
    connection = thread_connection()
    check_schema(connection)
    account_id = fetch_account_id(get_trading_client())
    claim_account(connection, account_id)
    money = (
        "LIVE: REAL MONEY"
        if settings.is_live
        else "local"
        if settings.is_local_exchange
        else "paper"
    )
    log_event(
        log,
        logging.INFO,
        "account.opened",
        account=account_id,
        host=settings.trading_host,
        money=money,
    )
    return account_id


async def run_websockets() -> int:
    """Run until SIGINT or SIGTERM (returns 0) or until a part cannot go on (returns 1).

    Raises:
        ExchangeError, DatabaseError, ForeignDatabase, AlreadyRunning: at the start, nothing was
        begun.
    """
    global _bot
    settings = get_settings()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="bot"))
    stop_wanted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_wanted.set)
    account_id = await _unless_stopped(stop_wanted, asyncio.to_thread(_check_world, settings))
    if account_id is None:
        log_event(log, logging.INFO, "app.stopping", because="stop")
        return EXIT_STOPPED
    bot = _bot = Bot(settings, account_id)
    is_ours = await _unless_stopped(stop_wanted, asyncio.to_thread(bot.take_account))
    if is_ours is False:
        raise AlreadyRunning("another daemon trades this account, on this or another host")
    tasks = [
        asyncio.create_task(work, name=name)
        for name, work in {
            "stop": stop_wanted.wait(),
            "reconciler": bot.keep_reconciled(),
            "triggers": bot.keep_triggers_fresh(),
            "trade updates": bot.updates.run(),
            "trade stream": bot.streams.run_trade_stream(),
            "data stream": bot.streams.run_data_stream(),
            "account": bot.keep_account(),
            "heartbeat": bot.keep_beating(),
        }.items()
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    log_event(log, logging.INFO, "app.stopping", because=",".join(task.get_name() for task in done))
    await bot.stop()
    for task in tasks:
        task.cancel()
    ended, left = await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
    await asyncio.gather(*ended, return_exceptions=True)
    if left:
        names = ",".join(task.get_name() for task in left)
        log_event(log, logging.WARNING, "stop.hurried", left=names, seconds=SHUTDOWN_SECONDS)
    _bot = None
    return _exit_code(done)


async def _unless_stopped(stop_wanted: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None when somebody wants us to stop before. An exchange or a database
    that is slow to answer must not hold that up.
    """
    stopping, working = asyncio.create_task(stop_wanted.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)


def _exit_code(done: set[asyncio.Task[Any]]) -> int:
    code = EXIT_STOPPED
    for task in done:
        if task.get_name() == "stop":
            continue
        code = EXIT_FAILED
        error = task.exception()
        if isinstance(error, AlreadyRunning):
            log_event(log, logging.ERROR, "app.superseded", reason=error)
            return EXIT_ALREADY_RUNNING
        log.critical("app.failed part=%s", task.get_name(), exc_info=error)
    return code


def main() -> int:
    """Run the daemon; every foreseeable trouble is one line on standard error and in the log."""
    forbid_core_files()
    try:
        settings = get_settings()
        setup_logging(settings, "app")
    except SettingsError as error:
        for problem in error.problems:
            print(f"main_app: {problem}", file=sys.stderr)
        return EXIT_SETTINGS
    except OSError as error:
        print(f"main_app: cannot write the log folder: {error}", file=sys.stderr)
        return EXIT_SETTINGS
    try:
        with PidFile(settings.pid_file):
            log_event(log, logging.INFO, "app.started", pid=os.getpid())
            if loose := find_loose_permissions():
                log_event(log, logging.WARNING, "env_file.loose_permissions", reason=loose)
            code = _run_loop()
            log_event(log, logging.INFO, "app.stopped", code=code)
            logging.shutdown()  # mails what waits, while the PID file still says that we run
            return code
    except AlreadyRunning as error:
        log_event(log, logging.ERROR, "app.refused", reason=error)
        return EXIT_ALREADY_RUNNING
    except (ExchangeError, DatabaseError, ForeignDatabase, OSError) as error:
        log_event(log, logging.ERROR, "app.failed", reason=error)
        return EXIT_FAILED
    except Exception:  # the top of the program: the log and the mail must tell it, too
        log.critical("app.failed reason=unforeseen", exc_info=True)
        return EXIT_FAILED


def _run_loop() -> int:
    """`asyncio.run` without its wait for threads: a hung request must not hold up the end."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(run_websockets())
    finally:
        loop.close()


def _leave(code: int) -> None:
    """Exit, even while a request hangs in a thread: its order, if any, is found again by its id."""
    logging.shutdown()
    if any(thread.name.startswith("bot") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


if __name__ == "__main__":
    _leave(main())
