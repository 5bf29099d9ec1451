"""The pages that the code's tables write say what the tables say."""

from __future__ import annotations

import ast

import pytest

from cli.generated_docs import (
    COMMAND,
    DOCS,
    list_rows,
    render_log_lines,
    render_reconciliation,
    with_lifecycle,
)
from config import PROJECT_ROOT
from domain.events import EventKind
from strategy.lifecycle import TRANSITIONS
from strategy.reconciliation import RULES
from utils.log_events import LogEvent

SOURCES = {
    path.relative_to(PROJECT_ROOT / "src").as_posix(): path.read_text("utf-8")
    for path in sorted((PROJECT_ROOT / "src").rglob("*.py"))
}


@pytest.mark.parametrize(
    ("name", "render"),
    [
        ("reconciliation.md", lambda page: render_reconciliation()),
        ("log-lines.md", lambda page: render_log_lines()),
        ("how-it-works.md", with_lifecycle),
    ],
)
def test_a_page_is_what_the_code_writes(name, render):
    page = (DOCS / name).read_text("utf-8")
    assert page == render(page), f"run: {COMMAND}"
    assert COMMAND in page, "whoever wants to change the page finds where it comes from"


def test_every_row_that_the_planner_evaluates_stands_on_the_page_in_the_order_it_is_tried():
    planned = [rule for rules in RULES.values() for rule in rules]
    rows = [line for line in render_reconciliation().splitlines() if line.startswith("| ")]
    rows = [row for row in rows if not row.startswith(("| the database says", "| local status"))]
    for rule, row in zip(planned, rows, strict=False):
        for words in (rule.database, rule.exchange, rule.done, rule.why):
            assert words, rule.name
            assert words in row, rule.name


def test_every_transition_is_in_the_picture_of_a_cycles_life():
    drawn = {(status, fact): ways for fact, statuses, ways in list_rows() for status in statuses}
    assert drawn == dict(TRANSITIONS)


def test_every_kind_of_event_has_a_log_line_of_its_name():
    assert [kind for kind in EventKind if LogEvent[kind.name] != kind.replace("_", ".", 1)] == []


def test_every_log_line_is_written_in_full_once_and_is_used():
    written = SOURCES["utils/log_events.py"]
    assert [event for event in LogEvent if written.count(f'"{event}"') != 1] == []
    kinds = {kind.name for kind in EventKind}  # see announce
    used = "".join(text for name, text in SOURCES.items() if name != "utils/log_events.py")
    assert [e for e in LogEvent if f"LogEvent.{e.name}" not in used and e.name not in kinds] == []


def test_whatever_is_logged_is_one_of_these_events():
    """The local exchange, which imports nothing of ours, has lines of its own."""
    for name, text in SOURCES.items():
        if name.startswith("paper_exchange/") or name == "utils/log_events.py":
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                is_line = node.attr in {"debug", "info", "warning", "error", "exception", "log"}
                assert not (is_line and node.value.id in {"log", "logger"}), (
                    f"{name}:{node.lineno}: log_event(log, LogEvent...)"
                )
