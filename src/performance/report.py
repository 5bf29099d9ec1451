"""What complete cycles earned, as a whole and in groups. Pure: cycles in, figures out.

Owns which cycle belongs to which group, and over which span the capital of a group is counted. A
day is a day in UTC; a cycle belongs to the day of its last sell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from domain.cycle import OPEN_STATUSES, CycleStatus
from domain.journal import CycleJournal
from domain.orders import Side
from performance.capital import CapitalCurve, CapitalUse
from performance.cycle_results import (
    CapitalStep,
    CycleResult,
    compute_capital_steps,
    compute_figures,
)

TOTAL = "total"
_ZERO = Decimal(0)


class By(StrEnum):
    """What one line of the report is about."""

    CYCLE = "cycle"
    ASSET = "asset"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The complete cycles of one group. Percents and USD; None where there is nothing to divide by.

    `return_on_cost_percent`: profit of what its cycles spent. `return_on_peak_percent`: of the most
    money that was bound at one moment of the group's span.
    """

    name: str
    cycles: tuple[CycleResult, ...]
    capital: CapitalUse

    @property
    def count(self) -> int:
        return len(self.cycles)

    @property
    def stopped(self) -> int:
        """How many of them ended by their stop loss."""
        return sum(cycle.is_stopped for cycle in self.cycles)

    @property
    def stopped_usd(self) -> Decimal:
        """What those earned: usually a loss."""
        return _sum(cycle.profit_usd for cycle in self.cycles if cycle.is_stopped)

    @property
    def won_percent(self) -> Decimal | None:
        won = sum(cycle.is_won for cycle in self.cycles)
        return Decimal(won) * 100 / self.count if self.cycles else None

    @property
    def mean_holding_seconds(self) -> float | None:
        if not self.cycles:
            return None
        return sum(cycle.holding_seconds for cycle in self.cycles) / self.count

    @property
    def worst_holding_seconds(self) -> float | None:
        return max((cycle.holding_seconds for cycle in self.cycles), default=None)

    @property
    def max_safety_orders_used(self) -> int:
        return max((cycle.safety_orders for cycle in self.cycles), default=0)

    @property
    def cost_usd(self) -> Decimal:
        return _sum(cycle.cost_usd for cycle in self.cycles)

    @property
    def proceeds_usd(self) -> Decimal:
        return _sum(cycle.proceeds_usd for cycle in self.cycles)

    @property
    def fees_usd(self) -> Decimal:
        return _sum(cycle.fees_usd for cycle in self.cycles)

    @property
    def fees_are_estimated(self) -> bool:
        return any(cycle.fees_are_estimated for cycle in self.cycles)

    @property
    def profit_usd(self) -> Decimal:
        return _sum(cycle.profit_usd for cycle in self.cycles)

    @property
    def return_on_cost_percent(self) -> Decimal | None:
        return self.profit_usd * 100 / self.cost_usd if self.cost_usd > 0 else None

    @property
    def return_on_peak_percent(self) -> Decimal | None:
        peak = self.capital.peak_usd
        return self.profit_usd * 100 / peak if peak > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The lines, their total, and what is not in them."""

    by: By
    start: datetime
    end: datetime
    lines: tuple[Line, ...]
    total: Line
    levels: tuple[tuple[datetime, Decimal], ...]  # USD bound from each moment on
    open_cycles: int
    open_usd: Decimal
    failed_cycles: int
    failed_usd: Decimal


def compute_report(
    cycles: Sequence[CycleJournal],
    by: By,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Report:
    """The report on `cycles` (of all assets, or of one) that completed from `since` to `until`.

    Without `since` it begins with the first fill, without `until` it ends now.
    """
    curves = _Curves(cycles)
    start = since or (curves.of_all.levels[0][0] if curves.of_all.levels else now)
    end = max(start, min(until, now) if until else now)
    complete = [figures for cycle in cycles if (figures := compute_figures(cycle)) is not None]
    chosen = sorted(
        (one for one in complete if _is_within(one.completed_at, since, until)),
        key=lambda one: (one.completed_at, one.cycle_id),
    )
    failed = [
        cycle
        for cycle in cycles
        if cycle.status is CycleStatus.ERROR and _is_within(cycle.completed_at, since, until)
    ]
    open_cycles = [cycle for cycle in cycles if cycle.status in OPEN_STATUSES]
    return Report(
        by=by,
        start=start,
        end=end,
        lines=tuple(_lines(chosen, by, curves, start, end)),
        total=Line(name=TOTAL, cycles=tuple(chosen), capital=curves.of_all.use(start, end)),
        levels=tuple(curves.of_all.levels),
        open_cycles=len(open_cycles),
        open_usd=_sum(curves.of_cycle(cycle.cycle_id).last_usd for cycle in open_cycles),
        failed_cycles=len(failed),
        failed_usd=_sum(_net_cost(cycle) for cycle in failed),
    )


def _is_within(moment: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if moment is None:
        return False
    return (since is None or moment >= since) and (until is None or moment < until)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, _ZERO)


def _net_cost(cycle: CycleJournal) -> Decimal:
    """What went in and did not come out."""
    return _sum(
        entry.filled_usd if entry.side is Side.BUY else entry.fee_usd - entry.filled_usd
        for entry in cycle.entries
    )


def _lines(
    chosen: list[CycleResult], by: By, curves: _Curves, start: datetime, end: datetime
) -> Iterable[Line]:
    groups: dict[str, list[CycleResult]] = {}
    for figures in chosen:
        groups.setdefault(_group_name(figures, by), []).append(figures)
    for name in sorted(groups) if by is By.ASSET else groups:
        members = groups[name]
        match by:
            case By.CYCLE:
                one = members[0]
                use = curves.of_cycle(one.cycle_id).use(one.opened_at, one.completed_at)
            case By.ASSET:
                use = curves.of_symbol[name].use(start, end)
            case By.DAY | By.WEEK | By.MONTH:
                first, last = _span_of(members[0].completed_at, by)
                first = max(first, start)
                use = curves.of_all.use(first, max(first, min(last, end)))
            case _:
                assert_never(by)
        yield Line(name=name, cycles=tuple(members), capital=use)


def _group_name(figures: CycleResult, by: By) -> str:
    match by:
        case By.CYCLE:
            return str(figures.cycle_id)
        case By.ASSET:
            return figures.symbol
        case By.DAY:
            return f"{figures.completed_at.astimezone(UTC):%Y-%m-%d}"
        case By.WEEK:
            year, week, _ = figures.completed_at.astimezone(UTC).isocalendar()
            return f"{year}-W{week:02}"
        case By.MONTH:
            return f"{figures.completed_at.astimezone(UTC):%Y-%m}"
        case _:
            assert_never(by)


def _span_of(moment: datetime, by: By) -> tuple[datetime, datetime]:
    """The day, week (from Monday on) or month that contains `moment`, in UTC."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if by is By.DAY:
        return day, day + timedelta(days=1)
    if by is By.WEEK:
        monday = day - timedelta(days=day.weekday())
        return monday, monday + timedelta(days=7)
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


class _Curves:
    """What was bound over time: of everything, of each asset and of each cycle."""

    def __init__(self, cycles: Sequence[CycleJournal]) -> None:
        self._steps = {cycle.cycle_id: compute_capital_steps(cycle) for cycle in cycles}
        by_symbol: dict[str, list[CapitalStep]] = {}
        for cycle in cycles:
            by_symbol.setdefault(cycle.symbol, []).extend(self._steps[cycle.cycle_id])
        self.of_all = CapitalCurve(step for one in self._steps.values() for step in one)
        self.of_symbol = {symbol: self.of_all for symbol in by_symbol}
        if len(by_symbol) > 1:
            self.of_symbol = {symbol: CapitalCurve(one) for symbol, one in by_symbol.items()}

    def of_cycle(self, cycle_id: int) -> CapitalCurve:
        """Few are asked for, and a replay has thousands."""
        return CapitalCurve(self._steps[cycle_id])
