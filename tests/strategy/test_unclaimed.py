"""When an order that no cycle claims matters: by the coins of its symbol. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from builders import FEE_RATE, NOW, build_cycle, build_order, build_rules, build_state
from strategy.reconciliation_facts import UnclaimedOrder
from strategy.unclaimed import (
    RECOVERY_TIME,
    cure_of_foreign_coins,
    describe_foreign_coins,
    describe_unclaimed,
    measure_unclaimed,
)

ORDER = build_order(
    status="filled", filled_qty="0.002", filled_avg_price="50000", ended_at=NOW - RECOVERY_TIME
)
HELD = Decimal("0.002")
FEES = {"coin_fees": Decimal("0.000005")}
MOVING, EXPLAINED, UNEXPLAINED = (
    UnclaimedOrder(order=ORDER, may_still_change=True),
    UnclaimedOrder(order=ORDER, is_explained=True),
    UnclaimedOrder(order=ORDER),
)


def holds(status="watching", **fields):
    return build_state(cycle=build_cycle(status=status, quantity=HELD), **FEES | fields)


@pytest.mark.parametrize(
    ("why", "state", "account_qty", "expected"),
    [
        ("no asset, no coins", None, "0", EXPLAINED),
        ("no asset, dust", None, "0.00009999", EXPLAINED),
        ("no asset, coins", None, "0.0001", UNEXPLAINED),
        ("what the fees left of the cycle", holds(), "0.001995", EXPLAINED),
        ("dust more", holds(), "0.00209499", EXPLAINED),
        ("more than dust more", holds(), "0.002095", UNEXPLAINED),
        ("less by rounding", holds(), "0.00199449", EXPLAINED),
        ("fewer", holds(), "0.00199448", UNEXPLAINED),
        ("what earlier cycles left", holds(leftover=HELD), "0.003995", EXPLAINED),
        ("more than earlier cycles left", holds(leftover=HELD), "0.004095", UNEXPLAINED),
        ("the cycle buys", holds("buying"), "0.001995", MOVING),
        ("the cycle sells", holds("selling"), "9", MOVING),
        ("in cooldown", holds("cooldown"), "0.001995", EXPLAINED),
        ("its cycle is closed", holds("complete"), "0", EXPLAINED),
        ("coins of a closed cycle", holds("complete"), "0.001995", UNEXPLAINED),
        ("the cycle counts another coin", holds(other_symbol="ETH/USD"), "0", EXPLAINED),
        ("and moves another coin", holds("buying", other_symbol="ETH/USD"), "0", EXPLAINED),
    ],
    ids=lambda value: value if isinstance(value, str) and " " in value else "",
)
def test_its_coins_are_judged_beside_those_of_the_cycles(why, state, account_qty, expected):
    account = Decimal(account_qty)
    found = measure_unclaimed(ORDER, state, account, build_rules(), FEE_RATE, NOW)
    assert found == expected


@pytest.mark.parametrize("ended_at", [None, NOW - RECOVERY_TIME + timedelta(microseconds=1)])
def test_until_a_fill_is_certainly_booked_and_in_the_position_nothing_is_concluded(ended_at):
    order = replace(ORDER, ended_at=ended_at)
    found = measure_unclaimed(order, None, Decimal(0), build_rules(), FEE_RATE, NOW)
    assert found == UnclaimedOrder(order=order, may_still_change=True)
    assert timedelta(minutes=1) == RECOVERY_TIME


def test_the_words_name_the_order_the_coins_and_the_cure():
    assert ORDER.client_order_id in describe_unclaimed(ORDER)
    assert "holds 0.00002 coins" in describe_foreign_coins(Decimal("0.0000200"))
    assert "adopt BTC/USD" in cure_of_foreign_coins("BTC/USD")
