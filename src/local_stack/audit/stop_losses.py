"""When a stop loss may have fired, and what it excludes. Pure, like invariants.

Written down a second time on purpose: the bot's exits are not used.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from domain.journal import LATE_FILL, Purpose
from domain.orders import ExchangeOrder, Side
from local_stack.audit.ledgers import CycleEvidence, Evidence
from local_stack.audit.replay import replay
from local_stack.audit.spending import ON_ITS_WAY
from strategy.order_identity import parse_client_order_id


def find_stop_faults(cycle: CycleEvidence, evidence: Evidence) -> Iterator[str]:
    """A stop that fired twice, or not at all before its sale; a take profit beside it; one above
    its price.
    """
    entries = [entry for entry in cycle.journal if entry.filled_qty > 0]
    stops = [entry for entry in entries if entry.purpose is Purpose.STOP_LOSS]
    fired = (evidence.stops_fired or {}).get(cycle.row.id, ())
    if stops and not cycle.row.stop_loss_fired:
        yield f"{stops[0].client_order_id} is the sale of a stop loss that has not fired"
    if evidence.stops_fired is not None and len(fired) != cycle.row.stop_loss_fired:
        yield f"its stop loss fired {len(fired)} times, its row says {cycle.row.stop_loss_fired}"
    if not stops:
        return
    first = entries.index(stops[0])
    for entry in entries[first:]:
        # What an order of before filled after its end is booked late, and keeps its purpose.
        if entry.purpose is Purpose.TAKE_PROFIT and entry.note != LATE_FILL:
            yield f"{entry.client_order_id} is a take profit after the stop loss has sold"
    for order in cycle.orders:
        if order.side is Side.SELL and order.id == stops[0].alpaca_order_id:
            yield from _find_too_early(cycle, order, evidence, fired)


def _find_too_early(
    cycle: CycleEvidence,
    order: ExchangeOrder,
    evidence: Evidence,
    fired: tuple[datetime, ...],
) -> Iterator[str]:
    """A bid at the stop must have been sent since the last buy. Bought after it had fired, the
    coins say nothing of the average at which it did.
    """
    identity = parse_client_order_id(order.client_order_id)
    extremes, percent = evidence.extremes_sent.get(order.id), cycle.asset.stop_loss_percent
    if identity is None or extremes is None or percent is None or cycle.row.close_requested:
        return
    buys = {one.id for one in cycle.orders if one.side is Side.BUY}
    bought_at = [step.at for step in cycle.steps if step.order_id in buys and step.qty]
    if fired and bought_at and bought_at[-1] + ON_ITS_WAY > fired[0]:
        return
    states = replay(cycle.journal, cycle.rules, evidence.fee_rate)
    averages = [
        state.average
        for state in states
        if state.order_seq == identity.order_seq and state.average > 0
    ]
    price = max(averages, default=extremes.lowest) * (1 - percent / 100)
    if averages and extremes.lowest > price:
        lowest = f"the lowest was {extremes.lowest:f}"
        yield f"{order.client_order_id} needed a bid of {price:.6f}: {lowest}"
