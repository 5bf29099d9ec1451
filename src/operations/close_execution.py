"""Carrying out a close: the position of one cycle is sold now, with the daemon or without."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from config import Settings
from domain.cycle import CycleStatus, DcaCycle
from domain.orders import ExchangeOrder, Side
from models.cycle_data import get_cycle
from models.order_journal import get_entries_of_cycle
from operations.close_cycle import ClosePlan, sum_fills_usd
from operations.refused import Refused
from runtime.account_lock import AccountLock
from runtime.daemon_process import WATCHDOG_LOCK, find_daemon, load_beat_of
from strategy.order_identity import compute_client_order_id
from trading.engine import build_engine
from utils.alpaca_client_rest import ExchangeError, cancel_order, get_trading_client
from utils.alpaca_queries import fetch_account_id, fetch_open_orders_of
from utils.db_utils import thread_connection
from utils.state_file import locked

POLL_SECONDS = 0.5
READ_SECONDS = 2.0  # between two reads of the open orders: 200 requests a minute are for everybody
CANCEL_AGAIN_SECONDS = 15.0
OLD_SELL_SECONDS = 10.0  # a market sell that is still open after this: the price has moved away


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseResult:
    """What became of the request. `reason`: why it is not carried out yet; None when it is."""

    cycle: DcaCycle
    reason: str | None = None
    sold_qty: Decimal = Decimal(0)
    price: Decimal | None = None
    profit_usd: Decimal = Decimal(0)
    fees_are_estimated: bool = False

    @property
    def is_closed(self) -> bool:
        return not self.cycle.is_open


class Closer:
    """Carries one request out, within a bound: cancels the order in its way, and sells.

    A daemon that runs sells and books. Without one this does, with the daemon's own parts, under
    the account's lock and while the watchdog cannot start a daemon.
    """

    def __init__(self, settings: Settings, plan: ClosePlan, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._plan = plan
        self._say = say
        self._said: set[str] = set()
        self._client = get_trading_client()
        self._symbol = plan.asset.asset_symbol
        self._canceled_at: dict[str, float] = {}
        self._read_at = 0.0
        self._may_cancel_sell = plan.cycle.status is CycleStatus.SELLING
        self._account_id: str | None = None
        self._reason = "not yet"

    def _say_once(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._say(text)

    def carry_out(self, seconds: float) -> CloseResult:
        """Return when the cycle has ended or `seconds` have passed; the request stays then.

        Raises:
            DatabaseError: what became of it is not known now; the request stays.
        """
        deadline = time.monotonic() + seconds
        while (cycle := self._load_cycle()).is_open and time.monotonic() < deadline:
            if find_daemon(self._settings) is None:
                self._sell_without_daemon(deadline)
            else:
                self._say_once("The daemon sells it.")
                self._reason = self._why_daemon_does_not()
                self._guarded(partial(self._cancel_open_order, cycle))
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
        return self._result()

    def _load_cycle(self) -> DcaCycle:
        cycle = get_cycle(thread_connection(), self._plan.cycle.id)
        if cycle is None:
            raise Refused(f"{self._symbol} was removed while it was to be closed")
        return cycle

    def _guarded(self, work: Callable[[], None]) -> None:
        """An exchange that cannot answer now is asked again; the caller has the bound."""
        try:
            work()
        except ExchangeError as error:
            self._reason = str(error)

    def _why_daemon_does_not(self) -> str:
        process = find_daemon(self._settings)
        beat = load_beat_of(process, self._settings) if process is not None else None
        if beat is not None and beat.age_seconds() > self._settings.heartbeat_max_age_seconds:
            return "the daemon does not answer: scripts/bot restart"
        if beat is not None and beat.state != "trading":
            return f"the daemon is {beat.state}: {beat.reason or 'no reason given'}"
        return "the daemon has not sold it yet: app.log says why"

    # The order in its way

    def _cancel_open_order(self, cycle: DcaCycle) -> None:
        """Cancel the cycle's open buy, and an old sell once. Whoever sells books their ends."""
        if time.monotonic() - self._read_at < READ_SECONDS:
            return
        self._read_at = time.monotonic()
        identity = compute_client_order_id(cycle)
        for order in fetch_open_orders_of(self._client, self._symbol):
            if identity == order.client_order_id or cycle.latest_order_id == order.id:
                self._cancel(order)

    def _cancel(self, order: ExchangeOrder) -> None:
        if order.side is Side.SELL:
            since = order.submitted_at or datetime.now(UTC)
            is_old = (datetime.now(UTC) - since).total_seconds() > OLD_SELL_SECONDS
            if not (self._may_cancel_sell and is_old):
                return
            self._may_cancel_sell = False  # the next sell is the one that was asked for
        asked_at = self._canceled_at.get(order.id)
        if asked_at is not None and time.monotonic() - asked_at < CANCEL_AGAIN_SECONDS:
            return
        self._canceled_at[order.id] = time.monotonic()
        self._say_once(f"Canceling its open {order.side}.")
        cancel_order(self._client, order.id)

    # Without a daemon

    def _sell_without_daemon(self, deadline: float) -> None:
        """The daemon's parts, driven from here until the cycle has ended."""
        try:
            with locked(self._settings.run_dir / WATCHDOG_LOCK, POLL_SECONDS):
                if find_daemon(self._settings) is None:
                    self._guarded(lambda: self._sell_under_lock(deadline))
        except TimeoutError:
            self._reason = "the watchdog is about to start the daemon"

    def _sell_under_lock(self, deadline: float) -> None:
        self._account_id = self._account_id or fetch_account_id(self._client)
        lock = AccountLock(self._account_id)
        if not lock.hold():
            self._reason = "a daemon on another host trades this account and will sell"
            self._cancel_open_order(self._load_cycle())
            return
        try:
            self._say_once("The daemon does not run: selling from here.")
            self._drive(lock, deadline)
        finally:
            lock.release()

    def _drive(self, lock: AccountLock, deadline: float) -> None:
        engine = build_engine(
            self._settings,
            why_no_orders=lambda: None if lock.hold() else "another daemon has taken the account",
        )
        reconciler = engine.reconciler
        reconciler.recover()
        while (cycle := self._load_cycle()).is_open and time.monotonic() < deadline:
            try:
                self._cancel_open_order(cycle)
                # Without a quote nothing can be placed but the sale that the user asked for.
                placement = engine.placer.consider(self._symbol, lambda: None)
                self._reason = placement.reason or self._reason
                reconciler.sweep()
            except ExchangeError as error:
                self._reason = str(error)
            if self._load_cycle().is_open:
                time.sleep(READ_SECONDS / 2)  # the pause of a poll with a bound

    def _result(self) -> CloseResult:
        cycle = self._load_cycle()
        entries = get_entries_of_cycle(thread_connection(), cycle.id)
        sold = [entry for entry in entries if entry.side is Side.SELL and entry.filled_qty > 0]
        sold_qty = sum((entry.filled_qty for entry in sold), Decimal(0))
        gross_usd = sum((entry.filled_usd for entry in sold), Decimal(0))
        return CloseResult(
            cycle=cycle,
            reason=self._reason if cycle.is_open else None,
            sold_qty=sold_qty,
            price=gross_usd / sold_qty if sold_qty else None,
            profit_usd=sum_fills_usd(entries, Side.SELL) - sum_fills_usd(entries, Side.BUY),
            fees_are_estimated=any(e.fee_is_estimated for e in entries if e.filled_qty > 0),
        )
