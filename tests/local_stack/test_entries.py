"""The audit of when cycles begin and buys are sent: sound evidence passes, a fault is named."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest

from builders import FEE_RATE, NOW, SYMBOL, build_asset, build_cycle, build_order, build_rules
from domain.asset import StartMode
from local_stack.audit.entries import find_buys_in_a_pause, find_unrequested_cycles
from local_stack.audit.ledgers import Evidence, OrderStep

REQUESTED = {"kind": "open_requested", "cycle_id": 42}


def evidence(*, sent_after=0.0, side="buy", orders=True, **asset):
    """One order of cycle 42, sent so many seconds after NOW."""
    cycle = build_cycle(status="buying" if side == "buy" else "selling")
    order = build_order(cycle, side=side)
    at = NOW + timedelta(seconds=sent_after)
    return Evidence(
        assets=(build_asset(**asset),),
        rows=(cycle,),
        journal=(),
        orders=(order,) if orders else (),
        fills=(),
        steps=(OrderStep(order.id, "pending_new", at, Decimal(0), Decimal(0)),),
        rules={SYMBOL: build_rules()},
        fee_rate=FEE_RATE,
        booked_at={},
    )


@pytest.mark.parametrize(
    ("asset", "orders", "events", "is_found"),
    [
        ({}, True, [], False),
        ({"start_mode": StartMode.MANUAL}, True, [REQUESTED], False),
        ({"start_mode": StartMode.MANUAL}, False, [], False),
        ({"start_mode": StartMode.MANUAL}, True, [], True),
        ({"start_mode": StartMode.MANUAL}, True, [REQUESTED | {"cycle_id": 41}], True),
    ],
)
def test_a_manual_start_sends_nothing_without_a_request(asset, orders, events, is_found):
    found = list(find_unrequested_cycles(evidence(orders=orders, **asset), events))
    assert bool(found) is is_found


def alert(severity, seconds):
    at = (NOW + timedelta(seconds=seconds)).replace(tzinfo=None)
    known = {"kind": "buys_stopped", "dedupe_key": "DUMP_PAUSE_PERCENT", "created_at": at}
    return known | {"severity": severity}


PAUSE = [alert("error", 0), alert("info", 60)]
LIMIT = [
    alert(severity, seconds) | {"dedupe_key": "MAX_LOSS_USD_PER_DAY"}
    for severity, seconds in (("error", 0), ("info", 120))
]


@pytest.mark.parametrize(
    ("sent_after", "side", "events", "is_found"),
    [
        (30, "buy", PAUSE, True),
        (30, "sell", PAUSE, False),
        (30, "buy", [], False),
        (30, "buy", PAUSE[:1], False),
        (10, "buy", PAUSE, False),
        (55, "buy", PAUSE, False),
        (-30, "buy", PAUSE, False),
        (80, "buy", [PAUSE[0], alert("info", 120)], False),  # its end was written late
        (80, "buy", LIMIT, True),
    ],
)
def test_no_buy_is_sent_in_a_pause_but_for_one_that_was_on_its_way(
    sent_after, side, events, is_found
):
    sent = evidence(sent_after=sent_after, side=side)
    found = list(find_buys_in_a_pause(sent, events, timedelta(seconds=60)))
    assert bool(found) is is_found
