"""Ends the alerts whose cause is gone, and tells once of each that ended, whoever ended it.

A part of consistency_checker, which finds what others have lost: an alert whose daemon is gone, one
that the user cured by hand. Reads the database and the exchange; writes rows of dca_events only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from caretakers.consistency_snapshot import ConsistencySnapshots
from caretakers.plans.alert_endings import (
    ORDER_KINDS,
    POSITION_KINDS,
    AlertFacts,
    why_over,
)
from caretakers.plans.cooldown_manager import why_endless
from caretakers.runner import ScriptRun
from domain.cycle import CycleStatus
from domain.events import EventKind, EventRow, Severity
from domain.orders import ExchangeOrder
from models.asset_config import get_asset_by_id
from models.cycle_data import get_cycle
from models.events import (
    end_alert,
    get_ends_after,
    get_event_ages,
    get_newest_event_id,
    get_open_alerts,
)
from models.meta import get_meta, put_meta
from models.order_journal import get_entries_of_order
from models.trading_state import load_cooldown
from strategy.order_identity import has_our_prefix
from strategy.reconciliation import MAX_ENDED_LATELY
from trading.loss_limits import LossLimits
from trading.placement import Skip
from utils.alpaca_client_rest import ExchangeError, RateLimited
from utils.alpaca_queries import fetch_order, fetch_order_by_client_id
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event, matter_of

log = logging.getLogger(__name__)

MAX_ASKED = 10  # alerts about which one run asks the exchange: the next run asks about the others
_TOLD_TO = "alerts_told_to"  # in dca_meta: the last row of dca_events whose end was looked at


class AlertEndings:
    """Of one run of consistency_checker."""

    def __init__(
        self,
        run: ScriptRun,
        client: TradingClient,
        snapshots: ConsistencySnapshots,
        held_seconds: float,
        losses: LossLimits,
    ) -> None:
        self._losses = losses
        self._run, self._client, self._snapshots = run, client, snapshots
        self._held_seconds = held_seconds

    def work(self) -> None:
        """End what is over, then tell of every end since the last run.

        Raises:
            DatabaseError, RateLimited: not finished; the next run goes on.
        """
        asked = 0
        for alert in get_open_alerts(thread_connection()):
            asks = alert.kind in (*ORDER_KINDS, *POSITION_KINDS)
            if asks and asked == MAX_ASKED:
                continue
            asked += asks
            if (reason := why_over(alert, self._facts_of(alert))) is not None:
                self._run.step(
                    {
                        "action": "end alert",
                        "symbol": alert.symbol,
                        "reason": reason,
                        "kind": alert.kind,
                        "alert": alert.id,
                    },
                    partial(end_alert, thread_connection(), alert, reason),
                )
        if not self._run.dry_run:
            tell_of_ends()

    def _facts_of(self, alert: EventRow) -> AlertFacts:
        connection = thread_connection()
        cycle = get_cycle(connection, alert.cycle_id) if alert.cycle_id else None
        asset = get_asset_by_id(connection, cycle.asset_id) if cycle else None
        now = datetime.now(UTC)
        facts = AlertFacts(
            age_seconds=(now - alert.created_at).total_seconds(),
            cycle=cycle,
            symbol=asset.asset_symbol if asset else None,
        )
        try:
            if alert.kind in ORDER_KINDS:
                return self._with_order(alert, facts)
            if alert.kind in POSITION_KINDS and cycle is not None:
                return self._with_holding(alert, facts)
            if alert.kind == EventKind.BUYS_STOPPED:
                is_reached = self._losses.is_reached(alert.dedupe_key or "")
                return replace(facts, is_limit_reached=is_reached)
        except Skip:  # what is held cannot be judged now: the limit goes on to stop buys
            return facts
        except RateLimited:
            raise
        except ExchangeError as error:  # what cannot be read now is read by the next run
            log_event(log, LogEvent.ALERT_UNJUDGED, symbol=alert.symbol, key=alert.id, reason=error)
        if alert.kind == EventKind.COOLDOWN_ENDLESS and cycle is not None:
            cooldown = load_cooldown(connection, cycle.id)
            endless = cooldown is not None and why_endless(cooldown, now) is not None
            return replace(facts, is_cooldown_endless=endless)
        if alert.kind == EventKind.POSITIONS_DOUBTED:
            gone = EventKind.POSITION_GONE
            lately = get_event_ages(connection, (gone,), self._held_seconds, Severity.ERROR)
            return replace(facts, may_end_in_error=len(lately) < MAX_ENDED_LATELY)
        return facts

    def _with_order(self, alert: EventRow, facts: AlertFacts) -> AlertFacts:
        order_id = alert.order_id
        if order_id is None:
            return facts
        fetch: Callable[[TradingClient, str], ExchangeOrder | None] = fetch_order
        if has_our_prefix(order_id):  # one that never was read bears the id that we gave it
            fetch = fetch_order_by_client_id
        order = fetch(self._client, order_id)
        journaled = get_entries_of_order(thread_connection(), order.id if order else order_id)
        booked = sum(one.filled_qty for one in journaled)
        is_booked = bool(journaled) and order is not None and booked >= order.filled_qty
        facts = replace(facts, is_order_known=True, order=order, is_order_booked=is_booked)
        if alert.kind == EventKind.ORDER_UNCLAIMED and order is not None and order.is_ended:
            explained = self._snapshots.is_explained(order)
            facts = replace(facts, is_order_explained=explained)
        return facts

    def _with_holding(self, alert: EventRow, facts: AlertFacts) -> AlertFacts:
        if facts.cycle is None or facts.cycle.status is not CycleStatus.WATCHING:
            return facts
        kind = self._snapshots.find_holding_kind(facts.cycle)
        return replace(facts, is_holding_known=True, holding_kind=kind)


def tell_of_ends() -> None:
    """One line for each alert that ended since the last run; mailed, unless it was acknowledged.

    Raises:
        DatabaseError: told again by the next run, at most.
    """
    connection = thread_connection()
    newest, told_to = get_newest_event_id(connection), get_meta(connection, _TOLD_TO)
    ends = get_ends_after(connection, int(told_to)) if told_to else []
    for end in ends:
        if end.id > newest:
            break  # written meanwhile: the next run tells of it
        is_awaited = end.lasts and end.severity is Severity.ERROR
        fields: dict[str, Any] = {
            "symbol": end.symbol,
            "cycle": end.cycle_id,
            "order": end.order_id,
            "key": end.dedupe_key,
        }
        began = LogEvent.__members__.get(end.kind.upper())
        log_event(
            log,
            LogEvent.ALERT_ENDED,
            level=logging.WARNING if is_awaited else logging.INFO,
            mail=is_awaited,
            about=matter_of(began, fields) if began else None,  # so that a new one is mailed again
            alert=end.kind,
            **fields,
            reason=end.reason,
        )
    put_meta(connection, _TOLD_TO, str(newest))
