"""Selling a cycle now, because the user says so: the wish, and everything that carries it out.

Owns: `close_requested` of a cycle, canceling the order that stands in its way, and the drive to the
end where no daemon runs. The sale itself is the cycle's own next order, decided by strategy and
placed by OrderPlacer, in the daemon or here, so that one state still has one order at most. Its
result is booked as that of any take profit.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from buy_limits import BuyLimits
from config import Settings
from models.asset_config import DcaAsset
from models.cycle_data import CycleStatus, DcaCycle, get_cycle, lock_cycle, update_cycle
from models.events import Event, Severity, append_event
from models.exchange import AssetRules, ExchangeOrder, Side
from models.order_journal import JournalEntry, get_entries_of_cycle
from models.trading_state import TradingState, load_trading_state
from order_placement import OrderPlacer
from reconciler import Reconciler
from steering.asset_changes import disable_asset
from steering.refused import Refused
from strategy.asset_checks import find_renaming
from strategy.fees import compute_coins_taken, compute_usd_fee
from strategy.order_identity import compute_client_order_id
from strategy.sizing import floor_quantity, is_dust
from utils.account_lock import AccountLock
from utils.alpaca_client_rest import (
    ExchangeError,
    cancel_order,
    fetch_account_id,
    fetch_asset_rules,
    fetch_latest_quote,
    fetch_open_orders_of,
    get_trading_client,
)
from utils.asset_rules_cache import AssetRulesCache
from utils.daemon_process import WATCHDOG_LOCK, find_daemon, load_beat_of
from utils.db_utils import thread_connection, transaction
from utils.logging_setup import log_event
from utils.state_file import locked

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
LOOK_SECONDS = 2.0  # between two looks at the exchange: 200 requests a minute are for everybody
CANCEL_AGAIN_SECONDS = 15.0
RESTING_SELL_SECONDS = 10.0  # a market sell that is older rests, because the market left it


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePlan:
    """What would be sold. `bid` is None when there is no quote now: the sale does not need one."""

    asset: DcaAsset
    cycle: DcaCycle
    coins: Decimal
    bid: Decimal | None
    spent_usd: Decimal
    earned_usd: Decimal
    fee_rate: Decimal

    @property
    def proceeds_usd(self) -> Decimal | None:
        """What the sale brings at the bid, after its fee (estimated)."""
        if self.bid is None:
            return None
        return self.coins * self.bid - compute_usd_fee(self.coins, self.bid, self.fee_rate)

    @property
    def profit_usd(self) -> Decimal | None:
        """Of the whole deal, after fees."""
        if self.proceeds_usd is None:
            return None
        return self.earned_usd + self.proceeds_usd - self.spent_usd

    @property
    def waits_for_buy(self) -> bool:
        return self.cycle.status is CycleStatus.BUYING


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseResult:
    """What became of the wish. `reason`: why it is not carried out yet; None when it is."""

    cycle: DcaCycle
    reason: str | None = None
    sold_qty: Decimal = Decimal(0)
    price: Decimal | None = None
    profit_usd: Decimal = Decimal(0)
    fees_are_estimated: bool = False

    @property
    def is_closed(self) -> bool:
        return not self.cycle.is_open


def prepare_close(settings: Settings, asset: DcaAsset) -> ClosePlan | None:
    """What `close` would sell; None when there is nothing to sell and no buy is open.

    Raises:
        Refused: when Alpaca does not know the symbol, or the cycle holds another one.
        ExchangeError, DatabaseError: it cannot be told now.
    """
    connection = thread_connection()
    state = load_trading_state(connection, asset.asset_symbol)
    if state is None or not state.cycle.is_open:
        return None
    if problem := find_renaming(state):
        raise Refused(f"{asset.asset_symbol} cannot be sold: {problem}")
    rules = fetch_asset_rules(
        get_trading_client(), asset.asset_symbol, min_cost_usd=settings.minimum_order_usd
    )
    if rules is None:
        raise Refused(f"Alpaca does not know {asset.asset_symbol}: sell the coins by hand")
    if not _is_closable(state.cycle, rules, settings.taker_fee_rate):
        return None
    entries = get_entries_of_cycle(connection, state.cycle.id)
    return ClosePlan(
        asset=asset,
        cycle=state.cycle,
        coins=floor_quantity(_sellable(state, settings.taker_fee_rate), rules),
        bid=_bid(asset.asset_symbol),
        spent_usd=_usd(entries, Side.BUY),
        earned_usd=_usd(entries, Side.SELL),
        fee_rate=settings.taker_fee_rate,
    )


def _is_closable(cycle: DcaCycle, rules: AssetRules, fee_rate: Decimal) -> bool:
    waits = cycle.status in (CycleStatus.BUYING, CycleStatus.SELLING)
    return cycle.is_open and (waits or not is_dust(cycle.quantity, rules, fee_rate))


def _sellable(state: TradingState, fee_rate: Decimal) -> Decimal:
    """About so many coins are left of what was filled, after the coin fees."""
    quantity = state.cycle.quantity
    return quantity - compute_coins_taken(quantity, state.coin_fees, fee_rate)


def _bid(symbol: str) -> Decimal | None:
    try:
        return fetch_latest_quote(symbol).bid
    except ExchangeError as error:
        log_event(log, logging.INFO, "close.unquoted", symbol=symbol, reason=error)
        return None


def _usd(entries: list[JournalEntry], side: Side) -> Decimal:
    """What the fills of one side cost, or brought after their fees."""
    return sum((e.filled_usd - e.fee_usd for e in entries if e.side is side), Decimal(0))


def request_close(plan: ClosePlan, *, disable: bool) -> None:
    """Write the wish (and disable the asset): from here on the cycle buys nothing.

    Raises:
        Refused: when the cycle has ended since.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> None:
        cycle = lock_cycle(connection, plan.cycle.id)
        if cycle is None or not cycle.is_open:
            raise Refused(f"the deal of {plan.asset.asset_symbol} has just ended: nothing to close")
        if not cycle.close_requested:
            update_cycle(connection, cycle.id, {"close_requested": True})
            _note(connection, plan.asset, cycle, "close_requested", "the user wants it sold now")
        if disable:
            disable_asset(plan.asset)

    transaction(work)
    log_event(
        log,
        logging.INFO,
        "close.requested",
        symbol=plan.asset.asset_symbol,
        cycle=plan.cycle.id,
        quantity=plan.cycle.quantity,
        disable=disable,
    )


def withdraw_close(asset: DcaAsset) -> None:
    """Take the wish back; an order that is under way for it goes on.

    Raises:
        Refused: when there is none.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> DcaCycle:
        state = load_trading_state(connection, asset.asset_symbol)
        cycle = None if state is None else lock_cycle(connection, state.cycle.id)
        if cycle is None or not cycle.is_open or not cycle.close_requested:
            raise Refused(f"nobody asked to close {asset.asset_symbol}, or it is closed already")
        update_cycle(connection, cycle.id, {"close_requested": False})
        _note(connection, asset, cycle, "close_withdrawn", "the user took the wish to sell back")
        return cycle

    cycle = transaction(work)
    log_event(log, logging.INFO, "close.withdrawn", symbol=asset.asset_symbol, cycle=cycle.id)


def _note(
    connection: MySQLConnectionAbstract, asset: DcaAsset, cycle: DcaCycle, kind: str, reason: str
) -> None:
    event = Event(
        kind=kind,
        severity=Severity.INFO,
        reason=reason,
        asset_id=asset.id,
        symbol=asset.asset_symbol,
        cycle_id=cycle.id,
    )
    append_event(connection, event)


class Closer:
    """Carries one wish out, within a bound: cancels what stands in its way, and sells.

    Where a daemon runs, that daemon sells and books; else this does, under the account's lock, with
    the daemon's own parts, while the watchdog is kept from starting a second one.
    """

    def __init__(self, settings: Settings, plan: ClosePlan, say: Callable[[str], None]) -> None:
        self._settings = settings
        self._plan = plan
        self._tell = say
        self._told: set[str] = set()
        self._client = get_trading_client()
        self._symbol = plan.asset.asset_symbol
        self._canceled_at: dict[str, float] = {}
        self._looked_at = 0.0
        self._may_cancel_sell = plan.cycle.status is CycleStatus.SELLING
        self._account_id: str | None = None
        self._reason = "not yet"

    def _say(self, text: str) -> None:
        """Each thing once, however often it is tried."""
        if text not in self._told:
            self._told.add(text)
            self._tell(text)

    def carry_out(self, seconds: float) -> CloseResult:
        """Return when the cycle has ended or `seconds` have passed; the wish stands then.

        Raises:
            DatabaseError: what became of it is not known now; the wish stands.
        """
        deadline = time.monotonic() + seconds
        while (cycle := self._load_cycle()).is_open and time.monotonic() < deadline:
            if find_daemon(self._settings) is None:
                self._sell_without_daemon(deadline)
            else:
                self._say("The daemon sells it.")
                self._reason = self._why_daemon_does_not()
                self._guarded(lambda cycle=cycle: self._clear_the_way(cycle))
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
        return self._result()

    def _load_cycle(self) -> DcaCycle:
        cycle = get_cycle(thread_connection(), self._plan.cycle.id)
        if cycle is None:
            raise Refused(f"{self._symbol} was removed while it was to be closed")
        return cycle

    def _guarded(self, work: Callable[[], None]) -> None:
        """An exchange that cannot answer now is asked again: the bound is the caller's."""
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
        return "the daemon has not sold it yet: its reasons stand in app.log"

    # The order that stands in its way

    def _clear_the_way(self, cycle: DcaCycle) -> None:
        """Cancel the cycle's open buy, and once a sell that rests. Their ends book themselves."""
        if time.monotonic() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = time.monotonic()
        identity = compute_client_order_id(cycle)
        for order in fetch_open_orders_of(self._client, self._symbol):
            if identity == order.client_order_id or cycle.latest_order_id == order.id:
                self._cancel(order)

    def _cancel(self, order: ExchangeOrder) -> None:
        if order.side is Side.SELL:
            since = order.submitted_at or datetime.now(UTC)
            rests = (datetime.now(UTC) - since).total_seconds() > RESTING_SELL_SECONDS
            if not (self._may_cancel_sell and rests):
                return
            self._may_cancel_sell = False  # the next sell is the one that was asked for
        asked_at = self._canceled_at.get(order.id)
        if asked_at is not None and time.monotonic() - asked_at < CANCEL_AGAIN_SECONDS:
            return
        self._canceled_at[order.id] = time.monotonic()
        self._say(f"Canceling its open {order.side}.")
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
            self._reason = "a daemon on another host trades this account: it is to sell"
            self._clear_the_way(self._load_cycle())
            return
        try:
            self._say("The daemon does not run: selling from here.")
            self._drive(lock, deadline)
        finally:
            lock.release()

    def _drive(self, lock: AccountLock, deadline: float) -> None:
        rules = AssetRulesCache(self._client, self._settings.minimum_order_usd)
        reconciler = Reconciler(
            self._client,
            rules,
            self._settings.taker_fee_rate,
            confirm_seconds=self._settings.unknown_outcome_seconds,
        )
        placer = OrderPlacer(
            self._settings,
            self._client,
            rules,
            resolve=reconciler.resolve,
            limits=BuyLimits(
                self._settings, self._client, reconciler.blocked_symbols, rules_of=rules.get
            ),
            why_no_orders=lambda: None if lock.hold() else "another daemon has taken the account",
        )
        reconciler.recover()
        while (cycle := self._load_cycle()).is_open and time.monotonic() < deadline:
            try:
                self._clear_the_way(cycle)
                # Without a quote nothing can be placed but the sale that the user asked for.
                placement = placer.consider(self._symbol, lambda: None)
                self._reason = placement.reason or self._reason
                reconciler.sweep()
            except ExchangeError as error:
                self._reason = str(error)
            if self._load_cycle().is_open:
                time.sleep(LOOK_SECONDS / 2)  # the pause of a poll with a bound

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
            profit_usd=_usd(entries, Side.SELL) - _usd(entries, Side.BUY),
            fees_are_estimated=any(e.fee_is_estimated for e in entries if e.filled_qty > 0),
        )
