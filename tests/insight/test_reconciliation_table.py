"""The documentation's table is the code's table."""

from config import PROJECT_ROOT
from insight.reconciliation_table import render


def test_the_documented_table_is_what_the_code_does():
    page = (PROJECT_ROOT / "docs" / "reconciliation.md").read_text("utf-8")
    command = ".venv/bin/python -m insight.reconciliation_table"
    assert page == render(), f"run: {command} > docs/reconciliation.md"
    assert f"`{command}`" in page, "no other Python has the packages"
