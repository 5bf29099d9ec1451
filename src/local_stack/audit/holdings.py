"""The account's coins against the bot's rows: changes must be reported, other coins left alone.

Pure, like invariants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from decimal import Decimal
from typing import Any

from domain.cycle import CycleStatus
from domain.events import EventKind
from domain.orders import Side
from local_stack.audit.invariants import Violation, violation_of
from local_stack.audit.ledgers import Evidence, match_evidence
from strategy.sizing import is_dust, is_short_beyond_fees, is_unsellable

_REPORTS = (
    EventKind.POSITION_SHORT,
    EventKind.POSITION_EXCESS,
    EventKind.POSITION_UNEXPECTED,
    EventKind.POSITION_GONE,
    EventKind.POSITIONS_DOUBTED,
)
_ZERO = Decimal(0)


def find_unreported(
    evidence: Evidence, coins: Mapping[str, Decimal], events: Iterable[Mapping[str, Any]]
) -> list[Violation]:
    """Cycles with more or fewer coins than the account holds, and no event about it."""
    reported = {event["cycle_id"] for event in events if event["kind"] in _REPORTS}
    found = []
    for cycle in match_evidence(evidence).cycles:
        row, held = cycle.row, coins.get(cycle.symbol, _ZERO)
        if row.status is not CycleStatus.WATCHING or row.id in reported:
            continue
        fees = sum((entry.fee_qty for entry in cycle.journal if entry.side is Side.BUY), _ZERO)
        rules, rate = cycle.rules, evidence.fee_rate
        is_short = is_short_beyond_fees(row.quantity, fees, held, rules, rate)
        is_short = is_short and not is_dust(row.quantity, rules, rate)
        has_more = not is_unsellable(held - row.quantity, rules)
        if is_short or has_more:
            text = f"the row has {row.quantity} coins, the account {held}: not reported"
            found.append(violation_of(cycle, "reported", text))
    return found


def find_blocking_coins(
    evidence: Evidence, coins: Mapping[str, Decimal], events: Iterable[Mapping[str, Any]]
) -> Iterator[tuple[str, Decimal]]:
    """Coins in the account that no cycle holds, and that were reported: they block buys."""
    kinds = (*_REPORTS, EventKind.FILL_CORRECTED)
    reported = {event["symbol"] for event in events if event["kind"] in kinds}
    for cycle in match_evidence(evidence).cycles:
        held = coins.get(cycle.symbol, _ZERO)
        is_idle = cycle.row.status in (CycleStatus.WATCHING, CycleStatus.COOLDOWN)
        is_free = is_idle and is_dust(cycle.row.quantity, cycle.rules, evidence.fee_rate)
        if is_free and not is_unsellable(held, cycle.rules) and cycle.symbol in reported:
            yield cycle.symbol, held


def find_touched_holdings(
    ledger: Mapping[str, Any], symbol: str, users_order: str
) -> Iterator[Violation]:
    """The user's own position and order on a symbol that is not configured must stay untouched."""
    [order] = [one for one in ledger["orders"] if one["id"] == users_order]
    if order["status"] not in ("new", "pending_new"):
        text = f"the user's own order is {order['status']}"
        yield Violation(rule="untouched", text=text, symbol=symbol)
    if any(one["symbol"] == symbol for one in ledger["executions"]):
        yield Violation(rule="untouched", text="the bot traded it", symbol=symbol)
    if any(one["symbol"] == symbol and one["id"] != users_order for one in ledger["orders"]):
        yield Violation(rule="untouched", text="the bot placed orders on it", symbol=symbol)
