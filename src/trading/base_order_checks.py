"""What refuses a base order: a cycle opens only where nothing is held and no order is open (phase
4), and only with coins that can be sold again. Buy limits, which refuse any buy, are in buy_limits.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from domain.cycle import DcaCycle
from domain.market import AssetRules, Position, Quote
from domain.trading_state import TradingState
from models.trading_state import with_leftovers
from strategy.order_identity import compute_client_order_id
from strategy.sizing import is_dust, is_unsellable, minimum_base_order_usd
from strategy.unclaimed import cure_of_foreign_coins
from trading.attempt import Question
from trading.open_orders import OpenOrders
from trading.placement import HOPELESS_SECONDS, UNAVAILABLE_SECONDS, Skip
from utils.db_utils import thread_connection


@dataclass(frozen=True, slots=True)
class BaseOrderChecks:
    """Each check raises Skip where there is to be no base order now. `resolve` applies the order
    that the cycle's state can have (see OrderPlacer).
    """

    fee_rate: Decimal
    resolve: Callable[[DcaCycle], bool]

    def check_account(
        self,
        state: TradingState,
        rules: AssetRules,
        position: Question[Position | None],
        open_orders: Question[OpenOrders],
    ) -> None:
        """Nothing is held and no order is open. Blocking.

        Raises:
            Skip: no base order now.
            ExchangeError, DatabaseError: nothing certain is known, so no base order.
        """
        self._check_position(state, rules, position.answer())
        self._check_open_orders(state, rules.symbol, open_orders.answer())

    def check_size(self, qty: Decimal, rules: AssetRules) -> None:
        """`qty` coins, floored, can be sold again."""
        if is_dust(qty, rules, self.fee_rate):
            raise Skip(
                f"base order of {qty:f} coins could not be sold again after the fee:"
                " raise base_order_amount",
                HOPELESS_SECONDS,
                logging.ERROR,
                cure=f"scripts/assets edit {rules.symbol} --base USD",
            )

    def check_amount(self, state: TradingState, rules: AssetRules, quote: Quote | None) -> None:
        """The amount buys coins that can be sold again; without a quote nobody can say.

        Raises:
            Skip: no base order now.
        """
        if quote is None:
            return
        amount_usd = state.asset.base_order_amount
        least_usd = minimum_base_order_usd(rules, quote.ask, self.fee_rate)
        if amount_usd < least_usd:
            raise Skip(
                f"base_order_amount {amount_usd.normalize():f} USD is below {least_usd:.2f} USD,"
                " the least that can be sold again: raise it",
                HOPELESS_SECONDS,
                logging.ERROR,
                cure=f"scripts/assets edit {rules.symbol} --base USD",
            )

    def _check_position(
        self, state: TradingState, rules: AssetRules, position: Position | None
    ) -> None:
        if position is None or is_unsellable(state.foreign_coins(position.qty), rules):
            return  # whatever earlier cycles left
        symbol = rules.symbol
        [state] = with_leftovers(thread_connection(), [state])
        if not is_unsellable(state.foreign_coins(position.qty), rules):
            raise Skip(
                f"Base order for {symbol} skipped, existing position found on Alpaca:"
                f" {position.qty.normalize():f}",
                cure=cure_of_foreign_coins(symbol),
                has_foreign_coins=True,
            )

    def _check_open_orders(self, state: TradingState, symbol: str, orders: OpenOrders) -> None:
        if open_orders := orders.of(symbol):
            identity = compute_client_order_id(state.cycle)
            if any(order.client_order_id == identity for order in open_orders):
                self.resolve(state.cycle)
            raise Skip(
                f"Base order for {symbol} skipped, open order found on Alpaca:"
                f" {open_orders[0].client_order_id}",
                UNAVAILABLE_SECONDS,
                cure="cancel it on Alpaca's page if it is yours: the symbol is the bot's",
            )
