"""What a sale is checked against before it is sent: a second word on its price, and the coins that
are free in the account.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from decimal import Decimal

from domain.market import AssetRules, Position
from domain.trading_state import TradingState
from models.trading_state import with_leftovers
from strategy.sizing import SizingError, is_short_beyond_fees, size_take_profit
from strategy.triggers import Decision
from trading.placement import QUOTE_SECONDS, Skip
from utils.alpaca_queries import fetch_position
from utils.alpaca_sdk import TradingClient
from utils.db_utils import thread_connection

POSITION_LAG_SECONDS = 3.0  # a position can lag behind the fill that made it


@dataclass(frozen=True, slots=True)
class Sale:
    """Coins to sell. `is_short`: more are missing of the `available` ones than fees explain."""

    qty: Decimal
    available: Decimal
    is_short: bool


def confirm_take_profit(decision: Decision, bid: Decimal) -> None:
    """One-tick spikes exist on the stream: before coins are sold, a peak is followed or a stop loss
    fires, the `bid` of a second source must agree.

    Its answer counts before any other: market data has an allowance of its own, and often says no.

    Raises:
        Skip: it does not agree.
    """
    price = decision.trigger_price
    if bid > price if decision.is_falling else bid < price:
        name = "stop loss" if decision.fires_stop else "take profit"
        where = "above" if decision.is_falling else "below"
        reason = f"{name} not confirmed: bid {bid} is {where} {price:f}"
        raise Skip(reason, QUOTE_SECONDS, logging.INFO)


def size_sale(
    client: TradingClient,
    state: TradingState,
    rules: AssetRules,
    fee_rate: Decimal,
    available: Decimal,
) -> Sale:
    """What of the cycle, and of what earlier ones left, can be sold where `available` coins are
    free. Blocking.

    Raises:
        Skip: nothing of it.
        ExchangeError, DatabaseError: the position, or what was left, cannot be read.
    """
    bought, coin_fees = state.cycle.quantity, state.coin_fees
    is_short = is_short_beyond_fees(bought, coin_fees, available, rules, fee_rate)
    if is_short:
        # Positions can lag behind fills; nothing announces that they caught up.
        time.sleep(POSITION_LAG_SECONDS)
        available = available_of(fetch_position(client, rules.symbol))
        is_short = is_short_beyond_fees(bought, coin_fees, available, rules, fee_rate)
    if available > bought:  # else all that is there is sold, and nobody needs to know what was left
        [state] = with_leftovers(thread_connection(), [state])
    try:
        qty = size_take_profit(bought, coin_fees, available, rules, fee_rate, state.leftover)
    except SizingError as error:
        raise Skip(
            f"take profit cannot be placed: {error}",
            cure="does an order of yours reserve the coins, or did you sell some?",
        ) from None
    return Sale(qty, available, is_short)


def available_of(position: Position | None) -> Decimal:
    """Its coins that no open order reserves; of no position none."""
    return position.qty_available if position is not None else Decimal(0)
