"""Whether an order with our prefix that no cycle claims matters. Pure.

Open, it binds money that we do not know of. Ended, it matters while the account's coins are not
those of the cycles: more, because it bought, or fewer, because it sold a cycle's. Coins that were
sold, or given to a cycle (scripts/assets adopt), and what an integration test traded do not matter.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum

from domain.cycle import CycleStatus
from domain.market import AssetRules
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from strategy.sizing import is_short_beyond_fees, is_unsellable

SETTLE_TIME = timedelta(minutes=1)  # a fill, its booking and its position can lie so far apart


class Verdict(Enum):
    MATTERS = "matters"
    UNDECIDED = "undecided"  # coins are on the move: at rest they can be counted
    HARMLESS = "harmless"


def judge_unclaimed(
    order: ExchangeOrder,
    state: TradingState | None,
    account_qty: Decimal,
    rules: AssetRules,
    fee_rate: Decimal,
    now: datetime,
) -> Verdict:
    """What `order` means beside the books (`state` of its symbol, None: not configured) and the
    coins that the account holds.
    """
    if not order.is_ended:
        return Verdict.MATTERS
    if order.filled_qty == 0:
        return Verdict.HARMLESS
    is_ours = state is not None and state.cycle.is_open and not state.other_symbol
    books, coin_fees = Decimal(0), Decimal(0)
    leftover = state.leftover if state is not None else Decimal(0)
    if state is not None and is_ours:
        if state.cycle.status in (CycleStatus.BUYING, CycleStatus.SELLING):
            return Verdict.UNDECIDED
        books, coin_fees = state.cycle.quantity, state.coin_fees
    if now - (order.ended_at or now) < SETTLE_TIME:
        return Verdict.UNDECIDED
    has_more = not is_unsellable(account_qty - (books - coin_fees) - leftover, rules)
    has_fewer = is_short_beyond_fees(books, coin_fees, account_qty, rules, fee_rate)
    return Verdict.MATTERS if has_more or has_fewer else Verdict.HARMLESS


def describe_unclaimed(order: ExchangeOrder) -> str:
    """What is told of such an order: the same words, whoever finds it."""
    return (
        f"order {order.client_order_id} ({order.id}) on {order.symbol} belongs to no cycle:"
        " buys wait"
    )


def describe_foreign_coins(qty: Decimal) -> str:
    """What is told of coins that stand where a base order would be placed."""
    return (
        f"the account holds {qty.normalize():f} coins that no cycle bought: no base order is placed"
        " while they are there"
    )


def cure_of_foreign_coins(symbol: str) -> str:
    """What a person can do about them."""
    return f"scripts/assets adopt {symbol} makes a cycle of them; or sell them on Alpaca's page"
