"""A backtest as a picture: prices with fills and averages, equity, drawdown. A PNG file.

Shows what was computed; computes nothing of its own.
"""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.dates import date2num

from domain.journal import CycleJournal, Purpose
from domain.orders import Side
from performance.cycle_results import ended_at
from performance.frame import (
    AMBER,
    BLUE,
    GREEN,
    INK,
    MUTED,
    RED,
    as_days,
    caption,
    finish,
    make_figure,
    place_legend,
)
from research.backtest import Backtest, Entrant, Run
from research.equity import EquityCurve
from research.feed import Floats, PriceLine
from research.figures import list_cycles
from research.months import to_datetime
from research.price_path import Integers
from strategy.booking import compute_average_purchase_price
from utils.formatting import counted, percent, signed_usd

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_ASSETS = 4  # panels that can still be read; the equity is that of all
_POINTS = 2_000  # more than the picture has columns
_NS_A_DAY = 86_400_000_000_000
_FILLS = (
    (Purpose.BASE, "o", INK, "base order"),
    (Purpose.SAFETY, "v", AMBER, "safety order"),
    (Purpose.TAKE_PROFIT, "^", GREEN, "take profit"),
    (Purpose.STOP_LOSS, "v", RED, "stop loss"),
)


def draw_backtest(test: Backtest, run: Run, path: Path) -> None:
    """One run of it.

    Raises:
        OSError: the file cannot be written.
    """
    shown = test.entrants[:MAX_ASSETS]
    figure, panels = make_figure([2.4] * len(shown) + [1.3, 0.8])
    cycles = list_cycles(run.outcome)
    for axes, entrant in zip(panels, shown, strict=False):
        own = [one for one in cycles if one.symbol == entrant.asset.asset_symbol]
        _draw_prices(axes, entrant, own, test)
    place_legend(panels[0])
    _draw_equity(panels[-2], test, run)
    _draw_falls(panels[-1], run.curve)
    figures = run.figures
    symbols = ", ".join(one.asset.asset_symbol for one in test.entrants)
    fall = "none" if figures.drawdown is None else f"{figures.drawdown.percent} %"
    caption(
        figure,
        f"{symbols}: {signed_usd(figures.result_usd)} USD after fees,"
        f" {percent(figures.return_on_ladder_percent)} of what the ladder needs",
        f"{counted(figures.report.total.count, 'complete cycle')},"
        f" {figures.report.open_cycles} open at the end;"
        f" worst drawdown {fall}; held {signed_usd(test.held.result_usd)},"
        f" weekly {signed_usd(test.weekly.result_usd)} USD",
    )
    finish(figure, panels, (test.start, test.end), path, is_estimated=False)


def _draw_prices(axes: Axes, entrant: Entrant, cycles: list[CycleJournal], test: Backtest) -> None:
    line = entrant.feed.line
    times, bids = _extremes(line)
    axes.plot(_as_days(times), bids, color=MUTED, linewidth=0.8, alpha=0.8, label="bid")
    days: list[float] = []
    averages: list[float] = []
    for cycle in cycles:
        _append_course(cycle, test, days, averages)
    axes.step(days, averages, where="post", color=BLUE, linewidth=1.4, label="average price")
    size = 46 if len(cycles) <= 60 else 16
    for purpose, marker, color, label in _FILLS:
        fills = [one for cycle in cycles for one in cycle.entries if one.purpose is purpose]
        if fills:
            axes.scatter(
                as_days([ended_at(one) for one in fills]),
                [float(one.filled_avg_price or 0) for one in fills],
                s=size, marker=marker, color=color, edgecolor="white", linewidth=0.6, zorder=4,
                label=label,
            )  # fmt: skip
    coin = entrant.asset.asset_symbol.partition("/")[0]
    axes.set_ylabel(f"USD a {coin}")


def _append_course(
    cycle: CycleJournal, test: Backtest, days: list[float], averages: list[float]
) -> None:
    """The average after each buy, until the cycle ends; then a gap in the line."""
    average, quantity = Decimal(0), Decimal(0)
    end = cycle.completed_at or test.end
    for entry in cycle.entries:
        if entry.side is not Side.BUY:
            continue
        price = entry.filled_avg_price or Decimal(0)
        average = compute_average_purchase_price(average, quantity, price, entry.filled_qty)
        quantity += entry.filled_qty
        days.append(float(date2num(ended_at(entry))))
        averages.append(float(average))
    days += [float(date2num(end)), float(date2num(end + timedelta(microseconds=1)))]
    averages += [float(average), float("nan")]


def _draw_equity(axes: Axes, test: Backtest, run: Run) -> None:
    for curve, color, label, width in (
        (test.held.curve, MUTED, "held", 0.9),
        (test.weekly.curve, AMBER, "weekly", 0.9),
        (run.curve, BLUE, "the bot", 1.8),
    ):
        chosen = _evenly(len(curve.close))
        xs, ys = _as_days(curve.at_ns[chosen]), curve.close[chosen]
        axes.plot(xs, ys, color=color, linewidth=width, label=label)
    axes.axhline(float(test.account.cash_usd), color=MUTED, linewidth=0.6)
    axes.set_ylabel("equity")
    axes.legend(loc="upper left", fontsize=7.5, frameon=False, ncols=3, labelcolor=INK)
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + (high - low) * 0.18)  # room for the legend


def _draw_falls(axes: Axes, curve: EquityCurve) -> None:
    falls = -curve.falls()
    starts = _bins(len(falls))
    days = _as_days(curve.at_ns[starts])
    deepest = np.minimum.reduceat(falls, starts)
    axes.fill_between(days, deepest, step="post", color=RED, alpha=0.3, linewidth=0)
    axes.set_ylabel("drawdown")
    axes.set_ylim(top=0)


def _extremes(line: PriceLine) -> tuple[Integers, Floats]:
    """The close and the lowest bid of each column of the picture."""
    starts = _bins(len(line.at_ns))
    lows, highs = (
        np.minimum.reduceat(line.low_bid, starts),
        np.maximum.reduceat(line.close_bid, starts),
    )
    both = np.stack([highs, lows], axis=1).ravel()
    return np.repeat(line.at_ns[starts], 2), both


def _bins(count: int) -> Integers:
    return np.arange(0, count, max(1, -(-count // _POINTS)), dtype=np.int64)


def _evenly(count: int) -> Integers:
    return np.unique(np.append(_bins(count), count - 1))


def _as_days(times: Integers) -> Floats:
    first = float(date2num(to_datetime(int(times[0]))))
    days: Floats = first + (times - times[0]) / _NS_A_DAY
    return days
