"""Judges how soon a cycle's coins are sold although the market has left its safety buy behind.

Pure: the exchange's records in, what became of the buy out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from local_stack.audit.invariants import Violation
from local_stack.audit.ledgers import Evidence, OrderStep
from local_stack.chaos.market_faults import LeftBuy
from local_stack.chaos.plan import STALE_ORDER_SECONDS
from strategy.order_identity import parse_client_order_id
from strategy.sizing import is_dust

# Sooner than order_manager may call the order stale: the daemon itself must cancel.
CANCEL_SECONDS = STALE_ORDER_SECONDS - 0.5
# The reads before a sale may have to wait for the allowance of requests.
SELL_SECONDS = 30.0
_CANCELED = ("pending_cancel", "canceled")


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What became of a buy that was left behind. Seconds since the market went up."""

    canceled_seconds: float | None
    sold_seconds: float | None
    was_filled: bool

    @property
    def is_over(self) -> bool:
        return self.was_filled or self.sold_seconds is not None


def take_profit_of(left: LeftBuy, evidence: Evidence) -> Decimal | None:
    """USD at which what the cycle holds is to be sold; None when it holds nothing."""
    [row] = [one for one in evidence.rows if one.id == left.cycle_id]
    [asset] = [one for one in evidence.assets if one.id == row.asset_id]
    if is_dust(row.quantity, evidence.rules[left.symbol], evidence.fee_rate):
        return None
    return row.average_purchase_price * (1 + asset.take_profit_percent / 100)


def trace_left_buy(left: LeftBuy, ledger: Mapping[str, Any]) -> Left:
    """From the exchange's own records."""
    since = left.moved_at
    steps = [OrderStep.from_ledger(raw) for raw in ledger["steps"]]
    sells = {
        raw["id"]
        for raw in ledger["orders"]
        if raw["side"] == "sell" and _cycle_of(raw["client_order_id"]) == left.cycle_id
    }
    own = [one for one in steps if one.order_id == left.order_id]
    canceled = (one for one in own if one.event in _CANCELED)
    sold = (one for one in steps if one.order_id in sells and one.event == "pending_new")
    return Left(
        canceled_seconds=_first(since, canceled),
        sold_seconds=_first(since, sold),
        was_filled=any(one.event == "fill" for one in own),
    )


def is_trailing(left: LeftBuy, evidence: Evidence) -> bool:
    """Whether its cycle's sale waits for the bid to fall again."""
    [row] = [one for one in evidence.rows if one.id == left.cycle_id]
    [asset] = [one for one in evidence.assets if one.id == row.asset_id]
    return asset.trailing_take_profit_percent is not None


def find_delays(
    left: LeftBuy, traced: Left, waited_seconds: float, *, trails: bool = False
) -> list[Violation]:
    """An open buy must not keep the position from being sold, or followed where it trails."""
    if traced.was_filled:
        return []
    found = []
    canceled, sold = traced.canceled_seconds, traced.sold_seconds
    if (canceled if canceled is not None else waited_seconds) > CANCEL_SECONDS:
        found.append("it was not canceled" if canceled is None else f"canceled {canceled:.1f} s")
    if not trails and (sold if sold is not None else waited_seconds) > SELL_SECONDS:
        found.append("nothing was sold" if sold is None else f"sold {sold:.1f} s")
    return [
        Violation(
            rule="an open buy delays no sale",
            text=f"cycle {left.cycle_id}: with the bid above the take profit for"
            f" {waited_seconds:.1f} s: {what} after that",
            symbol=left.symbol,
            cycle_id=left.cycle_id,
        )
        for what in found
    ]


def _first(since: datetime, steps: Iterable[OrderStep]) -> float | None:
    return min(((one.at - since).total_seconds() for one in steps if one.at >= since), default=None)


def _cycle_of(client_order_id: str) -> int | None:
    identity = parse_client_order_id(client_order_id)
    return identity.cycle_id if identity else None
