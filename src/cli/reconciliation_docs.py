"""The reconciliation tables of the documentation, written from the planner's own rules and from the
lifecycle's table of transitions.

`.venv/bin/python -m cli.reconciliation_docs` prints docs/reconciliation.md; a test compares the two.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

from typing import Any

from cli.lifecycle_docs import list_rows
from strategy.lifecycle import Fact, Way
from strategy.reconciliation import RULES, Rule
from strategy.reconciliation_facts import (
    CurrentOrder,
    Holding,
    OwnOrder,
    RunningCooldown,
    SentOrder,
    ToldEnd,
    UnclaimedOrder,
    UnreadableFind,
)

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
    Fact.SELL_ENDED: "a filled sell, too, can leave coins: a position that lagged named fewer than there are",
    Fact.SELL_REPLACED: "what was sold is subtracted, the replacement is followed",
    Fact.BUY_FILLED_LATE: "fills can arrive after `canceled`; a closed cycle is not reopened, a person decides",
    Fact.SELL_FILLED_LATE: "fills can arrive after `canceled`; while another order is out, its end decides",
    Fact.ORDER_MISSING: "nothing ended, so the seq stays: if the order exists after all, it is refused as a duplicate",
    Fact.COOLDOWN_OVER: "the next deal may begin",
    Fact.POSITION_GONE: "the coins were sold or moved elsewhere; a person is told, and the new cycle waits",
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
    Fact.POSITION_GONE: "an alert, and the new cycle waits `cooldown_period`",
}
_SUBJECTS = {
    OwnOrder: "An order that the exchange has",
    UnclaimedOrder: "An order that no cycle claims",
    UnreadableFind: "An order that cannot be read",
    CurrentOrder: "The one order that an open cycle can have",
    Holding: "The coins of a cycle, asked by consistency_checker",
    ToldEnd: "The end of an order, as the stream tells it",
    SentOrder: "An order that was sent, and nobody knows whether it arrived",
    RunningCooldown: "A cooldown",
}


def render() -> str:
    """The whole page as Markdown."""
    lines = [
        "# What is done when the exchange and the database differ",
        "",
        "One planner serves start-up, reconnects, sweeps, consistency_checker and live events. This page is written by",
        "`.venv/bin/python -m cli.reconciliation_docs` from the rows that it evaluates (`src/strategy/reconciliation.py`): of each",
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


if __name__ == "__main__":
    print(render(), end="")
