"""Which open orders are canceled: a table of order x claim x age, and what was asked for before."""

from datetime import timedelta

import pytest

from builders import NOW, build_cycle, build_order
from caretakers.plans.order_manager import (
    ASK_AGAIN_SECONDS,
    LONG_CANCEL_SECONDS,
    AskedSeconds,
    Claims,
    Fault,
    OrderAction,
    Surroundings,
    identify_orphaned_orders,
    identify_stale_buy_orders,
    plan_order_repairs,
)

LIMIT_SECONDS = 300.0


def aged_order(seconds, **fields):
    since = NOW - timedelta(seconds=seconds)
    return build_order(**{"submitted_at": since, "created_at": since, **fields})


def surroundings(**fields):
    plain = {"now": NOW, "stale_seconds": LIMIT_SECONDS, "symbols": frozenset({"BTC/USD"})}
    return Surroundings(**plain | fields)


CLAIMED_BY_ID = Claims(order_ids=frozenset({build_order().id}))
CLAIMED_BY_CLIENT_ID = Claims(client_order_ids=frozenset({build_order().client_order_id}))


def test_identify_stale_buy_orders():
    stale = aged_order(301, id="stale")
    fresh = aged_order(299, id="fresh")
    sell = aged_order(301, id="sell", side="sell")
    market = aged_order(301, id="market", order_type="market")
    ended = aged_order(301, id="ended", status="canceled")
    orders = [stale, fresh, sell, market, ended]
    assert identify_stale_buy_orders(orders, NOW, LIMIT_SECONDS) == [stale]


def test_identify_orphaned_orders():
    claimed_by_id = aged_order(301, id="linked", client_order_id="by-hand")
    claimed_by_client_id = aged_order(301, id="unlinked")
    orphan_buy = aged_order(301, id="buy", client_order_id="somebody")
    orphan_sell = aged_order(301, id="sell", client_order_id="else", side="sell")
    young = aged_order(299, id="young", client_order_id="new")
    claims = Claims(
        order_ids=frozenset({"linked"}),
        client_order_ids=frozenset({claimed_by_client_id.client_order_id}),
    )
    orders = [claimed_by_id, claimed_by_client_id, orphan_buy, orphan_sell, young]
    found = identify_orphaned_orders(orders, claims, NOW, LIMIT_SECONDS)
    assert found == [orphan_buy, orphan_sell]


@pytest.mark.parametrize(
    ("fields", "claims", "age", "fault"),
    [
        ({}, CLAIMED_BY_ID, 301, Fault.STALE_BUY),
        ({}, CLAIMED_BY_CLIENT_ID, 301, Fault.STALE_BUY),
        ({}, Claims(), 301, Fault.STALE_BUY),
        ({}, Claims(), 300, None),
        ({}, CLAIMED_BY_ID, 20, None),
        ({"side": "sell"}, CLAIMED_BY_ID, 301, Fault.STUCK_SELL),
        ({"side": "sell"}, CLAIMED_BY_CLIENT_ID, 301, Fault.STUCK_SELL),
        ({"side": "sell"}, Claims(), 301, Fault.ORPHAN),
        ({"side": "sell"}, CLAIMED_BY_ID, 299, None),
        ({"order_type": "market"}, CLAIMED_BY_ID, 301, None),
        ({"order_type": "market"}, Claims(), 301, Fault.ORPHAN),
        ({"order_type": "stop_limit"}, Claims(), 301, Fault.ORPHAN),
        ({"symbol": "ETH/USD"}, Claims(), 99999, None),
        ({"status": "filled", "filled_qty": "1", "filled_avg_price": "1"}, Claims(), 301, None),
        ({"status": "partially_filled"}, CLAIMED_BY_ID, 301, Fault.STALE_BUY),
        ({"status": "a_status_of_tomorrow"}, CLAIMED_BY_ID, 301, Fault.STALE_BUY),
    ],
)
def test_an_order_is_canceled_when_it_is_overdue_and_stale_stuck_or_orphaned(
    fields, claims, age, fault
):
    repairs = plan_order_repairs([aged_order(age, **fields)], surroundings(claims=claims))
    assert [(one.action, one.fault) for one in repairs] == (
        [(OrderAction.CANCEL, fault)] if fault else []
    )


def test_an_order_without_any_time_is_left_alone():
    order = build_order(submitted_at=None, created_at=None)
    assert plan_order_repairs([order], surroundings()) == []


def test_the_age_counts_from_the_submission_and_only_without_it_from_the_creation():
    old, new = NOW - timedelta(hours=1), NOW
    assert plan_order_repairs([build_order(submitted_at=new, created_at=old)], surroundings()) == []
    assert (
        len(plan_order_repairs([build_order(submitted_at=None, created_at=old)], surroundings()))
        == 1
    )


def test_the_oldest_order_comes_first():
    orders = [aged_order(400, id="b"), aged_order(900, id="a"), aged_order(500, id="c")]
    planned = plan_order_repairs(orders, surroundings())
    assert [one.order.id for one in planned] == ["a", "c", "b"]


@pytest.mark.parametrize(
    ("status", "asked", "action"),
    [
        ("new", None, OrderAction.CANCEL),
        ("new", AskedSeconds(60, 60), None),
        ("new", AskedSeconds(ASK_AGAIN_SECONDS, ASK_AGAIN_SECONDS), OrderAction.CANCEL),
        ("new", AskedSeconds(LONG_CANCEL_SECONDS + 60, 60), OrderAction.REPORT),
        ("pending_cancel", None, OrderAction.NOTE),
        ("pending_cancel", AskedSeconds(60, 60), None),
        ("pending_cancel", AskedSeconds(LONG_CANCEL_SECONDS, 300), OrderAction.REPORT),
        ("pending_cancel", AskedSeconds(9999, 9999), OrderAction.REPORT),
    ],
)
def test_a_cancellation_is_asked_for_once_and_reported_when_it_lasts(status, asked, action):
    order = aged_order(301, status=status)
    known = {} if asked is None else {order.id: asked}
    repairs = plan_order_repairs([order], surroundings(asked=known))
    assert [one.action for one in repairs] == ([] if action is None else [action])


def test_a_cancellation_that_lasts_is_reported_once():
    order = aged_order(301, status="pending_cancel")
    asked = {order.id: AskedSeconds(9999, 9999)}
    assert (
        plan_order_repairs([order], surroundings(asked=asked, reported=frozenset({order.id}))) == []
    )


def test_a_cycle_claims_the_order_that_its_state_can_have_and_no_earlier_one():
    cycle = build_cycle(order_seq=3)
    earlier = aged_order(301, id="x", side="sell", client_order_id=f"dca-42-{cycle.order_key}-2")
    current = aged_order(301, id="y", side="sell", client_order_id=f"dca-42-{cycle.order_key}-3")
    claims = Claims(client_order_ids=frozenset({current.client_order_id}))
    planned = plan_order_repairs([earlier, current], surroundings(claims=claims))
    assert {one.order.id: one.fault for one in planned} == {
        "x": Fault.ORPHAN,
        "y": Fault.STUCK_SELL,
    }
