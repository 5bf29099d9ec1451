"""The pages of the documentation that the code's own tables write, so that both say the same.

`.venv/bin/python -m cli.generated_docs` writes docs/reconciliation.md, docs/log-lines.md and the
life of a cycle between its two markers in docs/how-it-works.md; tests compare.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator
from typing import Any

from config import PROJECT_ROOT
from domain.cycle import CycleStatus
from strategy.lifecycle import SUCCESSORS, TRANSITIONS, Fact, Way
from strategy.reconciliation import RULES, Rule
from strategy.reconciliation_facts import (
    CurrentOrder,
    Holding,
    OwnOrder,
    RunningCooldown,
    SentOrder,
    StreamedEnd,
    UnclaimedOrder,
    UnreadableFind,
)
from utils.log_events import LogEvent

DOCS = PROJECT_ROOT / "docs"
COMMAND = ".venv/bin/python -m cli.generated_docs"
_BEGIN = f"<!-- written by {COMMAND} -->\n"
_END = "<!-- end of what it writes -->\n"
_EXCHANGE_SAYS = {
    Fact.BUY_OPENED: "the cycle's buy order is open (any status that does not end an order)",
    Fact.SELL_OPENED: "the cycle's sell order is open",
    Fact.BUY_ENDED: "the buy ended: filled, canceled, expired or rejected, with whatever it filled",
    Fact.BUY_REPLACED: "the user edited the buy: another order goes on in its place",
    Fact.SELL_ENDED: "the sell ended: filled, canceled, expired or rejected, with whatever it sold",
    Fact.SELL_REPLACED: "the user edited the sell",
    Fact.BUY_FILLED_LATE: "more was filled of an ended buy than the journal says",
    Fact.SELL_FILLED_LATE: "more was sold by an ended sell than the journal says",
    Fact.ORDER_MISSING: "404 for the order's id and for the id it would have, twice",
    Fact.COOLDOWN_OVER: "(the clock) cooldown_period has passed since the last sell",
    Fact.POSITION_GONE: "no position, twice; no open order; 404 for the current id",
}
_WHY = {
    Fact.BUY_OPENED: "the event that links it was lost, or came late",
    Fact.SELL_OPENED: "the event that links it was lost, or came late",
    Fact.BUY_ENDED: "fills count whatever the final status; the next order gets the next seq",
    Fact.BUY_REPLACED: "what was filled is booked, the replacement is followed",
    Fact.SELL_ENDED: "a filled sell can leave coins, too: its quantity came from a position that lagged behind the fills",
    Fact.SELL_REPLACED: "what was sold is subtracted, the replacement is followed",
    Fact.BUY_FILLED_LATE: "fills can arrive after `canceled`; a closed cycle is not reopened, a person decides",
    Fact.SELL_FILLED_LATE: "fills can arrive after `canceled`; while another order is out, its end decides",
    Fact.ORDER_MISSING: "nothing ended, so the seq stays: if the order exists after all, it is refused as a duplicate",
    Fact.COOLDOWN_OVER: "the next cycle may begin",
    Fact.POSITION_GONE: "the coins were sold or moved elsewhere",
}
_DONE = {
    Fact.BUY_OPENED: "link the order if it is not",
    Fact.SELL_OPENED: "link the order if it is not",
    Fact.BUY_ENDED: "book what was filled, seq + 1",
    Fact.BUY_REPLACED: "book what was filled, seq + 1, link the new order",
    Fact.SELL_ENDED: "book what was sold, seq + 1",
    Fact.SELL_REPLACED: "book what was sold, seq + 1, link the new order",
    Fact.BUY_FILLED_LATE: "an alert, and book the difference with its own journal row",
    Fact.SELL_FILLED_LATE: "an alert, and book the difference with its own journal row",
    Fact.ORDER_MISSING: "unlink the order",
    Fact.POSITION_GONE: "an alert, and the new cycle waits `cooldown_period` before it buys",
}
_SUBJECTS = {
    OwnOrder: "An order that the exchange has",
    UnclaimedOrder: "An order that no cycle claims",
    UnreadableFind: "An order that cannot be read",
    CurrentOrder: "The one order that an open cycle can have",
    Holding: "The coins of a cycle, asked by consistency_checker",
    StreamedEnd: "The end of an order, as the stream reports it",
    SentOrder: "An order that was sent, and nobody knows whether it arrived",
    RunningCooldown: "A cooldown",
}


def render_reconciliation() -> str:
    """docs/reconciliation.md: the planner's rules and the table of transitions, all rows."""
    lines = [
        "# What is done when the exchange and the database differ",
        "",
        "One planner serves start-up, reconnects, sweeps, consistency_checker and live events. This page is written by",
        "`.venv/bin/python -m cli.generated_docs` from the rows that it evaluates (`src/strategy/reconciliation.py`): of each",
        "table the first row that holds decides. What follows is a repair, a wait, an alert, or nothing where both sides agree.",
    ]
    for subject, rules in RULES.items():
        lines += ["", f"## {_SUBJECTS[subject]}", ""]
        lines += [
            "| the database says | the exchange says | what follows | why |",
            "|---|---|---|---|",
        ]
        lines += [_rule_row(rule) for rule in rules]
    lines += [
        "",
        "## What an order, or its absence, does to its cycle",
        "",
        "Drawn from the table of transitions (`src/strategy/lifecycle.py`), for live events and repairs alike. A pair that is not",
        "listed is forbidden: it changes nothing and is an ERROR. What each `if` says, and what follows an end: [the life of",
        "a cycle](how-it-works.md#the-life-of-a-cycle).",
        "",
        "| local status | the exchange says | what is done | why |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {', '.join(statuses)} | {_EXCHANGE_SAYS[fact]} | {_done(fact, ways)} | {_WHY[fact]} |"
        for fact, statuses, ways in list_rows()
    ]
    return "\n".join(lines) + "\n"


def _done(fact: Fact, ways: tuple[Way, ...]) -> str:
    targets = ", else ".join(
        (f"`{target}`" if target else "the status stays")
        + (f" if `{guard.__name__}`" if guard else "")
        for target, guard in ways
    )
    return f"{_DONE[fact]}: {targets}" if fact in _DONE else targets


def _rule_row(rule: Rule[Any]) -> str:
    group = rule.action.group
    done = rule.done if group == "nothing" else f"**{group}:** {rule.done}"
    return f"| {rule.database} | {rule.exchange} | {done} | {rule.why} |"


def list_rows() -> Iterator[tuple[Fact, list[CycleStatus], tuple[Way, ...]]]:
    """The table's rows; statuses from which a fact leads the same ways are one."""
    grouped: dict[tuple[Fact, tuple[Way, ...]], list[CycleStatus]] = {}
    for fact in Fact:
        for status in CycleStatus:
            if (ways := TRANSITIONS.get((status, fact))) is not None:
                grouped.setdefault((fact, ways), []).append(status)
    for (fact, ways), statuses in grouped.items():
        yield fact, statuses, ways


def draw_lifecycle() -> str:
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


def with_lifecycle(page: str) -> str:
    """`page` with what the table says now.

    Raises:
        ValueError: the page lacks a marker.
    """
    before, rest = page.split(_BEGIN)
    _, after = rest.split(_END)
    return before + _BEGIN + draw_lifecycle() + _END + after


def render_log_lines() -> str:
    """docs/log-lines.md: every line that the bot can log."""
    lines = [
        "# What each log line means",
        "",
        "One event, one line: `time LEVEL module noun.past_participle key=value ...`, times in UTC, files in `logs/`: `app.log` for the daemon,",
        "one for each script; `scripts/logs` finds and follows them. INFO: money or state moved. WARNING: it repaired itself, or soon will. ERROR: a person is needed, and an alert is",
        "sent (by mail and to `ALERT_URLS`, where they are set up: grouped, throttled; 'mailed' below means both). Two alerts are the same if the event and its `symbol`, `cycle`, `order`, `id`, `key`,",
        "`stream`, `pid` and `script` are the same, whatever their words; of a stall and a skipped order also the reason. The kinds of `dca_events` have the same names with a `_` (`order_unclaimed`).",
        f"This page is written by `{COMMAND}` from `src/utils/log_events.py`.",
        "",
        "| line | level | meaning | what to do |",
        "|---|---|---|---|",
    ]
    for event in LogEvent:
        level = logging.getLevelName(event.level)
        lines.append(f"| `{event}` | {level} | {event.meaning} | {event.cure or 'nothing'} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    how_it_works = DOCS / "how-it-works.md"
    how_it_works.write_text(with_lifecycle(how_it_works.read_text("utf-8")), "utf-8")
    (DOCS / "reconciliation.md").write_text(render_reconciliation(), "utf-8")
    (DOCS / "log-lines.md").write_text(render_log_lines(), "utf-8")


if __name__ == "__main__":
    main()
