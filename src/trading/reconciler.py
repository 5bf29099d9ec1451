"""Compares what the exchange says with what the database has: at the start, after a reconnect, in
every sweep, and for consistency_checker.

Owns: finding what the stream lost. Every repair is the lifecycle change that an event would have
made. A failed or partial answer raises and changes nothing; it never counts as "empty".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial

from domain.cycle import OPEN_STATUSES, DcaCycle
from domain.events import EventKind
from domain.orders import ExchangeOrder
from models.cycle_data import get_cycle, get_cycles_by_status
from models.order_journal import get_previous_submissions
from strategy.order_history import OrderHistory
from strategy.order_identity import compute_client_order_id
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import Answer, CurrentOrder, OwnOrder
from trading.asset_rules_cache import AssetRulesCache
from trading.cycle_changes import Applied, Result, alert_once, apply_order
from trading.order_claims import fetch_current_order, read_claims
from trading.order_lists import OrderLists
from trading.sweep_result import SweepResult
from trading.unclaimed_orders import UnclaimedOrders
from trading.waiting_cycles import WaitingCycles
from utils.alpaca_client_rest import ExchangeRefused, ExchangeUnavailable, UnreadableAnswer
from utils.alpaca_queries import fetch_order
from utils.alpaca_sdk import TradingClient
from utils.db_utils import (
    DatabaseError,
    DatabaseUnavailable,
    TransactionConflict,
    thread_connection,
)

MAX_CATCH_UP_ORDERS = 200
MAX_CYCLES_BEHIND = 30  # two questions each, and a minute has 160 for reads of all processes


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
        self._on_change = on_change
        self._lists = OrderLists(client)
        self._unclaimed = UnclaimedOrders(client, rules, fee_rate)
        self._waiting = WaitingCycles(
            client,
            rules,
            fee_rate,
            confirm_seconds=confirm_seconds,
            apply_order=self._apply,
            cannot_read=self._cannot_read,
        )

    def blocked_symbols(self) -> set[str]:
        """Symbols without buys, because of an order of ours that no cycle claims."""
        return self._unclaimed.blocked_symbols()

    def note_unclaimed(self, order: ExchangeOrder) -> None:
        """No cycle claims this order of the stream: the next sweep judges it."""
        self._unclaimed.found(order)

    def resolve(self, cycle: DcaCycle) -> bool:
        """Ask for the one order that `cycle`'s state can have, and apply it. False on the
        exchange's own 404.

        Raises:
            ExchangeError, DatabaseError: nothing certain is known.
        """
        order = fetch_current_order(self._client, cycle)
        if order is not None:
            self._apply(order, "lookup", SweepResult())
        return order is not None

    def recover(self) -> SweepResult:
        """Start-up and reconnect: a sweep, and every order that an open cycle could have sent is
        found, however far back. Works from lists; asks singly only where that costs less.

        Raises:
            ExchangeError, DatabaseError: not finished; run it again: it goes on where it stopped.
        """
        now = datetime.now(UTC)
        cycles = get_cycles_by_status(thread_connection(), *OPEN_STATUSES)
        history = self._lists.read_far(cycles, now)
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
        return self._compare(history, cycles, now, searches=False)

    def _compare(
        self, history: OrderHistory, cycles: list[DcaCycle], now: datetime, *, searches: bool
    ) -> SweepResult:
        """Apply what was listed, oldest first; then resolve what the lists leave open.

        Args:
            searches: for every open cycle, not only for those whose later orders were listed.
        """
        self._rules.prefetch({order.symbol for order in history.orders()})
        linked = {cycle.latest_order_id for cycle in cycles if cycle.latest_order_id}
        self._unclaimed.note_unreadable(history, linked)
        connection, orders = thread_connection(), history.orders()
        result = SweepResult(orders_seen=history.listed)
        claims = read_claims(connection, orders, cycles)
        behind = self._apply_listed(claims, now, result)
        if searches or behind:
            submissions = get_previous_submissions(connection)
            now_open = get_cycles_by_status(connection, *OPEN_STATUSES)
            lagging = [cycle for cycle in now_open if cycle.id in behind][:MAX_CYCLES_BEHIND]
            for cycle in now_open if searches else lagging:
                self._catch_up(cycle, history, submissions, result)
        booked = {own.order.id for own in claims if own.journaled_qty is not None}
        self._waiting.resolve(history, cycles, booked, now, result)
        self._ask_about_unclaimed(history, result)
        self._unclaimed.judge()
        self._lists.compared(history, is_whole=not self._unclaimed.has_unreadable)
        return result

    def _apply_listed(self, claims: list[OwnOrder], now: datetime, result: SweepResult) -> set[int]:
        """What is planned here is planned again under the lock of its row. The ids of the cycles
        that are several orders behind.
        """
        held = {order.id for order in self._unclaimed.known()}
        behind: set[int] = set()
        for own in claims:
            order = own.order
            rule = plan(replace(own, open_for=now - (order.submitted_at or now)))
            if rule.kind is EventKind.ORDER_LONG_OPEN:
                reason = f"order {order.client_order_id} is {order.status} for more than 15 minutes"
                connection, symbol, key = thread_connection(), order.symbol, order.status
                alert_once(connection, rule.kind, reason, symbol, order_id=order.id, key=key)
            elif rule.action is not Action.NOTHING or order.id in held:
                applied = self._apply(order, "sweep", result)
                if applied.applied is Applied.AHEAD and applied.cycle is not None:
                    behind.add(applied.cycle.id)
        return behind

    def _catch_up(
        self,
        cycle: DcaCycle,
        history: OrderHistory,
        submissions: dict[int, datetime],
        result: SweepResult,
    ) -> None:
        """Apply one order after another until it is certain that there is no more: a database
        restored from a backup can be several behind.
        """
        current: DcaCycle | None = cycle
        for _ in range(MAX_CATCH_UP_ORDERS):
            if current is None or not current.is_open:
                return
            facts = self._lists.say_of(current, history, submissions, datetime.now(UTC))
            if plan(facts).action is Action.ASK:
                facts = self._ask(facts, history, result)
            order = facts.order
            if order is None or plan(facts).action is not Action.APPLY_ORDER:
                return
            self._apply(order, "recovery", result)
            after = get_cycle(thread_connection(), current.id)
            if after is None or after.order_seq == current.order_seq:
                return
            current = after
            submissions.pop(current.id, None)
            if order.submitted_at is not None:
                submissions[current.id] = order.submitted_at

    def _ask(self, facts: CurrentOrder, history: OrderHistory, result: SweepResult) -> CurrentOrder:
        order, answer = None, Answer.GIVEN
        try:
            order = fetch_current_order(self._client, facts.cycle)
        except UnreadableAnswer as error:
            answer = Answer.UNREADABLE
            self._cannot_read(facts.cycle, error, result)
        # What was found joins the list: this may be cut off before it is booked.
        history.add([order] if order else [])
        history.asked.add(compute_client_order_id(facts.cycle))
        return replace(facts, order=order, answer=answer)

    def _ask_about_unclaimed(self, history: OrderHistory, result: SweepResult) -> None:
        """About those that are too old for the list: their block must end when they do."""
        for known in self._unclaimed.known():
            if history.has(known.id):
                continue
            # What ended stays as it is: only the database can change its mind about it.
            order = known if known.is_ended else fetch_order(self._client, known.id)
            if order is None:
                self._unclaimed.release(known.id)
            else:
                self._apply(order, "lookup", result)

    def _cannot_read(
        self, cycle: DcaCycle, error: ExchangeUnavailable, result: SweepResult
    ) -> None:
        """One order that cannot be read must not keep a recovery from its end."""
        result.unresolved_cycles += 1
        self._unclaimed.cannot_read_order_of(cycle, str(error))

    def _apply(self, order: ExchangeOrder, source: str, result: SweepResult) -> Result:
        try:
            applied = apply_order(
                order,
                self._rules.get(order.symbol),
                self._fee_rate,
                datetime.now(UTC),
                source=source,
                find_current=partial(fetch_current_order, self._client),
            )
            if applied.applied is Applied.UNCLAIMED:
                self._unclaimed.found(order)
            else:
                self._unclaimed.release(order.id)
        except (DatabaseUnavailable, TransactionConflict):
            raise
        except (DatabaseError, ExchangeRefused) as error:
            return self._unwritable(order, error)
        if applied.applied in (Applied.CHANGED, Applied.CORRECTED):
            self._on_change(order)
            result.changed.append(order)
        return applied

    def _unwritable(self, order: ExchangeOrder, error: Exception) -> Result:
        """The tables refuse this one order, or Alpaca knows its coin no more: an alert, and no buys
        on its symbol. All others go on.
        """
        reason = f"order {order.client_order_id} ({order.id}) cannot be written: {error}: buys wait"
        alert_once(
            thread_connection(), EventKind.ORDER_UNWRITABLE, reason, order.symbol, order_id=order.id
        )
        self._unclaimed.found_unwritable(order)
        return Result(applied=Applied.FORBIDDEN)
