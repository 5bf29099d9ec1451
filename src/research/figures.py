"""What a replay earned, and what it took: figures from its journal and its prices. Pure.

The cycles, their profit and the money bound in coins are those of scripts/report
(performance.report); what only a replay knows is here: the equity at every bar, and how much of the
ladder was used for how long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from domain.asset import DcaAsset
from domain.cycle import OPEN_STATUSES, CycleStatus
from domain.journal import CycleJournal, JournalEntry, Purpose
from domain.orders import Side
from performance.cycle_results import ended_at, find_completion
from performance.report import By, Report, compute_report
from research.equity import Drawdown, EquityCurve, UnderWater
from research.simulate import Outcome
from strategy.ladder import compute_ladder_usd

_ZERO = Decimal(0)
_HUNDRED = Decimal(100)


@dataclass(frozen=True, slots=True)
class LadderUse:
    """The complete cycles that used so many safety orders, and how many open ones did so far."""

    safety_orders: int
    cycles: int
    profit_usd: Decimal
    open_cycles: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One replay. USD and percent; None where there is nothing to divide by.

    `result_usd`: equity at the end less the cash at the beginning, open cycles at the last bid. The
    returns are this one's: of what the ladders need, and of what was bound in coins (mean).
    `fully_bought_percent` of the time of all assets: every safety order of the cycle is used.
    """

    report: Report
    result_usd: Decimal
    ladder_usd: Decimal
    fees_usd: Decimal
    orders: int
    drawdown: Drawdown | None
    under_water: UnderWater | None
    ladder_use: tuple[LadderUse, ...]
    fully_bought_percent: Decimal

    @property
    def unrealised_usd(self) -> Decimal:
        """What is not in the complete cycles: open ones at the last bid, and coins left over."""
        return self.result_usd - self.report.total.profit_usd

    @property
    def return_on_ladder_percent(self) -> Decimal | None:
        return _percent_of(self.result_usd, self.ladder_usd)

    @property
    def return_at_work_percent(self) -> Decimal | None:
        return _percent_of(self.result_usd, self.report.total.capital.mean_usd)


def compute_figures(
    assets: Sequence[DcaAsset],
    outcome: Outcome,
    curve: EquityCurve,
    *,
    cash_usd: Decimal,
    start: datetime,
    end: datetime,
) -> Figures:
    """The figures of a replay of `assets` from `start` to `end` that began with `cash_usd`."""
    cycles = list_cycles(outcome)
    entries = [entry for one in outcome.assets for entry in one.entries]
    report = compute_report(cycles, By.ASSET, now=end, since=start, until=end)
    rungs = {one.asset_symbol: one.max_safety_orders for one in assets}
    return Figures(
        report=report,
        result_usd=outcome.equity_usd - cash_usd,
        ladder_usd=sum((compute_ladder_usd(one) for one in assets), _ZERO),
        fees_usd=sum((_fee_usd(entry) for entry in entries), _ZERO),
        orders=len(entries),
        drawdown=curve.worst_drawdown(),
        under_water=curve.longest_under_water(),
        ladder_use=_ladder_use(report, cycles, max(rungs.values())),
        fully_bought_percent=_fully_bought_percent(cycles, rungs, start, end),
    )


def list_cycles(outcome: Outcome) -> list[CycleJournal]:
    """Every cycle that traded, in the order of its first fill, numbered from 1: those of several
    assets have one number each.
    """
    found: list[tuple[CycleStatus, list[JournalEntry]]] = []
    for one in outcome.assets:
        by_cycle: dict[int, list[JournalEntry]] = {}
        for entry in one.entries:
            by_cycle.setdefault(entry.cycle_id, []).append(entry)
        for number, entries in by_cycle.items():
            is_open = number == one.open_cycle.id
            found.append((one.open_cycle.status if is_open else CycleStatus.COMPLETE, entries))
    found.sort(key=lambda each: (ended_at(each[1][0]), each[1][0].symbol))
    return [
        CycleJournal(
            cycle_id=number,
            symbol=entries[0].symbol,
            entries=tuple(entries),
            status=status,
            completed_at=None if status in OPEN_STATUSES else ended_at(entries[-1]),
        )
        for number, (status, entries) in enumerate(found, start=1)
    ]


def _fee_usd(entry: JournalEntry) -> Decimal:
    """Coins at what was paid for them."""
    return entry.fee_usd + entry.fee_qty * (entry.filled_avg_price or _ZERO)


def _ladder_use(
    report: Report, cycles: Sequence[CycleJournal], rungs: int
) -> tuple[LadderUse, ...]:
    done = report.total.cycles
    still = [count_safety_orders(one) for one in cycles if find_completion(one) is None]
    most = max([rungs, *still, *(one.safety_orders for one in done)])
    return tuple(
        LadderUse(
            number,
            sum(one.safety_orders == number for one in done),
            sum((one.profit_usd for one in done if one.safety_orders == number), _ZERO),
            still.count(number),
        )
        for number in range(most + 1)
    )


def count_safety_orders(cycle: CycleJournal) -> int:
    """How many of them were bought."""
    return sum(entry.purpose is Purpose.SAFETY for entry in cycle.entries)


def _fully_bought_percent(
    cycles: Sequence[CycleJournal], rungs: Mapping[str, int], start: datetime, end: datetime
) -> Decimal:
    bought = timedelta(0)
    for cycle in cycles:
        buys = [entry for entry in cycle.entries if entry.side is Side.BUY]
        if count_safety_orders(cycle) >= rungs[cycle.symbol] and buys:
            bought += (find_completion(cycle) or cycle.completed_at or end) - ended_at(buys[-1])
    microsecond = timedelta(microseconds=1)
    whole = (end - start) // microsecond * len(rungs)
    return _HUNDRED * (bought // microsecond) / whole if whole else _ZERO


def _percent_of(part: Decimal, whole: Decimal) -> Decimal | None:
    return part * 100 / whole if whole > 0 else None
