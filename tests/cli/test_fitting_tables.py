"""Whatever the width, each figure stands under its own title and none is cut."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cli.asset_tables import _LIST_LAYOUTS, _PLAN_LAYOUTS
from cli.fitting_tables import print_fitting, without_titles

LAYOUTS = ("asset on base safety cycle", "asset/on/cycle base/safety", "asset/on/base/safety/cycle")
LINES = [
    (("BTC/USD", "yes", "20", "5 x 20", "watching"), None),
    (("ETH/USD", "no", "25", "4 x 25, then x1.5", "cooldown"), "dim"),
]


def shown_at(width: int) -> list[str]:
    console = Console(file=io.StringIO(), width=width, force_terminal=True, no_color=True)
    print_fitting(console, LAYOUTS, LINES)
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    return [
        line.replace("\x1b[1m", "").replace("\x1b[2m", "").replace("\x1b[0m", "") for line in lines
    ]


def test_a_title_that_moved_to_another_column_took_its_figures_along():
    head, (*rows,) = shown_at(40)[:3], shown_at(40)[4:]
    assert [one.split()[0] for one in head] == ["asset", "on", "cycle"]
    assert [one.split()[0] for one in rows] == [
        "BTC/USD",
        "yes",
        "watching",
        "ETH/USD",
        "no",
        "cooldown",
    ]
    assert rows[4].endswith("4 x 25, then x1.5")


def test_where_no_layout_fits_each_line_is_a_sentence_with_whole_words():
    lines = shown_at(16)
    assert all(len(line) <= 16 for line in lines)
    text = " ".join(" ".join(lines).split())
    assert "BTC/USD on yes; base 20; safety 5 x 20; cycle watching" in text
    assert "ETH/USD on no; base 25; safety 4 x 25, then x1.5; cycle cooldown" in text


@pytest.mark.parametrize("layouts", [_LIST_LAYOUTS, _PLAN_LAYOUTS])
def test_every_layout_has_the_same_titles(layouts):
    titles = [sorted(layout.replace("/", " ").split()) for layout in layouts]
    assert all(one == titles[0] for one in titles)


def test_titles_that_are_not_wanted_leave_no_empty_column():
    assert without_titles({"b", "d"}, "a b c/d e/b/f") == "a c e/f"
