"""Reads what a chaos run is judged by: the exchange's ledger and every row of the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from domain.cycle import CycleStatus
from domain.events import EventKind, Severity
from domain.market import AssetRules
from domain.orders import ExchangeOrder
from domain.rows import Row, utc_from_db
from local_stack.audit.ledgers import Evidence, Extremes, OrderStep, fills_of_ledger
from local_stack.chaos.plan import MAX_QUOTE_AGE_SECONDS
from local_stack.exchange_process import TAKER_FEE_RATE
from local_stack.stack import LocalStack
from models.asset_config import get_all_assets
from models.cycle_data import get_cycles_by_status
from models.order_journal import get_entries_ended_since
from utils.db_utils import execute_query

# A quote may decide until it is MAX_QUOTE_AGE_SECONDS old, and then the order travels.
DECIDES_SECONDS = MAX_QUOTE_AGE_SECONDS + 1.0
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChaosRecords:
    """Both sides at one moment. `coins` are held in the account, by symbol."""

    evidence: Evidence
    ledger: Mapping[str, Any]
    events: tuple[Row, ...]
    coins: Mapping[str, Decimal]


def read_records(
    stack: LocalStack,
    rules: Mapping[str, AssetRules],
    users_orders: Collection[str],
    sold_by_hand: Collection[tuple[str, Decimal]],
) -> ChaosRecords:
    """The exchange first: what the bot books meanwhile must not seem to be missing.

    `sold_by_hand` are adjustments of coins that no cycle held; they do not excuse missing coins.

    Raises:
        StackError, DatabaseError, mysql.connector.Error: a side does not answer.
    """
    ledger = stack.exchange.ledger()
    with stack.connection() as connection:
        # One snapshot: a fill booked between two reads would break an invariant.
        execute_query("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ", db_conn=connection)
        execute_query("START TRANSACTION WITH CONSISTENT SNAPSHOT", db_conn=connection)
        booked = execute_query(
            "SELECT alpaca_order_id AS id, MAX(created_at) AS at FROM dca_orders GROUP BY 1",
            fetch_all=True,
            db_conn=connection,
        )
        events = execute_query(
            "SELECT * FROM dca_events ORDER BY id", fetch_all=True, db_conn=connection
        )
        evidence = Evidence(
            assets=tuple(get_all_assets(connection)),
            rows=tuple(get_cycles_by_status(connection, *CycleStatus)),
            journal=tuple(get_entries_ended_since(connection, _BEGINNING)),
            orders=tuple(
                ExchangeOrder.from_wire(raw)
                for raw in ledger["orders"]
                if raw["id"] not in users_orders
            ),
            fills=fills_of_ledger(ledger["executions"]),
            steps=tuple(OrderStep.from_ledger(raw) for raw in ledger["steps"]),
            rules=rules,
            fee_rate=TAKER_FEE_RATE,
            booked_at={row["id"]: utc_from_db(row["at"]) for row in booked},
            shrunk_symbols=frozenset(
                one["unit"]
                for one in ledger["adjustments"]
                if Decimal(one["amount"]) < 0
                and (one["unit"], Decimal(one["amount"])) not in sold_by_hand
            ),
            taken=_taken(ledger["adjustments"], sold_by_hand),
            quotes_sent={
                order_id: tuple(
                    Decimal(one["bid"]) for one in sent if one["seconds_before"] <= DECIDES_SECONDS
                )
                for order_id, sent in ledger["quotes_sent"].items()
            },
            extremes_sent={
                order_id: Extremes(Decimal(one["lowest"]), Decimal(one["highest"]))
                for order_id, one in ledger["extremes_sent"].items()
            },
            stops_fired=_stops_fired(events),
        )
    return ChaosRecords(
        evidence=evidence,
        ledger=ledger,
        events=tuple(events),
        coins={symbol: Decimal(one["qty"]) for symbol, one in ledger["balances"]["coins"].items()},
    )


def _stops_fired(events: Iterable[Row]) -> dict[int, tuple[datetime, ...]]:
    """When the stop loss of each cycle fired, by the database's clock. A restore notes one that
    fired before without an alert; after an alert such a row is the end of it.
    """
    fired: dict[int, tuple[datetime, ...]] = defaultdict(tuple)
    for event in events:
        at, cycle_id = utc_from_db(event["created_at"]), event["cycle_id"]
        is_end = event["severity"] == Severity.INFO and cycle_id in fired
        if event["kind"] == EventKind.STOP_LOSS_FIRED and at is not None and not is_end:
            fired[cycle_id] += (at,)
    return fired


def _taken(
    adjustments: Iterable[Mapping[str, Any]], sold_by_hand: Collection[tuple[str, Decimal]]
) -> dict[str, Decimal]:
    """The most coins that were ever missing, by symbol, of those given and taken by hand."""
    balance: dict[str, Decimal] = defaultdict(Decimal)
    missing: dict[str, Decimal] = {}
    for one in adjustments:
        unit, amount = one["unit"], Decimal(one["amount"])
        if (unit, amount) not in sold_by_hand:
            balance[unit] += amount
            missing[unit] = max(missing.get(unit, Decimal(0)), -balance[unit])
    return missing
