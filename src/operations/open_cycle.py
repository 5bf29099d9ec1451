"""Opening a cycle because the user says so: the request, and what its base order waits for.

Owns `open_requested` of a cycle. The base order is the cycle's own next order, decided by strategy
and placed by the daemon, which also carries out a request that was made while it did not run. The
request ends with the fill of the base order; an order that ends unfilled leaves it standing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import Enum

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.asset import DcaAsset, StartMode
from domain.cycle import WAITING_STATUSES, CycleStatus, DcaCycle
from domain.events import EventKind
from domain.trading_state import TradingState
from models.cycle_data import lock_cycle, update_cycle
from models.trading_state import load_trading_state
from operations.asset_changes import USER, note_change
from operations.refused import Refused
from strategy.asset_checks import find_state_problem
from strategy.sizing import is_dust
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_asset_rules
from utils.db_utils import thread_connection, transaction
from utils.formatting import number
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)


class Opening(Enum):
    """What became of the request."""

    REQUESTED = "requested"
    WAS_REQUESTED = "was_requested"  # before: nothing was changed
    BY_ITSELF = "by_itself"  # the base order comes without a request: nothing was changed


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenResult:
    """`not_before`: no base order until then, because the cycle before ended in error."""

    opening: Opening
    cycle: DcaCycle
    ends_cooldown: bool
    not_before: datetime | None


def request_open(settings: Settings, asset: DcaAsset, *, by: str = USER) -> OpenResult:
    """Save the request: from here on the base order comes at the next price that fits. `by`: who
    asks, for the event.

    Raises:
        Refused: when this cycle cannot begin now.
        ExchangeError: whether it holds more than dust is not known now.
        DatabaseError: nothing was written.
    """

    symbol = asset.asset_symbol
    before = load_trading_state(thread_connection(), symbol)
    dust_qty = _find_dust(settings, before.cycle, symbol) if before else Decimal(0)

    def work(connection: MySQLConnectionAbstract) -> OpenResult:
        state = load_trading_state(connection, symbol)
        cycle = None if state is None else lock_cycle(connection, state.cycle.id)
        if state is None or cycle is None or not cycle.is_open:
            raise Refused(f"{symbol} has no cycle to open: scripts/assets enable {symbol}")
        _refuse_what_cannot_begin(state, cycle, dust_qty)
        opening, cools_down = Opening.REQUESTED, cycle.status is CycleStatus.COOLDOWN
        if cycle.open_requested:
            opening = Opening.WAS_REQUESTED
        elif state.asset.start_mode is StartMode.AT_ONCE and not cools_down:
            opening = Opening.BY_ITSELF
        else:
            update_cycle(connection, cycle.id, {"open_requested": True})
            reason = f"{by} wants its base order now"
            note_change(connection, asset, EventKind.OPEN_REQUESTED, reason, cycle)
        after_error = state.previous_status is CycleStatus.ERROR and not cools_down
        return OpenResult(
            opening=opening,
            cycle=cycle,
            ends_cooldown=cools_down,
            not_before=state.cooldown_until if after_error else None,
        )

    result = transaction(work)
    if result.opening is Opening.REQUESTED:
        who = None if by == USER else by
        log_event(log, LogEvent.OPEN_REQUESTED, symbol=symbol, cycle=result.cycle.id, by=who)
    return result


def check_open(settings: Settings, asset: DcaAsset) -> DcaCycle:
    """The cycle that `request_open` would open now; nothing is changed.

    Raises:
        Refused, ExchangeError, DatabaseError: as `request_open`.
    """
    symbol = asset.asset_symbol
    state = load_trading_state(thread_connection(), symbol)
    if state is None or not state.cycle.is_open:
        raise Refused(f"{symbol} has no cycle to open: scripts/assets enable {symbol}")
    _refuse_what_cannot_begin(state, state.cycle, _find_dust(settings, state.cycle, symbol))
    return state.cycle


def withdraw_open(asset: DcaAsset) -> None:
    """Withdraw the request; an order that was placed for it goes on.

    Raises:
        Refused: when there is none.
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> DcaCycle:
        state = load_trading_state(connection, asset.asset_symbol)
        cycle = None if state is None else lock_cycle(connection, state.cycle.id)
        if cycle is None or not cycle.is_open or not cycle.open_requested:
            raise Refused(f"nobody asked to open {asset.asset_symbol}, or it is open already")
        update_cycle(connection, cycle.id, {"open_requested": False})
        reason = "the user withdrew the request to open"
        note_change(connection, asset, EventKind.OPEN_WITHDRAWN, reason, cycle)
        return cycle

    cycle = transaction(work)
    log_event(log, LogEvent.OPEN_WITHDRAWN, symbol=asset.asset_symbol, cycle=cycle.id)


def _find_dust(settings: Settings, cycle: DcaCycle, symbol: str) -> Decimal:
    """The coins of `cycle` where they are too few to be sold: they do not make it an open one."""
    if cycle.quantity == 0:
        return cycle.quantity
    rules = fetch_asset_rules(get_trading_client(), symbol, min_cost_usd=settings.minimum_order_usd)
    if rules is not None and is_dust(cycle.quantity, rules, settings.taker_fee_rate):
        return cycle.quantity
    return Decimal(0)


def _refuse_what_cannot_begin(state: TradingState, cycle: DcaCycle, dust_qty: Decimal) -> None:
    symbol = state.asset.asset_symbol
    if problem := find_state_problem(state):
        raise Refused(f"{symbol} cannot be traded: {problem}")
    if not state.asset.is_enabled:
        raise Refused(f"{symbol} is disabled: scripts/assets enable {symbol}, then open it")
    if cycle.close_requested:
        raise Refused(f"{symbol} is to be closed: scripts/bot close {symbol} --withdraw")
    if cycle.status in WAITING_STATUSES:
        raise Refused(f"the cycle of {symbol} is open already: it is {cycle.status} now")
    if cycle.quantity > dust_qty:
        held = number(cycle.quantity)
        raise Refused(f"the cycle of {symbol} is open already: it bought {held} coins")
