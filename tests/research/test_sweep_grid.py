"""Ranges and lists of settings as typed, and the grid that they span."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cli.sweep_inputs import read_grid
from operations.refused import Refused
from research.sweep_grid import MAX_VALUES, Dimension, Grid, expand, is_many

FEE = Decimal("0.25")
steps = st.integers(1, 10**6).map(lambda number: Decimal(number).scaleb(-4))
starts = st.integers(0, 10**8).map(lambda number: Decimal(number).scaleb(-4))


def plain(value):
    return f"{value:f}"


@given(starts, steps, st.integers(0, 300))
def test_a_range_is_every_step_and_includes_an_end_that_is_met(start, step, count):
    end = start + step * count
    texts = expand(f"{plain(start)}:{plain(end)}:{plain(step)}")
    assert [Decimal(one) for one in texts] == [start + step * one for one in range(count + 1)]


@given(starts, steps, st.integers(0, 300), st.integers(1, 99))
def test_an_end_between_two_steps_is_not_reached(start, step, count, part):
    end = start + step * count + step * part / 100
    texts = expand(f"{plain(start)}:{plain(end)}:{plain(step)}")
    assert Decimal(texts[-1]) == start + step * count
    assert len(texts) == count + 1


@given(st.lists(starts.map(plain), min_size=2, max_size=20))
def test_a_list_is_its_values_and_its_dimension_has_each_once_in_order(texts):
    assert expand(",".join(texts)) == texts
    dimension = Dimension.of("deviation", "x", [(one, Decimal(one)) for one in texts])
    assert list(dimension.values) == sorted({Decimal(one) for one in texts})
    assert [Decimal(one) for one in dimension.texts] == list(dimension.values)


@given(st.text(alphabet="0123456789.,:%- eE", max_size=25))
def test_whatever_is_typed_is_values_or_one_refusal(text):
    try:
        texts = expand(text)
    except ValueError:
        pass
    else:
        assert all(one and not is_many(one) for one in texts)


@given(st.lists(st.integers(1, 5), min_size=1, max_size=4), st.data())
def test_every_point_of_a_grid_is_one_step_from_its_neighbours(sizes, data):
    dimensions = [
        Dimension(f"o{n}", f"c{n}", tuple(map(str, range(size))), tuple(range(size)))
        for n, size in enumerate(sizes)
    ]
    grid = Grid(tuple(dimensions))
    points = list(grid.points())
    assert len(points) == len(set(points)) == grid.count
    point = data.draw(st.sampled_from(points))
    for other in grid.neighbours(point):
        assert point in grid.neighbours(other)
        assert sum(abs(a - b) for a, b in zip(point, other, strict=True)) == 1
    assert set(grid.neighbours(point)) <= set(points)
    assert grid.settings(point) == {f"c{n}": place for n, place in enumerate(point)}


def test_ranges_and_values_are_mixed_in_one_list_and_percent_signs_are_understood():
    assert expand("0.5:1:0.25,3%, 4") == ["0.5", "0.75", "1", "3", "4"]
    assert expand("0.1:0.3:0.1") == ["0.1", "0.2", "0.3"]  # floats would end at 0.30000000000000004


def test_what_is_off_comes_before_the_numbers_and_words_stay_as_named():
    grid = read_grid({"trailing": "0.5,off,0.3", "reference": "last-fill,base-order"}, FEE)
    assert [one.texts for one in grid.dimensions] == [
        ("off", "0.3", "0.5"),
        ("last-fill", "base-order"),
    ]
    assert grid.settings((0, 1)) == {
        "trailing_take_profit_percent": None,
        "safety_order_reference": "base_order",
    }


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("deviation", "1:2", "--deviation takes a range like 0.5:5:0.25"),
        ("deviation", "2:1:0.1", "ends at or above its beginning"),
        ("deviation", "1:2:0", "whose step is above 0"),
        ("deviation", "1,,2", "has an empty value"),
        ("deviation", "1,x", "--deviation takes a plain number"),
        ("max_safety", "3:4:0.5", "--max-safety takes a whole number"),
        ("deviation", f"0:{MAX_VALUES}:0.5", f"at most {MAX_VALUES:,} values"),
        ("reference", "last-fill,never", "--reference takes last-fill or base-order"),
    ],
)
def test_what_is_no_range_is_refused_by_its_option(option, text, words):
    with pytest.raises(Refused, match=words.replace("(", r"\(")):
        read_grid({option: text}, FEE)
