"""Orders with our prefix that no cycle claims, and the symbols on which buys wait because of them.

Owns: how long such an order blocks. Open, it binds money that we do not know of; ended, it matters
as long as the account holds coins that no cycle explains. Coins that were sold, or given to a cycle
(scripts/assets adopt), end the block; so what an integration test traded never begins one.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from alpaca.trading.client import TradingClient

from cycle_changes import tell_once
from models.cycle_data import CycleStatus
from models.exchange import ExchangeOrder
from models.trading_state import load_trading_state
from strategy.order_identity import describe_unclaimed
from strategy.sizing import is_unsellable
from utils.alpaca_client_rest import fetch_position
from utils.asset_rules_cache import AssetRulesCache
from utils.db_utils import thread_connection
from utils.logging_setup import log_event

log = logging.getLogger(__name__)

SETTLE_TIME = timedelta(minutes=1)  # a position can lag behind the fill that made it


class UnclaimedOrders:
    """Of one account. Asked from any thread, changed by the reconciler."""

    def __init__(self, client: TradingClient, rules: AssetRulesCache) -> None:
        self._client = client
        self._rules = rules
        self._blocking: dict[str, ExchangeOrder] = {}  # by its id
        self._harmless: set[str] = set()  # ended, and its coins are explained: that stays so

    def blocked_symbols(self) -> set[str]:
        """Symbols on which there are no buys."""
        return {order.symbol for order in list(self._blocking.values())}

    def blocking(self) -> list[ExchangeOrder]:
        """As they were last seen."""
        return list(self._blocking.values())

    def block(self, order: ExchangeOrder) -> None:
        """Buys on its symbol wait from now on."""
        self._blocking[order.id] = order

    def release(self, order_id: str) -> None:
        """It blocks no more: it is claimed, or it does not exist."""
        self._blocking.pop(order_id, None)

    def judge(self, order: ExchangeOrder) -> None:
        """Nothing claims `order`: block its symbol and tell a person, or let it be.

        Raises:
            ExchangeError, DatabaseError: the account's coins are not known now; nothing changed.
        """
        if order.id in self._harmless:
            return
        if self._matters(order):
            self.block(order)
            tell_once(
                thread_connection(), "order_unclaimed", describe_unclaimed(order), order.symbol
            )
            return
        if order.filled_qty > 0:
            reason = "no cycle claims it, and the account holds no coins that it could explain"
            known = {"symbol": order.symbol, "id": order.client_order_id, "order": order.id}
            log_event(log, logging.INFO, "order.harmless", **known, reason=reason)
        self._harmless.add(order.id)
        self.release(order.id)

    def _matters(self, order: ExchangeOrder) -> bool:
        if not order.is_ended:
            return True
        if order.filled_qty == 0:
            return False
        now = datetime.now(UTC)
        if now - (order.ended_at or now) < SETTLE_TIME:
            return True
        state = load_trading_state(thread_connection(), order.symbol)
        cycle = state.cycle if state is not None and state.cycle.is_open else None
        if cycle is not None and cycle.status in (CycleStatus.BUYING, CycleStatus.SELLING):
            return True  # its coins are on the move: at rest they can be counted
        position = fetch_position(self._client, order.symbol)
        if position is None:
            return False
        surplus = position.qty - (cycle.quantity if cycle is not None else 0)
        return not is_unsellable(surplus, self._rules.get(order.symbol))
