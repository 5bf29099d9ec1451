"""Days after the run: the fees are posted as on real accounts, and the bot settles them.

Owns: the postings (late, split, misdated, unnamed, at either rate) and the later clock. The journal
is then judged against what the exchange took. Nothing trades meanwhile.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from domain.journal import JournalEntry
from domain.orders import Side
from local_stack.audit.invariants import Violation, violation_of
from local_stack.audit.ledgers import Evidence, match_evidence
from local_stack.chaos.plan import plan_fee_postings
from local_stack.exchange_process import MAKER_FEE_RATE, StackError
from local_stack.stack import LocalStack

LATER_SECONDS = 4.5 * 86_400  # every fee is posted by then, and a lower one is accepted
SETTLER = "scripts/consistency_checker.py"
_CENT, _SMALLEST_COIN = Decimal("0.01"), Decimal("1e-9")
_STORED_STEP = Decimal("1e-18")  # an allotted share is cut to what the journal's column holds


def settle_fees_days_later(stack: LocalStack, seed: int) -> None:
    """The exchange posts the fees of the run, and the caretaker that settles them runs.

    Raises:
        StackError: the caretaker failed.
    """
    stack.stop_daemon()
    exchange = stack.exchange
    for fault in plan_fee_postings(seed):
        exchange.control("faults", **fault)
    exchange.control("faults", name="skew_clock", seconds=LATER_SECONDS)
    exchange.control("end_of_day")
    later = ["-m", "local_stack.chaos.later", f"{LATER_SECONDS:.0f}"]
    ended = stack.run_python(SETTLER, [*later, SETTLER])
    exchange.control("faults", clear=True)
    if ended.returncode != 0 and not _is_only_held_back(ended.stdout + ended.stderr):
        said = (ended.stderr or ended.stdout).strip() or "it said nothing"
        raise StackError(f"{SETTLER} ended with code {ended.returncode}: {said.splitlines()[-1]}")


def _is_only_held_back(output: str) -> bool:
    """Whether the only failures are deliberate: after coins were taken from two cycles by hand, the
    caretaker ends no third one for an hour.
    """
    failed = [line for line in output.splitlines() if "FAILED" in line]
    return bool(failed) and all("FAILED: hold back" in line for line in failed)


def find_fee_faults(evidence: Evidence) -> Iterator[Violation]:
    """No settled row has a lower fee than the maker's rate, and the journal's fees are in all not
    lower than what the exchange took: the profit would be overstated.
    """
    matched = match_evidence(evidence)
    executions = Counter(fill.order_id for fill in evidence.fills)
    for cycle in matched.cycles:
        for entry in cycle.journal:
            base, fee = _base_and_fee(entry)
            if not entry.fee_is_estimated and fee < base * MAKER_FEE_RATE - _STORED_STEP:
                share = f"{fee:f} of {base:f}, {fee / base:.4%}"
                text = f"{entry.client_order_id} is settled with {share}"
                yield violation_of(cycle, "fees: what a rate explains", text)
    for asset in evidence.assets:
        yield from _understated(evidence, Side.BUY, asset.asset_symbol, executions)
    # A fee in USD need not say for which coin it was taken.
    yield from _understated(evidence, Side.SELL, None, executions)


def _base_and_fee(entry: JournalEntry) -> tuple[Decimal, Decimal]:
    """What the fee is a part of, and the fee: coins of a buy, USD of a sell."""
    if entry.side is Side.BUY:
        return entry.filled_qty, entry.fee_qty
    return entry.filled_usd, entry.fee_usd


def _understated(
    evidence: Evidence, side: Side, symbol: str | None, executions: Counter[str]
) -> Iterator[Violation]:
    """An estimate may be short by the rounding of each execution, a settled row by nothing. An open
    order has no row yet, whatever it has filled.
    """
    rows = [one for one in evidence.journal if one.side is side and symbol in (None, one.symbol)]
    booked = {one.alpaca_order_id for one in rows}
    said = sum((_base_and_fee(one)[1] for one in rows), Decimal(0))
    taken = sum((fill.fee for fill in evidence.fills if fill.order_id in booked), Decimal(0))
    estimated = {one.alpaca_order_id for one in rows if one.fee_is_estimated}
    smallest = _SMALLEST_COIN if side is Side.BUY else _CENT
    slack = smallest * sum(executions[order_id] for order_id in estimated)
    if said < taken - slack - _STORED_STEP * len(rows):
        text = f"the {side}s paid {taken:f}, the journal says {said:f}"
        yield Violation(rule="fees: profit not overstated", text=text, symbol=symbol)


def count_settled(evidence: Evidence) -> int:
    """How many rows of the journal carry a posted fee."""
    return sum(not one.fee_is_estimated for one in evidence.journal)
