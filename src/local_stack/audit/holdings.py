"""What the account holds against what the bot believes: changes are told, others stay untouched.

Pure, like invariants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from domain.cycle import CycleStatus
from domain.events import EventKind
from domain.orders import Side
from local_stack.audit.invariants import Violation
from local_stack.audit.ledgers import Evidence, match_evidence
from strategy.sizing import is_dust, is_short_beyond_fees, is_unsellable

_TOLD = (
    EventKind.POSITION_SHORT,
    EventKind.POSITION_EXCESS,
    EventKind.POSITION_UNEXPECTED,
    EventKind.POSITION_GONE,
)
_ZERO = Decimal(0)


def find_unreported(
    evidence: Evidence, coins: Mapping[str, Decimal], events: Iterable[Mapping[str, Any]]
) -> list[Violation]:
    """Cycles whose coins the account has not, or has more of, without a word in dca_events."""
    told = {event["cycle_id"] for event in events if event["kind"] in _TOLD}
    found = []
    for cycle in match_evidence(evidence).cycles:
        row, held = cycle.row, coins.get(cycle.symbol, _ZERO)
        if row.status is not CycleStatus.WATCHING or row.id in told:
            continue
        fees = sum((entry.fee_qty for entry in cycle.journal if entry.side is Side.BUY), _ZERO)
        is_short = not is_dust(
            row.quantity, cycle.rules, evidence.fee_rate
        ) and is_short_beyond_fees(row.quantity, fees, held, cycle.rules, evidence.fee_rate)
        has_more = not is_unsellable(held - row.quantity, cycle.rules)
        if is_short or has_more:
            text = f"cycle {row.id} has {row.quantity}, the account {held}: nobody was told"
            found.append(
                Violation(rule="reported", text=text, symbol=cycle.symbol, cycle_id=row.id)
            )
    return found


def find_blocking_coins(
    evidence: Evidence, coins: Mapping[str, Decimal], events: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, Decimal]]:
    """Coins in the account that no cycle holds, and that a person was told of: they block buys."""
    told = {
        event["symbol"] for event in events if event["kind"] in (*_TOLD, EventKind.FILL_CORRECTED)
    }
    for cycle in match_evidence(evidence).cycles:
        held = coins.get(cycle.symbol, _ZERO)
        is_free = cycle.row.status in (CycleStatus.WATCHING, CycleStatus.COOLDOWN) and is_dust(
            cycle.row.quantity, cycle.rules, evidence.fee_rate
        )
        if is_free and not is_unsellable(held, cycle.rules) and cycle.symbol in told:
            yield cycle.symbol, held


def find_touched_holdings(
    ledger: Mapping[str, Any], symbol: str, users_order: str
) -> Iterator[Violation]:
    """The user's own position and order on a symbol that is not configured: as they were."""
    [order] = [one for one in ledger["orders"] if one["id"] == users_order]
    if order["status"] not in ("new", "pending_new"):
        text = f"the user's own order is {order['status']}"
        yield Violation(rule="untouched", text=text, symbol=symbol)
    if any(one["symbol"] == symbol for one in ledger["executions"]):
        yield Violation(rule="untouched", text="the bot traded it", symbol=symbol)
    if any(one["symbol"] == symbol and one["id"] != users_order for one in ledger["orders"]):
        yield Violation(rule="untouched", text="the bot placed orders on it", symbol=symbol)
