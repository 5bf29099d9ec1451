"""One snapshot of the database and the exchange, for consistency_checker. Reads only.

Costs a list of orders, a list of positions and a few queries; single questions are asked only about
what does not fit, and only so many. A failed answer raises: it is never "empty".
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial

from caretakers.plans.consistency_checker import Snapshot, plan_repairs
from domain.cycle import WAITING_STATUSES, CycleStatus, DcaCycle
from domain.events import EventKind
from domain.market import AssetRules, Position
from domain.orders import ExchangeOrder, UnreadableOrder
from domain.trading_state import TradingState
from domain.wire import WireError, normalize_symbol
from models.events import get_kinds_by_cycle
from models.trading_state import (
    load_all_trading_states,
    load_cooldowns,
    load_trading_state,
    load_trading_state_of_cycle,
    with_leftovers,
)
from strategy.fees import compute_coins_taken
from strategy.order_history import BEGINNING
from strategy.order_identity import parse_client_order_id
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import CurrentOrder, Holding, OwnOrder
from strategy.sizing import is_dust, is_short_beyond_fees, is_unsellable
from strategy.unclaimed import measure_unclaimed
from trading.asset_rules_cache import AssetRulesCache
from trading.order_claims import fetch_current_order, fetch_order_of, is_booked, read_claims
from utils.alpaca_client_rest import ExchangeRefused, UnreadableAnswer
from utils.alpaca_queries import (
    fetch_open_orders_of,
    fetch_orders,
    fetch_position,
    fetch_positions,
)
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

RECENT = timedelta(hours=24)
MAX_LOST = 20  # two questions each in every snapshot
MAX_SUSPECTS = 8  # three questions each in every snapshot, and the daemon needs its requests
REPORT_KINDS = (
    EventKind.POSITION_SHORT,
    EventKind.POSITION_EXCESS,
    EventKind.POSITION_UNEXPECTED,
    EventKind.COOLDOWN_ENDLESS,
)


@dataclass(frozen=True, slots=True)
class ConsistencySnapshots:
    """Of one account; `rules` are fetched only for symbols that do not fit."""

    client: TradingClient
    rules: AssetRulesCache
    fee_rate: Decimal

    def take(self) -> Snapshot:
        """Read everything anew.

        Raises:
            ExchangeError, DatabaseError: something could not be read, so nothing is known.
        """
        now, connection = datetime.now(UTC), thread_connection()
        unreadable: list[UnreadableOrder] = []
        fetch = partial(fetch_orders, self.client, on_unreadable=unreadable.append)
        listed = [*fetch(status="open"), *fetch(status="all", after=now - RECENT)]
        orders = {order.id: order for order in listed}
        doubtful: set[str] = set()
        positions = fetch_positions(self.client, on_unreadable=doubtful.add)
        # The database after the exchange: what the daemon books meanwhile does not seem lost.
        states = with_leftovers(connection, load_all_trading_states(connection))
        # What cannot be read proves nothing, least of all that an order or a position does not
        # exist. The alert, and the block of the symbol, are the daemon's.
        doubtful |= _symbols_of(unreadable, states)
        states = [state for state in states if state.asset.asset_symbol not in doubtful]
        cycles = [state.cycle for state in states]
        reported = get_kinds_by_cycle(connection, [cycle.id for cycle in cycles], REPORT_KINDS)
        clear = [order for order in orders.values() if order.symbol not in doubtful]
        clear.sort(key=lambda order: order.submitted_at or BEGINNING)
        claims = read_claims(connection, clear, cycles)
        snapshot = Snapshot(
            now=now,
            orders=tuple(self._judged(own, states, positions) for own in claims),
            waiting=tuple(self._waiting_cycles(states, orders)),
            cooldowns=tuple(load_cooldowns(connection)),
            reported=frozenset(reported),
        )
        alone = Snapshot(now=now, reported=snapshot.reported)
        return replace(
            snapshot, holdings=tuple(self._suspicious_holdings(states, positions, alone))
        )

    def _judged(
        self, own: OwnOrder, states: Sequence[TradingState], positions: dict[str, Position]
    ) -> OwnOrder:
        """`own`; an order that nothing claims judged as the daemon does."""
        order = own.order
        if plan(own).action is not Action.BLOCK or not order.is_ended or order.filled_qty == 0:
            return own
        try:
            rules = self.rules.get(order.symbol)
        except ExchangeRefused:
            return own  # Alpaca knows the coin no more: what is dust of it is unknown
        state = next((one for one in states if one.asset.asset_symbol == order.symbol), None)
        position = positions.get(order.symbol)
        account_qty = position.qty if position is not None else Decimal(0)
        now = datetime.now(UTC)
        facts = measure_unclaimed(order, state, account_qty, rules, self.fee_rate, now)
        return replace(own, unclaimed=facts)

    def _waiting_cycles(
        self, states: Sequence[TradingState], listed: dict[str, ExchangeOrder]
    ) -> Iterator[CurrentOrder]:
        """Cycles in buying or selling with the order that they wait for. Of those whose order no
        list has, one run asks about so many only; the next run asks about the next ones.
        """
        asked = 0
        for state in states:
            cycle, symbol = state.cycle, state.asset.asset_symbol
            if cycle.status not in WAITING_STATUSES or state.other_symbol:
                continue
            order = listed.get(cycle.latest_order_id or "")
            if order is None:
                if asked == MAX_LOST:
                    log_event(log, LogEvent.WAITING_POSTPONED, after=MAX_LOST)
                    return
                asked += 1
                try:
                    order = fetch_order_of(self.client, cycle)
                except UnreadableAnswer as error:
                    log_event(log, LogEvent.ASSET_SKIPPED, symbol=symbol, reason=error)
                    continue
            has_end = order is not None and is_booked(thread_connection(), order)
            yield CurrentOrder(cycle=cycle, symbol=symbol, order=order, is_booked=has_end)

    def _suspicious_holdings(
        self, states: Sequence[TradingState], positions: dict[str, Position], snapshot: Snapshot
    ) -> list[Holding]:
        """Cycles whose coins do not fit the list of positions, measured one by one."""
        measured: list[Holding] = []
        # Not renamed ones, whose alert is the daemon's: coins of another symbol are not gone.
        suspects = [
            state
            for state in states
            if state.cycle.status is CycleStatus.WATCHING
            and not state.other_symbol
            and not self._fits(state, positions.get(state.asset.asset_symbol))
        ]
        self.rules.prefetch(state.asset.asset_symbol for state in suspects)
        for state in suspects:
            if len(measured) == MAX_SUSPECTS:
                log_event(log, LogEvent.HOLDINGS_POSTPONED, after=MAX_SUSPECTS)
                break
            try:
                symbol = normalize_symbol(state.asset.asset_symbol)
                rules = self.rules.get(symbol)
                suspicion = self._measure(state, rules, positions.get(symbol))
                if plan_repairs(replace(snapshot, holdings=(suspicion,))):
                    measured.append(self._ask_about(state, rules))
            except (WireError, ExchangeRefused, UnreadableAnswer) as error:
                # The alert is the daemon's; one asset must not keep the others from being compared.
                log_event(log, LogEvent.ASSET_SKIPPED, asset=state.asset.id, reason=error)
        return measured

    def _fits(self, state: TradingState, position: Position | None) -> bool:
        """Whether the coins fit by the list alone, without the asset's rules."""
        records, account = state.cycle.quantity, position.qty if position else Decimal(0)
        fees = compute_coins_taken(records, state.coin_fees, self.fee_rate)
        return (
            records - fees <= account <= records + state.leftover
            and (account > 0 or records == 0)
            and (records > 0 or account <= state.leftover)
        )

    def _ask_about(self, state: TradingState, rules: AssetRules) -> Holding:
        """The exchange's own answers: the position, the open orders, the cycle's order."""
        position = fetch_position(self.client, rules.symbol)
        open_orders = fetch_open_orders_of(self.client, rules.symbol)
        return replace(
            self._measure(state, rules, position),
            open_orders=len(open_orders),
            current_order=fetch_current_order(self.client, state.cycle),
        )

    def _measure(
        self, state: TradingState, rules: AssetRules, position: Position | None
    ) -> Holding:
        records = state.cycle.quantity
        account = position.qty if position else Decimal(0)
        surplus = state.foreign_coins(account)
        is_short = is_short_beyond_fees(records, state.coin_fees, account, rules, self.fee_rate)
        return Holding(
            cycle=state.cycle,
            symbol=rules.symbol,
            database_holds_dust=is_dust(records, rules, self.fee_rate),
            position_qty=position.qty if position else None,
            position_is_dust=is_unsellable(account, rules),
            short_by=records - account - state.coin_fees if is_short else Decimal(0),
            surplus=Decimal(0) if is_unsellable(surplus, rules) else surplus,
        )

    def find_holding_kind(self, cycle: DcaCycle) -> EventKind | None:
        """What comparing this one cycle with its position finds now; None: they fit.

        Raises:
            ExchangeError, DatabaseError: not known.
        """
        connection = thread_connection()
        found = load_trading_state_of_cycle(connection, cycle)
        if found is None or found.other_symbol:
            return None
        [state] = with_leftovers(connection, [found])
        rules = self.rules.get(normalize_symbol(state.asset.asset_symbol))
        position = fetch_position(self.client, rules.symbol)
        if self._fits(state, position):
            return None
        return plan(self._measure(state, rules, position)).kind

    def is_explained(self, order: ExchangeOrder) -> bool:
        """Whether the account's coins are those of the cycles, although nothing claims `order`.

        Raises:
            ExchangeError, DatabaseError: not known.
        """
        state = load_trading_state(thread_connection(), order.symbol)
        if state is not None:
            [state] = with_leftovers(thread_connection(), [state])
        position = fetch_position(self.client, order.symbol)
        account_qty = position.qty if position is not None else Decimal(0)
        rules, now = self.rules.get(order.symbol), datetime.now(UTC)
        facts = measure_unclaimed(order, state, account_qty, rules, self.fee_rate, now)
        return plan(facts).action is Action.NOTHING

    def is_still_gone(self, holding: Holding) -> bool:
        """Asked once more before a cycle ends in error: no coins, no order open or on its way.

        Raises:
            ExchangeError: nothing certain was answered.
        """
        symbol = holding.symbol
        position = fetch_position(self.client, symbol)
        account = position.qty if position is not None else Decimal(0)
        now = replace(holding, position_is_dust=is_unsellable(account, self.rules.get(symbol)))
        if plan(now).action is Action.END_IN_ERROR:
            now = replace(now, open_orders=len(fetch_open_orders_of(self.client, symbol)))
        if plan(now).action is Action.END_IN_ERROR:
            now = replace(now, current_order=fetch_current_order(self.client, holding.cycle))
        return plan(now).action is Action.END_IN_ERROR


def _symbols_of(orders: Sequence[UnreadableOrder], states: Sequence[TradingState]) -> set[str]:
    """The symbols of which an order cannot be read, by its own symbol or by whose it is."""
    parsed = [parse_client_order_id(order.client_order_id) for order in orders]
    cycles, ids = {one.cycle_id for one in parsed if one}, {order.id for order in orders}
    return {order.symbol for order in orders if order.symbol} | {
        state.asset.asset_symbol
        for state in states
        if state.cycle.id in cycles or state.cycle.latest_order_id in ids
    }
