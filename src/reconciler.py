"""What the exchange says, compared with what the database remembers: start-up, reconnect, sweep,
consistency_checker.

Owns: finding facts that the stream lost. Every repair is the same lifecycle change that an event
would have made. A failed or partial answer raises and changes nothing; it never counts as
"empty".
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alpaca.trading.client import TradingClient

from cycle_changes import Applied, Result, apply_order, apply_to_cycle, tell_once
from models.asset_config import get_asset_by_id
from models.cycle_data import (
    OPEN_STATUSES,
    CycleStatus,
    DcaCycle,
    get_cycle,
    get_cycles_by_status,
)
from models.exchange import ExchangeOrder
from models.order_journal import JournalEntry, get_entries_ended_since
from strategy.order_identity import compute_client_order_id, has_our_prefix
from strategy.repairs import compute_missing_order_change
from unclaimed_orders import UnclaimedOrders
from utils.alpaca_client_rest import (
    ExchangeRefused,
    fetch_order,
    fetch_order_by_client_id,
    fetch_orders,
)
from utils.asset_rules_cache import AssetRulesCache
from utils.db_utils import (
    DatabaseError,
    DatabaseUnavailable,
    TransactionConflict,
    thread_connection,
)
from utils.logging_setup import log_event

log = logging.getLogger(__name__)

SECOND_LOOK = timedelta(hours=1)  # fills can still arrive for an order that ended
LONGEST_WINDOW = timedelta(hours=24)
LONG_OPEN = timedelta(minutes=15)
EVENT_DUE = timedelta(seconds=15)  # an event this late was not late but lost
MOST_CATCH_UP_ORDERS = 200
_WAITING = (CycleStatus.BUYING, CycleStatus.SELLING)


@dataclass(slots=True)
class SweepResult:
    """What a sweep did: orders whose change it wrote, cycles it reset, and what it could not settle
    yet.
    """

    changed: list[ExchangeOrder] = field(default_factory=list)
    reset_cycles: int = 0
    unresolved_cycles: int = 0
    orders_seen: int = 0


class Reconciler:
    """Sync; one sweep at a time. `resolve` may run in other threads beside it: every change is a
    transaction.

    Args:
        on_change: called with each order whose change was written.
        confirm_seconds: how far apart two 404s of the same order must lie before its cycle is
            reset.
    """

    def __init__(
        self,
        client: TradingClient,
        rules: AssetRulesCache,
        fee_rate: Decimal,
        *,
        confirm_seconds: float,
        on_change: Callable[[ExchangeOrder], None] = lambda order: None,
    ) -> None:
        self._client = client
        self._rules = rules
        self._fee_rate = fee_rate
        self._confirm = timedelta(seconds=confirm_seconds)
        self._on_change = on_change
        self._missing_since: dict[tuple[int, int, str | None], datetime] = {}
        self._unclaimed = UnclaimedOrders(client, rules, fee_rate)

    def blocked_symbols(self) -> set[str]:
        """Symbols on which an order of ours exists that no cycle claims: no buys there."""
        return self._unclaimed.blocked_symbols()

    def note_unclaimed(self, order: ExchangeOrder) -> None:
        """The stream told of an order that no cycle claims: the next sweep judges it."""
        self._unclaimed.found(order)

    def resolve(self, cycle: DcaCycle) -> bool:
        """Ask for the one order that `cycle`'s state can have, and apply it. False on the
        exchange's own 404.

        Raises:
            ExchangeError, DatabaseError: nothing certain is known.
        """
        order = fetch_order_by_client_id(self._client, compute_client_order_id(cycle))
        if order is None:
            return False
        self._apply(order, "lookup")
        return True

    def recover(self) -> SweepResult:
        """Start-up and reconnect: a sweep, then every open cycle's id is asked for until 404.

        Raises:
            ExchangeError, DatabaseError: not finished; run it again.
        """
        result = self._compare()
        for cycle in get_cycles_by_status(thread_connection(), *OPEN_STATUSES):
            self._catch_up(cycle, result)
        self._unclaimed.judge()
        return result

    def _catch_up(self, cycle: DcaCycle, result: SweepResult) -> None:
        """A database restored from a backup can be several orders behind."""
        current: DcaCycle | None = cycle
        for _ in range(MOST_CATCH_UP_ORDERS):
            if current is None or not current.is_open:
                return
            order = fetch_order_by_client_id(self._client, compute_client_order_id(current))
            if order is None:
                return
            self._note(self._apply(order, "recovery"), order, result)
            after = get_cycle(thread_connection(), current.id)
            if after is None or after.order_seq == current.order_seq:
                return
            current = after

    def sweep(self) -> SweepResult:
        """Compare every recent order and every waiting cycle with the database.

        Raises:
            ExchangeError, DatabaseError: not finished; what was applied stays, the next sweep goes
            on.
        """
        result = self._compare()
        self._unclaimed.judge()
        return result

    def _compare(self) -> SweepResult:
        now, connection = datetime.now(UTC), thread_connection()
        cycles = get_cycles_by_status(connection, *OPEN_STATUSES)
        after = self._window_start(now, cycles)
        journal = _journaled_quantities(get_entries_ended_since(connection, after))
        orders = fetch_orders(self._client, status="all", after=after)
        result = SweepResult(orders_seen=len(orders))
        linked = {cycle.latest_order_id for cycle in cycles if cycle.latest_order_id}
        for order in orders:
            is_ours = (
                has_our_prefix(order.client_order_id) or order.id in linked or order.id in journal
            )
            if is_ours and not self._is_settled(order, cycles, journal):
                self._note(self._apply(order, "sweep"), order, result)
            if order.id in linked and not order.is_ended:
                self._warn_if_long_open(order, now)
        listed = {order.id for order in orders}
        lost = [
            cycle
            for cycle in cycles
            if cycle.status in _WAITING
            and (cycle.latest_order_id not in listed or cycle.latest_order_id in journal)
        ]
        # What was seen in the meantime must be missed anew.
        kept = self._missing_since.keys() & {_state_key(cycle) for cycle in lost}
        self._missing_since = {key: self._missing_since[key] for key in kept}
        for cycle in lost:
            self._settle_waiting_cycle(cycle, now, result)
        self._look_at_unclaimed_again(listed, result)
        return result

    def _look_at_unclaimed_again(self, listed: set[str], result: SweepResult) -> None:
        """Those that are too old for the list: their block must end when they do."""
        for known in self._unclaimed.known():
            if known.id in listed:
                continue
            # What ended stays as it is: only the database can change its mind about it.
            order = known if known.is_ended else fetch_order(self._client, known.id)
            if order is None:
                self._unclaimed.release(known.id)
            else:
                self._note(self._apply(order, "lookup"), order, result)

    def _window_start(self, now: datetime, cycles: list[DcaCycle]) -> datetime:
        """From when one list holds every order that ended within the last hour."""
        recent = get_entries_ended_since(thread_connection(), now - SECOND_LOOK)
        moments = [entry.submitted_at for entry in recent if entry.submitted_at]
        moments += [
            cycle.updated_at for cycle in cycles if cycle.updated_at and cycle.status in _WAITING
        ]
        earliest = min([now - SECOND_LOOK, *(moment - timedelta(minutes=1) for moment in moments)])
        return max(earliest, now - LONGEST_WINDOW)

    def _is_settled(
        self, order: ExchangeOrder, cycles: list[DcaCycle], journal: dict[str, Decimal]
    ) -> bool:
        if order.is_ended:
            return order.id in journal and journal[order.id] >= order.filled_qty
        return any(c.latest_order_id == order.id and c.status in _WAITING for c in cycles)

    def _apply(self, order: ExchangeOrder, source: str) -> Result:
        try:
            rules = self._rules.get(order.symbol)
            result = apply_order(order, rules, self._fee_rate, datetime.now(UTC), source=source)
            if result.applied is Applied.UNCLAIMED:
                self._unclaimed.found(order)
            else:
                self._unclaimed.release(order.id)
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except (DatabaseError, ExchangeRefused) as error:
            return self._unwritable(order, error)
        if result.applied in (Applied.CHANGED, Applied.CORRECTED):
            self._on_change(order)
        return result

    def _unwritable(self, order: ExchangeOrder, error: Exception) -> Result:
        """The tables refuse this one order, or Alpaca knows its coin no more: its symbol rests, a
        person is told, the others go on.

        Or one sick order would keep every sweep and every start from its end.
        """
        reason = f"order {order.client_order_id} ({order.id}) cannot be written: {error}: buys wait"
        tell_once(thread_connection(), "order_unwritable", reason, order.symbol)
        self._unclaimed.found_unwritable(order)
        return Result(applied=Applied.FORBIDDEN)

    def _note(self, applied: Result, order: ExchangeOrder, result: SweepResult) -> None:
        if applied.applied in (Applied.CHANGED, Applied.CORRECTED):
            result.changed.append(order)

    def _settle_waiting_cycle(self, cycle: DcaCycle, now: datetime, result: SweepResult) -> None:
        """The list lacks the order that this cycle waits for, or the journal has it already.

        Ask for it alone, by both its ids.
        """
        order = fetch_order(self._client, cycle.latest_order_id) if cycle.latest_order_id else None
        if order is None:
            order = fetch_order_by_client_id(self._client, compute_client_order_id(cycle))
        key = _state_key(cycle)
        if order is not None:
            applied = self._apply(order, "lookup")
            self._note(applied, order, result)
            if not (applied.applied is Applied.NOTHING_NEW and order.is_ended):
                self._missing_since.pop(key, None)
                return
        first_seen = self._missing_since.setdefault(key, now)
        if now - first_seen < self._confirm:
            result.unresolved_cycles += 1
            return
        asset = get_asset_by_id(thread_connection(), cycle.asset_id)
        if asset is None:
            return
        try:
            rules = self._rules.get(asset.asset_symbol)
        except ExchangeRefused:  # a coin that Alpaca knows no more: said where its rules are needed
            result.unresolved_cycles += 1
            return
        self._missing_since.pop(key, None)
        outcome = apply_to_cycle(
            cycle.id,
            compute_missing_order_change,
            expected=cycle,
            rules=rules,
            fee_rate=self._fee_rate,
            now=now,
        )
        result.reset_cycles += outcome.applied is Applied.CHANGED

    def _warn_if_long_open(self, order: ExchangeOrder, now: datetime) -> None:
        if order.submitted_at is None or now - order.submitted_at < LONG_OPEN:
            return
        reason = f"order {order.client_order_id} is {order.status} for more than 15 minutes"
        tell_once(thread_connection(), "order_long_open", reason, order.symbol)


def _state_key(cycle: DcaCycle) -> tuple[int, int, str | None]:
    return cycle.id, cycle.order_seq, cycle.latest_order_id


def _journaled_quantities(entries: list[JournalEntry]) -> dict[str, Decimal]:
    """Filled quantity by Alpaca's order id, corrections included."""
    quantities: dict[str, Decimal] = {}
    for entry in entries:
        quantities[entry.alpaca_order_id] = (
            quantities.get(entry.alpaca_order_id, Decimal(0)) + entry.filled_qty
        )
    return quantities


def find_untold(orders: list[ExchangeOrder], now: datetime) -> list[ExchangeOrder]:
    """Those whose last event was not late but lost."""
    moments = [(order, order.ended_at or order.submitted_at) for order in orders]
    return [order for order, at in moments if at is not None and now - at > EVENT_DUE]


def log_sweep(result: SweepResult, source: str, now: datetime) -> None:
    """One line, if the sweep did anything.

    What happened a moment ago is being told by an event as well: the list was read before that was
    booked, and nothing had to be repaired.
    """
    untold = result.changed if source == "recovery" else find_untold(result.changed, now)
    if untold or result.reset_cycles:
        level, name = logging.WARNING, "sweep.repaired"
    elif result.changed:
        level, name = logging.INFO, "events.overtaken"
    else:
        level, name = logging.INFO, "sweep.unresolved"
    if result.changed or result.reset_cycles or result.unresolved_cycles:
        log_event(
            log,
            level,
            name,
            source=source,
            orders=result.orders_seen,
            changed=len(result.changed),
            reset=result.reset_cycles,
            unresolved=result.unresolved_cycles,
        )
