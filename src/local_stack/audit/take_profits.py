"""What a take profit may be sold at, and what it may leave behind. Pure, like invariants.

Written down a second time on purpose: the bot's triggers and lifecycle are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal

from domain.journal import Purpose
from domain.orders import ExchangeOrder, Side
from local_stack.audit.ledgers import CycleEvidence, Evidence
from local_stack.audit.replay import replay
from local_stack.audit.spending import ON_ITS_WAY
from strategy.order_identity import parse_client_order_id
from strategy.sizing import is_unsellable
from utils.formatting import number

_ENDINGS = ("canceled", "expired", "rejected", "replaced")
_ZERO = Decimal(0)


def find_gone_prices(cycle: CycleEvidence, evidence: Evidence) -> Iterator[str]:
    """Each take profit that was sent although no recent quote had a bid at its target.

    One bid of `evidence.quotes_sent` at the target is enough: newer ones may still have been on
    their way. One that trails needs a bid at the target since the last buy, and one that has fallen
    from the highest. A sale that the user asked for, or a stop loss began, has no target.
    """
    if cycle.row.close_requested:
        return
    states = replay(cycle.journal, cycle.rules, evidence.fee_rate)
    for order in cycle.orders:
        identity = parse_client_order_id(order.client_order_id)
        bids = evidence.quotes_sent.get(order.id)
        if order.side is not Side.SELL or identity is None or bids is None:
            continue
        if cycle.row.stop_loss_fired and _may_be_of_stop(cycle, order):
            continue
        # A correction booked meanwhile may have moved the average: the lowest counts.
        averages = [
            state.average
            for state in states
            if state.order_seq == identity.order_seq and state.average > 0
        ]
        if not averages:
            continue
        target = min(averages) * (1 + cycle.asset.take_profit_percent / 100)
        if cycle.asset.trailing_take_profit_percent is not None:
            yield from _find_no_fall(cycle, order, target, bids, evidence)
            continue
        highest = max(bids, default=_ZERO)
        if highest < target:
            seen = f"the best bid was {highest:f}" if bids else "there was no bid"
            yield f"{order.client_order_id} needed a bid of {target:.6f}: {seen}"


def _may_be_of_stop(cycle: CycleEvidence, order: ExchangeOrder) -> bool:
    """Whether the journal says so, or does not know the order."""
    entries = cycle.journaled(order)
    return not entries or entries[0].purpose is Purpose.STOP_LOSS


def _find_no_fall(
    cycle: CycleEvidence,
    order: ExchangeOrder,
    target: Decimal,
    bids: tuple[Decimal, ...],
    evidence: Evidence,
) -> Iterator[str]:
    """The bot's peak can be lower than the highest bid, never higher."""
    extremes, trail = evidence.extremes_sent.get(order.id), cycle.asset.trailing_take_profit_percent
    if extremes is None or trail is None:
        return
    if extremes.highest < target:
        yield (
            f"{order.client_order_id} needed a bid of {target:.6f} before it trails:"
            f" the highest was {extremes.highest:f}"
        )
    fallen = extremes.highest * (1 - trail / 100)
    if min(bids, default=extremes.highest) > fallen:
        yield f"{order.client_order_id} sold above {fallen:.6f}, {trail:f} % below the highest bid"


def find_left_behind(cycle: CycleEvidence, evidence: Evidence) -> Iterator[str]:
    """A complete cycle with more than dust of its coins still on the exchange.

    Counted by the exchange's own fills and fees. Fills after their order's end count once the bot
    has booked them; coins taken behind its back cannot be sold.
    """
    if not cycle.is_complete:
        return
    left = count_left(cycle) - _late_and_unknown(cycle, evidence)
    left -= evidence.taken.get(cycle.symbol, _ZERO)
    if not is_unsellable(left, cycle.rules):
        yield f"complete with {number(left)} coins of it on the exchange"


def count_left(cycle: CycleEvidence) -> Decimal:
    """Coins bought, less the fees taken from them, less sold. Below 0 when coins that an earlier
    cycle had left were sold, too.
    """
    return sum(
        (
            fill.qty - fill.fee if fill.side is Side.BUY else -fill.qty
            for fills in cycle.fills.values()
            for fill in fills
        ),
        _ZERO,
    )


def _late_and_unknown(cycle: CycleEvidence, evidence: Evidence) -> Decimal:
    """Coins of buys that filled after their end and were not booked when the last sell was sent."""
    orders = {order.id: order for order in cycle.orders}
    sent_at = _last_sell_sent_at(cycle, orders)
    ended: set[str] = set()
    late = _ZERO
    for step in cycle.steps:
        if orders[step.order_id].side is not Side.BUY:
            continue
        if step.event in _ENDINGS:
            ended.add(step.order_id)
        if not step.qty:
            continue
        booked_at = evidence.booked_at.get(step.order_id)
        was_known = sent_at and booked_at and booked_at + ON_ITS_WAY < sent_at
        if step.order_id in ended and not was_known:
            late += step.qty
    return late


def _last_sell_sent_at(cycle: CycleEvidence, orders: dict[str, ExchangeOrder]) -> datetime | None:
    for step in reversed(cycle.steps):
        if step.event == "pending_new" and orders[step.order_id].side is Side.SELL:
            return step.at
    return None
