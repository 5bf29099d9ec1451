"""The documentation's table is the code's table."""

from config import PROJECT_ROOT
from insight.reconciliation_table import render


def test_the_documented_table_is_what_the_code_does():
    page = (PROJECT_ROOT / "docs" / "reconciliation.md").read_text("utf-8")
    assert page == render(), "run: python -m insight.reconciliation_table > docs/reconciliation.md"
