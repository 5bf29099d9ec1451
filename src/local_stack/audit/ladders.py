"""What each buy of a cycle may cost, and at which price it may come. Pure, like invariants.

Written down a second time on purpose, and in fractions: the bot's ladder is judged by it.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor

from domain.asset import DcaAsset, SafetyOrderReference
from domain.orders import ExchangeOrder, Side
from local_stack.audit.ledgers import CycleEvidence, Evidence
from local_stack.audit.replay import Replayed, replay
from strategy.order_identity import parse_client_order_id
from strategy.sizing import is_dust


def compute_whole_usd(asset: DcaAsset) -> Decimal:
    """What the cycle may spend at most."""
    numbers = range(1, asset.max_safety_orders + 1)
    return asset.base_order_amount + sum((_safety_usd(asset, n) for n in numbers), Decimal(0))


def find_wrong_buys(cycle: CycleEvidence, evidence: Evidence) -> Iterator[str]:
    """Each buy that was larger or dearer than its place in the ladder allows.

    A correction booked meanwhile may have moved the place: one of the cycle's states with the
    order's seq must allow it. An order that the user edited has a price and a size of the user's.
    """
    states = replay(cycle.journal, cycle.rules, evidence.fee_rate)
    edited = {order.replaced_by for order in cycle.orders}
    for order in cycle.orders:
        identity = parse_client_order_id(order.client_order_id)
        if order.side is not Side.BUY or identity is None or order.id in edited:
            continue
        before = [state for state in states if state.order_seq == identity.order_seq]
        found = [_wrong_in(order, state, cycle, evidence.fee_rate) for state in before]
        if found and all(found):
            yield f"{order.client_order_id} {found[-1]}"


def _wrong_in(
    order: ExchangeOrder, state: Replayed, cycle: CycleEvidence, fee_rate: Decimal
) -> str | None:
    """What is wrong with `order` if the cycle was in `state`."""
    asset, step = cycle.asset, Fraction(cycle.rules.price_increment)
    limit = order.limit_price or Decimal(0)
    cost = Fraction(order.qty or 0) * Fraction(limit)
    if is_dust(state.quantity, cycle.rules, fee_rate):
        if cost > asset.base_order_amount:
            return f"costs {float(cost):.4f} USD, a base order {asset.base_order_amount:f}"
        return None
    number = state.safety_orders + 1
    if number > asset.max_safety_orders:
        return f"is safety order {number} of {asset.max_safety_orders}"
    if cost > (usd := _safety_usd(asset, number)):
        return f"costs {float(cost):.4f} USD, safety order {number} is for {usd:f}"
    price = ceil(_safety_price(asset, state, number) / step) * step
    if limit > price:
        return f"has a limit of {limit:f}, safety order {number} comes at {float(price):.8f}"
    return None


def _safety_usd(asset: DcaAsset, number: int) -> Decimal:
    """Rounded down to the cent, where the scale changes anything."""
    if number == 1 or asset.safety_order_volume_scale == 1:
        return asset.safety_order_amount
    scale = Fraction(asset.safety_order_volume_scale)
    exact = Fraction(asset.safety_order_amount) * scale ** (number - 1)
    return Decimal(floor(exact * 100)) / 100


def _safety_price(asset: DcaAsset, state: Replayed, number: int) -> Fraction:
    scale = Fraction(asset.safety_order_step_scale)
    steps = [Fraction(asset.safety_order_deviation) * scale**n / 100 for n in range(number)]
    if asset.safety_order_reference is SafetyOrderReference.BASE_ORDER:
        return Fraction(state.base_price or state.average) * (1 - sum(steps))
    return Fraction(state.last_fill_price or state.average) * (1 - steps[-1])
