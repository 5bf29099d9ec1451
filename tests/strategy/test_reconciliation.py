"""The planner's table, row by row: the facts of each row lead to that row and to no other."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from builders import NOW, OTHER_ORDER_ID, build_cycle, build_order
from domain.orders import UnreadableOrder
from strategy.reconciliation import LONG_OPEN, MAX_ENDED_LATELY, RULES, Action, plan
from strategy.reconciliation_facts import (
    Answer,
    CurrentOrder,
    Facts,
    Holding,
    OwnOrder,
    RunningCooldown,
    SentOrder,
    StreamedEnd,
    UnclaimedOrder,
    UnreadableFind,
)

OPEN = build_order()
FILLED = build_order(status="filled", filled_qty="0.002", filled_avg_price="50000")
PARTLY = build_order(filled_qty="0.001", filled_avg_price="50000")
EMPTY = build_order(status="canceled")
FOREIGN = replace(FILLED, client_order_id="a user's")
SOME, LESS = Decimal("0.002"), Decimal("0.001")
WATCHING = build_cycle(quantity=Decimal("0.1"))
BUYING = build_cycle(status="buying", latest_order_id=OPEN.id)
LATER = build_cycle(order_seq=2)
CLOSED = build_cycle(status="complete", completed_at=NOW)

own = OwnOrder(order=OPEN, cycle=build_cycle(), order_seq=0, journaled_qty=None)
nobodys = replace(own, cycle=None, order_seq=None)
linked = replace(own, cycle=BUYING, order_seq=None, is_linked=True)
current = CurrentOrder(cycle=BUYING, order=None)
fits = Holding(
    cycle=WATCHING,
    symbol="BTC/USD",
    database_holds_dust=False,
    position_qty=Decimal("0.1"),
    position_is_dust=False,
)
gone = replace(fits, position_qty=None, position_is_dust=True)
bare = replace(fits, cycle=build_cycle(), database_holds_dust=True)
unread = UnreadableFind(
    order=UnreadableOrder(id="1", client_order_id="x", symbol="BTC/USD", problem="no price"),
    linked=(),
    symbols=(),
)

# Of each row the facts that lead to it; the last few of a line stand at an edge of its condition.
ROWS: dict[str, tuple[Action, list[Facts]]] = {
    "the user's own": (
        Action.NOTHING,
        [replace(nobodys, order=FOREIGN), replace(nobodys, order=FOREIGN, journaled_qty=LESS)],
    ),
    "booked": (
        Action.NOTHING,
        [
            replace(own, order=FILLED, journaled_qty=SOME),
            replace(nobodys, order=FILLED, journaled_qty=SOME),
            replace(own, order=FILLED, journaled_qty=SOME, other_symbol="ETH/USD"),
            replace(own, order=EMPTY, journaled_qty=Decimal(0)),
            replace(linked, order=FILLED, journaled_qty=SOME),
        ],
    ),
    "renamed": (
        Action.BLOCK,
        [
            replace(own, other_symbol="ETH/USD"),
            replace(own, order=FILLED, journaled_qty=LESS, other_symbol="ETH/USD"),
        ],
    ),
    "open again": (Action.NOTHING, [replace(own, journaled_qty=Decimal(0))]),
    "late fill": (
        Action.BOOK_LATE_FILL,
        [
            replace(own, order=FILLED, journaled_qty=LESS),
            replace(own, order=FILLED, journaled_qty=Decimal(0), cycle=CLOSED),
        ],
    ),
    "long open": (
        Action.ALERT,
        [replace(linked, open_for=LONG_OPEN), replace(linked, open_for=2 * LONG_OPEN)],
    ),
    "linked": (
        Action.NOTHING,
        [linked, replace(linked, open_for=LONG_OPEN - timedelta(seconds=1))],
    ),
    "current": (
        Action.APPLY_ORDER,
        [
            own,
            replace(own, order=FILLED),
            replace(own, order=EMPTY),
            replace(own, cycle=BUYING, order_seq=None),
            replace(own, open_for=2 * LONG_OPEN),
            replace(own, order=FOREIGN, order_seq=None),
            replace(linked, order=FILLED, open_for=2 * LONG_OPEN),
            replace(nobodys, order=FOREIGN, is_linked=True),
        ],
    ),
    "ahead": (Action.CATCH_UP, [replace(own, order_seq=1), replace(own, order=EMPTY, order_seq=3)]),
    "unknown fill": (
        Action.BOOK_LATE_FILL,
        [
            replace(own, order=FILLED, cycle=LATER),
            replace(own, order=FILLED, cycle=CLOSED),
            replace(own, order=FILLED, cycle=CLOSED, order_seq=3),
            replace(own, order=FILLED, cycle=CLOSED, order_seq=None),
        ],
    ),
    "unknown end": (
        Action.NOTHING,
        [replace(own, order=EMPTY, cycle=LATER), replace(own, order=EMPTY, cycle=CLOSED)],
    ),
    "stray": (
        Action.ALERT,
        [
            replace(own, cycle=LATER),
            replace(own, cycle=CLOSED),
            replace(own, order=PARTLY, cycle=CLOSED),
        ],
    ),
    "unclaimed": (
        Action.BLOCK,
        [
            nobodys,
            replace(nobodys, order=FILLED),
            replace(nobodys, order=EMPTY),
            replace(nobodys, order_seq=3),
            replace(nobodys, order=FILLED, journaled_qty=LESS),
            replace(nobodys, journaled_qty=SOME),
        ],
    ),
    "unclaimed and open": (
        Action.BLOCK,
        [UnclaimedOrder(order=OPEN, may_still_change=True, is_explained=True)],
    ),
    "unclaimed and empty": (Action.NOTHING, [UnclaimedOrder(order=EMPTY, may_still_change=True)]),
    "unclaimed and undecided": (
        Action.WAIT,
        [UnclaimedOrder(order=FILLED, may_still_change=True, is_explained=True)],
    ),
    "unclaimed and explained": (Action.NOTHING, [UnclaimedOrder(order=FILLED, is_explained=True)]),
    "unclaimed and unexplained": (Action.BLOCK, [UnclaimedOrder(order=FILLED)]),
    "unreadable": (
        Action.BLOCK,
        [
            replace(unread, symbols=("BTC/USD",)),
            replace(unread, linked=("1",)),
            replace(unread, order=replace(unread.order, client_order_id="dca-odd", symbol=None)),
        ],
    ),
    "unreadable and foreign": (Action.NOTHING, [unread, replace(unread, symbols=("ETH/USD",))]),
    "its order is unreadable": (
        Action.BLOCK,
        [
            replace(current, answer=Answer.UNREADABLE),
            replace(current, answer=Answer.UNREADABLE, order=FILLED),
        ],
    ),
    "no answer for its order": (Action.BLOCK, [replace(current, answer=Answer.NEVER)]),
    "no answer": (Action.WAIT, [replace(current, answer=Answer.NONE)]),
    "its order is open": (
        Action.NOTHING,
        [replace(current, order=OPEN), replace(current, order=OPEN, is_confirmed=False)],
    ),
    "its order": (
        Action.APPLY_ORDER,
        [
            replace(current, order=FILLED),
            replace(current, order=EMPTY, is_confirmed=False),
            replace(current, order=replace(OPEN, id=OTHER_ORDER_ID)),
            replace(current, order=OPEN, cycle=WATCHING),
        ],
    ),
    "not listed": (
        Action.ASK,
        [
            replace(current, answer=Answer.NOT_LISTED),
            replace(current, answer=Answer.NOT_LISTED, cycle=WATCHING),
            replace(current, answer=Answer.NOT_LISTED, order=FILLED, is_booked=True),
            replace(current, answer=Answer.NOT_LISTED, order=OPEN, is_booked=True),
        ],
    ),
    "a list lacks it": (
        Action.NOTHING,
        [
            replace(current, answer=Answer.LIST_LACKS_IT),
            replace(current, answer=Answer.LIST_LACKS_IT, cycle=WATCHING),
        ],
    ),
    "no order awaited": (
        Action.NOTHING,
        [
            replace(current, cycle=WATCHING),
            replace(current, cycle=build_cycle(status="cooldown"), is_confirmed=False),
            replace(current, cycle=WATCHING, order=FILLED, is_booked=True),
        ],
    ),
    "missing once": (
        Action.WAIT,
        [
            replace(current, is_confirmed=False),
            replace(current, is_confirmed=False, order=FILLED, is_booked=True),
        ],
    ),
    "missing": (
        Action.RESET_CYCLE,
        [
            current,
            replace(current, cycle=build_cycle(status="selling")),
            replace(current, order=FILLED, is_booked=True),
        ],
    ),
    "an order beside coins": (
        Action.APPLY_ORDER,
        [replace(gone, current_order=OPEN), replace(gone, current_order=FILLED, open_orders=1)],
    ),
    "coins on the move": (
        Action.WAIT,
        [replace(gone, open_orders=1), replace(gone, cycle=BUYING), replace(fits, cycle=BUYING)],
    ),
    "gone once": (
        Action.WAIT,
        [
            replace(gone, is_confirmed=False),
            replace(gone, is_confirmed=False, ended_lately=MAX_ENDED_LATELY),
        ],
    ),
    "too many are gone": (
        Action.HOLD_BACK,
        [
            replace(gone, ended_lately=MAX_ENDED_LATELY),
            replace(gone, ended_lately=MAX_ENDED_LATELY + 1),
        ],
    ),
    "gone": (
        Action.END_IN_ERROR,
        [
            gone,
            replace(gone, position_qty=Decimal("0.00001")),
            replace(gone, ended_lately=MAX_ENDED_LATELY - 1),
        ],
    ),
    "foreign coins": (Action.ALERT, [replace(bare, surplus=LESS)]),
    "fewer coins": (Action.ALERT, [replace(fits, short_by=LESS)]),
    "more coins": (Action.ALERT, [replace(fits, surplus=LESS)]),
    "explained coins": (
        Action.NOTHING,
        [
            fits,
            bare,
            replace(bare, position_is_dust=True, is_confirmed=False),
            replace(bare, short_by=LESS),
            replace(fits, ended_lately=MAX_ENDED_LATELY),
            replace(fits, is_confirmed=False),
        ],
    ),
    "confirmed end": (Action.APPLY_ORDER, [StreamedEnd(is_confirmed=True, is_ours=True)]),
    "unconfirmed end": (Action.WAIT, [StreamedEnd(is_confirmed=False, is_ours=True)]),
    "unconfirmed foreign end": (Action.ASK, [StreamedEnd(is_confirmed=False, is_ours=False)]),
    "sent, missing once": (Action.WAIT, [SentOrder(is_confirmed=False)]),
    "sent, missing": (Action.NOTHING, [SentOrder(is_confirmed=True)]),
    "endless cooldown": (Action.ALERT, [RunningCooldown(endless_because="no cycle before it")]),
    "cooldown": (Action.NOTHING, [RunningCooldown(endless_because=None)]),
}
ALL_RULES = [rule for rules in RULES.values() for rule in rules]


def test_every_row_has_facts_that_lead_to_it_and_no_two_rows_share_a_name():
    assert sorted(rule.name for rule in ALL_RULES) == sorted(ROWS)


@pytest.mark.parametrize("name", ROWS)
def test_the_facts_of_a_row_lead_to_that_row_and_its_action(name):
    action, facts = ROWS[name]
    for one in facts:
        rule = plan(one)
        assert (rule.name, rule.action) == (name, action), one


@pytest.mark.parametrize("subject", RULES)
def test_whatever_the_facts_are_some_row_holds(subject):
    assert RULES[subject][-1].holds(None), "the last row asks nothing"


@pytest.mark.parametrize(
    ("order_seq", "is_current", "is_ahead"),
    [(None, True, False), (2, False, False), (3, True, False), (4, False, True)],
)
@pytest.mark.parametrize("start", [0, 3])
def test_an_order_is_current_or_ahead_and_never_both(start, order_seq, is_current, is_ahead):
    seq = None if order_seq is None else order_seq - 3 + start
    one = replace(own, cycle=build_cycle(order_seq=start), order_seq=seq)
    assert (one.is_current, one.is_ahead) == (is_current, is_ahead)
    closed = replace(one, cycle=replace(CLOSED, order_seq=start))
    assert not closed.is_current
    assert not closed.is_ahead


def test_each_alert_has_a_kind_of_its_own_in_dca_events():
    for rule in ALL_RULES:
        if rule.action.group == "alert":
            assert rule.kind, rule.name
        if rule.action is Action.NOTHING:
            assert not rule.kind, rule.name


def test_the_words_of_a_row_name_its_figures():
    words = {rule.name: f"{rule.database}; {rule.exchange}" for rule in ALL_RULES}
    assert f"more than {LONG_OPEN // timedelta(minutes=1)} minutes" in words["long open"]
    assert ["no", "one", "two"][MAX_ENDED_LATELY] in words["too many are gone"].split()
