"""Changes that only comparing finds: missing orders, vanished positions, late fills. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from builders import (
    FEE_RATE,
    NOW,
    ORDER_ID,
    build_circumstances,
    build_cycle,
    build_entry,
    build_order,
)
from domain.cycle import CycleStatus
from domain.events import Severity
from domain.journal import Purpose
from strategy.repairs import (
    compute_correction,
    compute_missing_order_change,
    compute_position_gone_change,
)

AROUND = build_circumstances()
PART = {"filled_qty": Decimal("0.001"), "filled_avg_price": Decimal(50000)}


@pytest.mark.parametrize("status", ["buying", "selling"])
def test_a_missing_order_frees_the_cycle_and_leaves_its_seq_alone(status):
    cycle = build_cycle(status=status, quantity=Decimal("0.002"), latest_order_id="fake_id")
    change = compute_missing_order_change(cycle, AROUND)
    assert dict(change.cycle_updates) == {
        "status": CycleStatus.WATCHING,
        "latest_order_id": None,
    }
    [event] = change.events
    assert event.severity is Severity.WARNING
    assert "fake_id" in event.reason
    assert change.journal is None


def test_a_missing_early_restart_goes_back_to_its_cooldown():
    cooling = replace(AROUND, cooldown_until=NOW + timedelta(seconds=1))
    change = compute_missing_order_change(build_cycle(status="buying"), cooling)
    assert change.cycle_updates["status"] is CycleStatus.COOLDOWN


def test_a_vanished_position_ends_in_error_with_an_alert():
    cycle = build_cycle(quantity=Decimal("0.1"))
    change = compute_position_gone_change(cycle, AROUND)
    assert change.next_cycle is CycleStatus.WATCHING
    [event] = change.events
    assert event.severity is Severity.ERROR
    assert "0.1 coins" in event.reason
    assert "60 s" in event.reason


# Late fills.


def correction(cycle, order, journaled, order_seq=0, circumstances=AROUND):
    return compute_correction(cycle, order, journaled, order_seq, circumstances)


def late_buy(filled="0.002", price="49000", **fields):
    return build_order(status="canceled", filled_qty=filled, filled_avg_price=price, **fields)


@pytest.mark.parametrize(
    ("filled", "price"), [("0", None), ("0.001", "50000"), ("0.0005", "50000")]
)
def test_what_the_journal_knows_already_is_no_correction(filled, price):
    cycle = build_cycle(quantity=Decimal("0.001"))
    assert correction(cycle, late_buy(filled, price), [build_entry(**PART)]) is None


def test_a_late_fill_is_booked_with_its_own_price_and_row_and_an_alert():
    cycle = build_cycle(quantity=Decimal("0.001"))
    order = late_buy("0.002", "49000")  # 0.001 at 50,000 was known: the rest came at 48,000
    change = correction(cycle, order, [build_entry(**PART)])
    assert dict(change.cycle_updates) == {
        "quantity": Decimal("0.002"),
        "average_purchase_price": Decimal(49000),
        "last_order_fill_price": Decimal(48000),
    }
    entry = change.journal
    assert entry.client_order_id == f"{order.client_order_id}/c1"
    assert (entry.filled_qty, entry.filled_avg_price) == (Decimal("0.001"), Decimal(48000))
    assert entry.fee_qty == Decimal("0.001") * FEE_RATE
    assert (entry.order_seq, entry.purpose) == (0, Purpose.BASE)
    [event] = change.events
    assert (event.severity, event.kind) == (Severity.ERROR, "fill_corrected")


def test_each_further_correction_has_a_number_of_its_own():
    known = [build_entry(**PART), build_entry(**PART)]
    change = correction(build_cycle(quantity=Decimal("0.002")), late_buy("0.003", "50000"), known)
    assert change.journal.client_order_id.endswith("/c2")
    assert change.journal.filled_qty == Decimal("0.001")


@pytest.mark.parametrize(
    ("why", "held", "known", "extra_counts"),
    [
        ("the order had counted", "0.003", PART, False),
        ("only dust of it was known", "0.003", PART | {"filled_qty": Decimal("0.00001")}, True),
        ("nothing of it was known", "0.003", {}, True),
        ("it was the base order", "0", {}, False),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) and " " in value else "",
)
def test_a_late_fill_counts_as_a_safety_order_once(why, held, known, extra_counts):
    cycle = build_cycle(quantity=Decimal(held), safety_orders=1)
    change = correction(cycle, late_buy("0.002", "50000"), [build_entry(**known)])
    assert change.cycle_updates.get("safety_orders") == (2 if extra_counts else None)


def test_a_late_fill_of_dust_neither_counts_nor_moves_the_reference_price():
    cycle = build_cycle(quantity=Decimal("0.003"), safety_orders=1)
    change = correction(cycle, late_buy("0.00005", "40000"), [])
    assert change.cycle_updates.keys() == {"quantity", "average_purchase_price"}


@pytest.mark.parametrize(
    ("why", "known", "filled", "extra_price"),
    [
        ("a negative difference", ("0.002", "50000.03"), ("0.002000001", "50000"), "50000"),
        ("a difference of nothing", ("0.001", "50000"), ("0.002", "25000"), "25000"),
        ("a coin below a dollar", ("1000", "0.4"), ("2000", "0.45"), "0.5"),
    ],
    ids=lambda value: value.replace(" ", "_") if isinstance(value, str) and " " in value else "",
)
def test_rounded_averages_never_make_a_price_that_nobody_pays(why, known, filled, extra_price):
    qty, price = map(Decimal, known)
    cycle = build_cycle(quantity=qty)
    booked = build_entry(filled_qty=qty, filled_avg_price=price)
    change = correction(cycle, late_buy(*filled), [booked])
    assert change.journal.filled_avg_price == Decimal(extra_price)


@pytest.mark.parametrize(("held", "purpose"), [("0", Purpose.BASE), ("0.003", Purpose.SAFETY)])
def test_a_late_buy_that_the_journal_does_not_know_is_named_by_what_was_held(held, purpose):
    change = correction(build_cycle(quantity=Decimal(held)), late_buy(), [])
    assert change.journal.purpose is purpose


@pytest.mark.parametrize("status", ["complete", "error"])
@pytest.mark.parametrize("side", ["buy", "sell"])
def test_a_fill_for_a_closed_cycle_is_journaled_and_the_row_stays(status, side):
    cycle = build_cycle(status=status, quantity=Decimal("0.002"))
    order = build_order(side=side, status="filled", **PART)
    change = correction(cycle, order, [], order_seq=5)
    assert dict(change.cycle_updates) == {}
    assert change.journal.client_order_id == order.client_order_id
    assert (change.journal.order_seq, change.journal.filled_qty) == (5, Decimal("0.001"))
    assert change.events[0].severity is Severity.ERROR
    assert change.next_cycle is None


def test_a_late_sell_lowers_what_the_cycle_holds():
    cycle = build_cycle(quantity=Decimal("0.004"))
    order = build_order(side="sell", status="canceled", **PART)
    change = correction(cycle, order, [])
    assert dict(change.cycle_updates) == {"quantity": Decimal("0.003")}
    assert change.journal.fee_usd == Decimal("0.13"), "0.125 rounded up to the cent"
    assert change.journal.purpose is Purpose.TAKE_PROFIT


def test_a_late_sell_of_everything_completes_the_cycle():
    cycle = build_cycle(quantity=Decimal("0.002"))
    order = build_order(
        side="sell", status="canceled", filled_qty="0.001995", filled_avg_price="51000"
    )
    circumstances = replace(AROUND, coin_fees=Decimal("0.000005"))
    change = correction(
        cycle, order, [build_entry(order, filled_qty=Decimal(0))], circumstances=circumstances
    )
    assert dict(change.cycle_updates) == {
        "status": CycleStatus.COMPLETE,
        "completed_at": order.ended_at,
        "latest_order_id": None,
    }
    assert change.asset_updates == {"last_sell_price": Decimal(51000)}
    assert change.next_cycle is CycleStatus.COOLDOWN


@pytest.mark.parametrize("status", ["buying", "selling"])
def test_while_another_order_is_out_a_late_sell_only_lowers_the_quantity(status):
    cycle = build_cycle(status=status, quantity=Decimal("0.001"), latest_order_id=ORDER_ID)
    change = correction(cycle, build_order(side="sell", status="canceled", **PART), [])
    assert dict(change.cycle_updates) == {"quantity": Decimal(0)}
    assert change.next_cycle is None
