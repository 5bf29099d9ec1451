"""Selling a cycle now, because the user says so: what would be sold, and the request.

Owns `close_requested` of a cycle; close_execution carries it out. The sale is the cycle's own next
order, decided by strategy and placed by OrderPlacer, so that one state still has one order at most.
It is booked as any take profit.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.asset import DcaAsset
from domain.cycle import WAITING_STATUSES, CycleStatus, DcaCycle
from domain.events import EventKind
from domain.journal import JournalEntry
from domain.market import AssetRules
from domain.orders import Side
from models.cycle_data import lock_cycle, update_cycle
from models.order_journal import get_entries_of_cycle
from models.trading_state import load_trading_state
from operations.asset_changes import disable_asset, note_change
from operations.refused import Refused
from strategy.asset_checks import find_renaming
from strategy.fees import compute_coins_held, compute_usd_fee
from strategy.sizing import floor_quantity, is_dust
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.alpaca_queries import fetch_asset_rules, fetch_latest_quote
from utils.db_utils import thread_connection, transaction
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosePlan:
    """What would be sold. `bid` is None when there is no quote now: the sale does not need one."""

    asset: DcaAsset
    cycle: DcaCycle
    coins_held: Decimal
    bid: Decimal | None
    spent_usd: Decimal
    earned_usd: Decimal
    fee_rate: Decimal

    @property
    def proceeds_usd(self) -> Decimal | None:
        """What the sale brings at the bid, after its fee (estimated)."""
        if self.bid is None:
            return None
        fee_usd = compute_usd_fee(self.coins_held, self.bid, self.fee_rate)
        return self.coins_held * self.bid - fee_usd

    @property
    def profit_usd(self) -> Decimal | None:
        """Of the whole cycle, after fees."""
        if self.proceeds_usd is None:
            return None
        return self.earned_usd + self.proceeds_usd - self.spent_usd

    @property
    def waits_for_buy(self) -> bool:
        return self.cycle.status is CycleStatus.BUYING


def prepare_close(settings: Settings, asset: DcaAsset) -> ClosePlan | None:
    """What `close` would sell; None when there is nothing to sell and no buy is open.

    Raises:
        Refused: when Alpaca does not know the symbol, or the cycle holds another one.
        ExchangeError, DatabaseError: not known now.
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
    held = compute_coins_held(state.cycle.quantity, state.coin_fees, settings.taker_fee_rate)
    return ClosePlan(
        asset=asset,
        cycle=state.cycle,
        coins_held=floor_quantity(held, rules),
        bid=_bid(asset.asset_symbol),
        spent_usd=sum_fills_usd(entries, Side.BUY),
        earned_usd=sum_fills_usd(entries, Side.SELL),
        fee_rate=settings.taker_fee_rate,
    )


def _is_closable(cycle: DcaCycle, rules: AssetRules, fee_rate: Decimal) -> bool:
    waits = cycle.status in WAITING_STATUSES
    return cycle.is_open and (waits or not is_dust(cycle.quantity, rules, fee_rate))


def _bid(symbol: str) -> Decimal | None:
    try:
        return fetch_latest_quote(symbol).bid
    except ExchangeError as error:
        log_event(log, LogEvent.CLOSE_UNQUOTED, symbol=symbol, reason=error)
        return None


def sum_fills_usd(entries: list[JournalEntry], side: Side) -> Decimal:
    """What the fills of one side cost, or brought after their fees."""
    return sum((e.filled_usd - e.fee_usd for e in entries if e.side is side), Decimal(0))


def request_close(plan: ClosePlan, *, disable: bool, by: str = "the user") -> None:
    """Save the request (and disable the asset): from here on the cycle buys nothing. `by`: who
    asks, for the event.

    Raises:
        Refused: when the cycle has ended since.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> None:
        cycle = lock_cycle(connection, plan.cycle.id)
        if cycle is None or not cycle.is_open:
            symbol = plan.asset.asset_symbol
            raise Refused(f"the cycle of {symbol} has just ended: nothing to close")
        if not cycle.close_requested:
            update_cycle(connection, cycle.id, {"close_requested": True})
            reason = f"{by} wants it sold now"
            note_change(connection, plan.asset, EventKind.CLOSE_REQUESTED, reason, cycle)
        if disable:
            disable_asset(plan.asset)

    transaction(work)
    log_event(
        log,
        LogEvent.CLOSE_REQUESTED,
        symbol=plan.asset.asset_symbol,
        cycle=plan.cycle.id,
        quantity=plan.cycle.quantity,
        disable=disable,
        by=None if by == "the user" else by,
    )


def withdraw_close(asset: DcaAsset) -> None:
    """Withdraw the request; an order that was placed for it goes on.

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
        reason = "the user withdrew the request to sell"
        note_change(connection, asset, EventKind.CLOSE_WITHDRAWN, reason, cycle)
        return cycle

    cycle = transaction(work)
    log_event(log, LogEvent.CLOSE_WITHDRAWN, symbol=asset.asset_symbol, cycle=cycle.id)
