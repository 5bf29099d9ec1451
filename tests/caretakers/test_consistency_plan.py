"""What follows from a difference of database and exchange: the planner's table, line by line."""

from datetime import timedelta
from decimal import Decimal

import pytest

from builders import NOW, OTHER_ORDER_ID, build_cycle, build_order, build_state
from caretakers.plans.consistency_checker import Snapshot, confirmed, plan_repairs
from domain.events import Severity
from strategy.reconciliation import Action
from strategy.reconciliation_facts import CurrentOrder, Holding, OwnOrder

FILLED = {"status": "filled", "filled_qty": "0.002", "filled_avg_price": "50000"}
CANCELED = {"status": "canceled"}
PART = {"status": "canceled", "filled_qty": "0.001", "filled_avg_price": "50000"}


def actions(**parts):
    snapshot = Snapshot(now=NOW, **{name: tuple(items) for name, items in parts.items()})
    return [(one.action, one.kind) for one in plan_repairs(snapshot)]


def waiting(status="buying", order=None, **columns):
    cycle = build_cycle(status=status, **{"latest_order_id": build_order().id, **columns})
    return CurrentOrder(cycle=cycle, symbol="BTC/USD", order=order)


APPLY = [(Action.APPLY_ORDER, "order_recovered")]
RESET = [(Action.RESET_CYCLE, "order_missing")]
STRAY = [(Action.ALERT, "order_unclaimed")]
UNCLAIMED = [(Action.BLOCK, "order_unclaimed")]
LATE = [(Action.BOOK_LATE_FILL, "order_recovered")]


@pytest.mark.parametrize("status", ["buying", "selling"])
@pytest.mark.parametrize(
    ("order", "columns", "expected"),
    [
        (None, {}, RESET),
        (None, {"latest_order_id": "fake_id"}, RESET),
        (None, {"latest_order_id": None}, RESET),
        (build_order(), {}, []),
        (build_order(submitted_at=NOW - timedelta(days=9)), {}, []),
        (build_order(status="pending_cancel"), {}, []),
        (build_order(**FILLED), {}, APPLY),
        (build_order(**CANCELED), {}, APPLY),
        (build_order(**PART), {}, APPLY),
        (build_order(status="expired"), {}, APPLY),
        (build_order(status="rejected"), {}, APPLY),
        (build_order(), {"latest_order_id": "fake_id"}, APPLY),
        (build_order(), {"latest_order_id": None}, APPLY),
    ],
)
def test_a_cycle_that_waits(status, order, columns, expected):
    assert actions(waiting=[waiting(status, order, **columns)]) == expected


def holding(**fields):
    plain = {
        "cycle": build_cycle(quantity=Decimal("0.1")),
        "symbol": "BTC/USD",
        "database_holds_dust": False,
        "position_qty": None,
        "position_is_dust": True,
    }
    return Holding(**plain | fields)


GONE = [(Action.END_IN_ERROR, "position_gone")]
THERE = {"position_qty": Decimal("0.1"), "position_is_dust": False}
FOREIGN = THERE | {"surplus": Decimal("0.01")}
NO_COINS = {"cycle": build_cycle(), "database_holds_dust": True}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, GONE),
        ({"position_qty": Decimal("0.00001")}, GONE),
        ({"open_orders": 1}, []),
        ({"current_order": build_order(**FILLED)}, APPLY),
        ({"current_order": build_order(side="sell", **FILLED)}, APPLY),
        ({"current_order": build_order()}, APPLY),
        (THERE, []),
        (THERE | {"short_by": Decimal("0.01")}, [(Action.ALERT, "position_short")]),
        (THERE | {"surplus": Decimal("0.01")}, [(Action.ALERT, "position_excess")]),
        (THERE | {"short_by": Decimal("0.01"), "open_orders": 1}, []),
        (THERE | {"surplus": Decimal("0.01"), "current_order": build_order()}, APPLY),
        (NO_COINS, []),
        (NO_COINS | THERE, []),  # what earlier cycles left
        (NO_COINS | FOREIGN, [(Action.ALERT, "position_unexpected")]),
        (NO_COINS | FOREIGN | {"open_orders": 2}, []),
        (NO_COINS | FOREIGN | {"current_order": build_order(**FILLED)}, APPLY),
        ({"cycle": build_cycle(status="selling", quantity=Decimal(1))}, []),
        ({"cycle": build_cycle(status="buying", quantity=Decimal(1))}, []),
        ({"cycle": build_cycle(status="cooldown")}, []),
    ],
)
def test_coins_that_do_not_fit(fields, expected):
    assert actions(holdings=[holding(**fields)]) == expected


def own(order, cycle="the order's", **fields):
    """An order that the database does not have, of the plain cycle at seq 0."""
    plain = {
        "order": order,
        "cycle": build_cycle() if cycle == "the order's" else cycle,
        "order_seq": 0,
        "journaled_qty": None,
        "is_linked": False,
    }
    return OwnOrder(**plain | fields)


ENDED = build_cycle(status="complete", completed_at=NOW)
CATCH_UP = [(Action.CATCH_UP, "order_recovered")]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        (own(build_order()), APPLY),
        (own(build_order(**FILLED)), APPLY),
        (own(build_order(**CANCELED)), APPLY),
        (own(build_order(), is_linked=True), []),
        (own(build_order(**FILLED), is_linked=True), APPLY),
        (own(build_order(**FILLED), None, order_seq=None, is_linked=True), APPLY),
        (own(build_order(**FILLED), journaled_qty=Decimal("0.001")), LATE),
        (own(build_order(**FILLED), journaled_qty=Decimal("0.002")), []),
        (own(build_order(**CANCELED), journaled_qty=Decimal(0)), []),
        (own(build_order(), order_seq=3), CATCH_UP),
        (own(build_order(**FILLED), build_cycle(order_seq=2)), LATE),
        (own(build_order(**CANCELED), build_cycle(order_seq=2)), []),
        (own(build_order(), build_cycle(order_seq=2)), STRAY),
        (own(build_order(**FILLED), ENDED), LATE),
        (own(build_order(**CANCELED), ENDED), []),
        (own(build_order(), ENDED), STRAY),
        (own(build_order(), None, order_seq=None), UNCLAIMED),
        (own(build_order(**PART), None, order_seq=None), UNCLAIMED),
        (own(build_order(**CANCELED), None, order_seq=None), []),
    ],
)
def test_an_order_of_ours(known, expected):
    assert actions(orders=[known]) == expected


def test_one_order_is_one_finding_however_it_was_found():
    order = build_order(**FILLED)
    cycle = build_cycle()
    assert (
        actions(
            orders=[own(order, cycle)],
            waiting=[waiting("buying", order)],
            holdings=[holding(current_order=order)],
        )
        == APPLY
    )


def test_a_cooldown_without_end_is_reported_and_a_common_one_is_not():
    cooling = build_cycle(status="cooldown")
    common = build_state(cycle=cooling, previous_completed_at=NOW)
    assert actions(cooldowns=[common]) == []
    endless = build_state(cycle=cooling)
    assert actions(cooldowns=[endless]) == [(Action.ALERT, "cooldown_endless")]


def test_what_was_reported_of_a_cycle_is_not_reported_again_and_repairs_are_not_held_back():
    short = holding(**THERE, short_by=Decimal("0.01"))
    reported = frozenset({(42, "position_short"), (42, "position_gone")})
    snapshot = Snapshot(now=NOW, holdings=(short,), reported=reported)
    assert plan_repairs(snapshot) == []
    gone = Snapshot(now=NOW, holdings=(holding(),), reported=reported)
    assert [one.action for one in plan_repairs(gone)] == [Action.END_IN_ERROR]


def findings(**parts):
    return plan_repairs(Snapshot(now=NOW, **{name: tuple(items) for name, items in parts.items()}))


@pytest.mark.parametrize(
    "change",
    [
        {"quantity": Decimal("0.2")},
        {"order_seq": 2},
        {"updated_at": NOW + timedelta(seconds=1)},
        {"id": 43},
    ],
)
def test_only_what_two_snapshots_found_in_the_same_state_is_a_fact(change):
    first = findings(holdings=[holding()])
    assert confirmed(first, findings(holdings=[holding()])) == first
    touched = holding(cycle=build_cycle(**{"quantity": Decimal("0.1")} | change))
    assert confirmed(first, findings(holdings=[touched])) == []


def test_an_order_that_fills_on_between_two_snapshots_is_no_fact_yet():
    first = findings(orders=[own(build_order(**PART))])
    more = findings(orders=[own(build_order(**PART | {"filled_qty": "0.0015"}))])
    assert confirmed(first, more) == []


def test_an_error_is_what_a_person_must_act_on():
    def severity(**parts):
        return [one.severity for one in findings(**parts)]

    assert severity(holdings=[holding()]) == [Severity.ERROR]
    assert severity(holdings=[holding(**THERE, short_by=Decimal(1))]) == [Severity.ERROR]
    assert severity(holdings=[holding(**THERE, surplus=Decimal(1))]) == [Severity.WARNING]
    assert severity(holdings=[holding(**NO_COINS | FOREIGN)]) == [Severity.ERROR]
    assert severity(orders=[own(build_order(), None, order_seq=None)]) == [Severity.ERROR]
    assert severity(waiting=[waiting()]) == [Severity.WARNING]


def test_two_orders_of_one_cycle_are_two_findings_in_the_order_of_their_submission():
    second = build_order(build_cycle(order_seq=1), id=OTHER_ORDER_ID, **FILLED)
    found = findings(orders=[own(build_order(**FILLED)), own(second, order_seq=1)])
    assert [one.action for one in found] == [Action.APPLY_ORDER, Action.CATCH_UP]
