"""The ladder: what each order of a cycle costs, at which price it comes, what of it is left. Pure.

Owns how amount and price of an order follow from the asset's settings; nothing else may know. Order
0 is the base order, 1 to `max_safety_orders` are the safety orders. (local_stack/audit counts for
itself on purpose: it must not share the code that it judges.)

Nothing is rounded here: amounts are sums and products of settings, prices have 60 digits. What is
sent is rounded where it is sized (see sizing).
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import ROUND_CEILING, Decimal, localcontext

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from strategy.sizing import WIDE, is_dust


def compute_order_usd(asset: DcaAsset, number: int) -> Decimal:
    """USD of order `number` as configured; nothing beyond the last one."""
    return _compute_usd_of(asset, number, min(number, asset.max_safety_orders))


def compute_ladder_usd(asset: DcaAsset) -> Decimal:
    """USD that one cycle may spend on buys at most: the base order and every safety order."""
    return _compute_usd_of(asset, 0, asset.max_safety_orders)


def compute_ladder_prices(asset: DcaAsset, ask: Decimal) -> list[Decimal]:
    """USD: where each order comes if the base order is filled at `ask` and every other one at its
    own trigger. At most `max_safety_orders` long: check that number first.
    """
    prices = [ask]
    for _ in range(asset.max_safety_orders):
        prices.append(_compute_price_after(asset, prices[-1]))
    return prices


def compute_safety_order_trigger(asset: DcaAsset, cycle: DcaCycle) -> Decimal:
    """USD: the next safety order comes `safety_order_deviation` percent below the last fill (below
    the average, where no fill is noted).
    """
    return _compute_price_after(asset, cycle.last_order_fill_price or cycle.average_purchase_price)


def count_safety_orders_left(asset: DcaAsset, cycle: DcaCycle) -> int:
    """How many are still to come; none where more were bought than are allowed now."""
    return max(0, asset.max_safety_orders - cycle.safety_orders)


def count_safety_orders_paid(asset: DcaAsset, cost_usd: Decimal) -> int:
    """How many safety orders `cost_usd` has used up. Rounded up: a part of one counts as one, so
    that the ladder never costs more than it may.
    """
    if asset.safety_order_amount <= 0:
        return asset.max_safety_orders
    beyond_base = max(Decimal(0), cost_usd - asset.base_order_amount)
    with localcontext(WIDE):
        used = (beyond_base / asset.safety_order_amount).to_integral_value(ROUND_CEILING)
    return min(asset.max_safety_orders, int(used))


def get_order_number(cycle: DcaCycle, purpose: Purpose) -> int:
    """Which order of the ladder the cycle's next buy is."""
    return 0 if purpose is Purpose.BASE else cycle.safety_orders + 1


def compute_buy_usd(state: TradingState, purpose: Purpose) -> Decimal:
    """USD of the next buy: as configured, less what dust already took from the ladder's budget.
    Filled plus open buys of a cycle never exceed the whole ladder.
    """
    amount = compute_order_usd(state.asset, get_order_number(state.cycle, purpose))
    return _within_budget(state, amount)


def compute_next_buy_usd(
    state: TradingState, rules: AssetRules | None, fee_rate: Decimal
) -> Decimal:
    """USD of the buy that the cycle waits for; nothing when the ladder is used up. Dust waits for a
    base order. Without rules any coins count as held.
    """
    return compute_buy_usd(state, _next_purpose(state.cycle, rules, fee_rate))


def compute_remaining_usd(
    state: TradingState, rules: AssetRules | None, fee_rate: Decimal
) -> Decimal:
    """USD that the buys still to come of this cycle cost at most; nothing where buying is off.
    Without rules any coins count as held.
    """
    asset, cycle = state.asset, state.cycle
    if not asset.is_enabled:
        return Decimal(0)
    first = get_order_number(cycle, _next_purpose(cycle, rules, fee_rate))
    return _within_budget(state, _compute_usd_of(asset, first, asset.max_safety_orders))


def compute_on_order_usd(orders: Iterable[ExchangeOrder], symbols: Container[str]) -> Decimal:
    """USD of the open buys on these symbols: part of what their ladders need, and gone from the
    buying power already. What such an order has filled is not booked yet, so it counts as well.
    """
    total = Decimal(0)
    for order in orders:
        if order.side is Side.BUY and order.symbol in symbols and order.qty and order.limit_price:
            total += (order.qty - order.filled_qty) * order.limit_price
            total += order.filled_qty * (order.filled_avg_price or Decimal(0))
    return total


def _compute_usd_of(asset: DcaAsset, first: int, last: int) -> Decimal:
    """USD of the orders `first` to `last`."""
    base_usd = asset.base_order_amount if first == 0 else Decimal(0)
    return base_usd + max(0, last - max(first, 1) + 1) * asset.safety_order_amount


def _compute_price_after(asset: DcaAsset, price: Decimal) -> Decimal:
    """USD: where the next safety order comes after a fill at `price`."""
    with localcontext(WIDE):
        return price * (1 - asset.safety_order_deviation / 100)


def _within_budget(state: TradingState, amount_usd: Decimal) -> Decimal:
    return max(Decimal(0), min(amount_usd, compute_ladder_usd(state.asset) - state.bought_usd))


def _next_purpose(cycle: DcaCycle, rules: AssetRules | None, fee_rate: Decimal) -> Purpose:
    is_empty = cycle.quantity <= 0 if rules is None else is_dust(cycle.quantity, rules, fee_rate)
    return Purpose.BASE if is_empty else Purpose.SAFETY
