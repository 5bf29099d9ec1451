"""Pictures of what was earned: realised profit over time, and the course of one cycle. PNG files.

Shows the figures of the report; computes none of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.dates import date2num

from domain.journal import CycleJournal, JournalEntry, Purpose
from domain.orders import Side
from performance.cycle_results import compute_course, compute_figures, ended_at
from performance.frame import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    MUTED,
    RED,
    as_days,
    as_floats,
    caption,
    finish,
    make_figure,
    place_legend,
)
from performance.report import Report
from utils.formatting import (
    counted,
    marked,
    percent,
    price,
    signed_usd,
    span,
    usd,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ASSETS = ("#7a5195", "#ef8636", "#17a2a2", "#b5495b", "#7f8c3b", "#4b6cb7")
MAX_LABELED_FILLS = 12


def draw_profit(report: Report, title: str, path: Path) -> None:
    """Realised profit, added up cycle by cycle, above the capital that was bound meanwhile.

    Raises:
        OSError: the file cannot be written.
    """
    figure, (profit, capital) = make_figure((2.6, 1.0))
    cycles = report.total.cycles
    times = [cycle.completed_at for cycle in cycles]
    sums = as_floats(accumulate(cycle.profit_usd for cycle in cycles))
    steps_x, steps_y = [report.start, *times, report.end], [0.0, *sums, sums[-1]]
    profit.fill_between(as_days(steps_x), steps_y, step="post", color=BLUE, alpha=0.10, linewidth=0)
    is_estimated = report.total.fees_are_estimated
    name = marked("all" if _draw_assets(profit, report) else "profit", is_estimated)
    profit.step(as_days(steps_x), steps_y, where="post", color=BLUE, linewidth=2.2, label=name)
    for won, color, word in ((True, GREEN, "won"), (False, RED, "lost")):
        points = [(t, y) for t, y, d in zip(times, sums, cycles, strict=True) if d.is_won is won]
        if points and len(cycles) <= 400:
            xs, ys = zip(*points, strict=True)
            size = 34 if len(cycles) <= 80 else 14
            profit.scatter(as_days(xs), ys, s=size, color=color, zorder=3, label=word, linewidth=0)
    profit.axhline(0, color=MUTED, linewidth=0.8)
    profit.set_ylabel("USD, after fees")
    place_legend(profit)
    total = report.total
    caption(
        figure,
        f"{title}: {marked(signed_usd(total.profit_usd), is_estimated)} USD",
        f"{counted(total.count, 'complete cycle')},"
        f" {marked(f'{total.won_percent:.0f}', is_estimated)} % won, held"
        f" {span(total.mean_holding_seconds)} on average, {_percent_of_peak(report)}",
    )
    inside = [(at, float(bound)) for at, bound in report.levels if report.start < at < report.end]
    level_x = [report.start, *[at for at, _ in inside], report.end]
    level_y = [_level_at(report, report.start), *[bound for _, bound in inside]]
    level_y.append(level_y[-1])
    capital.fill_between(
        as_days(level_x), level_y, step="post", color=AMBER, alpha=0.28, linewidth=0
    )
    capital.step(as_days(level_x), level_y, where="post", color=AMBER, linewidth=1.2)
    mean = float(total.capital.mean_usd)
    capital.axhline(mean, color=MUTED, linewidth=1.0, linestyle=(0, (4, 3)))
    capital.annotate(
        f"mean {usd(mean)}", (1.0, mean), xycoords=("axes fraction", "data"), xytext=(-4, 3),
        textcoords="offset points", ha="right", color=MUTED, fontsize=8.5,
    )  # fmt: skip
    capital.set_ylabel("USD in coins")
    capital.set_ylim(bottom=0)
    ends = report.start, report.end
    finish(figure, (profit, capital), ends, path, is_estimated=is_estimated)


def _draw_assets(axes: Axes, report: Report) -> bool:
    """A thin line for each of a few assets; of many, the sum alone is readable."""
    symbols = sorted({cycle.symbol for cycle in report.total.cycles})
    if not 1 < len(symbols) <= len(_ASSETS):
        return False
    for symbol, color in zip(symbols, _ASSETS, strict=False):
        cycles = [cycle for cycle in report.total.cycles if cycle.symbol == symbol]
        sums = as_floats(accumulate(cycle.profit_usd for cycle in cycles))
        times = [report.start, *[cycle.completed_at for cycle in cycles], report.end]
        axes.step(
            as_days(times), [0.0, *sums, sums[-1]], where="post", color=color, linewidth=1.3,
            label=marked(symbol, any(cycle.fees_are_estimated for cycle in cycles)),
        )  # fmt: skip
    return True


def _level_at(report: Report, moment: datetime) -> float:
    return float(next((bound for at, bound in reversed(report.levels) if at <= moment), 0))


def _percent_of_peak(report: Report) -> str:
    on_peak = report.total.return_on_peak_percent
    peak = f"{usd(report.total.capital.peak_usd)} USD bound at most"
    share = f"{marked(percent(on_peak), report.total.fees_are_estimated)} of the "
    return peak if on_peak is None else share + peak


def draw_cycle(
    cycle: CycleJournal, end: datetime, take_profit_factor: Decimal | None, path: Path
) -> None:
    """The fills of one cycle with its average price and its take-profit level over time.

    `take_profit_factor`: the level over the average; None: not known.

    Raises:
        OSError: the file cannot be written.
    """
    figure, (prices, held) = make_figure((2.9, 1.0))
    entries = cycle.entries
    start = min(ended_at(entry) for entry in entries)
    times, averages, invested = _course(entries, end)
    days = as_days(times)
    prices.step(days, averages, where="post", color=BLUE, linewidth=2.0, label="average price")
    if take_profit_factor is not None:
        factor = float(take_profit_factor)
        levels = [average * factor for average in averages]
        label = f"take profit ({(factor - 1) * 100:+.2f} %, as set now)"
        prices.step(
            days, levels, where="post", color=GREEN, linewidth=1.6, linestyle=(0, (5, 3)),
            label=label,
        )  # fmt: skip
        prices.fill_between(
            days, averages, levels, step="post", color=GREEN, alpha=0.07, linewidth=0
        )
    _draw_fills(prices, entries)
    prices.set_ylabel("USD a coin")
    low, high = prices.get_ylim()  # room for the words under the buys and over the sale
    prices.set_ylim(low - (high - low) * 0.06, high + (high - low) * 0.06)
    place_legend(prices)
    held.fill_between(days, invested, step="post", color=AMBER, alpha=0.28, linewidth=0)
    held.step(days, invested, where="post", color=AMBER, linewidth=1.2)
    held.set_ylabel("USD in coins")
    held.set_ylim(bottom=0)
    figures = compute_figures(cycle)
    is_estimated = figures is not None and figures.fees_are_estimated
    if figures is None:
        head, line = "still open", f"{len(entries)} filled so far, {usd(invested[-1])} USD bound"
    else:
        head = f"{marked(signed_usd(figures.profit_usd), is_estimated)} USD after fees"
        line = (
            f"{counted(figures.safety_orders, 'safety order')}, held"
            f" {span(figures.holding_seconds)}, {usd(figures.cost_usd)} USD spent, fees"
            f" {marked(usd(figures.fees_usd), is_estimated)} USD"
        )
    caption(figure, f"{cycle.symbol}, cycle {cycle.cycle_id}: {head}", line)
    finish(figure, (prices, held), (start, end), path, is_estimated=is_estimated)


def _course(
    entries: Sequence[JournalEntry], end: datetime
) -> tuple[list[datetime], list[float], list[float]]:
    """Average price and money bound after each fill, up to `end`."""
    steps = compute_course(entries)
    times = [step.at for step in steps]
    averages = [float(step.average_price) for step in steps]
    invested = [float(step.average_price * step.quantity) for step in steps]
    if entries[-1].side is Side.SELL and times[-1] >= end:
        invested[-1] = 0.0  # what is left is dust, or the coin fee: nothing is bound any more
    return [*times, end], [*averages, averages[-1]], [*invested, invested[-1]]


def _draw_fills(axes: Axes, entries: Sequence[JournalEntry]) -> None:
    kinds = (
        (Purpose.BASE, "o", INK, "base order"),
        (Purpose.SAFETY, "v", AMBER, "safety order"),
        (Purpose.TAKE_PROFIT, "^", GREEN, "sale"),
        (Purpose.STOP_LOSS, "v", RED, "stop loss"),
    )
    for purpose, marker, color, label in kinds:
        if chosen := [entry for entry in entries if entry.purpose is purpose]:
            ys = as_floats(entry.filled_avg_price or Decimal(0) for entry in chosen)
            axes.scatter(
                as_days([ended_at(entry) for entry in chosen]), ys, s=110, marker=marker,
                color=color, edgecolor="white", linewidth=1.2, zorder=4, label=label,
            )  # fmt: skip
    if len(entries) <= MAX_LABELED_FILLS:
        start, end = (ended_at(entries[index]) for index in (0, -1))
        for entry in entries:
            _label_fill(axes, entry, is_late=ended_at(entry) - start > (end - start) * 0.8)


def _label_fill(axes: Axes, entry: JournalEntry, *, is_late: bool) -> None:
    """In one line beside its mark, so that the steps of a steep ladder do not hide each other."""
    axes.annotate(
        f"{usd(entry.filled_usd)} USD at {price(entry.filled_avg_price)}",
        (date2num(ended_at(entry)), float(entry.filled_avg_price or 0)),
        xytext=(-10 if is_late else 10, 10 if entry.side is Side.SELL else -10),
        textcoords="offset points", ha="right" if is_late else "left", va="center", fontsize=8,
        color=MUTED, bbox={"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 0.8},
    )  # fmt: skip
