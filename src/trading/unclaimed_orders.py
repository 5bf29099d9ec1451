"""Orders with our prefix that no cycle claims, or that cannot be booked or read, and the symbols
on which buys wait because of them.

Owns: which orders block, and until when. An order blocks as soon as it is found. When all else of a
sweep is applied, it is judged (strategy/reconciliation): harmless, or an alert.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal

from domain.cycle import DcaCycle
from domain.events import EventKind
from domain.orders import ExchangeOrder, UnreadableOrder
from models.asset_config import get_all_assets, get_asset_by_id
from models.cycle_data import get_cycle, get_cycle_by_latest_order
from models.events import end_alerts
from models.trading_state import load_trading_state, with_leftovers
from strategy.order_history import OrderHistory
from strategy.order_identity import compute_client_order_id, parse_client_order_id
from strategy.reconciliation import Action, plan
from strategy.reconciliation_facts import UnclaimedOrder, UnreadableFind
from strategy.unclaimed import describe_unclaimed, measure_unclaimed
from trading.asset_rules_cache import AssetRulesCache
from trading.cycle_changes import alert_once
from utils.alpaca_client_rest import ExchangeError, ExchangeUnavailable, RateLimited
from utils.alpaca_queries import (
    fetch_order,
    fetch_order_by_client_id,
    fetch_position,
    fetch_positions,
)
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

MAX_POSITIONS_ASKED = 10  # in one sweep; what cannot be judged yet blocks its symbol


def alert_unclaimed(order: ExchangeOrder) -> None:
    """The same alert, whoever finds the order.

    Raises:
        DatabaseError: nothing was written.
    """
    kind, reason = EventKind.ORDER_UNCLAIMED, describe_unclaimed(order)
    alert_once(thread_connection(), kind, reason, order.symbol, order_id=order.id)


@dataclass(eq=False)
class UnclaimedOrders:
    """Of one account. Any thread may note and read orders; one sweep judges at a time."""

    client: TradingClient
    rules: AssetRulesCache
    fee_rate: Decimal
    _unclaimed: dict[str, ExchangeOrder] = field(default_factory=dict)  # by its id
    _unwritable: dict[str, ExchangeOrder] = field(default_factory=dict)
    _unreadable: dict[str, UnreadableOrder] = field(default_factory=dict)
    # What the last sweep found harmless, as it was filled then. Each sweep judges anew; until then
    # those do not block.
    _harmless: dict[str, Decimal] = field(default_factory=dict)

    def blocked_symbols(self) -> set[str]:
        """Symbols on which there are no buys."""
        unreadable = {order.symbol for order in list(self._unreadable.values()) if order.symbol}
        return unreadable | {
            order.symbol
            for order in self.known()
            if order.id in self._unwritable or self._harmless.get(order.id) != order.filled_qty
        }

    def known(self) -> list[ExchangeOrder]:
        """All of them, as they were last seen."""
        return [*list(self._unclaimed.values()), *list(self._unwritable.values())]

    def found(self, order: ExchangeOrder) -> None:
        """Nothing claims `order`. One that ended without a fill matters only if it blocks: the
        sweep ends its alert.
        """
        blocks = order.id in self._unclaimed
        self.release(order.id)
        if blocks or not order.is_ended or order.filled_qty:
            self._unclaimed[order.id] = order

    def found_unwritable(self, order: ExchangeOrder) -> None:
        """The tables do not take what became of `order`."""
        self._unwritable[order.id] = order

    @property
    def has_unreadable(self) -> bool:
        """Whether some order cannot be read."""
        return bool(self._unreadable)

    def note_unreadable(self, history: OrderHistory, linked: Collection[str]) -> None:
        """Of the listed orders that cannot be read, those that concern us: an alert, and no buys on
        their symbols until they can be. Those too old for the list are asked for again, and join
        `history` where that helps.

        Raises:
            ExchangeError, DatabaseError: not finished; the next sweep notes them again.
        """
        found = history.unreadable()
        symbols = {one.asset_symbol for one in get_all_assets(thread_connection())} if found else ()
        facts = [UnreadableFind(order=one, linked=linked, symbols=symbols) for one in found]
        ours = {one.order.id: one.order for one in facts if plan(one).action is Action.BLOCK}
        for order_id, one in list(self._unreadable.items()):
            if history.has(order_id):
                continue
            # It has its own id only once a list or its cycle had that.
            fetch = fetch_order_by_client_id if order_id == one.client_order_id else fetch_order
            try:
                order = fetch(self.client, order_id)
            except RateLimited:
                raise
            except ExchangeUnavailable:  # as before; the lists were answered, the others go on
                ours[order_id] = one
            else:
                history.add([order] if order else [])
        for order_id in self._unreadable.keys() - ours:
            kinds = (EventKind.ORDER_UNREADABLE,)
            end_alerts(thread_connection(), order_id[:64], kinds, "the order can be read again")
        self._unreadable = {one.id: self._alert_unreadable(one) for one in ours.values()}

    def cannot_read_order_of(self, cycle: DcaCycle, problem: str) -> None:
        """The exchange's answer about the one order of `cycle` cannot be read.

        Raises:
            DatabaseError: not noted.
        """
        identity = compute_client_order_id(cycle)
        order_id = cycle.latest_order_id or identity
        order = UnreadableOrder(id=order_id, client_order_id=identity, symbol=None, problem=problem)
        self._unreadable[order_id] = self._alert_unreadable(order)

    def _alert_unreadable(self, order: UnreadableOrder) -> UnreadableOrder:
        """The order with its symbol, where the database has that."""
        connection = thread_connection()
        if order.symbol is None:
            identity = parse_client_order_id(order.client_order_id)
            cycle = get_cycle(connection, identity.cycle_id) if identity else None
            cycle = cycle or get_cycle_by_latest_order(connection, order.id)
            asset = get_asset_by_id(connection, cycle.asset_id) if cycle else None
            order = replace(order, symbol=asset.asset_symbol if asset else None)
        name = f"order {order.client_order_id} ({order.id})"
        reason = f"{name} cannot be read: {order.problem}: buys wait"
        kind, order_id = EventKind.ORDER_UNREADABLE, order.id or order.client_order_id
        alert_once(connection, kind, reason, order.symbol or "", order_id=order_id[:64])
        return order

    def release(self, order_id: str) -> None:
        """It is claimed and booked, or it does not exist."""
        self._unclaimed.pop(order_id, None)
        self._unwritable.pop(order_id, None)

    def judge(self) -> None:
        """An alert for each that matters; the harmless block no more. What cannot be judged blocks.

        Raises:
            DatabaseError: not finished; the next sweep judges again.
        """
        account = self._listed_quantities()
        harmless = {}
        for order in list(self._unclaimed.values()):
            action = self._judged(order, account)
            if action is Action.BLOCK:
                alert_unclaimed(order)
            elif action is Action.NOTHING:
                harmless[order.id] = order.filled_qty
                if order.id not in self._harmless:
                    reason = "no cycle claims it, and all coins of the account are explained"
                    if not order.filled_qty:
                        reason = "no cycle claims it, and it ended without a fill"
                    end_alerts(thread_connection(), order.id, (EventKind.ORDER_UNCLAIMED,), reason)
                    log_event(
                        log,
                        LogEvent.ORDER_HARMLESS,
                        symbol=order.symbol,
                        id=order.client_order_id,
                        reason=reason,
                    )
        self._harmless = harmless
        for order_id in harmless:  # the next sweep finds it again, as long as it is recent
            self._unclaimed.pop(order_id, None)

    def _listed_quantities(self) -> dict[str, Decimal | None]:
        """The coins of many symbols in one request. A symbol that the list lacks is asked for
        singly, as long as there are few: a list that comes short proves nothing.
        """
        symbols = {order.symbol for order in list(self._unclaimed.values()) if order.is_ended}
        if len(symbols) <= 1:
            return {}
        try:
            positions = fetch_positions(self.client, on_unreadable=lambda symbol: None)
        except ExchangeError as error:
            log_event(log, LogEvent.ORDER_UNJUDGED, reason=error)
            return dict.fromkeys(symbols)
        missing = sorted(symbols - positions.keys())
        known: dict[str, Decimal | None] = {
            one: positions[one].qty for one in symbols & positions.keys()
        }
        return known | dict.fromkeys(missing[MAX_POSITIONS_ASKED:])

    def _judged(self, order: ExchangeOrder, account: dict[str, Decimal | None]) -> Action:
        """`account` is filled as symbols are asked for, each once."""
        symbol, facts = order.symbol, UnclaimedOrder(order=order, may_still_change=True)
        try:
            if order.is_ended and order.filled_qty:
                facts = self._measured(order, account)
        except ExchangeError as error:  # one symbol must not keep the sweep from its end
            log_event(log, LogEvent.ORDER_UNJUDGED, symbol=symbol, reason=error)
        return plan(facts).action

    def _measured(self, order: ExchangeOrder, account: dict[str, Decimal | None]) -> UnclaimedOrder:
        symbol = order.symbol
        if symbol not in account:
            account[symbol] = None
            position = fetch_position(self.client, symbol)
            account[symbol] = position.qty if position is not None else Decimal(0)
        if (account_qty := account[symbol]) is None:
            return UnclaimedOrder(order=order, may_still_change=True)
        rules = self.rules.get(symbol)
        state = load_trading_state(thread_connection(), symbol)
        if state is not None:
            [state] = with_leftovers(thread_connection(), [state])
        now = datetime.now(UTC)
        return measure_unclaimed(order, state, account_qty, rules, self.fee_rate, now)
