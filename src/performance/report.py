"""What finished deals earned, as a whole and in groups. Pure: deals in, figures out.

Owns what belongs into which group and over which span its capital is counted. A day is a day in
UTC, a deal belongs to the day of its last sell.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import assert_never

from domain.cycle import CycleStatus
from domain.journal import Deal
from domain.orders import Side
from performance.capital import CapitalCurve, CapitalUse
from performance.cycle_results import (
    CapitalStep,
    DealFigures,
    compute_capital_steps,
    compute_figures,
)

TOTAL = "total"
_ZERO = Decimal(0)


class By(StrEnum):
    """What a line of the report stands for."""

    CYCLE = "cycle"
    ASSET = "asset"
    DAY = "day"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The finished deals of one group. Percents and USD; None where there is nothing to divide by.

    `return_on_cost_percent`: profit of what its deals spent. `return_on_peak_percent`: of the most
    money that was bound at one moment of the group's span.
    """

    name: str
    deals: tuple[DealFigures, ...]
    capital: CapitalUse

    @property
    def count(self) -> int:
        return len(self.deals)

    @property
    def won_percent(self) -> Decimal | None:
        won = sum(deal.is_won for deal in self.deals)
        return Decimal(won) * 100 / self.count if self.deals else None

    @property
    def mean_holding_seconds(self) -> float | None:
        if not self.deals:
            return None
        return sum(deal.holding_seconds for deal in self.deals) / self.count

    @property
    def worst_holding_seconds(self) -> float | None:
        return max((deal.holding_seconds for deal in self.deals), default=None)

    @property
    def most_safety_orders(self) -> int:
        return max((deal.safety_orders for deal in self.deals), default=0)

    @property
    def cost_usd(self) -> Decimal:
        return sum((deal.cost_usd for deal in self.deals), _ZERO)

    @property
    def proceeds_usd(self) -> Decimal:
        return sum((deal.proceeds_usd for deal in self.deals), _ZERO)

    @property
    def fees_usd(self) -> Decimal:
        return sum((deal.fees_usd for deal in self.deals), _ZERO)

    @property
    def fees_are_estimated(self) -> bool:
        return any(deal.fees_are_estimated for deal in self.deals)

    @property
    def profit_usd(self) -> Decimal:
        return sum((deal.profit_usd for deal in self.deals), _ZERO)

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
    open_deals: int
    open_usd: Decimal
    failed_deals: int
    failed_usd: Decimal


def compute_report(
    deals: Sequence[Deal],
    by: By,
    *,
    now: datetime,
    since: datetime | None = None,
    until: datetime | None = None,
) -> Report:
    """The report on `deals` (of all assets, or of one) that finished from `since` to `until`.

    Without `since` it begins with the first fill, without `until` it ends now.
    """
    curves = _Curves(deals)
    start = since or (curves.of_all.levels[0][0] if curves.of_all.levels else now)
    end = max(start, min(until, now) if until else now)
    finished = [figures for deal in deals if (figures := compute_figures(deal)) is not None]
    chosen = sorted(
        (one for one in finished if _is_within(one.completed_at, since, until)),
        key=lambda one: (one.completed_at, one.cycle_id),
    )
    failed = [
        deal
        for deal in deals
        if deal.status is CycleStatus.ERROR and _is_within(deal.completed_at, since, until)
    ]
    unfinished = [deal for deal in deals if deal.status in _OPEN]
    return Report(
        by=by,
        start=start,
        end=end,
        lines=tuple(_lines(chosen, by, curves, start, end)),
        total=Line(
            name=TOTAL,
            deals=tuple(chosen),
            capital=curves.of_all.use(start, end),
        ),
        levels=tuple(curves.of_all.levels),
        open_deals=len(unfinished),
        open_usd=_sum(curves.of_cycle[deal.cycle_id].last_usd for deal in unfinished),
        failed_deals=len(failed),
        failed_usd=_sum(_net_cost(deal) for deal in failed),
    )


_OPEN = (CycleStatus.WATCHING, CycleStatus.BUYING, CycleStatus.SELLING, CycleStatus.COOLDOWN)


def _is_within(moment: datetime | None, since: datetime | None, until: datetime | None) -> bool:
    if moment is None:
        return False
    return (since is None or moment >= since) and (until is None or moment < until)


def _sum(amounts: Iterable[Decimal]) -> Decimal:
    return sum(amounts, _ZERO)


def _net_cost(deal: Deal) -> Decimal:
    """What went in and did not come out."""
    return _sum(
        entry.filled_usd if entry.side is Side.BUY else entry.fee_usd - entry.filled_usd
        for entry in deal.entries
    )


def _lines(
    chosen: list[DealFigures], by: By, curves: _Curves, start: datetime, end: datetime
) -> Iterable[Line]:
    groups: dict[str, list[DealFigures]] = {}
    for figures in chosen:
        groups.setdefault(_group_name(figures, by), []).append(figures)
    for name in sorted(groups) if by is By.ASSET else groups:
        members = groups[name]
        match by:
            case By.CYCLE:
                one = members[0]
                use = curves.of_cycle[one.cycle_id].use(one.opened_at, one.completed_at)
            case By.ASSET:
                use = curves.of_symbol[name].use(start, end)
            case By.DAY | By.MONTH:
                first, last = _span_of(members[0].completed_at, by)
                first = max(first, start)
                use = curves.of_all.use(first, max(first, min(last, end)))
            case _:
                assert_never(by)
        yield Line(name=name, deals=tuple(members), capital=use)


def _group_name(figures: DealFigures, by: By) -> str:
    match by:
        case By.CYCLE:
            return str(figures.cycle_id)
        case By.ASSET:
            return figures.symbol
        case By.DAY:
            return f"{figures.completed_at.astimezone(UTC):%Y-%m-%d}"
        case By.MONTH:
            return f"{figures.completed_at.astimezone(UTC):%Y-%m}"
        case _:
            assert_never(by)


def _span_of(moment: datetime, by: By) -> tuple[datetime, datetime]:
    """The day or month around `moment`, in UTC."""
    day = moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if by is By.DAY:
        return day, day + timedelta(days=1)
    first = day.replace(day=1)
    return first, (first + timedelta(days=32)).replace(day=1)


class _Curves:
    """What was bound over time: of everything, of each asset and of each cycle."""

    def __init__(self, deals: Sequence[Deal]) -> None:
        steps = {deal.cycle_id: compute_capital_steps(deal) for deal in deals}
        by_symbol: dict[str, list[CapitalStep]] = {}
        for deal in deals:
            by_symbol.setdefault(deal.symbol, []).extend(steps[deal.cycle_id])
        self.of_all = CapitalCurve(step for one in steps.values() for step in one)
        self.of_symbol = {symbol: CapitalCurve(one) for symbol, one in by_symbol.items()}
        self.of_cycle = {cycle_id: CapitalCurve(one) for cycle_id, one in steps.items()}
