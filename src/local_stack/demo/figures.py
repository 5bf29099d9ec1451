"""What a demo earned, by coin and in all, and its cycles one by one. Pure.

Profit of a cycle = sell proceeds less their USD fees, less what its buys cost; the fee on a buy is
taken in coins and shows as coins that could not be sold.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal

from domain.orders import Side
from local_stack.audit.ledgers import CycleBooks, Fill
from strategy.fees import compute_coins_taken, compute_usd_fee

HALF_A_CENT = Decimal("0.005")
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetFigures:
    """One coin, or all of them together. USD; the open position at what it cost, and at what its
    sale would bring now: the coins that the fees left, at the bid, less the fee of the sale.

    The profit twice: as the bot's journal tells it, and as the exchange's fills and fees do.
    """

    symbol: str
    cycles: int
    with_safety_orders: int
    orders: int
    journal_profit_usd: Decimal
    exchange_profit_usd: Decimal
    fees_usd: Decimal
    open_cost_usd: Decimal
    open_value_usd: Decimal
    fees_are_estimated: bool = False

    @property
    def agrees(self) -> bool:
        """To the cent."""
        return abs(self.journal_profit_usd - self.exchange_profit_usd) < HALF_A_CENT


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleFigures:
    """One cycle that bought something."""

    id: int
    symbol: str
    status: str
    quantity: Decimal
    average: Decimal
    safety_orders: int
    orders: int
    profit_usd: Decimal | None
    fees_are_estimated: bool = False


def sum_up_asset(
    symbol: str, cycles: Iterable[CycleBooks], bids: Mapping[str, Decimal], fee_rate: Decimal
) -> AssetFigures:
    """The figures of one coin from its cycles."""
    cycles = list(cycles)
    complete = [cycle for cycle in cycles if cycle.is_complete]
    open_cycles = [cycle for cycle in cycles if not cycle.is_complete]
    bid = bids.get(symbol, _ZERO)
    return AssetFigures(
        symbol=symbol,
        cycles=len(complete),
        with_safety_orders=sum(cycle.row.safety_orders > 0 for cycle in complete),
        orders=sum(len(cycle.orders) for cycle in cycles),
        journal_profit_usd=_sum(map(journal_profit, complete)),
        exchange_profit_usd=_sum(map(exchange_profit, complete)),
        fees_usd=_sum(_fee_usd(fill) for cycle in complete for fill in _fills(cycle)),
        open_cost_usd=_sum(
            one.row.quantity * one.row.average_purchase_price for one in open_cycles
        ),
        open_value_usd=_sum(value_now(one, bid, fee_rate) for one in open_cycles),
        fees_are_estimated=any(map(rests_on_estimates, complete)),
    )


def sum_up_all(assets: Iterable[AssetFigures]) -> AssetFigures:
    """All coins together."""
    assets = list(assets)
    return AssetFigures(
        symbol="total",
        cycles=sum(one.cycles for one in assets),
        with_safety_orders=sum(one.with_safety_orders for one in assets),
        orders=sum(one.orders for one in assets),
        journal_profit_usd=_sum(one.journal_profit_usd for one in assets),
        exchange_profit_usd=_sum(one.exchange_profit_usd for one in assets),
        fees_usd=_sum(one.fees_usd for one in assets),
        open_cost_usd=_sum(one.open_cost_usd for one in assets),
        open_value_usd=_sum(one.open_value_usd for one in assets),
        fees_are_estimated=any(one.fees_are_estimated for one in assets),
    )


def sum_up_cycle(cycle: CycleBooks) -> CycleFigures:
    return CycleFigures(
        id=cycle.row.id,
        symbol=cycle.symbol,
        status=cycle.row.status.value,
        quantity=cycle.row.quantity,
        average=cycle.row.average_purchase_price,
        safety_orders=cycle.row.safety_orders,
        orders=len(cycle.orders),
        profit_usd=journal_profit(cycle) if cycle.is_complete else None,
        fees_are_estimated=rests_on_estimates(cycle),
    )


def rests_on_estimates(cycle: CycleBooks) -> bool:
    """Whether the fee of one of its orders is not posted yet."""
    return any(entry.fee_is_estimated and entry.filled_qty > 0 for entry in cycle.journal)


def value_now(cycle: CycleBooks, bid: Decimal, fee_rate: Decimal) -> Decimal:
    """USD that a sale at `bid` would bring, after both fees: the coin fee is gone from the account
    though the books count its coins.
    """
    coin_fees = _sum(entry.fee_qty for entry in cycle.journal if entry.side is Side.BUY)
    held = cycle.row.quantity
    left = max(_ZERO, held - compute_coins_taken(held, coin_fees, fee_rate))
    return left * bid - compute_usd_fee(left, bid, fee_rate)


def journal_profit(cycle: CycleBooks) -> Decimal:
    """What the bot believes."""
    return _sum(
        entry.filled_usd - entry.fee_usd if entry.side is Side.SELL else -entry.filled_usd
        for entry in cycle.journal
    )


def exchange_profit(cycle: CycleBooks) -> Decimal:
    """What the exchange did."""
    return _sum(map(cash_moved, _fills(cycle)))


def cash_moved(fill: Fill) -> Decimal:
    """What one fill brought to the account in USD, its fee taken."""
    return fill.usd - fill.fee if fill.side is Side.SELL else -fill.usd


def _fee_usd(fill: Fill) -> Decimal:
    return fill.fee if fill.side is Side.SELL else fill.fee * fill.price


def _fills(cycle: CycleBooks) -> list[Fill]:
    return [fill for fills in cycle.fills.values() for fill in fills]


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, _ZERO)
