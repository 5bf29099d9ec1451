"""What lists of orders prove: which exist, and which cannot. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import NOW, ORDER_ID, OTHER_ORDER_ID, build_cycle, build_order
from domain.orders import UnreadableOrder
from strategy.order_history import (
    BEGINNING,
    CLOCKS_APART,
    OrderHistory,
    can_be_of,
    earliest_submission,
)
from strategy.order_identity import compute_client_order_id
from strategy.reconciliation_facts import Answer, CurrentOrder

DAY, HOUR, SECOND = timedelta(days=1), timedelta(hours=1), timedelta(seconds=1)
CYCLE = build_cycle()
ORDER = build_order(CYCLE)
OTHER = build_order(CYCLE, id=OTHER_ORDER_ID, client_order_id="another")
ODD = UnreadableOrder(id="odd", client_order_id="odd one", symbol="BTC/USD", problem="no price")


def history(*orders, unreadable=(), reaches=NOW - DAY, **fields):
    found = OrderHistory(read_at=NOW, reaches=reaches, **fields)
    found.add(orders, unreadable)
    return found


@pytest.mark.parametrize(
    ("created_at", "previous", "compared", "moment"),
    [
        (NOW - 9 * DAY, None, None, NOW - 9 * DAY),
        (NOW - 9 * DAY, NOW - 3 * DAY, None, NOW - 3 * DAY),
        (NOW - 9 * DAY, NOW - 3 * DAY, NOW - 2 * DAY, NOW - 2 * DAY),
        (NOW - DAY, NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY),
        (NOW + DAY, None, None, NOW + DAY),  # of another time zone
        (NOW + DAY + SECOND, NOW - 3 * DAY, None, NOW - 3 * DAY),  # of no clock that runs
        (None, None, NOW - 2 * DAY, NOW - 2 * DAY),
    ],
)
def test_an_order_was_sent_after_the_latest_of_what_came_before_it(
    created_at, previous, compared, moment
):
    cycle = build_cycle(created_at=created_at)
    assert earliest_submission(cycle, previous, compared, NOW) == moment - DAY
    assert CLOCKS_APART == DAY


@pytest.mark.parametrize("created_at", [None, NOW + DAY + SECOND])
def test_where_nothing_came_before_an_order_no_list_reaches_back_far_enough(created_at):
    assert earliest_submission(build_cycle(created_at=created_at), None, None, NOW) == BEGINNING


@pytest.mark.parametrize(
    ("why", "order_of", "waits"),
    [
        ("its current order", {}, True),
        ("a later one", {"order_seq": 4}, True),
        ("an earlier one", {"order_seq": 2}, False),
        ("another cycle's", {"id": 43}, False),
        ("of another database", {"order_key": "zzzzzzzz"}, False),
    ],
)
def test_an_open_cycle_waits_for_its_current_order_and_later_ones(why, order_of, waits):
    cycle = build_cycle(order_seq=3)
    order = build_order(replace(cycle, **order_of))
    assert can_be_of(order, {42: cycle}) is waits
    assert not can_be_of(replace(order, client_order_id="a user's"), {42: cycle})
    assert not can_be_of(order, {})


def test_listed_orders_are_found_by_either_id_in_the_order_of_their_submission():
    late, undated = replace(ORDER, submitted_at=NOW), replace(OTHER, submitted_at=None)
    found = history(late, undated, unreadable=[ODD])
    assert found.orders() == [undated, late]
    assert found.unreadable() == [ODD]
    assert [found.has(one) for one in (ORDER_ID, OTHER_ORDER_ID, "odd", "x")] == [
        True,
        True,
        True,
        False,
    ]
    assert (found.get(ORDER_ID), found.get("odd"), found.get(None)) == (late, None, None)
    assert (found.find(late.client_order_id), found.find("odd one")) == (late, None)
    assert (found.pages_back, found.asked) == (0, set())


def test_what_could_be_read_once_is_readable_and_the_later_reading_counts():
    unread = replace(ODD, id=ORDER_ID)
    found = history(unreadable=[unread])
    found.add([ORDER])
    assert (found.unreadable(), found.get(ORDER_ID)) == ([], ORDER)
    found.add([], [unread])
    assert found.unreadable() == []
    ended = build_order(CYCLE, status="canceled")
    found.add([ended])
    assert found.orders() == [ended]
    assert found.find(ended.client_order_id) == ended


@pytest.mark.parametrize("reaches", [NOW - 2 * DAY, NOW - HOUR])
def test_a_newer_list_is_added_to_the_older_one_and_reaches_back_as_far_as_either(reaches):
    old, later = history(ORDER), NOW + SECOND
    newest = OrderHistory(read_at=later, reaches=reaches)
    newest.add([OTHER], [ODD])
    whole = old.renewed(newest)
    assert whole is old
    assert whole.read_at == later
    assert whole.reaches == min(reaches, NOW - DAY)
    assert {order.id for order in whole.orders()} == {ORDER_ID, OTHER_ORDER_ID}
    assert whole.unreadable() == [ODD]


@pytest.mark.parametrize(
    ("why", "found", "order", "answer"),
    [
        ("it is listed", history(ORDER), ORDER, Answer.GIVEN),
        ("it was asked for", history(asked={ORDER.client_order_id}), None, Answer.GIVEN),
        ("another was asked for", history(asked={"another"}), None, Answer.LIST_LACKS_IT),
        ("the list reaches back", history(OTHER), None, Answer.LIST_LACKS_IT),
        ("just far enough", history(reaches=NOW - HOUR), None, Answer.LIST_LACKS_IT),
        ("too short", history(reaches=NOW - HOUR + SECOND), None, Answer.NOT_LISTED),
        (
            "unreadable by its link",
            history(ORDER, unreadable=[replace(ODD, id="linked")]),
            ORDER,
            Answer.UNREADABLE,
        ),
        (
            "unreadable by its own id",
            history(unreadable=[replace(ODD, client_order_id=ORDER.client_order_id)]),
            None,
            Answer.UNREADABLE,
        ),
        ("another is unreadable", history(ORDER, unreadable=[ODD]), ORDER, Answer.GIVEN),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_the_lists_say_of_the_one_order_that_a_cycle_can_have(why, found, order, answer):
    cycle = build_cycle(latest_order_id="linked")
    assert compute_client_order_id(cycle) == ORDER.client_order_id
    assert found.say_of(cycle, NOW - HOUR) == CurrentOrder(
        cycle=cycle, order=order, answer=answer, is_confirmed=False
    )
