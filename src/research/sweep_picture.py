"""A sweep as a heat map: two settings, the earlier part beside the later one. A PNG file.

Drawn from the JSON of research.sweep_result, fresh or from a file; computes nothing of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure

from performance.frame import AMBER, BLUE, GREEN, GRID, INK, MUTED, RED, caption
from research.feed import Floats
from research.sweep_choice import Objective, value_of
from research.sweep_journal import read_trial
from research.sweep_result import trials_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DPI = 110
_MAX_TICKS = 14
_NAMES = ("earlier part: chosen on this", "later part: judged on this")
_WORDS = {
    Objective.NET_PROFIT: "net profit, USD",
    Objective.RETURN: "net profit in percent of the ladder",
    Objective.RETURN_DRAWDOWN: "net profit by worst drawdown",
    Objective.UNDER_WATER: "longest time under water, days",
}
_COLOURS = LinearSegmentedColormap.from_list("loss to gain", [RED, "#ffffff", GREEN])


def draw_sweep(result: Mapping[str, Any], axes: tuple[int, int], path: Path) -> None:
    """The dimensions with these numbers, across and upwards (the same one twice: a line); all
    others stand at the winner's values.

    Raises:
        OSError: the file cannot be written.
        KeyError, TypeError, ValueError: the result is damaged.
    """
    across, up = axes
    objective = Objective(result["objective"])
    count = max(1, len(result["parts"]))
    figure = Figure(figsize=(5.2 * count + 1.0, 5.4), dpi=_DPI, facecolor="white")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, count, squeeze=False)[0]
    tables = [_values(result, objective, across, up, part) for part in range(count)]
    for part, (panel, table) in enumerate(zip(panels, tables, strict=True)):
        if across == up:
            _draw_line(panel, result, table[0], across)
        else:
            _draw_map(figure, panel, result, table, axes, objective)
        name = _NAMES[part] if count > 1 else "all of the prices"
        panel.set_title(name, fontsize=10, color=INK, loc="left")
    symbols = ", ".join(one["symbol"] for one in result["assets"])
    tried = f"{len(result['trials']):,} configurations tried"
    caption(figure, f"{symbols}: {_WORDS[objective]}", f"{tried}{_others(result, axes)}")
    figure.subplots_adjust(left=0.085, right=0.965, top=0.8, bottom=0.13, wspace=0.28)
    figure.savefig(path, format="png", metadata={"Software": None})


def _values(
    result: Mapping[str, Any], objective: Objective, across: int, up: int, part: int
) -> Floats:
    """Rows upwards; not a number where nothing was tried."""
    dimensions = result["dimensions"]
    columns = len(dimensions[across]["values"])
    rows = 1 if across == up else len(dimensions[up]["values"])
    table = np.full((rows, columns), np.nan)
    fixed = _fixed(result, (across, up))
    for point, shown in trials_of(result).items():
        if any(point[axis] != place for axis, place in fixed.items()) or "scores" not in shown:
            continue
        value = float(value_of(objective, read_trial(shown).scores[part]))
        if objective is Objective.UNDER_WATER:
            value /= 86_400
        table[0 if across == up else point[up], point[across]] = value
    return table


def _fixed(result: Mapping[str, Any], axes: tuple[int, int]) -> dict[int, int]:
    winner = result["ranking"][0]
    return {axis: place for axis, place in enumerate(winner) if axis not in axes}


def _others(result: Mapping[str, Any], axes: tuple[int, int]) -> str:
    words = [
        f"{_name(result, axis)} {result['dimensions'][axis]['values'][place]}"
        for axis, place in _fixed(result, axes).items()
    ]
    return f"; here {', '.join(words)}" if words else ""


def _name(result: Mapping[str, Any], axis: int) -> str:
    return str(result["dimensions"][axis]["option"]).replace("_", " ")


def _draw_map(
    figure: Figure,
    panel: Axes,
    result: Mapping[str, Any],
    table: Floats,
    axes: tuple[int, int],
    objective: Objective,
) -> None:
    known = table[np.isfinite(table)]
    low, high = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    shades, norm = _COLOURS, Normalize(-max(-low, high), max(-low, high))
    if objective is Objective.UNDER_WATER:  # less is better
        shades, norm = _COLOURS.reversed(), Normalize(low, high)
    elif low > 0:  # gains only: all shades of them
        shades, norm = _half(0.5, 1.0), Normalize(low, high)
    elif high < 0:
        shades, norm = _half(0.0, 0.5), Normalize(low, high)
    image = panel.imshow(table, origin="lower", aspect="auto", cmap=shades, norm=norm)
    bar = figure.colorbar(image, ax=panel, fraction=0.05, pad=0.03)
    bar.outline.set_visible(False)
    bar.ax.tick_params(colors=MUTED, labelsize=8, length=0)
    winner = result["ranking"][0]
    panel.scatter(
        [winner[axes[0]]], [winner[axes[1]]], s=90, marker="o", facecolor="none",
        edgecolor=INK, linewidth=1.8,
    )  # fmt: skip
    _label(panel, result, axes[0], is_across=True)
    _label(panel, result, axes[1], is_across=False)
    panel.set_facecolor(GRID)


def _half(begin: float, end: float) -> LinearSegmentedColormap:
    colours = [_COLOURS(one) for one in np.linspace(begin, end, 5)]
    return LinearSegmentedColormap.from_list("half", colours)


def _draw_line(panel: Axes, result: Mapping[str, Any], values: Floats, axis: int) -> None:
    panel.axhline(0.0, color=GRID, linewidth=0.8)
    panel.plot(range(len(values)), values, color=BLUE, linewidth=1.6, marker="o", markersize=3)
    winner = result["ranking"][0][axis]
    panel.scatter([winner], [values[winner]], s=60, color=AMBER, zorder=3)
    _label(panel, result, axis, is_across=True)
    panel.tick_params(axis="y", colors=MUTED, labelsize=8, length=0)


def _label(panel: Axes, result: Mapping[str, Any], axis: int, *, is_across: bool) -> None:
    texts = result["dimensions"][axis]["values"]
    places = list(range(0, len(texts), -(-len(texts) // _MAX_TICKS)))
    own = panel.xaxis if is_across else panel.yaxis
    own.set_ticks(places, [texts[one] for one in places])
    own.set_label_text(_name(result, axis), color=MUTED, fontsize=9.5)
    own.set_tick_params(colors=MUTED, labelsize=8, length=0)
    for side in panel.spines.values():
        side.set_visible(False)
