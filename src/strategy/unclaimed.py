"""Whether an order with our prefix that no cycle claims matters: what is measured for it. Pure.

While it is open, it binds money that we do not know of. After its end it matters while the account
has more coins than the cycles, because it bought, or fewer, because it sold a cycle's. Coins that
were sold since, or given to a cycle (scripts/assets adopt), do not matter.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from domain.cycle import WAITING_STATUSES
from domain.market import AssetRules
from domain.orders import ExchangeOrder
from domain.trading_state import TradingState
from strategy.reconciliation_facts import UnclaimedOrder
from strategy.sizing import is_short_beyond_fees, is_unsellable

RECOVERY_TIME = timedelta(minutes=1)  # from a fill to its booking and its position, at most


def measure_unclaimed(
    order: ExchangeOrder,
    state: TradingState | None,
    account_qty: Decimal,
    rules: AssetRules,
    fee_rate: Decimal,
    now: datetime,
) -> UnclaimedOrder:
    """`order` beside what the database has of its symbol (`state`; None: not configured) and the
    coins that the account holds.
    """
    known, coin_fees, is_moving = Decimal(0), Decimal(0), False
    if state is not None and state.cycle.is_open and not state.other_symbol:
        known, coin_fees = state.cycle.quantity, state.coin_fees
        is_moving = state.cycle.status in WAITING_STATUSES
    if is_moving or now - (order.ended_at or now) < RECOVERY_TIME:
        return UnclaimedOrder(order=order, may_still_change=True)
    leftover = state.leftover if state is not None else Decimal(0)
    has_more = not is_unsellable(account_qty - (known - coin_fees) - leftover, rules)
    has_fewer = is_short_beyond_fees(known, coin_fees, account_qty, rules, fee_rate)
    return UnclaimedOrder(order=order, is_explained=not (has_more or has_fewer))


def describe_unclaimed(order: ExchangeOrder) -> str:
    """The words of the alert about such an order, whoever finds it."""
    name = f"order {order.client_order_id} ({order.id}) on {order.symbol}"
    return f"{name} belongs to no cycle: buys wait"


def describe_foreign_coins(qty: Decimal) -> str:
    """The words about coins that stand where a base order would be placed."""
    return (
        f"the account holds {qty.normalize():f} coins that no cycle bought: no base order is placed"
        " while they are there"
    )


def cure_of_foreign_coins(symbol: str) -> str:
    """What a person can do about them."""
    return f"scripts/assets adopt {symbol} makes a cycle of them; or sell them on Alpaca's page"
