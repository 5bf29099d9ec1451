"""What the bot did and what the replay did, in the same terms, and where they differ first. Pure.

Figures are computed by the functions that compute them live (averages, profits); ids and times of
this machine's clock are left out. A time is that of the quote at which an order was sent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from itertools import groupby
from typing import Any

from domain.cycle import CycleStatus, DcaCycle
from domain.journal import CycleJournal, JournalEntry, Purpose
from domain.orders import Side
from performance.cycle_results import compute_figures
from strategy.booking import compute_average_purchase_price

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFacts:
    """One order. Quantities in coins, prices and money in USD; `at_micros` since 1970 (UTC).

    `average_price`: of what is held after a buy, or was sold. `profit_usd`: of the cycle, beside
    the order that completed it.
    """

    symbol: str
    cycle: int  # of those that bought something, counted from 1 for each symbol
    order: int  # in its cycle, from 0
    at_micros: int
    purpose: Purpose
    side: Side
    quantity: Decimal | None
    limit_price: Decimal | None
    status: str
    filled_quantity: Decimal
    fill_price: Decimal | None
    fee_coins: Decimal
    fee_usd: Decimal
    average_price: Decimal
    profit_usd: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndFacts:
    """How one asset and the account stand at the end; what is of a cycle is of the open one."""

    symbol: str
    cash_usd: Decimal
    coins: Decimal
    status: CycleStatus
    quantity: Decimal
    average_price: Decimal
    safety_orders: int
    order_seq: int
    last_order_fill_price: Decimal | None
    base_order_price: Decimal | None
    trailing_peak: Decimal | None
    stop_loss_fired: bool

    @classmethod
    def of(cls, symbol: str, cycle: DcaCycle, *, cash_usd: Decimal, coins: Decimal) -> EndFacts:
        return cls(
            symbol=symbol,
            cash_usd=cash_usd,
            coins=coins,
            status=cycle.status,
            quantity=cycle.quantity,
            average_price=cycle.average_purchase_price,
            safety_orders=cycle.safety_orders,
            order_seq=cycle.order_seq,
            last_order_fill_price=cycle.last_order_fill_price,
            base_order_price=cycle.base_order_price,
            trailing_peak=cycle.trailing_peak,
            stop_loss_fired=cycle.stop_loss_fired,
        )


Facts = OrderFacts | EndFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first one. None: that side has no such order. `names` are what differs."""

    what: str
    names: tuple[str, ...]
    bot: Facts | None
    replay: Facts | None


def order_facts(
    entries: Sequence[JournalEntry],
    open_cycle_id: int,
    times: Mapping[str, int],
    averages: Mapping[str, Decimal] | None = None,
) -> list[OrderFacts]:
    """One symbol's orders, oldest first.

    Args:
        times: of the quotes, by client_order_id.
        averages: as they were read after each buy; without them they are computed.
    """
    found: list[OrderFacts] = []
    for number, (cycle_id, group) in enumerate(groupby(entries, lambda one: one.cycle_id), 1):
        own = tuple(group)
        average = held = _ZERO
        for entry in own:
            if entry.side is Side.BUY and averages is not None:
                average = averages[entry.client_order_id]
            elif entry.side is Side.BUY and entry.filled_avg_price is not None:
                price, qty = entry.filled_avg_price, entry.filled_qty
                average = compute_average_purchase_price(average, held, price, qty)
                held += qty
            is_end = entry is own[-1] and cycle_id != open_cycle_id
            facts = OrderFacts(
                symbol=entry.symbol,
                cycle=number,
                order=entry.order_seq,
                at_micros=times[entry.client_order_id],
                purpose=entry.purpose,
                side=entry.side,
                quantity=entry.requested_qty,
                limit_price=entry.limit_price,
                status=entry.final_status,
                filled_quantity=entry.filled_qty,
                fill_price=entry.filled_avg_price,
                fee_coins=entry.fee_qty,
                fee_usd=entry.fee_usd,
                average_price=average,
                profit_usd=_profit_of(own) if is_end else None,
            )
            found.append(facts)
    return found


def _profit_of(entries: tuple[JournalEntry, ...]) -> Decimal | None:
    """Of a cycle that ended."""
    journal = CycleJournal(
        cycle_id=entries[0].cycle_id,
        symbol=entries[0].symbol,
        entries=entries,
        status=CycleStatus.COMPLETE,
        completed_at=None,
    )
    result = compute_figures(journal)
    return None if result is None else result.profit_usd


def find_difference(what: str, bot: Sequence[Facts], replay: Sequence[Facts]) -> Difference | None:
    """The first place at which they are not the same."""
    for number in range(max(len(bot), len(replay))):
        one, other = (side[number] if number < len(side) else None for side in (bot, replay))
        if one is None or other is None:
            names: tuple[str, ...] = ()
        elif one == other:
            continue
        else:
            names = tuple(_differing(one, other))
        return Difference(what=f"{what} {number + 1}", names=names, bot=one, replay=other)
    return None


def _differing(one: Facts, other: Facts) -> Iterable[str]:
    return (
        spec.name
        for spec in fields(one)
        if getattr(one, spec.name) != getattr(other, spec.name, None)
    )


def facts_json(facts: Facts | None) -> dict[str, Any] | None:
    """Exact: money as text."""
    if facts is None:
        return None
    values = {spec.name: getattr(facts, spec.name) for spec in fields(facts)}
    return {
        name: f"{value:f}" if isinstance(value, Decimal) else value
        for name, value in values.items()
    }
