"""Cycles in buying or selling whose order no list has, or whose order was booked already: asked
about one by one, until their order is found or certainly missing.

Owns: since when an order is missing, and whose turn it is to be asked about. One sweep asks about
so many only; the others go on waiting, and a cycle that waits sends nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from decimal import Decimal

from domain.cycle import WAITING_STATUSES, DcaCycle
from domain.orders import ExchangeOrder
from models.asset_config import get_all_assets, get_asset_by_id
from models.cycle_data import get_cycles_by_status
from strategy.order_history import BEGINNING, OrderHistory
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import Answer, CurrentOrder
from strategy.repairs import compute_missing_order_change
from trading.asset_rules_cache import AssetRulesCache
from trading.cycle_changes import Applied, apply_to_cycle
from trading.order_claims import fetch_order_of, is_booked
from trading.sweep_result import SweepResult
from utils.alpaca_client_rest import (
    ExchangeRefused,
    ExchangeUnavailable,
    RateLimited,
    UnreadableAnswer,
)
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection

MAX_UNANSWERED = 3  # questions in a row about one order, beside a list that was answered
MAX_LOST_CYCLES = 30  # two questions each, and a minute has 160 for reads of all processes

_State = tuple[int, int, str | None]


@dataclass(eq=False)
class WaitingCycles:
    """Of one account; for one sweep at a time.

    `confirm_seconds`: how far apart two 404s of the same order must lie before its cycle is reset.
    `apply_order` writes what was found; `cannot_read` notes an answer that cannot be read.
    """

    client: TradingClient
    rules: AssetRulesCache
    fee_rate: Decimal
    _: KW_ONLY
    confirm_seconds: float
    apply_order: Callable[[ExchangeOrder, str, SweepResult], object]
    cannot_read: Callable[[DcaCycle, ExchangeUnavailable, SweepResult], None]
    _unanswered: dict[int, int] = field(default_factory=dict)  # by cycle
    _missing_since: dict[_State, datetime] = field(default_factory=dict)
    _asked_at: dict[_State, datetime] = field(default_factory=dict)

    def resolve(
        self,
        history: OrderHistory,
        before: Collection[DcaCycle],
        booked: Collection[str],
        now: datetime,
        result: SweepResult,
    ) -> None:
        """Find the orders that `history` lacks, or give them up.

        Args:
            before: the cycles as they were before the lists were read: one that moved on since is
                left alone.
            booked: of the listed orders, the ids of those that the journal has.

        Raises:
            ExchangeError, DatabaseError: not finished; the next sweep goes on.
        """
        states = {_state_of(cycle) for cycle in before if cycle.status in WAITING_STATUSES}
        lost = []
        for cycle in get_cycles_by_status(thread_connection(), *WAITING_STATUSES):
            if _state_of(cycle) not in states:
                continue
            match plan(_as_listed(cycle, history, booked)).action:
                case Action.BLOCK:
                    result.unresolved_cycles += 1  # the alert was sent when the list was read
                case Action.ASK:
                    lost.append(cycle)
                case _:
                    pass  # listed: applied as one of the list
        # What was found in the meantime counts as missing for the first time after that.
        keys = {_state_of(cycle) for cycle in lost}
        for memory in (self._missing_since, self._asked_at):
            for key in memory.keys() - keys:
                del memory[key]
        if lost:
            assets = get_all_assets(thread_connection())
            self.rules.prefetch(asset.asset_symbol for asset in assets)
        lost.sort(key=lambda cycle: self._asked_at.get(_state_of(cycle), BEGINNING))
        for cycle in lost[:MAX_LOST_CYCLES]:
            self._asked_at[_state_of(cycle)] = now
            self._resolve_one(cycle, now, result)
        result.unresolved_cycles += len(lost[MAX_LOST_CYCLES:])

    def _resolve_one(self, cycle: DcaCycle, now: datetime, result: SweepResult) -> None:
        try:
            order = fetch_order_of(self.client, cycle)
        except RateLimited:
            raise
        except ExchangeUnavailable as error:
            facts = CurrentOrder(cycle=cycle, order=None, answer=self._answer_of(error, cycle))
            if plan(facts).action is not Action.BLOCK:
                raise
            self.cannot_read(cycle, error, result)
            return
        self._unanswered.pop(cycle.id, None)
        facts = self._facts_of(cycle, order, now)
        match plan(facts).action:
            case Action.APPLY_ORDER if facts.order is not None:
                self.apply_order(facts.order, "lookup", result)
            case Action.WAIT:
                result.unresolved_cycles += 1
            case Action.RESET_CYCLE:
                self._reset(cycle, now, result)
            case _:
                pass  # open, and linked

    def _answer_of(self, error: ExchangeUnavailable, cycle: DcaCycle) -> Answer:
        if isinstance(error, UnreadableAnswer):
            return Answer.UNREADABLE
        # The lists were answered, so the exchange is there.
        self._unanswered[cycle.id] = self._unanswered.get(cycle.id, 0) + 1
        return Answer.NEVER if self._unanswered[cycle.id] >= MAX_UNANSWERED else Answer.NONE

    def _facts_of(
        self, cycle: DcaCycle, order: ExchangeOrder | None, now: datetime
    ) -> CurrentOrder:
        has_end = order is not None and is_booked(thread_connection(), order)
        if order is not None and not has_end:
            self._missing_since.pop(_state_of(cycle), None)
            return CurrentOrder(cycle=cycle, order=order)
        since = self._missing_since.setdefault(_state_of(cycle), now)
        is_confirmed = (now - since).total_seconds() >= self.confirm_seconds
        return CurrentOrder(cycle=cycle, order=order, is_booked=has_end, is_confirmed=is_confirmed)

    def _reset(self, cycle: DcaCycle, now: datetime, result: SweepResult) -> None:
        asset = get_asset_by_id(thread_connection(), cycle.asset_id)
        if asset is None:
            return
        try:
            rules = self.rules.get(asset.asset_symbol)
        except ExchangeRefused:  # Alpaca knows the coin no more: the daemon's refresh says so
            result.unresolved_cycles += 1
            return
        self._missing_since.pop(_state_of(cycle), None)
        outcome = apply_to_cycle(
            compute_missing_order_change,
            expected=cycle,
            rules=rules,
            fee_rate=self.fee_rate,
            now=now,
        )
        result.reset_cycles += outcome.applied is Applied.CHANGED


def _as_listed(cycle: DcaCycle, history: OrderHistory, booked: Collection[str]) -> CurrentOrder:
    """No list proves that the order that a cycle waits for is missing: its id need not be one of
    ours, and another can be on its way.
    """
    order = history.get(cycle.latest_order_id)
    has_end = cycle.latest_order_id in booked
    answer = Answer.GIVEN if order is not None and not has_end else Answer.NOT_LISTED
    if history.is_unreadable(cycle):
        answer = Answer.UNREADABLE
    return CurrentOrder(cycle=cycle, order=order, answer=answer, is_booked=has_end)


def _state_of(cycle: DcaCycle) -> _State:
    return cycle.id, cycle.order_seq, cycle.latest_order_id
