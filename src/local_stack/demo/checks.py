"""The rules that the bot must have kept in a demo, each with its verdict. Pure.

The rules about orders, cycles and ladders are the invariants that chaos runs are judged by.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from local_stack.audit.invariants import (
    Violation,
    find_journal_faults,
    find_money_faults,
    find_open_cycle_faults,
    find_order_faults,
    find_row_faults,
    find_unclaimed,
    find_unresolved,
)
from local_stack.audit.ledgers import CycleEvidence, Evidence, MatchedEvidence
from local_stack.audit.spending import largest_share
from local_stack.demo.figures import HALF_A_CENT, AssetFigures, cash_moved
from local_stack.demo.records import DemoRecords
from utils.formatting import counted

_SHOWN = 3
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One rule that must hold, whether it did, and what was checked."""

    name: str
    holds: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of the run besides the records."""

    requests_peak_per_minute: int
    requests_per_minute: int
    daemon_ran_to_the_end: bool


def check_profits(
    assets: Iterable[AssetFigures], total: AssetFigures, matched: MatchedEvidence
) -> Check:
    wrong = [f"differs for {one.symbol}" for one in (*assets, total) if not one.agrees]
    estimated = sum(
        entry.fee_is_estimated and entry.filled_qty > 0
        for cycle in matched.cycles
        for entry in cycle.journal
    )
    if estimated:
        wrong.append(f"{estimated} fees are still estimates")
    figures = f"{total.journal_profit_usd:.4f} and {total.exchange_profit_usd:.4f} USD"
    return Check(
        name="the bot's profit is, to the cent, what the exchange's fills and fees say",
        holds=not wrong,
        detail="; ".join([figures, *wrong]),
    )


def check_cash(records: DemoRecords) -> Check:
    """Fills and fees explain every dollar that the account gained or lost."""
    fills, unpaired = records.evidence.fills, records.unpaired_fees
    missing = records.cash - records.cash_at_start - sum(map(cash_moved, fills), _ZERO)
    detail = f"{counted(len(fills), 'fill')}, {missing:.4f} USD unexplained"
    if unpaired:
        detail += f", {unpaired} fees without a fill or fills without a fee"
    return Check(
        name="the account's cash moved by these fills and fees and nothing else",
        holds=abs(missing) < HALF_A_CENT and unpaired == 0,
        detail=detail,
    )


def check_orders(evidence: Evidence, matched: MatchedEvidence) -> Check:
    """Never bought twice, nothing lost."""
    found = [
        *find_unclaimed(matched),
        *find_unresolved(evidence),
        *find_open_cycle_faults(evidence),
    ]
    for cycle in matched.cycles:
        found += find_order_faults(cycle)
    return Check(
        name="every order belongs to one state of one cycle and is in the journal",
        holds=not found,
        detail=_texts(found)
        or counted(sum(len(cycle.orders) for cycle in matched.cycles), "order"),
    )


def check_cycles(cycles: Iterable[CycleEvidence], evidence: Evidence) -> Check:
    cycles, found = list(cycles), list[Violation]()
    for cycle in cycles:
        found += [*find_journal_faults(cycle), *find_row_faults(cycle, evidence)]
    bought = sum(bool(cycle.orders) for cycle in cycles)
    return Check(
        name="quantity, average and safety orders of every cycle are the exchange's fills",
        holds=not found,
        detail=_texts(found) or counted(bought, "cycle"),
    )


def check_ladders(cycles: Iterable[CycleEvidence], evidence: Evidence) -> Check:
    """Counts what each buy could have cost at its limit, on top of what was filled before it."""
    cycles = list(cycles)
    found = list(find_money_faults(cycles, evidence))
    largest = max(map(largest_share, cycles), default=_ZERO)
    return Check(
        name="filled plus open buys never exceeded the base order plus all safety orders",
        holds=not found,
        detail=_texts(found) or f"at most {largest:.0%} of a ladder was used",
    )


def check_sells(records: DemoRecords) -> Check:
    wrong = [line for line in records.refused_sells if "insufficient balance" in line]
    return Check(
        name="no take profit was refused for insufficient balance",
        holds=not wrong,
        detail=wrong[0] if wrong else f"{len(records.refused_sells)} sells refused for any reason",
    )


def check_requests(circumstances: Circumstances) -> Check:
    peak, allowed = circumstances.requests_peak_per_minute, circumstances.requests_per_minute
    return Check(
        name="the bot and its caretakers stayed within the requests allowed",
        holds=peak <= allowed,
        detail=f"peak {peak} in a minute, {allowed} allowed",
    )


def check_calm(records: DemoRecords, circumstances: Circumstances) -> Check:
    """An ERROR sends an alert."""
    detail = records.errors[0] if records.errors else "no ERROR in the logs"
    if not circumstances.daemon_ran_to_the_end:
        detail = f"the daemon did not trade at the end; {detail}"
    return Check(
        name="the bot traded to the end and needed nobody",
        holds=not records.errors and circumstances.daemon_ran_to_the_end,
        detail=detail,
    )


def _texts(found: list[Violation]) -> str:
    return "; ".join(violation.text for violation in found[:_SHOWN])
