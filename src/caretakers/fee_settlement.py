"""Replaces estimated fees in the journal by what the exchange posted. Part of consistency_checker.

Asks the exchange only while a finished day has an order whose fee is still an estimate.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from caretakers.plans.fee_matching import FeeRates
from caretakers.plans.fee_settlement import FeeSettlement, last_settled_day, plan_fee_settlements
from caretakers.runner import ScriptRun
from domain.events import Event, EventKind, Severity
from domain.orders import Side
from models.events import was_written
from models.order_journal import get_entries_ended_since, get_first_estimated_end, settle_fee
from trading.cycle_changes import record_event
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_trade_records
from utils.db_utils import thread_connection, transaction
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

# Fees that are not posted by then never will be (some accounts post none): no more questions.
GIVE_UP_AFTER = timedelta(days=10)


def settle_fees(run: ScriptRun) -> None:
    """Write the posted fees of finished days; what is not posted yet later runs ask for, for ten
    days.

    Raises:
        ExchangeError, DatabaseError: not finished; the next run goes on.
    """
    now, connection = datetime.now(UTC), thread_connection()
    last = last_settled_day(now)
    first_end = get_first_estimated_end(
        connection, now - GIVE_UP_AFTER, _midnight(last + timedelta(days=1))
    )
    if first_end is None:
        return
    entries = get_entries_ended_since(connection, _midnight(first_end.date()))
    first = min([first_end, *(entry.submitted_at or first_end for entry in entries)]).date()
    records = fetch_trade_records(get_trading_client(), first)
    settlements = plan_fee_settlements(
        entries,
        records.fees,
        records.executions,
        now=now,
        rates=FeeRates(run.settings.taker_fee_rate, run.settings.maker_fee_rate),
    )
    settled = {fee.client_order_id for settlement in settlements for fee in settlement.fees}
    waiting = [
        entry
        for entry in entries
        if entry.fee_is_estimated and entry.filled_qty > 0 and entry.client_order_id not in settled
    ]
    log_event(
        log,
        LogEvent.FEES_CHECKED,
        since=first,
        orders=len(entries),
        posted=len(records.fees),
        still_estimated=len(waiting),
    )
    for settlement in settlements:
        if settlement.problem is not None:
            _report(run, settlement)
        else:
            _settle(run, settlement)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def write_fees(connection: MySQLConnectionAbstract, settlement: FeeSettlement) -> None:
    """The fees of one settlement; the caller holds the transaction."""
    for one in settlement.fees:
        in_coins, in_usd = (one.fee, 0) if settlement.side is Side.BUY else (0, one.fee)
        settle_fee(connection, one.client_order_id, Decimal(in_coins), Decimal(in_usd))


def _settle(run: ScriptRun, settlement: FeeSettlement) -> None:
    step = {
        "action": "settle fees",
        "symbol": settlement.symbol,
        "reason": settlement.reason,
        "orders": len(settlement.fees),
    }
    if run.step(step, lambda: transaction(lambda connection: write_fees(connection, settlement))):
        log_event(
            log,
            LogEvent.FEES_SETTLED,
            symbol=settlement.symbol,
            side=settlement.side,
            total=settlement.total,
            orders=len(settlement.fees),
            first=settlement.first_day,
            last=settlement.last_day,
        )


def build_fee_event(settlement: FeeSettlement) -> Event:
    """The row about one that cannot be written."""
    reason = f"{settlement.symbol or 'all symbols'}: {settlement.reason}"
    if settlement.is_late:
        until = settlement.first_day + GIVE_UP_AFTER
        reason += f": the estimates stay, more is asked for until {until}"
    return Event(
        kind=EventKind.FEES_INCOMPLETE if settlement.is_late else EventKind.FEES_IMPLAUSIBLE,
        severity=Severity.INFO if settlement.is_late else Severity.WARNING,
        reason=reason,
        symbol=settlement.symbol,
        dedupe_key=settlement.dedupe_key,
    )


def _report(run: ScriptRun, settlement: FeeSettlement) -> None:
    event = build_fee_event(settlement)
    if was_written(thread_connection(), event):
        return
    step = {"action": "report", "symbol": event.symbol, "reason": settlement.reason}
    run.step(step, lambda: record_event(thread_connection(), event))
