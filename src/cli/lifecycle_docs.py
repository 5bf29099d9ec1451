"""The life of a cycle in docs/how-it-works.md, drawn from the code's own table of transitions.

`.venv/bin/python -m cli.lifecycle_docs` writes it between its two markers; a test compares.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator

from config import PROJECT_ROOT
from domain.cycle import CycleStatus
from strategy.lifecycle import SUCCESSORS, TRANSITIONS, Fact, Way

PAGE = PROJECT_ROOT / "docs" / "how-it-works.md"
_BEGIN = "<!-- written by .venv/bin/python -m cli.lifecycle_docs -->\n"
_END = "<!-- end of what it writes -->\n"


def list_rows() -> Iterator[tuple[Fact, list[CycleStatus], tuple[Way, ...]]]:
    """The table's rows; statuses from which a fact leads the same ways are one."""
    grouped: dict[tuple[Fact, tuple[Way, ...]], list[CycleStatus]] = {}
    for fact in Fact:
        for status in CycleStatus:
            if (ways := TRANSITIONS.get((status, fact))) is not None:
                grouped.setdefault((fact, ways), []).append(status)
    for (fact, ways), statuses in grouped.items():
        yield fact, statuses, ways


def draw() -> str:
    """Every row with its guards, what follows an end, and what each guard says."""
    lines = ["```"]
    guards = {}
    for fact, statuses, ways in list_rows():
        start = f"{fact.replace('_', ' '):<17}{', '.join(statuses):<55}-->"
        for target, guard in ways:
            if guard is not None:
                guards[guard.__name__] = guard
            where = f" [{guard.__name__}], else" if guard else ""
            lines.append(f"{start} {target or 'the status stays'}{where}")
            start = " " * len(start)
    lines += ["", *(f"{end}: a new cycle in {after} follows" for end, after in SUCCESSORS.items())]
    lines += ["```", ""]
    for name, guard in guards.items():
        lines.append(f"- `{name}`: {' '.join((inspect.getdoc(guard) or '').split())}")
    return "\n".join(lines) + "\n"


def rewritten(page: str) -> str:
    """`page` with what the table says now.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + draw() + _END + after


if __name__ == "__main__":
    PAGE.write_text(rewritten(PAGE.read_text("utf-8")), "utf-8")
