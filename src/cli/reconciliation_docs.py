"""The reconciliation tables of the documentation, written from the planner's own rules and from the
lifecycle's table of transitions.

`.venv/bin/python -m cli.reconciliation_docs` prints docs/reconciliation.md; a test compares the two.
"""

# ruff: noqa: E501 - a table reads better in long lines
from __future__ import annotations

from typing import Any

from domain.cycle import CycleStatus
from strategy.lifecycle import TRANSITIONS, Fact, Next
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
    Fact.ORDER_MISSING: "nothing ended, so the seq stays: if the order exists after all, it is refused as a duplicate",
    Fact.COOLDOWN_OVER: "the next deal may begin",
    Fact.POSITION_GONE: "the coins were sold or moved elsewhere; a person is told, and the new cycle waits",
}
_DONE = {
    Next.BUYING: "link the order, `buying`",
    Next.SELLING: "link the order, `selling`",
    Next.REST: "book what was filled, seq + 1, `watching` (no coins held: `cooldown` while that is not over, `complete` if the user wants it closed)",
    Next.SAME: "link the order if it is not, status stays",
    Next.WATCHING: "`watching`",
    Next.ERROR: "`error`, and a new cycle in `watching` that waits `cooldown_period`",
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
        "listed is forbidden: it changes nothing and is an ERROR.",
        "",
        "| local status | the exchange says | what is done | why |",
        "|---|---|---|---|",
    ]
    grouped: dict[tuple[Fact, Next], list[str]] = {}
    for fact in Fact:
        for status in CycleStatus:
            if (target := TRANSITIONS.get((status, fact))) is not None:
                grouped.setdefault((fact, target), []).append(status)
    lines += [_row(statuses, *pair) for pair, statuses in grouped.items()]
    return "\n".join(lines) + "\n"


def _rule_row(rule: Rule[Any]) -> str:
    group = rule.action.group
    done = rule.done if group == "nothing" else f"**{group}:** {rule.done}"
    return f"| {rule.database} | {rule.exchange} | {done} | {rule.why} |"


def _row(statuses: list[str], fact: Fact, target: Next) -> str:
    done = _DONE[target]
    if fact is Fact.SELL_ENDED:
        done = (
            "no more than fees and dust left: `complete`, and a new cycle in `cooldown`, in one"
            " transaction; else subtract what was sold, seq + 1, `watching`"
        )
    if fact is Fact.ORDER_MISSING:
        done = done.replace("book what was filled, seq + 1, ", "")
    if fact in (Fact.BUY_REPLACED, Fact.SELL_REPLACED):
        done = (
            f"book what was filled, seq + 1, {done.replace('link the order', 'link the new order')}"
        )
    return f"| {', '.join(statuses)} | {_EXCHANGE_SAYS[fact]} | {done} | {_WHY[fact]} |"


if __name__ == "__main__":
    print(render(), end="")
