"""What every picture has in common: size, colours, captions, axes of time in UTC. PNG files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from utils.formatting import ESTIMATE_LEGEND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID = "#1f2933", "#6b7785", "#e4e8ec"
BLUE, GREEN, RED, AMBER = "#2563ad", "#1b8a5a", "#c8452f", "#c98a1b"
_WIDTH, _HEIGHT, _DPI = 11.0, 6.2, 130  # inches
_HEIGHTS = 4.5  # of more panels than that, the picture is higher
_EDGE = 0.04  # of the picture's span, left free at both ends


def make_figure(heights: Sequence[float]) -> tuple[Figure, Sequence[Axes]]:
    """Two panels or more above each other, of these relative heights, over one axis of time."""
    inches = _HEIGHT * max(1.0, sum(heights) / _HEIGHTS)
    figure = Figure(figsize=(_WIDTH, inches), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    figure.subplots_adjust(left=0.085, right=0.965, top=0.845, bottom=0.085, hspace=0.10)
    return figure, axes


def caption(figure: Figure, title: str, line: str) -> None:
    """What the picture is of, and its figures in a line."""
    figure.text(0.085, 0.957, title, fontsize=15, fontweight="bold", color=INK, va="center")
    figure.text(0.085, 0.912, line, fontsize=10, color=MUTED, va="center")


def place_legend(axes: Axes) -> None:
    """Above the picture, where it hides nothing."""
    axes.legend(
        loc="lower left", bbox_to_anchor=(0.0, 1.0), borderaxespad=0.1, borderpad=0.2, ncols=9,
        fontsize=8.5, labelcolor=INK, frameon=False, handlelength=1.6, columnspacing=1.6,
    )  # fmt: skip


def finish(
    figure: Figure,
    panels: Sequence[Axes],
    ends: tuple[datetime, datetime],
    path: Path,
    *,
    is_estimated: bool,
) -> None:
    """Axes, grid and foot; then the file.

    Raises:
        OSError: the file cannot be written.
    """
    start, end = ends
    span_of_time = max(end - start, timedelta(seconds=2))
    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=9)
    for axes in panels:
        axes.set_xlim(*as_days([start - span_of_time * _EDGE, start + span_of_time * (1 + _EDGE)]))
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=UTC))
        axes.yaxis.set_major_formatter(FuncFormatter(_amount))
        axes.grid(True, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.tick_params(colors=MUTED, labelsize=9, length=0)
        axes.yaxis.label.set_color(MUTED)
        axes.yaxis.label.set_fontsize(9.5)
        for side in ("top", "right", "left"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_color(GRID)
    for axes in panels[1:]:
        axes.yaxis.set_major_locator(MaxNLocator(4))
    foot = "times are UTC" + (f"; {ESTIMATE_LEGEND}" if is_estimated else "")
    figure.text(0.085, 0.018, foot, fontsize=8.5, color=MUTED)
    figure.savefig(path, format="png")


def _amount(value: float, _position: int | None = None) -> str:
    if value == 0:
        return "0"
    return f"{value:,.6g}" if abs(value) < 10 else f"{value:,.10g}"


def as_days(times: Sequence[datetime]) -> list[float]:
    """Times as matplotlib counts them."""
    return [float(date2num(moment)) for moment in times]


def as_floats(values: Iterable[Decimal]) -> list[float]:
    """For drawing only."""
    return [float(value) for value in values]
