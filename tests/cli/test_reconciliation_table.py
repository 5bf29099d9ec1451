"""The documentation's table is the code's table."""

from cli.reconciliation_docs import render
from config import PROJECT_ROOT
from strategy.reconciliation import RULES


def test_the_documented_table_is_what_the_code_does():
    page = (PROJECT_ROOT / "docs" / "reconciliation.md").read_text("utf-8")
    command = ".venv/bin/python -m cli.reconciliation_docs"
    assert page == render(), f"run: {command} > docs/reconciliation.md"
    assert f"`{command}`" in page, "no other Python has the packages"


def test_every_row_that_the_planner_evaluates_stands_on_the_page_in_the_order_it_is_tried():
    planned = [rule for rules in RULES.values() for rule in rules]
    rows = [line for line in render().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| the database says", "| local status"))]
    for rule, row in zip(planned, rows, strict=False):
        for words in (rule.database, rule.exchange, rule.done, rule.why):
            assert words, rule.name
            assert words in row, rule.name
