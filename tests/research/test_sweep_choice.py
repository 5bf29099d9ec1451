"""Which configuration is chosen, and what is said against it: known answers by hand."""

from __future__ import annotations

from decimal import Decimal

import pytest

from research.sweep_choice import Objective, correlate, look_around, rank, value_of
from research.sweep_grid import Dimension, Grid
from research.sweep_trial import Score, Trial


def score(result, drawdown="1", water=3600.0, cycles=1):
    return Score(
        result_usd=Decimal(result),
        return_percent=Decimal(result) * 2,
        drawdown_usd=Decimal(drawdown),
        drawdown_percent=Decimal(drawdown),
        under_water_seconds=water,
        cycles=cycles,
        open_cycles=0,
        orders=2,
        fees_usd=Decimal(0),
    )


def trials(*earlier, later=None):
    later = later or ["1"] * len(earlier)
    return {
        (number,): Trial(Decimal(100), (score(one), score(two)))
        for number, (one, two) in enumerate(zip(earlier, later, strict=True))
    }


def line(count):
    texts = tuple(str(one) for one in range(count))
    return Grid((Dimension("deviation", "safety_order_deviation", texts, texts),))


def test_each_objective_ranks_by_its_own_figure():
    found = {
        (0,): Trial(Decimal(100), (score("10", "10", 500.0),)),
        (1,): Trial(Decimal(100), (score("8", "2", 900.0),)),
        (2,): Trial(Decimal(100), (score("1", "5", 100.0),)),
    }
    assert rank(Objective.NET_PROFIT, found) == [(0,), (1,), (2,)]
    assert rank(Objective.RETURN_DRAWDOWN, found) == [(1,), (0,), (2,)]
    assert rank(Objective.UNDER_WATER, found) == [(2,), (0,), (1,)]
    assert value_of(Objective.RETURN_DRAWDOWN, found[1,].scores[0]) == 4


def test_only_what_completed_a_cycle_can_win_and_what_is_refused_cannot():
    found = {
        (0,): Trial(Decimal(100), (score("5", cycles=0),)),
        (1,): Trial(Decimal(0), (), "the deviation is too large"),
        (2,): Trial(Decimal(100), (score("-3"),)),
    }
    assert rank(Objective.NET_PROFIT, found) == [(2,)]


def test_of_equal_ones_the_smaller_ladder_wins_then_the_first_of_the_grid():
    found = {
        (2,): Trial(Decimal(50), (score("5"),)),
        (1,): Trial(Decimal(100), (score("5"),)),
        (0,): Trial(Decimal(100), (score("5"),)),
    }
    assert rank(Objective.NET_PROFIT, found) == [(2,), (0,), (1,)]


@pytest.mark.parametrize(
    ("figures", "kept", "is_lone"),
    [(("1", "10", "3"), "20", True), (("8", "10", "9"), "85", False), (("10",), None, False)],
)
def test_a_lone_peak_is_seen_by_its_neighbours(figures, kept, is_lone):
    found = trials(*figures)
    winner = rank(Objective.NET_PROFIT, found)[0]
    around = look_around(Objective.NET_PROFIT, line(len(figures)), found, winner)
    assert around.kept_percent == (None if kept is None else Decimal(kept))
    assert around.is_lone_peak is is_lone


def test_of_time_under_water_the_neighbours_keep_less_the_longer_theirs_is():
    found = {
        (0,): Trial(Decimal(100), (score("5", water=400.0),)),
        (1,): Trial(Decimal(100), (score("5", water=100.0),)),
    }
    around = look_around(Objective.UNDER_WATER, line(2), found, (1,))
    assert (around.kept_percent, around.is_lone_peak) == (25, True)


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        (["1", "2", "3", "4"], "1.00"),
        (["4", "3", "2", "1"], "-1.00"),
        (["2", "1", "4", "3"], "0.60"),
        (["1", "1", "1", "1"], None),
    ],
)
def test_both_parts_are_compared_by_rank(later, expected):
    found = trials("1", "2", "3", "4", later=later)
    correlation = correlate(Objective.NET_PROFIT, found)
    assert correlation == (None if expected is None else Decimal(expected))
