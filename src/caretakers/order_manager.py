"""What order_manager does: reads the open orders and the claims, asks the exchange to cancel.

Never writes a cycle (phase 10): the trade stream or the reconciler does when the order has ended.
Each request is kept in dca_events, so that it is not repeated every minute.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial

from caretakers.plans.order_manager import (
    AskedSeconds,
    Claims,
    OrderAction,
    OrderRepair,
    Surroundings,
    plan_order_repairs,
)
from caretakers.runner import ScriptRun, StepFailed
from domain.cycle import OPEN_STATUSES, WAITING_STATUSES
from domain.events import Event, EventAge, EventKind, Severity
from domain.orders import ExchangeOrder
from domain.wire import WireError, normalize_symbol
from models.asset_config import get_all_assets
from models.cycle_data import get_cycles_by_status
from models.events import get_event_ages
from strategy.order_identity import compute_client_order_id
from trading.cycle_changes import record_event
from utils.alpaca_client_rest import (
    ExchangeRefused,
    cancel_order,
    get_trading_client,
)
from utils.alpaca_http import requests_left
from utils.alpaca_orders import pass_over_unreadable
from utils.alpaca_queries import fetch_exchange_time, fetch_order, fetch_orders
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

# Of a minute's 200 requests these stay for the daemon and the other scripts.
REQUESTS_KEPT_FOR_OTHERS = 80
ASKED_MEMORY_SECONDS = 24 * 3600.0
REPORT_MEMORY_SECONDS = 30 * 24 * 3600.0
_ASKED_KINDS = (EventKind.ORDER_CANCEL_REQUESTED, EventKind.ORDER_CANCEL_REFUSED)
_REPORTED_KINDS = (EventKind.ORDER_CANCEL_LASTING,)


def manage_orders(run: ScriptRun) -> None:
    """Cancel what is stale, stuck or orphaned.

    Raises:
        ExchangeError, DatabaseError: not finished; the next run goes on.
    """
    OrderCanceller(run, get_trading_client()).work()


@dataclass(slots=True)
class OrderCanceller:
    """One run over the open orders."""

    run: ScriptRun
    client: TradingClient

    def work(self) -> None:
        symbols = load_symbols()
        listed = fetch_orders(self.client, status="open", on_unreadable=pass_over_unreadable)
        orders = [order for order in listed if order.symbol in symbols]
        if not orders:
            return
        surroundings = self._surroundings(symbols)
        repairs = plan_order_repairs(orders, surroundings)
        log_event(log, LogEvent.ORDERS_CHECKED, open=len(orders), repairs=len(repairs))
        for done, repair in enumerate(repairs):
            if not self.run.dry_run and _allowance_is_low():
                self._postpone(repairs[done:])
                return
            self.run.step(_described(repair), partial(self._perform, repair, surroundings))

    def _surroundings(self, symbols: frozenset[str]) -> Surroundings:
        connection = thread_connection()
        return Surroundings(
            now=fetch_exchange_time(self.client),
            stale_seconds=self.run.settings.stale_order_seconds,
            symbols=symbols,
            # Read after the orders: what has been claimed meanwhile is seen.
            claims=load_claims(),
            asked=_asked_seconds(get_event_ages(connection, _ASKED_KINDS, ASKED_MEMORY_SECONDS)),
            reported=frozenset(
                event.order_id
                for event in get_event_ages(connection, _REPORTED_KINDS, REPORT_MEMORY_SECONDS)
                if event.order_id
            ),
        )

    def _perform(self, repair: OrderRepair, surroundings: Surroundings) -> str | None:
        match repair.action:
            case OrderAction.CANCEL:
                return self._cancel(repair, surroundings)
            case OrderAction.NOTE:
                _note(EventKind.ORDER_CANCEL_REQUESTED, Severity.INFO, repair)
                return "its cancellation is under way"
            case OrderAction.REPORT:
                _note(EventKind.ORDER_CANCEL_LASTING, Severity.ERROR, repair)
                return "its cancellation does not come to an end: look at it on Alpaca's dashboard"

    def _cancel(self, repair: OrderRepair, surroundings: Surroundings) -> str | None:
        """Read once more, the order and who claims it, and ask."""
        order = self._read_again(repair.order)
        if order is None or order.is_ended:
            return f"ended by itself ({order.status if order else 'gone'})"
        again = plan_order_repairs([order], replace(surroundings, claims=load_claims()))
        if not again or again[0].action is not OrderAction.CANCEL:
            return "not needed any more"
        if cancel_order(self.client, order.id):
            _note(EventKind.ORDER_CANCEL_REQUESTED, Severity.INFO, again[0])
            return "asked for"
        order = self._read_again(order)
        if order is None or order.is_ended:
            return f"ended by itself ({order.status if order else 'gone'})"
        _note(EventKind.ORDER_CANCEL_REFUSED, Severity.WARNING, again[0])
        raise StepFailed("the exchange did not take the request")

    def _read_again(self, order: ExchangeOrder) -> ExchangeOrder | None:
        try:
            return fetch_order(self.client, order.id)
        except ExchangeRefused as error:
            raise StepFailed(f"cannot read the order: {error}") from error

    def _postpone(self, repairs: list[OrderRepair]) -> None:
        """The daemon needs its requests more than a long list of repairs."""

        def refuse() -> str:
            raise StepFailed("this minute's requests are used up: the next run goes on")

        count = len(repairs)
        step = {"action": "postpone", "reason": f"{count} more orders", "count": count}
        self.run.step(step, refuse)


def load_symbols() -> frozenset[str]:
    """The symbols of all assets, enabled or not; they belong to the bot."""
    symbols = set()
    for asset in get_all_assets(thread_connection()):
        try:
            symbols.add(normalize_symbol(asset.asset_symbol))
        except WireError as error:
            log_event(
                log, LogEvent.ASSET_SKIPPED, level=logging.WARNING, asset=asset.id, reason=error
            )
    return frozenset(symbols)


def load_claims() -> Claims:
    """What the open cycles claim, in one query."""
    cycles = get_cycles_by_status(thread_connection(), *OPEN_STATUSES)
    linked = [cycle for cycle in cycles if cycle.latest_order_id]
    closing = [cycle for cycle in cycles if cycle.sells_now]
    ids = {cycle.latest_order_id for cycle in linked if cycle.status in WAITING_STATUSES}
    closing_ids = {cycle.latest_order_id for cycle in closing}
    closing_ids |= {compute_client_order_id(cycle) for cycle in closing}
    return Claims(
        closing=frozenset(one for one in closing_ids if one),
        order_ids=frozenset(one for one in ids if one),
        client_order_ids=frozenset(compute_client_order_id(cycle) for cycle in cycles),
    )


def _allowance_is_low() -> bool:
    left = requests_left()
    return left is not None and left < REQUESTS_KEPT_FOR_OTHERS


def _described(repair: OrderRepair) -> dict[str, object]:
    return {
        "action": repair.action.value,
        "symbol": repair.order.symbol,
        "reason": repair.reason,
        "fault": repair.fault.value,
        "order": repair.order.id,
        "client_order_id": repair.order.client_order_id,
        "age_seconds": round(repair.age_seconds, 1),
    }


def _note(kind: EventKind, severity: Severity, repair: OrderRepair) -> None:
    """The row that later runs count from, and its line in the log."""
    reason, symbol, order_id = repair.reason, repair.order.symbol, repair.order.id
    event = Event(kind=kind, severity=severity, reason=reason, symbol=symbol, order_id=order_id)
    record_event(thread_connection(), event)


def _asked_seconds(events: Iterable[EventAge]) -> dict[str, AskedSeconds]:
    """By order id, from events oldest first."""
    asked: dict[str, AskedSeconds] = {}
    for event in events:
        if event.order_id:
            before = asked.get(event.order_id)
            first = before.first if before else event.seconds
            asked[event.order_id] = AskedSeconds(first=first, last=event.seconds)
    return asked
