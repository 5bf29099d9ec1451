"""Replaces estimated fees in the journal by what the exchange posted. Part of consistency_checker.

Asks the exchange only while a finished day has an order whose fee is still an estimate.
"""

from __future__ import annotations

import logging
from datetime import UTC, date, datetime, time, timedelta

from mysql.connector.abstracts import MySQLConnectionAbstract

from caretakers.fee_plan import FeeSettlement, last_settled_day, plan_fee_settlements
from cycle_changes import announce
from models.events import Event, Severity, append_event, event_exists
from models.exchange import Side
from models.order_journal import (
    JournalEntry,
    get_entries_ended_since,
    get_first_estimated_end,
    settle_fee,
)
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_records import fetch_fee_activities
from utils.db_utils import thread_connection, transaction
from utils.logging_setup import log_event
from utils.script_shell import ScriptRun

log = logging.getLogger(__name__)

# Fees that have not been posted by then never will be (some accounts post none): no more questions.
GIVE_UP_AFTER = timedelta(days=10)


def settle_fees(run: ScriptRun) -> None:
    """Write the posted fees of finished days.

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
    posted = fetch_fee_activities(get_trading_client(), first, last)
    log_event(
        log, logging.INFO, "fees.checked", since=first, orders=len(entries), posted=len(posted)
    )
    settlements = plan_fee_settlements(
        entries, posted, now=now, fee_rate=run.settings.taker_fee_rate
    )
    by_id = {entry.client_order_id: entry for entry in entries}
    for settlement in settlements:
        if settlement.implausible:
            _report(run, settlement)
        else:
            _settle(run, settlement, by_id)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, UTC)


def _settle(run: ScriptRun, settlement: FeeSettlement, entries: dict[str, JournalEntry]) -> None:
    def write(connection: MySQLConnectionAbstract) -> None:
        for fee in settlement.fees:
            buys = entries[fee.client_order_id].side is Side.BUY
            old = entries[fee.client_order_id]
            settle_fee(
                connection,
                fee.client_order_id,
                fee.fee if buys else old.fee_qty,
                old.fee_usd if buys else fee.fee,
            )

    step = {
        "action": "settle fees",
        "symbol": settlement.symbol,
        "reason": settlement.reason,
        "orders": len(settlement.fees),
    }
    if run.step(step, lambda: transaction(write)):
        log_event(
            log,
            logging.INFO,
            "fees.settled",
            symbol=settlement.symbol,
            side=settlement.side,
            total=settlement.total,
            orders=len(settlement.fees),
            first=settlement.first_day,
            last=settlement.last_day,
        )


def _report(run: ScriptRun, settlement: FeeSettlement) -> None:
    event = Event(
        kind="fees_implausible",
        severity=Severity.WARNING,
        reason=f"{settlement.symbol or 'all symbols'}: {settlement.reason}",
        symbol=settlement.symbol,
    )
    if event_exists(thread_connection(), event.kind, event.reason):
        return

    def tell() -> None:
        append_event(thread_connection(), event)
        announce((event,))

    run.step({"action": "report", "symbol": event.symbol, "reason": settlement.reason}, tell)
