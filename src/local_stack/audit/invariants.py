"""What must be true of money, whatever happened: the exchange's own records against the database.

Pure: evidence in, violations out; not one may be tolerated. Demo, chaos and tests call the same
functions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal, localcontext

from domain.cycle import CycleStatus
from domain.journal import ADOPTED
from domain.orders import Side
from local_stack.audit.ladders import find_wrong_buys
from local_stack.audit.ledgers import CycleEvidence, Evidence, MatchedEvidence, match_evidence
from local_stack.audit.replay import Replayed, replay
from local_stack.audit.spending import find_oversold, find_overspent
from local_stack.audit.stop_losses import find_stop_faults
from local_stack.audit.take_profits import count_left, find_gone_prices, find_left_behind
from strategy.sizing import is_dust, is_unsellable

MAX_REQUESTS_PER_MINUTE = 200
_AVERAGE_PLACES = Decimal("1e-9")  # of the exchange's average prices
_WAITING = (CycleStatus.BUYING, CycleStatus.SELLING)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A rule that did not hold. `rule` names it, `text` says what was found."""

    rule: str
    text: str
    symbol: str | None = None
    cycle_id: int | None = None


def find_violations(evidence: Evidence) -> list[Violation]:
    """Every rule; for a moment when nothing is under way any more."""
    matched = match_evidence(evidence)
    with localcontext(prec=60):
        found = [
            *find_unclaimed(matched),
            *find_open_cycle_faults(evidence),
            *find_money_faults(matched.cycles, evidence),
        ]
        for cycle in matched.cycles:
            found += find_order_faults(cycle)
            found += find_buy_faults(cycle, evidence)
            found += find_sale_faults(cycle, evidence)
            found += find_journal_faults(cycle)
            found += find_row_faults(cycle, evidence)
    return [*found, *find_unresolved(evidence)]


def find_unresolved(evidence: Evidence) -> list[Violation]:
    """What the bot has not found out yet: nothing, once it has caught up with the exchange."""
    matched, found = match_evidence(evidence), list[Violation]()
    for cycle in matched.cycles:
        open_ids = {order.id for order in cycle.orders if not order.is_ended}
        if cycle.row.status in _WAITING and cycle.row.latest_order_id not in open_ids:
            text = f"{cycle.row.status} without an open order ({cycle.row.latest_order_id})"
            found.append(violation_of(cycle, "resolved", text))
        for order in cycle.orders:
            if not order.is_ended:
                if cycle.row.latest_order_id != order.id or cycle.row.status not in _WAITING:
                    text = f"open order {order.client_order_id} is not linked ({cycle.row.status})"
                    found.append(violation_of(cycle, "resolved", text))
                continue
            entries = cycle.journaled(order)
            booked = sum((entry.filled_qty for entry in entries), _ZERO)
            # An order without a fill is not booked once its cycle has ended in error.
            has_nothing_to_book = cycle.row.status is CycleStatus.ERROR and order.filled_qty == 0
            if (not entries or booked != order.filled_qty) and not has_nothing_to_book:
                text = f"{order.client_order_id} ({order.status}): {booked} of {order.filled_qty}"
                found.append(violation_of(cycle, "resolved", f"{text} is booked"))
    return found


def find_unclaimed(matched: MatchedEvidence) -> Iterator[Violation]:
    """Every order, fill and row of the journal belongs to one cycle."""
    for order in matched.stray_orders:
        text = f"order {order.client_order_id} belongs to no cycle"
        yield Violation(rule="claimed", text=text, symbol=order.symbol)
    for fill in matched.stray_fills:
        text = f"a fill of order {fill.order_id} belongs to no cycle"
        yield Violation(rule="claimed", text=text, symbol=fill.symbol)
    for entry in matched.stray_entries:
        text = f"journal row {entry.client_order_id} belongs to no cycle"
        yield Violation(rule="claimed", text=text, symbol=entry.symbol)
    rows = Counter(
        (entry.alpaca_order_id, entry.cycle_id)
        for cycle in matched.cycles
        for entry in cycle.journal
    )
    for order_id, cycles in Counter(order_id for order_id, _ in rows).items():
        if cycles > 1:
            yield Violation(rule="claimed", text=f"order {order_id} is booked in {cycles} cycles")


def find_open_cycle_faults(evidence: Evidence) -> Iterator[Violation]:
    """Exactly one open cycle for each asset; an end in error only where coins were taken."""
    open_rows = Counter(row.asset_id for row in evidence.rows if row.is_open)
    symbols = {asset.id: asset.asset_symbol for asset in evidence.assets}
    for asset_id, symbol in symbols.items():
        if open_rows[asset_id] != 1:
            text = f"{open_rows[asset_id]} open cycles"
            yield Violation(rule="one open cycle", text=text, symbol=symbol)
    for row in evidence.rows:
        symbol = symbols[row.asset_id]
        if row.status is CycleStatus.ERROR and symbol not in evidence.shrunk_symbols:
            text = f"cycle {row.id} ended in error although no coins were taken"
            yield Violation(rule="no error", text=text, symbol=symbol, cycle_id=row.id)


def find_order_faults(cycle: CycleEvidence) -> Iterator[Violation]:
    """One order for each state of a cycle, one after the other, all of them in the journal."""
    ids = Counter(order.client_order_id for order in cycle.orders)
    for client_id, times in ids.items():
        if times > 1:
            text = f"{times} orders have the id {client_id}"
            yield violation_of(cycle, "one order for one state", text)
    open_ids: set[str] = set()
    for step in cycle.steps:
        if step.event == "pending_new":
            if open_ids:
                text = f"{step.order_id} beside {open_ids}"
                yield violation_of(cycle, "one order at a time", text)
            open_ids.add(step.order_id)
        elif step.event in ("fill", "canceled", "expired", "rejected", "replaced"):
            open_ids.discard(step.order_id)
    seqs = sorted({entry.order_seq for entry in cycle.journal if entry.final_status != ADOPTED})
    if seqs != list(range(len(seqs))):
        yield violation_of(cycle, "every state once", f"the journal has the states {seqs}")


def find_money_faults(cycles: Iterable[CycleEvidence], evidence: Evidence) -> Iterator[Violation]:
    """Never more spent than the ladder costs, never more sold than bought.

    What a complete cycle could not sell may be sold with a later one of its symbol.
    """
    leftovers: dict[str, Decimal] = {}
    for cycle in sorted(cycles, key=lambda one: one.row.id):
        leftover = leftovers.get(cycle.symbol, _ZERO)
        for text in find_overspent(cycle, evidence.booked_at):
            yield violation_of(cycle, "money: the ladder", text)
        for text in find_oversold(cycle, evidence.booked_at, leftover):
            yield violation_of(cycle, "money: sold no more than bought", text)
        if cycle.is_complete and is_unsellable(left := count_left(cycle), cycle.rules):
            leftovers[cycle.symbol] = leftover + left


def find_buy_faults(cycle: CycleEvidence, evidence: Evidence) -> Iterator[Violation]:
    """No buy above its price of the ladder, none for more than its amount."""
    for text in find_wrong_buys(cycle, evidence):
        yield violation_of(cycle, "buy: its place in the ladder", text)


def find_sale_faults(cycle: CycleEvidence, evidence: Evidence) -> Iterator[Violation]:
    """No sale at a price that was gone, nothing left behind by a complete cycle, and a stop loss
    that sells alone.
    """
    for text in find_gone_prices(cycle, evidence):
        yield violation_of(cycle, "sale: at a bid that is there", text)
    for text in find_left_behind(cycle, evidence):
        yield violation_of(cycle, "sale: nothing left behind", text)
    for text in find_stop_faults(cycle, evidence):
        yield violation_of(cycle, "sale: a stop loss alone", text)


def find_journal_faults(cycle: CycleEvidence) -> Iterator[Violation]:
    """The journal's rows are the exchange's fills, exactly."""
    known = {order.id: order for order in cycle.orders}
    for entry in cycle.journal:
        if entry.alpaca_order_id not in known and entry.final_status != ADOPTED:
            text = f"{entry.client_order_id} is no order of this cycle"
            yield violation_of(cycle, "journal", text)
    for order in cycle.orders:
        filled, usd = cycle.filled_qty(order), cycle.filled_usd(order)
        if filled != order.filled_qty:
            yield violation_of(cycle, "exchange", f"fills of {order.client_order_id} do not add up")
        entries = cycle.journaled(order)
        booked = sum((entry.filled_qty for entry in entries), _ZERO)
        booked_usd = sum((entry.filled_usd for entry in entries), _ZERO)
        if entries and booked != filled:
            text = f"{order.client_order_id}: {booked:f} coins booked, {filled:f} filled"
            yield violation_of(cycle, "journal", text)
        elif entries and abs(booked_usd - usd) > filled * _AVERAGE_PLACES + Decimal("1e-15"):
            text = f"{order.client_order_id}: {booked_usd:f} USD booked, {usd:f} paid"
            yield violation_of(cycle, "journal", text)
        if any(entry.side is not order.side for entry in entries):
            text = f"{order.client_order_id} is booked on the wrong side"
            yield violation_of(cycle, "journal", text)


def find_row_faults(cycle: CycleEvidence, evidence: Evidence) -> Iterator[Violation]:
    """Quantity, average, safety orders, seq and status follow from the journal's fills.

    A cycle that ended in error keeps the figures of that moment; later fills are only journaled.
    """
    states = replay(cycle.journal, cycle.rules, evidence.fee_rate)
    ended_in_error = cycle.row.status is CycleStatus.ERROR
    if ended_in_error and any(_difference(cycle, state) is None for state in states):
        return
    last = states[-1]
    if _is_closed_without_sale(cycle, evidence):
        last = replace(last, is_complete=True)
    if (difference := _difference(cycle, last)) is None:
        return
    if _next_order_was_open(cycle, evidence):
        states = replay(cycle.journal, cycle.rules, evidence.fee_rate, late_sale_completes=False)
        if _difference(cycle, states[-1]) is None:
            return
    yield violation_of(cycle, "row", difference)


def _next_order_was_open(cycle: CycleEvidence, evidence: Evidence) -> bool:
    """Whether a sale was booked late while another order of the cycle was under way."""
    ended_at_row: dict[str, int] = {}
    for number, entry in enumerate(cycle.journal):
        ended_at_row.setdefault(entry.alpaca_order_id, number)
    submitted_at = {step.order_id: step.at for step in cycle.steps if step.event == "pending_new"}
    for number, entry in enumerate(cycle.journal):
        is_correction = ended_at_row[entry.alpaca_order_id] < number
        if entry.side is not Side.SELL or not is_correction:
            continue
        booked_at = evidence.booked_at[entry.alpaca_order_id]
        for order_id, at in submitted_at.items():
            if at < booked_at and ended_at_row.get(order_id, number) >= number:
                return True
    return False


def _is_closed_without_sale(cycle: CycleEvidence, evidence: Evidence) -> bool:
    """The user asked to close it, or its stop loss fired, and there was nothing to sell."""
    return (
        cycle.is_complete
        and (cycle.row.close_requested or cycle.row.stop_loss_fired)
        and is_dust(cycle.row.quantity, cycle.rules, evidence.fee_rate)
    )


def _difference(cycle: CycleEvidence, expected: Replayed) -> str | None:
    row = cycle.row
    for name, has, wants in (
        ("quantity", row.quantity, expected.quantity),
        ("average", row.average_purchase_price, expected.average),
        ("safety_orders", row.safety_orders, expected.safety_orders),
        ("last_order_fill_price", row.last_order_fill_price, expected.last_fill_price),
        ("base_order_price", row.base_order_price, expected.base_price),
        ("order_seq", row.order_seq, expected.order_seq),
        ("complete", row.status is CycleStatus.COMPLETE, expected.is_complete),
    ):
        if has != wants:
            return f"{name} is {has}, the fills make {wants}"
    return None


def find_excess_requests(peak_per_minute: int) -> Iterator[Violation]:
    """Fewer requests in any minute than the exchange allows; refused ones count."""
    if peak_per_minute >= MAX_REQUESTS_PER_MINUTE:
        text = f"{peak_per_minute} requests in one minute"
        yield Violation(rule="requests", text=text)


def violation_of(cycle: CycleEvidence, rule: str, text: str) -> Violation:
    text = f"cycle {cycle.row.id}: {text}"
    return Violation(rule=rule, text=text, symbol=cycle.symbol, cycle_id=cycle.row.id)
