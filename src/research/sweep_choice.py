"""Which configuration a sweep chooses, and what speaks against the choice. Pure.

Chosen on the earlier part; the later one only judges.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from research.sweep_grid import Grid, Point
from research.sweep_trial import Score, Trial

_CENT = Decimal("0.01")


class Objective(StrEnum):
    """What the best configuration has most of (of time under water: least)."""

    NET_PROFIT = "net-profit"  # USD after fees, open cycles at the last bid
    RETURN = "return"  # the same in percent of what the ladders need
    RETURN_DRAWDOWN = "return-drawdown"  # net profit by the worst drawdown, both USD
    UNDER_WATER = "under-water"  # the longest time below an earlier peak


def value_of(objective: Objective, score: Score) -> Decimal:
    """The figure itself, as it is shown."""
    match objective:
        case Objective.NET_PROFIT:
            return score.result_usd
        case Objective.RETURN:
            return score.return_percent
        case Objective.RETURN_DRAWDOWN:
            # That it never fell at all is luck: a cent is the least.
            return score.result_usd / max(score.drawdown_usd, _CENT)
        case Objective.UNDER_WATER:
            return Decimal(round(score.under_water_seconds))


def merit_of(objective: Objective, score: Score) -> Decimal:
    """More is better."""
    value = value_of(objective, score)
    return -value if objective is Objective.UNDER_WATER else value


def is_eligible(trial: Trial) -> bool:
    """Whether it may be chosen: it completed a cycle on the earlier part. One that hardly traded
    has no drawdown, which is no merit.
    """
    return bool(trial.scores) and trial.scores[0].cycles > 0


def rank(objective: Objective, trials: Mapping[Point, Trial]) -> list[Point]:
    """Those that may be chosen, best first by the earlier part: of equal ones the higher profit,
    then the smaller ladder, then the first of the grid.
    """

    def order(point: Point) -> tuple[Decimal, Decimal, Decimal, Point]:
        trial = trials[point]
        earlier = trial.scores[0]
        return (
            -merit_of(objective, earlier),
            -earlier.result_usd,
            trial.ladder_usd,
            point,
        )

    return sorted((point for point, one in trials.items() if is_eligible(one)), key=order)


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The neighbours of the winner. `kept_percent`: what their middle has of the winner's merit
    (median; None: it says nothing, as the winner has none, or there are no neighbours).
    """

    points: tuple[Point, ...]
    kept_percent: Decimal | None

    @property
    def is_lone_peak(self) -> bool:
        """The winner's figure is luck rather than a region: most of its neighbours lose half."""
        return self.kept_percent is not None and self.kept_percent < 50


def look_around(
    objective: Objective, grid: Grid, trials: Mapping[Point, Trial], winner: Point
) -> Surroundings:
    """What stands beside the winner, by the earlier part."""
    points = tuple(one for one in grid.neighbours(winner) if one in trials and trials[one].scores)
    best = value_of(objective, trials[winner].scores[0])
    if not points or best <= 0:
        return Surroundings(points, None)
    values = sorted(value_of(objective, trials[one].scores[0]) for one in points)
    middle = (values[(len(values) - 1) // 2] + values[len(values) // 2]) / 2
    if objective is Objective.UNDER_WATER:
        kept = best * 100 / middle if middle > 0 else Decimal(100)
    else:
        kept = middle * 100 / best
    return Surroundings(points, kept)


def correlate(objective: Objective, trials: Mapping[Point, Trial]) -> Decimal | None:
    """Rank correlation (Spearman) of the earlier part with the later one, -1 to 1, over all that
    may be chosen: near 0 the earlier part said nothing. None: too few, or all the same.
    """
    pairs = [
        (merit_of(objective, one.scores[0]), merit_of(objective, one.scores[1]))
        for one in trials.values()
        if is_eligible(one) and len(one.scores) > 1
    ]
    if len(pairs) < 3:
        return None
    first, second = (_ranks([one[side] for one in pairs]) for side in (0, 1))
    middle = Decimal(len(pairs) - 1) / 2
    both = sum((a - middle) * (b - middle) for a, b in zip(first, second, strict=True))
    squares = [sum((one - middle) ** 2 for one in ranks) for ranks in (first, second)]
    if not all(squares):
        return None
    return (both / (Decimal(squares[0]) * Decimal(squares[1])).sqrt()).quantize(_CENT)


def _ranks(values: Sequence[Decimal]) -> list[Decimal]:
    """From 0; equal ones share the middle of their places."""
    order = sorted(range(len(values)), key=values.__getitem__)
    ranks = [Decimal(0)] * len(values)
    begin = 0
    while begin < len(order):
        end = begin
        while end < len(order) and values[order[end]] == values[order[begin]]:
            end += 1
        for place in order[begin:end]:
            ranks[place] = Decimal(begin + end - 1) / 2
        begin = end
    return ranks
