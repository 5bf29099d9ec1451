"""The documentation's table is the code's table."""

from cli.reconciliation_docs import render
from config import PROJECT_ROOT


def test_the_documented_table_is_what_the_code_does():
    page = (PROJECT_ROOT / "docs" / "reconciliation.md").read_text("utf-8")
    command = ".venv/bin/python -m cli.reconciliation_docs"
    assert page == render(), f"run: {command} > docs/reconciliation.md"
    assert f"`{command}`" in page, "no other Python has the packages"
