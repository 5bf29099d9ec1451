"""Everything that is recorded of a demo, by the bot and by the exchange.

Reads only. The exchange's side comes from the REST API that any client has (orders, FILL, FEE and
CFEE activities, account) and, for the order of events, from its ledger. Must never take a figure of
one side from the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.cycle import CycleStatus
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.wire import normalize_symbol
from local_stack.audit.ledgers import Evidence, Fill, OrderStep
from local_stack.exchange_process import TAKER_FEE_RATE, ExchangeProcess
from models.asset_config import get_all_assets
from models.cycle_data import get_cycles_by_status
from models.order_journal import get_entries_ended_since

_BEGINNING = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoRecords:
    """Both sides of a demo, after `end_of_day` has posted the fees.

    `unpaired_fees` counts fees and fills that do not belong together; `refused_sells` and `errors`
    are lines of the bot's logs.
    """

    evidence: Evidence
    unpaired_fees: int
    cash_at_start: Decimal
    cash: Decimal
    refused_sells: tuple[str, ...]
    errors: tuple[str, ...]


def read_records(
    db_conn: MySQLConnectionAbstract,
    log_dir: Path,
    exchange: ExchangeProcess,
    rules: Mapping[str, AssetRules],
) -> DemoRecords:
    """Everything that database, logs and exchange say.

    Raises:
        DatabaseError, StackError: a side does not answer.
    """
    lines = [line for path in sorted(log_dir.glob("*.log*")) for line in _lines(path)]
    refused = [line for line in lines if " order.refused " in line and " side=sell " in line]
    fills, unpaired = _with_fees(
        exchange.activities("FILL"), exchange.activities("FEE"), exchange.activities("CFEE")
    )
    return DemoRecords(
        evidence=Evidence(
            assets=tuple(get_all_assets(db_conn)),
            rows=tuple(get_cycles_by_status(db_conn, *CycleStatus)),
            journal=tuple(get_entries_ended_since(db_conn, _BEGINNING)),
            orders=tuple(ExchangeOrder.from_wire(raw) for raw in exchange.orders()),
            fills=fills,
            steps=tuple(OrderStep.from_ledger(raw) for raw in exchange.ledger()["steps"]),
            rules=rules,
            fee_rate=TAKER_FEE_RATE,
        ),
        unpaired_fees=unpaired,
        cash_at_start=Decimal(exchange.state()["balances"]["initial_cash"]),
        cash=Decimal(exchange.get("/v2/account")["cash"]),
        refused_sells=tuple(refused),
        errors=tuple(line for line in lines if " ERROR " in line or " CRITICAL " in line),
    )


def _with_fees(
    fills: Iterable[Mapping[str, Any]],
    usd_fees: Iterable[Mapping[str, Any]],
    coin_fees: Iterable[Mapping[str, Any]],
) -> tuple[tuple[Fill, ...], int]:
    """A fee names its coin but no order: one is posted for each fill, in the order of the fills."""
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
    return tuple(paired), unpaired + sum(map(len, waiting.values()))


def _lines(path: Path) -> list[str]:
    return path.read_text("utf-8", errors="replace").splitlines()
