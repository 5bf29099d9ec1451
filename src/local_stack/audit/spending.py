"""What a cycle could cost and what it could sell, step by step as the exchange saw it. Pure.

Judged at each submission by the limit prices: filled, plus what every open order can still take. A
fill after its order's end (exchanges do that) is not the bot's doing, so it counts against the next
order only once the bot has booked it; whether it is booked in time is for another rule.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from domain.orders import ExchangeOrder, Side
from local_stack.audit.ladders import compute_whole_usd
from local_stack.audit.ledgers import CycleEvidence, OrderStep

ON_ITS_WAY = timedelta(seconds=2)  # an order that was decided on before the late fill was booked
_ENDINGS = ("fill", "canceled", "expired", "rejected", "replaced")
_ZERO = Decimal(0)


@dataclass(slots=True)
class _Tally:
    """What one side of a cycle has filled and what its open orders can still fill, in one unit."""

    filled: Decimal = _ZERO
    open: dict[str, Decimal] = field(default_factory=dict)
    late: list[tuple[str, Decimal]] = field(default_factory=list)

    def committed(self, at: datetime, booked_at: Mapping[str, datetime]) -> Decimal:
        booked = {order_id for order_id, when in booked_at.items() if when + ON_ITS_WAY < at}
        late = sum((amount for order_id, amount in self.late if order_id in booked), _ZERO)
        return self.filled + late + sum(self.open.values(), _ZERO)

    def take(self, step: OrderStep, filled: Decimal, unfilled: Decimal) -> None:
        if step.qty:
            if step.order_id in self.open:
                self.filled += filled
                self.open[step.order_id] -= unfilled
            else:
                self.late.append((step.order_id, filled))
        if step.event in _ENDINGS:
            self.open.pop(step.order_id, None)


def find_overspent(cycle: CycleEvidence, booked_at: Mapping[str, datetime]) -> Iterator[str]:
    """Each buy with which filled plus open buys exceeded the ladder, in USD."""
    ladder = compute_whole_usd(cycle.asset)
    for order, committed in _commitments(cycle, booked_at):
        if committed > ladder:
            yield f"{order.client_order_id} committed {committed:.4f} of {ladder:.4f} USD"


def largest_share(cycle: CycleEvidence) -> Decimal:
    """The largest part of its ladder that the cycle ever had filled or on order."""
    largest = max((committed for _, committed in _commitments(cycle, {})), default=_ZERO)
    return largest / compute_whole_usd(cycle.asset)


def _commitments(
    cycle: CycleEvidence, booked_at: Mapping[str, datetime]
) -> Iterator[tuple[ExchangeOrder, Decimal]]:
    """Each buy, and what the cycle had filled and on order with it, in USD."""
    tally, orders = _Tally(), _orders(cycle, Side.BUY)
    for step in cycle.steps:
        order = orders.get(step.order_id)
        if order is None:
            continue
        limit = order.limit_price or _ZERO
        if step.event == "pending_new":
            tally.open[order.id] = (order.qty or _ZERO) * limit
            yield order, tally.committed(step.at, booked_at)
        else:
            tally.take(step, step.usd, step.qty * limit)


def find_oversold(
    cycle: CycleEvidence, booked_at: Mapping[str, datetime], leftover: Decimal = _ZERO
) -> Iterator[str]:
    """Each sell with which sold plus open sells exceeded what had been bought, in coins.

    `leftover`: coins that earlier cycles could not sell; they may be sold with this one.
    """
    tally, sells = _Tally(), _orders(cycle, Side.SELL)
    bought = max(_ZERO, leftover)
    for step in cycle.steps:
        order = sells.get(step.order_id)
        if order is None:
            bought += step.qty
        elif step.event == "pending_new":
            tally.open[order.id] = order.qty or _ZERO
            committed = tally.committed(step.at, booked_at)
            if committed > bought:
                yield f"{order.client_order_id} would sell {committed:f} of {bought:f} coins"
        else:
            tally.take(step, step.qty, step.qty)
    sold = tally.filled + sum((amount for _, amount in tally.late), _ZERO)
    if sold > bought:
        yield f"{sold:f} coins sold, {bought:f} bought"


def _orders(cycle: CycleEvidence, side: Side) -> dict[str, ExchangeOrder]:
    return {order.id: order for order in cycle.orders if order.side is side}
