"""What the exchange says, compared with what the database remembers: start-up, reconnect, sweep,
consistency_checker.

Owns: finding facts that the stream lost. Every repair is the same lifecycle change that an event
would have made. A failed or partial answer raises and changes nothing; it never counts as
"empty".
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from alpaca.trading.client import TradingClient

from domain.cycle import OPEN_STATUSES, DcaCycle
from domain.events import EventKind
from domain.orders import ExchangeOrder
from models.asset_config import get_all_assets, get_asset_by_id
from models.cycle_data import get_cycle, get_cycles_by_status
from models.order_journal import get_filled_by_order, get_previous_submissions
from strategy.order_history import BEGINNING, OrderHistory
from strategy.order_identity import compute_client_order_id, has_our_prefix
from strategy.repairs import compute_missing_order_change
from trading.asset_rules_cache import AssetRulesCache
from trading.cycle_changes import Applied, Result, apply_order, apply_to_cycle, tell_once
from trading.order_lists import WAITING, OrderLists
from trading.unclaimed_orders import UnclaimedOrders
from utils.alpaca_client_rest import (
    ExchangeRefused,
    ExchangeUnavailable,
    RateLimited,
    UnreadableAnswer,
)
from utils.alpaca_queries import fetch_order, fetch_order_by_client_id
from utils.db_utils import (
    DatabaseError,
    DatabaseUnavailable,
    TransactionConflict,
    thread_connection,
)
from utils.logging_setup import log_event

log = logging.getLogger(__name__)

LONG_OPEN = timedelta(minutes=15)
EVENT_DUE = timedelta(seconds=15)  # an event this late was not late but lost
MOST_CATCH_UP_ORDERS = 200
MOST_UNANSWERED = 3  # questions in a row about one order, beside a list that was answered
MOST_LOST_CYCLES = 30  # two questions each, and a minute has 160 for reads of all processes


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
        self._unanswered: dict[int, int] = {}  # by cycle
        self._missing_since: dict[tuple[int, int, str | None], datetime] = {}
        self._asked_at: dict[tuple[int, int, str | None], datetime] = {}
        self._lists = OrderLists(client)
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
        """Start-up and reconnect: a sweep, and every order that an open cycle could have sent is
        found, however far back. Works from lists; asks singly only where that costs less.

        Raises:
            ExchangeError, DatabaseError: not finished; run it again: it goes on where it stopped.
        """
        now = datetime.now(UTC)
        cycles = get_cycles_by_status(thread_connection(), *OPEN_STATUSES)
        history = self._lists.read_far(cycles, now)
        self._rules.prefetch({order.symbol for order in history.orders()})
        return self._compare(history, cycles, now, searches=True)

    def sweep(self) -> SweepResult:
        """Compare every recent order and every waiting cycle with the database.

        Raises:
            ExchangeError, DatabaseError: not finished; what was applied stays, the next sweep goes
            on.
        """
        now = datetime.now(UTC)
        cycles = get_cycles_by_status(thread_connection(), *OPEN_STATUSES)
        history = self._lists.read_recent(cycles, self._unclaimed.known(), now)
        self._rules.prefetch({order.symbol for order in history.orders()})
        return self._compare(history, cycles, now, searches=False)

    def _catch_up(
        self,
        cycle: DcaCycle,
        history: OrderHistory,
        submissions: dict[int, datetime],
        result: SweepResult,
    ) -> None:
        """A database restored from a backup can be several orders behind: one after another, until
        it is certain that there is no more.
        """
        current: DcaCycle | None = cycle
        for _ in range(MOST_CATCH_UP_ORDERS):
            if current is None or not current.is_open or history.is_unreadable(current):
                return
            identity = compute_client_order_id(current)
            order = history.find(identity)
            if order is None:
                if not self._lists.must_ask(current, history, submissions, datetime.now(UTC)):
                    return
                try:
                    order = fetch_order_by_client_id(self._client, identity)
                except UnreadableAnswer as error:
                    self._cannot_read(current, error, result)
                # What was found joins the list: this may be cut off before it is booked.
                history.add([order] if order else [])
                history.asked.add(identity)
            if order is None or (order.id == current.latest_order_id and not order.is_ended):
                return
            self._note(self._apply(order, "recovery"), order, result)
            after = get_cycle(thread_connection(), current.id)
            if after is None or after.order_seq == current.order_seq:
                return
            current = after
            submissions.pop(current.id, None)
            if order.submitted_at is not None:
                submissions[current.id] = order.submitted_at

    def _compare(
        self, history: OrderHistory, cycles: list[DcaCycle], now: datetime, *, searches: bool
    ) -> SweepResult:
        """Apply what was listed, oldest first; then look after what the lists leave open.

        Args:
            searches: for every open cycle, not only for those whose later orders were listed.
        """
        linked = {cycle.latest_order_id for cycle in cycles if cycle.latest_order_id}
        self._unclaimed.note_unreadable(history, linked)
        connection, orders = thread_connection(), history.orders()
        result = SweepResult(orders_seen=len(orders))
        journal = get_filled_by_order(connection, {order.id for order in orders} | linked)
        behind: set[int] = set()
        for order in orders:
            is_ours = (
                has_our_prefix(order.client_order_id) or order.id in linked or order.id in journal
            )
            if is_ours and not self._is_settled(order, cycles, journal):
                applied = self._apply(order, "sweep")
                self._note(applied, order, result)
                if applied.applied is Applied.AHEAD and applied.cycle is not None:
                    behind.add(applied.cycle.id)
            if order.id in linked and not order.is_ended:
                self._warn_if_long_open(order, now)
        if searches or behind:
            submissions = get_previous_submissions(connection)
            now_open = get_cycles_by_status(connection, *OPEN_STATUSES)
            lagging = [cycle for cycle in now_open if cycle.id in behind][:MOST_LOST_CYCLES]
            for cycle in now_open if searches else lagging:
                self._catch_up(cycle, history, submissions, result)
        self._settle_lost(history, cycles, journal, now, result)
        self._look_at_unclaimed_again(history, result)
        self._unclaimed.judge()
        self._lists.compared(history, is_whole=not self._unclaimed.has_unreadable)
        return result

    def _settle_lost(
        self,
        history: OrderHistory,
        cycles: list[DcaCycle],
        journal: Collection[str],
        now: datetime,
        result: SweepResult,
    ) -> None:
        """Cycles that wait for an order that no list has, or that was booked already.

        Only so many are asked about at a time, each in its turn. The others wait on: a cycle that
        waits sends nothing.
        """
        before = {_state_key(cycle) for cycle in cycles if cycle.status in WAITING}
        lost = []
        for cycle in get_cycles_by_status(thread_connection(), *WAITING):
            order_id = cycle.latest_order_id
            if _state_key(cycle) not in before:
                continue  # it moved on while the lists were read
            if history.is_unreadable(cycle):
                result.unresolved_cycles += 1
            elif order_id is None or not history.has(order_id) or order_id in journal:
                lost.append(cycle)
        # What was seen in the meantime must be missed anew.
        keys = {_state_key(cycle) for cycle in lost}
        for memory in (self._missing_since, self._asked_at):
            for key in memory.keys() - keys:
                del memory[key]
        if lost:
            assets = get_all_assets(thread_connection())
            self._rules.prefetch(asset.asset_symbol for asset in assets)
        lost.sort(key=lambda cycle: self._asked_at.get(_state_key(cycle), BEGINNING))
        for cycle in lost[:MOST_LOST_CYCLES]:
            self._asked_at[_state_key(cycle)] = now
            self._settle_waiting_cycle(cycle, now, result)
        result.unresolved_cycles += len(lost[MOST_LOST_CYCLES:])

    def _look_at_unclaimed_again(self, history: OrderHistory, result: SweepResult) -> None:
        """Those that are too old for the list: their block must end when they do."""
        for known in self._unclaimed.known():
            if history.has(known.id):
                continue
            # What ended stays as it is: only the database can change its mind about it.
            order = known if known.is_ended else fetch_order(self._client, known.id)
            if order is None:
                self._unclaimed.release(known.id)
            else:
                self._note(self._apply(order, "lookup"), order, result)

    def _cannot_read(
        self, cycle: DcaCycle, error: ExchangeUnavailable, result: SweepResult
    ) -> None:
        """One order that cannot be read must not keep a recovery from its end."""
        result.unresolved_cycles += 1
        self._unclaimed.cannot_read_order_of(cycle, str(error))

    def _is_settled(
        self, order: ExchangeOrder, cycles: list[DcaCycle], journal: dict[str, Decimal]
    ) -> bool:
        if order.is_ended:
            return order.id in journal and journal[order.id] >= order.filled_qty
        return any(c.latest_order_id == order.id and c.status in WAITING for c in cycles)

    def _apply(self, order: ExchangeOrder, source: str) -> Result:
        try:
            rules = self._rules.get(order.symbol)
            result = apply_order(
                order,
                rules,
                self._fee_rate,
                datetime.now(UTC),
                source=source,
                find_current=self._find_current,
            )
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

    def _find_current(self, cycle: DcaCycle) -> ExchangeOrder | None:
        return fetch_order_by_client_id(self._client, compute_client_order_id(cycle))

    def _unwritable(self, order: ExchangeOrder, error: Exception) -> Result:
        """The tables refuse this one order, or Alpaca knows its coin no more: its symbol rests, a
        person is told, the others go on.

        Or one sick order would keep every sweep and every start from its end.
        """
        reason = f"order {order.client_order_id} ({order.id}) cannot be written: {error}: buys wait"
        tell_once(
            thread_connection(),
            EventKind.ORDER_UNWRITABLE,
            reason,
            order.symbol,
            order_id=order.id,
        )
        self._unclaimed.found_unwritable(order)
        return Result(applied=Applied.FORBIDDEN)

    def _note(self, applied: Result, order: ExchangeOrder, result: SweepResult) -> None:
        if applied.applied in (Applied.CHANGED, Applied.CORRECTED):
            result.changed.append(order)

    def _settle_waiting_cycle(self, cycle: DcaCycle, now: datetime, result: SweepResult) -> None:
        """The list lacks the order that this cycle waits for, or the journal has it already.

        Ask for it alone, by both its ids.
        """
        try:
            order = None
            if cycle.latest_order_id:
                order = fetch_order(self._client, cycle.latest_order_id)
            if order is None:
                order = fetch_order_by_client_id(self._client, compute_client_order_id(cycle))
        except UnreadableAnswer as error:
            self._cannot_read(cycle, error, result)
            return
        except RateLimited:
            raise
        except ExchangeUnavailable as error:
            # The list was answered, so the exchange is there: one order that it never tells of must
            # not keep the others from trading.
            self._unanswered[cycle.id] = self._unanswered.get(cycle.id, 0) + 1
            if self._unanswered[cycle.id] < MOST_UNANSWERED:
                raise
            self._cannot_read(cycle, error, result)
            return
        self._unanswered.pop(cycle.id, None)
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
        tell_once(
            thread_connection(),
            EventKind.ORDER_LONG_OPEN,
            reason,
            order.symbol,
            order_id=order.id,
            key=order.status,
        )


def _state_key(cycle: DcaCycle) -> tuple[int, int, str | None]:
    return cycle.id, cycle.order_seq, cycle.latest_order_id


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
