"""How a demo's trading day ends: the last orders end, the bot books them, fees are posted.

Owns: the order of these steps. Waits for conditions within bounds; the summary finds what is late.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from mysql.connector.abstracts import MySQLConnectionAbstract

from caretakers.fee_settlement import write_fees
from caretakers.plans.fee_matching import FeeRates
from caretakers.plans.fee_settlement import plan_fee_settlements
from domain.fee_activity import Execution, FeeActivity
from local_stack.exchange_process import MAKER_FEE_RATE, TAKER_FEE_RATE, ExchangeProcess
from local_stack.stack import LocalStack
from models.order_journal import get_entries_ended_since, get_journaled_client_ids

CATCH_UP_SECONDS = 10.0
POLL_SECONDS = 0.1
# By then the exchange has posted all of yesterday's fees, and they are settled.
MORNING_AFTER = timedelta(days=1, hours=12)


def finish_orders(exchange: ExchangeProcess, db_conn: MySQLConnectionAbstract) -> None:
    """Stop the market and wait until every order that ended is in the bot's journal."""
    exchange.control("market", paused=True)
    deadline = time.monotonic() + CATCH_UP_SECONDS
    while time.monotonic() < deadline:
        exchange.control("finish")
        state = exchange.state()
        halves = {o["symbol"] for o in state["orders"]["open"] if float(o["filled_qty"]) > 0}
        for symbol in halves:
            # What is left fills at the next quote, and the paused market sends none.
            prices = {name: state["quotes"][symbol][name] for name in ("bid", "ask")}
            exchange.control("quote", symbol=symbol, **prices)
        open_ids = {order["client_order_id"] for order in state["orders"]["open"]}
        ended = {order["client_order_id"] for order in exchange.orders()} - open_ids
        if not halves and get_journaled_client_ids(db_conn, ended) >= ended:
            return
        time.sleep(POLL_SECONDS)


def close_the_day(stack: LocalStack, db_conn: MySQLConnectionAbstract) -> None:
    """Let the exchange post the day's fees, and let the bot write them into its journal.

    consistency_checker settles a day's fees the next morning. A demo does not last that long, so
    its planner is called here with a clock that is a day ahead.
    """
    stack.exchange.control("end_of_day")
    stack.run_script("consistency_checker")
    raw = [one for kind in ("CFEE", "FEE") for one in stack.exchange.activities(kind)]
    posted = [fee for one in raw if (fee := FeeActivity.from_wire(one)) is not None]
    fills = [Execution.from_wire(one) for one in stack.exchange.activities("FILL")]
    now = datetime.now(UTC)
    for settlement in plan_fee_settlements(
        get_entries_ended_since(db_conn, now - timedelta(days=2)),
        posted,
        [one for one in fills if one is not None],
        now=now + MORNING_AFTER,
        rates=FeeRates(TAKER_FEE_RATE, MAKER_FEE_RATE),
    ):
        write_fees(db_conn, settlement)
