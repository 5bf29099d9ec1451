"""What an order or a comparison writes: all parts in one transaction, once, or nothing."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from builders import (
    FEE_RATE,
    NOW,
    ORDER_ID,
    OTHER_ORDER_ID,
    build_cycle,
    build_entry,
    build_order,
    build_rules,
)
from daemon_process import wait_until
from domain.cycle import CycleStatus
from domain.events import Event, EventKind, Severity
from domain.orders import Side
from models.asset_config import get_asset_by_id, update_asset_config
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.events import append_event, get_error_events, get_events
from models.order_journal import BookedOrder, append_journal_entry, get_entries_of_cycle
from strategy.booking import CycleChange
from strategy.repairs import (
    compute_cooldown_over_change,
    compute_missing_order_change,
    compute_position_gone_change,
)
from trading.cycle_changes import Applied, alert_once, apply_order, apply_to_cycle, find_claim
from utils.db_utils import close_thread_connection, execute_query, transaction

RULES = build_rules()
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
HELD |= {"last_order_fill_price": Decimal(50000)}
BOUGHT = {"status": "filled", "filled_qty": "0.002", "filled_avg_price": "50000"}
SOLD = {"side": "sell", "status": "filled", "filled_qty": "0.002", "filled_avg_price": "51000"}
PART_SOLD = SOLD | {"status": "canceled", "filled_qty": "0.0005"}


@pytest.fixture
def begin(db_conn, make_asset):
    """Make an asset with a cycle."""

    def begin(status="watching", *, order_seq=0, asset=None, **columns):
        cycle = create_cycle(db_conn, make_asset(**asset or {}).id, status, **columns)
        update_cycle(db_conn, cycle.id, {"order_seq": order_seq})
        return get_cycle(db_conn, cycle.id)

    return begin


def apply(order, **options):
    return apply_order(order, RULES, FEE_RATE, NOW, "a test", **options)


def tables(db_conn):
    """Every row that a change can touch."""
    names = ("dca_assets", "dca_cycles", "dca_orders", "dca_events")
    return [
        execute_query(f"SELECT * FROM {name} ORDER BY id", fetch_all=True, db_conn=db_conn)
        for name in names
    ]


def lines(caplog):
    return [(record.levelname, record.getMessage()) for record in caplog.records]


# An order of the exchange.


def test_an_end_is_booked_with_its_row_and_its_line_and_a_second_time_changes_nothing(
    begin, db_conn, caplog
):
    caplog.set_level(logging.INFO)
    cycle = begin()
    order = build_order(cycle, **BOUGHT)
    result = apply(order)
    assert (result.applied, result.cycle) == (Applied.CHANGED, cycle)
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.order_seq, found.latest_order_id) == ("watching", 1, None)
    assert (found.quantity, found.average_purchase_price) == (Decimal("0.002"), 50000)
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert (entry.order_seq, entry.filled_qty) == (0, Decimal("0.002"))
    assert lines(caplog) == [
        (
            "INFO",
            f"cycle.changed symbol=BTC/USD cycle={cycle.id} seq=0 status=watching>watching side=buy"
            " order_status=filled filled=0.002 price=50000 quantity=0.002 average=50000"
            f' source="a test" id={order.client_order_id}',
        )
    ]
    before = tables(db_conn)
    again = apply(order)
    assert (again.applied, again.cycle.id, again.change) == (
        Applied.NOTHING_NEW,
        cycle.id,
        None,
    )
    assert tables(db_conn) == before
    assert len(caplog.records) == 1


def test_an_open_order_is_linked_and_then_found_by_its_link_whatever_its_own_id(begin, db_conn):
    cycle = begin()
    order = build_order(cycle)
    assert apply(order).applied is Applied.CHANGED
    linked = get_cycle(db_conn, cycle.id)
    assert (linked.status, linked.latest_order_id) == ("buying", order.id)
    again = apply(replace(order, client_order_id="placed by hand"))
    assert (again.applied, again.cycle, again.change) == (Applied.NOTHING_NEW, linked, None)
    end = apply(build_order(client_order_id="placed by hand", **BOUGHT))
    assert (end.applied, end.cycle) == (Applied.CHANGED, linked)
    assert get_cycle(db_conn, cycle.id).order_seq == 1


def test_an_order_of_a_later_seq_waits_for_those_before_it(begin, db_conn):
    cycle = begin()
    before = tables(db_conn)
    result = apply(build_order(replace(cycle, order_seq=2), **BOUGHT))
    assert (result.applied, result.cycle, result.change) == (Applied.AHEAD, cycle, None)
    assert tables(db_conn) == before


@pytest.mark.parametrize(
    ("identity", "applied"),
    [
        ("a user's", Applied.NOT_OURS),
        ("dca-no-number", Applied.UNCLAIMED),
        ("dca-999-a1b2c3d4-0", Applied.UNCLAIMED),  # no such cycle
        ("dca-{id}-zzzzzzzz-0", Applied.UNCLAIMED),  # of another database
    ],
)
def test_an_order_that_no_cycle_claims_changes_nothing(begin, db_conn, identity, applied):
    cycle = begin()
    before = tables(db_conn)
    result = apply(build_order(client_order_id=identity.format(id=cycle.id), **BOUGHT))
    assert (result.applied, result.cycle, result.change) == (applied, None, None)
    assert tables(db_conn) == before


def test_an_order_that_is_booked_for_a_cycle_that_is_gone_is_nothing_new(begin, db_conn):
    cycle = begin()
    order = build_order(cycle, **BOUGHT)
    assert apply(order).applied is Applied.CHANGED
    execute_query("DELETE FROM dca_cycles WHERE id = %s", (cycle.id,), db_conn=db_conn)
    assert apply(order).applied is Applied.NOTHING_NEW
    by_hand = replace(order, client_order_id="placed by hand")
    assert apply(by_hand).applied is Applied.NOT_OURS


def test_an_order_of_a_renamed_asset_is_one_alert_and_is_not_booked(begin, db_conn):
    cycle = begin()
    update_asset_config(db_conn, cycle.asset_id, {"asset_symbol": "ETH/USD"})
    for _ in range(2):
        assert apply(build_order(cycle, **BOUGHT)).applied is Applied.UNCLAIMED
    [event] = get_events(db_conn)
    assert (event["kind"], event["severity"], event["symbol"], event["cycle_id"]) == (
        "asset_renamed",
        "error",
        "BTC/USD",
        cycle.id,
    )
    assert event["dedupe_key"] == "ETH/USD"
    assert get_cycle(db_conn, cycle.id) == cycle
    assert get_entries_of_cycle(db_conn, cycle.id) == []


def test_what_a_status_cannot_have_is_one_alert_for_each_fact(begin, db_conn, caplog):
    cycle = begin("cooldown")
    for status in ("new", "new", "canceled", "canceled"):
        result = apply(build_order(cycle, side="sell", status=status))
        assert (result.applied, result.cycle, result.change) == (Applied.FORBIDDEN, cycle, None)
    keys = [event["dedupe_key"].split()[-1] for event in get_events(db_conn)]
    assert keys == ["sell_ended", "sell_opened"]
    assert [level for level, _ in lines(caplog)] == ["ERROR", "ERROR"]
    assert get_cycle(db_conn, cycle.id) == cycle


# Fills that come after their order's end.


def test_a_late_fill_is_booked_under_the_seq_of_its_order_with_one_line_of_each_kind(
    begin, db_conn, caplog
):
    caplog.set_level(logging.INFO)
    cycle = begin(order_seq=3)
    part = build_order(cycle, **BOUGHT | {"status": "canceled", "filled_qty": "0.001"})
    apply(part)
    caplog.clear()
    result = apply(replace(part, filled_qty=Decimal("0.002")))
    assert (result.applied, result.cycle.order_seq) == (Applied.CORRECTED, 4)
    found = get_cycle(db_conn, cycle.id)
    assert (found.quantity, found.order_seq) == (Decimal("0.002"), 4)
    assert [entry.order_seq for entry in get_entries_of_cycle(db_conn, cycle.id)] == [3, 3]
    changed, corrected = lines(caplog)
    assert changed[0] == "INFO"
    assert "status=watching>watching" in changed[1]
    assert corrected[0] == "ERROR"
    assert corrected[1].startswith("fill.corrected symbol=BTC/USD")
    for field in (f"cycle={cycle.id}", f"order={ORDER_ID}", "key=c1", "reason="):
        assert field in corrected[1]


@pytest.mark.parametrize("seq", [0, 2])
def test_an_unknown_fill_of_a_closed_cycle_is_journaled_under_its_own_seq(begin, db_conn, seq):
    cycle = begin("complete", order_seq=5, completed_at=NOW)
    create_cycle(db_conn, cycle.asset_id, "cooldown")
    result = apply(build_order(replace(cycle, order_seq=seq), **BOUGHT))
    assert (result.applied, result.cycle) == (Applied.CORRECTED, cycle)
    assert get_cycle(db_conn, cycle.id) == cycle
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    assert entry.order_seq == seq


def late_sale(begin, db_conn):
    """A cycle at seq 1 whose sell of seq 0 was canceled, and has sold everything meanwhile."""
    cycle = begin(**HELD)
    empty = build_order(cycle, side="sell", status="canceled")
    assert apply(empty).applied is Applied.CHANGED
    return get_cycle(db_conn, cycle.id), build_order(cycle, **SOLD | {"status": "canceled"})


def test_a_late_sale_that_ends_its_cycle_waits_for_the_answer_about_the_next_order(begin, db_conn):
    cycle, order = late_sale(begin, db_conn)
    before = tables(db_conn)
    result = apply(order)
    assert (result.applied, result.cycle, result.change) == (Applied.UNRESOLVED, cycle, None)
    assert tables(db_conn) == before
    asked = []
    result = apply(order, find_current=asked.append)
    assert asked == [cycle]
    assert (result.applied, result.cycle) == (Applied.CORRECTED, cycle)
    assert get_cycle(db_conn, cycle.id).status == "complete"
    assert get_asset_by_id(db_conn, cycle.asset_id).last_sell_price == 51000
    follower = get_latest_cycle(db_conn, cycle.asset_id)
    assert (follower.status, follower.quantity) == ("cooldown", 0)


def test_an_order_that_was_sent_meanwhile_is_applied_before_a_late_sale(begin, db_conn):
    cycle, order = late_sale(begin, db_conn)
    current = build_order(cycle, id=OTHER_ORDER_ID)
    result = apply(order, find_current=lambda _: current)
    assert result.applied is Applied.CORRECTED
    found = get_cycle(db_conn, cycle.id)
    assert (found.status, found.latest_order_id, found.quantity) == ("buying", OTHER_ORDER_ID, 0)
    assert get_latest_cycle(db_conn, cycle.asset_id) == found


def test_only_what_would_end_its_cycle_asks_for_the_next_order(begin):
    cycle = begin(**HELD)
    for order in (build_order(cycle), build_order(cycle, **PART_SOLD)):
        assert apply(order, find_current=pytest.fail).applied is Applied.CHANGED


# What a change depends on is read in its own transaction.


@pytest.mark.parametrize(
    ("before", "seconds", "status"),
    [("complete", 59, "cooldown"), ("complete", 60, "watching"), ("error", 1, "watching")],
)
def test_a_canceled_early_restart_goes_back_to_what_is_left_of_its_cooldown(
    begin, db_conn, before, seconds, status
):
    previous = begin(before, completed_at=NOW - timedelta(seconds=seconds))
    cycle = create_cycle(db_conn, previous.asset_id, "buying")
    assert apply(build_order(cycle, status="canceled")).applied is Applied.CHANGED
    assert get_cycle(db_conn, cycle.id).status == status


def test_coins_that_the_fees_of_its_buys_took_do_not_keep_a_cycle_open(begin, db_conn):
    cycle = begin(**HELD, order_seq=1)
    buy = build_order(replace(cycle, order_seq=0), **BOUGHT)
    fees = {"asset_id": cycle.asset_id, "cycle_id": cycle.id, "fee_qty": Decimal("0.0004")}
    append_journal_entry(db_conn, build_entry(buy, **fees))
    sell = build_order(cycle, id=OTHER_ORDER_ID, **SOLD | {"filled_qty": "0.0016"})
    assert apply(sell).applied is Applied.CHANGED
    assert get_cycle(db_conn, cycle.id).status == "complete"


def test_what_is_booked_ends_the_alerts_about_its_order(begin, db_conn):
    cycle = begin()
    for kind in (EventKind.ORDER_UNCLAIMED, EventKind.ASSET_RENAMED):
        append_event(
            db_conn,
            Event(kind=kind, severity=Severity.ERROR, reason="as it was", order_id=ORDER_ID),
        )
    apply(build_order(cycle, **BOUGHT))
    assert [row.kind for row in get_error_events(db_conn, 60, 9)] == ["asset_renamed"]


# Who claims an order.


def test_the_link_claims_before_the_journal_and_the_journal_before_the_orders_own_id():
    cycles = {42: build_cycle(), 43: build_cycle(id=43)}
    order = build_order(cycles[42])
    booked = BookedOrder(43, 7, Decimal(0))
    assert find_claim(order, cycles[43], None, cycles.get) == (cycles[43], None)
    assert find_claim(order, cycles[42], booked, cycles.get) == (cycles[42], None)
    assert find_claim(order, None, booked, cycles.get) == (cycles[43], 7)
    assert find_claim(order, None, None, cycles.get) == (cycles[42], 0)
    assert find_claim(order, None, None, {}.get) == (None, None)
    other_key = {42: build_cycle(order_key="zzzzzzzz")}
    assert find_claim(order, None, None, other_key.get) == (None, None)
    by_hand = replace(order, client_order_id="placed by hand")
    assert find_claim(by_hand, None, None, cycles.get) == (None, None)


def test_a_link_that_is_gone_once_the_row_is_locked_claims_nothing(begin, db_conn):
    cycle = begin("buying", latest_order_id=ORDER_ID)
    order = build_order(client_order_id="placed by hand", **BOUGHT)

    def apply_in_thread():
        try:
            return apply(order).applied
        finally:
            close_thread_connection()

    def move_while_it_waits(connection):
        update_cycle(connection, cycle.id, {"status": "watching", "latest_order_id": None})
        applied = pool.submit(apply_in_thread)
        wait_until(lambda: applied.done() or is_a_row_waited_for(), what="it waits")
        return applied

    with ThreadPoolExecutor(1) as pool:
        applied = transaction(move_while_it_waits, db_conn)
    assert applied.result() is Applied.NOT_OURS
    assert get_cycle(db_conn, cycle.id).order_seq == 0
    assert get_entries_of_cycle(db_conn, cycle.id) == []


def is_a_row_waited_for():
    query = "SELECT id FROM information_schema.processlist WHERE info LIKE %s"
    statement = "SELECT % FROM dca_cycles WHERE id = %FOR UPDATE"
    return execute_query(query, (statement,), fetch_all=True)


# A change found by comparing.


def compare(compute, expected):
    return apply_to_cycle(compute, expected=expected, rules=RULES, fee_rate=FEE_RATE, now=NOW)


def test_what_was_found_by_comparing_is_written_and_logged_while_the_row_is_as_expected(
    begin, db_conn, caplog
):
    cycle = begin(**HELD)
    result = compare(compute_position_gone_change, cycle)
    assert (result.applied, result.cycle) == (Applied.CHANGED, cycle)
    assert get_cycle(db_conn, cycle.id).status == "error"
    assert get_latest_cycle(db_conn, cycle.asset_id).status == "watching"
    assert [event["kind"] for event in get_events(db_conn)] == ["position_gone"]
    [(level, line)] = lines(caplog)
    assert (level, line.split()[0]) == ("ERROR", "position.gone")
    again = compare(compute_position_gone_change, get_cycle(db_conn, cycle.id))
    assert (again.applied, again.change) == (Applied.NOTHING_NEW, None), "a newer cycle is there"


def test_a_repair_that_needs_nobody_is_a_warning(begin, db_conn, caplog):
    cycle = begin("buying", latest_order_id=ORDER_ID)
    assert compare(compute_missing_order_change, cycle).applied is Applied.CHANGED
    assert get_cycle(db_conn, cycle.id).latest_order_id is None
    assert [level for level, _ in lines(caplog)] == ["WARNING"]


@pytest.mark.parametrize(
    "moved",
    [
        {"status": CycleStatus.BUYING},
        {"order_seq": 9},
        {"latest_order_id": OTHER_ORDER_ID},
        {"quantity": Decimal(1)},
        {"id": 999},
    ],
)
def test_a_row_that_moved_since_it_was_compared_is_left_alone(begin, db_conn, moved):
    cycle = begin(**HELD)
    before = tables(db_conn)
    result = compare(lambda *_: pytest.fail("computed"), replace(cycle, **moved))
    assert (result.applied, result.change) == (Applied.NOTHING_NEW, None)
    assert result.cycle == (None if "id" in moved else cycle)
    assert tables(db_conn) == before


def test_a_comparison_that_changes_nothing_or_may_not_is_no_change(begin, db_conn, caplog):
    cycle = begin(**HELD)
    before = tables(db_conn)
    nothing = compare(lambda *_: None, cycle)
    assert (nothing.applied, nothing.cycle) == (Applied.NOTHING_NEW, cycle)
    forbidden = compare(lambda cycle, _: compute_cooldown_over_change(cycle), cycle)
    assert (forbidden.applied, forbidden.cycle) == (Applied.FORBIDDEN, cycle)
    assert nothing.change is forbidden.change is None
    assert tables(db_conn) == before
    assert lines(caplog) == []


def test_no_comparison_changes_a_cycle_that_bought_another_coin(begin, db_conn):
    cycle = begin()
    apply(build_order(cycle, **BOUGHT))
    update_asset_config(db_conn, cycle.asset_id, {"asset_symbol": "ETH/USD"})
    expected = get_cycle(db_conn, cycle.id)
    result = compare(lambda *_: pytest.fail("computed"), expected)
    assert (result.applied, result.cycle, result.change) == (Applied.FORBIDDEN, expected, None)


def test_a_change_writes_the_parts_that_it_has(begin, db_conn):
    cycle = begin(**HELD)
    only_asset = CycleChange(cycle_updates={}, asset_updates={"last_sell_price": Decimal(7)})
    assert compare(lambda *_: only_asset, cycle).applied is Applied.CHANGED
    assert get_cycle(db_conn, cycle.id) == cycle
    assert get_asset_by_id(db_conn, cycle.asset_id).last_sell_price == 7


# Alerts.


def test_an_alert_is_one_row_and_one_line_until_it_is_about_something_else(db_conn, caplog):
    def alert(**about):
        kind = EventKind.ORDER_UNREADABLE
        alert_once(db_conn, kind, "words", "BTC/USD", build_cycle(), **about)

    alert(order_id=ORDER_ID, key="k")
    alert(order_id=ORDER_ID, key="k")
    [event] = get_events(db_conn)
    assert (event["severity"], event["reason"], event["symbol"]) == ("error", "words", "BTC/USD")
    assert (event["cycle_id"], event["order_id"], event["dedupe_key"]) == (42, ORDER_ID, "k")
    [(level, line)] = lines(caplog)
    assert (level, line) == (
        "ERROR",
        f"order.unreadable symbol=BTC/USD cycle=42 order={ORDER_ID} key=k reason=words",
    )
    alert(order_id=OTHER_ORDER_ID, key="k")
    alert(order_id=ORDER_ID, key="another")
    assert len(get_events(db_conn)) == len(caplog.records) == 3


def test_an_order_keeps_its_side_in_the_line_of_its_change(begin, caplog):
    caplog.set_level(logging.INFO)
    cycle = begin(**HELD)
    apply(build_order(cycle, **SOLD))
    [(_, line)] = lines(caplog)
    assert f"status=watching>complete side={Side.SELL}" in line
