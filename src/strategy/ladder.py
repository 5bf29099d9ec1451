"""The ladder: what each order of a cycle costs, at which price it comes, what of it is left. Pure.

Owns how amount and price of an order follow from the asset's settings; nothing else may know. Order
0 is the base order, 1 to `max_safety_orders` are the safety orders. (local_stack/audit counts for
itself on purpose: it must not share the code that it judges.)

A scaled amount is rounded down to the cent: never more than was meant. An amount that nothing
scales, as every one with a scale of 1, is what the settings say, to the last digit. Steps and
prices have 60 digits, the last one rounded half to even. What is sent is rounded where it is sized
(see sizing).
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from decimal import ROUND_FLOOR, Decimal, localcontext
from functools import lru_cache
from itertools import accumulate

from domain.asset import DcaAsset, SafetyOrderReference
from domain.cycle import DcaCycle
from domain.journal import Purpose
from domain.market import AssetRules
from domain.orders import ExchangeOrder, Side
from domain.trading_state import TradingState
from strategy.sizing import WIDE, is_dust, lower_price, round_to_increment

MAX_SAFETY_ORDERS = 100  # a row with more is never traded, and a scale is not followed any further
_CENT = Decimal("0.01")
_NONE = Decimal(0)
# Looked up once: before Python 3.12 a member of an enum costs as much as a sum of two prices.
_BASE, _LAST_FILL = Purpose.BASE, SafetyOrderReference.LAST_FILL


def compute_order_usd(asset: DcaAsset, number: int) -> Decimal:
    """USD of order `number`: safety order n costs `safety_order_amount` x volume scale ^ (n - 1),
    rounded down to the cent; nothing beyond the last one.
    """
    if 0 < number <= asset.max_safety_orders and asset.safety_order_volume_scale == 1:
        return asset.safety_order_amount  # as nearly always
    return _compute_usd_of(asset, number, min(number, asset.max_safety_orders))


def compute_ladder_usd(asset: DcaAsset) -> Decimal:
    """USD that one cycle may spend on buys at most: the base order and every safety order."""
    return _compute_usd_of(asset, 0, asset.max_safety_orders)


def compute_deviations(asset: DcaAsset) -> tuple[Decimal, ...]:
    """How far each safety order comes below its reference, in percent: its own step below the last
    fill, or all steps up to it below the base order. At most MAX_SAFETY_ORDERS.
    """
    return _compute_all_deviations(asset)[: max(0, asset.max_safety_orders)]


def compute_steps(asset: DcaAsset) -> tuple[Decimal, ...]:
    """The step to each safety order, in percent: step n is `safety_order_deviation` x step scale ^
    (n - 1). At most MAX_SAFETY_ORDERS.
    """
    steps = _compute_series(asset.safety_order_deviation, asset.safety_order_step_scale)
    return steps[: max(0, asset.max_safety_orders)]


def compute_ladder_prices(asset: DcaAsset, ask: Decimal) -> list[Decimal]:
    """USD: where each order comes if the base order is filled at `ask` and every other one at its
    own trigger.
    """
    prices = [ask]
    for percent in compute_deviations(asset):
        prices.append(_compute_price(asset, percent, base=ask, last=prices[-1]))
    return prices


def compute_safety_order_trigger(asset: DcaAsset, cycle: DcaCycle) -> Decimal:
    """USD: where the next safety order comes, below the last fill or the base order's fill as
    `safety_order_reference` says (below the average, where that fill is not noted).
    """
    average = cycle.average_purchase_price
    base, last = cycle.base_order_price or average, cycle.last_order_fill_price or average
    bought = min(max(0, cycle.safety_orders), MAX_SAFETY_ORDERS - 1)
    return _compute_price(asset, _compute_all_deviations(asset)[bought], base=base, last=last)


def count_safety_orders_left(asset: DcaAsset, cycle: DcaCycle) -> int:
    """How many are still to come; none where more were bought than are allowed now."""
    return max(0, asset.max_safety_orders - cycle.safety_orders)


def count_safety_orders_paid(asset: DcaAsset, cost_usd: Decimal) -> int:
    """How many safety orders `cost_usd` has used up. Rounded up: a part of one counts as one, so
    that the ladder never costs more than it may.
    """
    if asset.safety_order_amount <= 0:
        return asset.max_safety_orders
    with localcontext(WIDE):
        left_usd = cost_usd - asset.base_order_amount
        for number in range(1, min(asset.max_safety_orders, MAX_SAFETY_ORDERS) + 1):
            if left_usd <= 0:
                return number - 1
            left_usd -= compute_order_usd(asset, number)
    return asset.max_safety_orders


def get_order_number(cycle: DcaCycle, purpose: Purpose) -> int:
    """Which order of the ladder the cycle's next buy is."""
    return 0 if purpose is _BASE else cycle.safety_orders + 1


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
    """USD of the orders `first` to `last`. (Where nothing is scaled they are not added one by one:
    a row made by hand can have billions of them.)
    """
    base_usd = asset.base_order_amount if first == 0 else _NONE
    first, amount, scale = max(first, 1), asset.safety_order_amount, asset.safety_order_volume_scale
    if scale == 1:
        return base_usd + max(0, last - first + 1) * amount
    with localcontext(WIDE):
        return base_usd + sum(_compute_amounts(amount, scale)[first - 1 : last], Decimal(0))


def _compute_all_deviations(asset: DcaAsset) -> tuple[Decimal, ...]:
    steps = _compute_series(asset.safety_order_deviation, asset.safety_order_step_scale)
    if asset.safety_order_reference is _LAST_FILL:
        return steps
    with localcontext(WIDE):
        return tuple(accumulate(steps))


@lru_cache(maxsize=256)
def _compute_amounts(amount: Decimal, scale: Decimal) -> tuple[Decimal, ...]:
    """USD of every safety order that there can be. The first one is not scaled."""
    first, *scaled = _compute_series(amount, scale)
    return first, *(round_to_increment(one, _CENT, ROUND_FLOOR) for one in scaled)


@lru_cache(maxsize=256)
def _compute_series(first: Decimal, scale: Decimal) -> tuple[Decimal, ...]:
    """`first` x scale ^ (n - 1) for every order n that there can be."""
    if scale == 1:
        return (first,) * MAX_SAFETY_ORDERS
    with localcontext(WIDE):
        return first, *(first * scale**power for power in range(1, MAX_SAFETY_ORDERS))


def _compute_price(asset: DcaAsset, percent: Decimal, *, base: Decimal, last: Decimal) -> Decimal:
    """USD: `percent` below what the asset's deviations are below."""
    is_below_last = asset.safety_order_reference is _LAST_FILL
    return lower_price(last if is_below_last else base, percent)


def _within_budget(state: TradingState, amount_usd: Decimal) -> Decimal:
    left_usd = compute_ladder_usd(state.asset) - state.bought_usd
    return amount_usd if amount_usd <= left_usd else max(_NONE, left_usd)


def _next_purpose(cycle: DcaCycle, rules: AssetRules | None, fee_rate: Decimal) -> Purpose:
    is_empty = cycle.quantity <= 0 if rules is None else is_dust(cycle.quantity, rules, fee_rate)
    return Purpose.BASE if is_empty else Purpose.SAFETY
