"""The documentation's tables are the code's table."""

import pytest

from cli import lifecycle_docs
from cli.reconciliation_docs import render
from config import PROJECT_ROOT
from strategy.lifecycle import SUCCESSORS, TRANSITIONS, Fact


def test_the_documented_table_is_what_the_code_does():
    page = (PROJECT_ROOT / "docs" / "reconciliation.md").read_text("utf-8")
    command = ".venv/bin/python -m cli.reconciliation_docs"
    assert page == render(), f"run: {command} > docs/reconciliation.md"
    assert f"`{command}`" in page, "no other Python has the packages"


def test_the_documented_life_of_a_cycle_is_what_the_code_does():
    page = lifecycle_docs.PAGE.read_text("utf-8")
    assert page == lifecycle_docs.rewritten(page), "run: .venv/bin/python -m cli.lifecycle_docs"


def test_the_picture_has_every_pair_of_the_table_with_its_guards_in_their_order():
    drawn = lifecycle_docs.draw()
    rows = list(lifecycle_docs.list_rows())
    assert {(s, fact): ways for fact, statuses, ways in rows for s in statuses} == TRANSITIONS
    assert [fact for fact in Fact if fact.replace("_", " ") not in drawn] == []
    picture, explained = drawn.split("```")[1:]
    lines = [line for line in picture.splitlines() if "  " in line]
    shown = [line.rpartition("  ")[2].removeprefix("--> ") for line in lines]
    assert shown == [
        f"{target or 'the status stays'}" + (f" [{guard.__name__}], else" if guard else "")
        for _, _, ways in rows
        for target, guard in ways
    ]
    for guard in {way.guard for ways in TRANSITIONS.values() for way in ways} - {None}:
        assert f"- `{guard.__name__}`: {guard.__doc__.split()[0]}" in explained
    for end, after in SUCCESSORS.items():
        assert f"{end}: a new cycle in {after} follows" in picture


def test_what_stands_around_the_picture_stays_and_a_page_without_its_place_is_refused():
    page = lifecycle_docs.PAGE.read_text("utf-8")
    spoiled = page.replace("buy opened", "buy spoiled")
    assert spoiled != page
    assert lifecycle_docs.rewritten(spoiled) == page
    with pytest.raises(ValueError, match="not enough values"):
        lifecycle_docs.rewritten("# A page without the two markers\n")
