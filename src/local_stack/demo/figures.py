"""What a demo earned, by coin and in all. Pure.

Profit of a cycle = sell proceeds less their USD fees, less what its buys cost; the fee on a buy is
taken in coins and shows as coins that could not be sold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from domain.orders import Side
from local_stack.audit.ledgers import CycleEvidence, Fill

HALF_A_CENT = Decimal("0.005")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFigures:
    """One coin, or all of them together. The profit in USD twice: from the bot's journal, and from
    the exchange's fills and fees.
    """

    symbol: str
    cycles: int
    with_safety_orders: int
    orders: int
    journal_profit_usd: Decimal
    exchange_profit_usd: Decimal
    fees_usd: Decimal
    fees_are_estimated: bool = False

    @property
    def agrees(self) -> bool:
        """To the cent."""
        return abs(self.journal_profit_usd - self.exchange_profit_usd) < HALF_A_CENT


def sum_up(name: str, cycles: Iterable[CycleEvidence]) -> AssetFigures:
    """The figures of these cycles: of one coin, or of all."""
    cycles = list(cycles)
    complete = [cycle for cycle in cycles if cycle.is_complete]
    return AssetFigures(
        symbol=name,
        cycles=len(complete),
        with_safety_orders=sum(cycle.row.safety_orders > 0 for cycle in complete),
        orders=sum(len(cycle.orders) for cycle in cycles),
        journal_profit_usd=_sum(map(journal_profit, complete)),
        exchange_profit_usd=_sum(map(exchange_profit, complete)),
        fees_usd=_sum(_fee_usd(fill) for cycle in complete for fill in _fills(cycle)),
        fees_are_estimated=any(map(is_estimated, complete)),
    )


def is_estimated(cycle: CycleEvidence) -> bool:
    """Whether the fee of one of its orders is not posted yet."""
    return any(entry.fee_is_estimated and entry.filled_qty > 0 for entry in cycle.journal)


def journal_profit(cycle: CycleEvidence) -> Decimal:
    """By the bot's journal."""
    return _sum(
        entry.filled_usd - entry.fee_usd if entry.side is Side.SELL else -entry.filled_usd
        for entry in cycle.journal
    )


def exchange_profit(cycle: CycleEvidence) -> Decimal:
    """By the exchange's fills and fees."""
    return _sum(map(cash_moved, _fills(cycle)))


def cash_moved(fill: Fill) -> Decimal:
    """By how much one fill changed the account's USD, fee included."""
    return fill.usd - fill.fee if fill.side is Side.SELL else -fill.usd


def _fee_usd(fill: Fill) -> Decimal:
    return fill.fee if fill.side is Side.SELL else fill.fee * fill.price


def _fills(cycle: CycleEvidence) -> list[Fill]:
    return [fill for fills in cycle.fills.values() for fill in fills]


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, _ZERO)
