"""Orders with our prefix that no cycle claims or that cannot be booked, and the symbols on which
buys wait because of them.

Owns: who blocks and until when. Found, an order blocks at once; at the end of each sweep, when the
books are as good as they get, it is judged (strategy/unclaimed): a person is told, or it is let be.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from decimal import Decimal

from alpaca.trading.client import TradingClient

from cycle_changes import tell_once
from models.exchange import ExchangeOrder
from models.trading_state import load_trading_state, with_leftovers
from strategy.unclaimed import Verdict, describe_unclaimed, judge_unclaimed
from utils.alpaca_client_rest import ExchangeError, fetch_position
from utils.asset_rules_cache import AssetRulesCache
from utils.db_utils import thread_connection
from utils.logging_setup import log_event

log = logging.getLogger(__name__)


class UnclaimedOrders:
    """Of one account. Asked and told of orders from any thread; one sweep at a time judges."""

    def __init__(self, client: TradingClient, rules: AssetRulesCache, fee_rate: Decimal) -> None:
        self._client = client
        self._rules = rules
        self._fee_rate = fee_rate
        self._unclaimed: dict[str, ExchangeOrder] = {}  # by its id
        self._unwritable: dict[str, ExchangeOrder] = {}
        # What the last sweep let be, as it was filled then. Each sweep judges anew, but those do
        # not block until it has.
        self._let_be: dict[str, Decimal] = {}

    def blocked_symbols(self) -> set[str]:
        """Symbols on which there are no buys."""
        return {
            order.symbol
            for order in self.known()
            if order.id in self._unwritable or self._let_be.get(order.id) != order.filled_qty
        }

    def known(self) -> list[ExchangeOrder]:
        """All of them, as they were last seen."""
        return [*list(self._unclaimed.values()), *list(self._unwritable.values())]

    def found(self, order: ExchangeOrder) -> None:
        """Nothing claims `order`."""
        self.release(order.id)
        if not (order.is_ended and order.filled_qty == 0):
            self._unclaimed[order.id] = order

    def found_unwritable(self, order: ExchangeOrder) -> None:
        """The tables do not take what became of `order`."""
        self._unwritable[order.id] = order

    def release(self, order_id: str) -> None:
        """It is claimed and booked, or it does not exist."""
        self._unclaimed.pop(order_id, None)
        self._unwritable.pop(order_id, None)

    def judge(self) -> None:
        """Tell of those that matter, and let the harmless be. What cannot be judged now blocks.

        Raises:
            DatabaseError: not finished; the next sweep judges again.
        """
        account: dict[str, Decimal | None] = {}
        let_be = {}
        for order in list(self._unclaimed.values()):
            verdict = self._verdict(order, account)
            if verdict is Verdict.MATTERS:
                reason = describe_unclaimed(order)
                tell_once(thread_connection(), "order_unclaimed", reason, order.symbol)
            elif verdict is Verdict.HARMLESS:
                let_be[order.id] = order.filled_qty
                if order.id not in self._let_be:
                    known = {"symbol": order.symbol, "id": order.client_order_id}
                    reason = "no cycle claims it, and all coins of the account are explained"
                    log_event(log, logging.INFO, "order.harmless", **known, reason=reason)
        self._let_be = let_be
        for order_id in let_be:  # the next sweep finds it again, as long as it is recent
            self._unclaimed.pop(order_id, None)

    def _verdict(self, order: ExchangeOrder, account: dict[str, Decimal | None]) -> Verdict:
        """`account` is filled as symbols are asked for, each once."""
        symbol = order.symbol
        if not order.is_ended:
            return Verdict.MATTERS
        try:
            if symbol not in account:
                account[symbol] = None
                position = fetch_position(self._client, symbol)
                account[symbol] = position.qty if position is not None else Decimal(0)
            if (account_qty := account[symbol]) is None:
                return Verdict.UNDECIDED
            rules = self._rules.get(symbol)
        except ExchangeError as error:  # one sick symbol must not keep the sweep from its end
            log_event(log, logging.WARNING, "order.unjudged", symbol=symbol, reason=error)
            return Verdict.UNDECIDED
        state = load_trading_state(thread_connection(), symbol)
        if state is not None:
            [state] = with_leftovers(thread_connection(), [state])
        return judge_unclaimed(order, state, account_qty, rules, self._fee_rate, datetime.now(UTC))
