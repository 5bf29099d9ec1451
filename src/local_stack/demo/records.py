"""Everything that was written down about a demo, from both sides: the bot's and the exchange's.

Reads only. The exchange's side is what its REST API tells any client: orders, FILL, FEE and CFEE
activities, the account. Must never take a figure of one side for the other's.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.asset import DcaAsset
from domain.cycle import CycleStatus, DcaCycle
from domain.journal import JournalEntry
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.wire import normalize_symbol
from local_stack.audit.ledgers import Fill, OrderStep
from local_stack.exchange_process import ExchangeProcess
from models.asset_config import get_all_assets
from models.cycle_data import get_cycles_by_status
from models.order_journal import get_entries_ended_since

FEE_RATE = Decimal("0.0025")  # the default of TAKER_FEE_PERCENT, and what the exchange takes
MAKER_FEE_RATE = Decimal("0.0015")  # likewise of MAKER_FEE_PERCENT
_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExchangeRecords:
    """The exchange's side. `unpaired_fees` counts fees and fills that do not belong together.

    `steps` are what its ledger says happened to the orders, in true order.
    """

    orders: tuple[ExchangeOrder, ...]
    fills: tuple[Fill, ...]
    steps: tuple[OrderStep, ...]
    unpaired_fees: int
    cash_at_start: Decimal
    cash: Decimal
    rules: Mapping[str, AssetRules]


@dataclass(frozen=True, slots=True, kw_only=True)
class BotRecords:
    """The bot's side: its tables (the journal in the order of writing) and its logs."""

    assets: tuple[DcaAsset, ...]
    cycles: tuple[DcaCycle, ...]
    journal: tuple[JournalEntry, ...]
    refused_sells: tuple[str, ...]
    errors: tuple[str, ...]


def read_exchange(exchange: ExchangeProcess, rules: Mapping[str, AssetRules]) -> ExchangeRecords:
    """After `end_of_day` has posted the fees.

    Raises:
        StackError: the exchange does not answer.
    """
    fills, unpaired = _with_fees(
        exchange.activities("FILL"), exchange.activities("FEE"), exchange.activities("CFEE")
    )
    state = exchange.state()
    return ExchangeRecords(
        orders=tuple(ExchangeOrder.from_wire(raw) for raw in exchange.orders()),
        fills=fills,
        steps=tuple(OrderStep.from_ledger(raw) for raw in exchange.ledger()["steps"]),
        unpaired_fees=unpaired,
        cash_at_start=Decimal(state["balances"]["initial_cash"]),
        cash=Decimal(exchange.get("/v2/account")["cash"]),
        rules=rules,
    )


def read_bot(db_conn: MySQLConnectionAbstract, log_dir: Path) -> BotRecords:
    """Raises DatabaseError when the database does not answer."""
    cycles = get_cycles_by_status(db_conn, *CycleStatus)
    lines = [line for path in sorted(log_dir.glob("*.log*")) for line in _lines(path)]
    return BotRecords(
        assets=tuple(get_all_assets(db_conn)),
        cycles=tuple(cycles),
        journal=tuple(get_entries_ended_since(db_conn, _BEGINNING)),
        refused_sells=tuple(
            line for line in lines if " order.refused " in line and " side=sell " in line
        ),
        errors=tuple(line for line in lines if " ERROR " in line or " CRITICAL " in line),
    )


def _with_fees(
    fills: Iterable[Mapping[str, Any]],
    usd_fees: Iterable[Mapping[str, Any]],
    coin_fees: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Fill, ...], int]:
    """A fee names its coin but no order; one is posted for each fill, in the order of the fills."""
    waiting: dict[tuple[str, Side], list[Decimal]] = {}
    for fee in usd_fees:
        key = (normalize_symbol(fee["symbol"]), Side.SELL)
        waiting.setdefault(key, []).append(-Decimal(fee["net_amount"]))
    for fee in coin_fees:
        key = (normalize_symbol(fee["symbol"]), Side.BUY)
        waiting.setdefault(key, []).append(-Decimal(fee["qty"]))
    paired: list[Fill] = []
    unpaired = 0
    for fill in fills:
        symbol, side = normalize_symbol(fill["symbol"]), Side(fill["side"])
        posted = waiting.get((symbol, side), [])
        unpaired += not posted
        fee_taken = posted.pop(0) if posted else Decimal(0)
        qty, price = Decimal(fill["qty"]), Decimal(fill["price"])
        paired.append(Fill(fill["order_id"], symbol, side, qty, price, fee_taken))
    return tuple(paired), unpaired + sum(len(rest) for rest in waiting.values())


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", errors="replace").splitlines()
