"""The guard of one symbol: it waits for outcomes and spaces attempts. Pure: time is an argument."""

from __future__ import annotations

import logging

import pytest

from domain.orders import Side
from trading.placement_guard import (
    LINK_SECONDS,
    MAX_BACKOFF_SECONDS,
    PAUSE_SECONDS,
    PlacementGuard,
)

ID, UNKNOWN_SECONDS = "dca-1-a1b2c3d4-0", 30.0


@pytest.fixture
def guard():
    return PlacementGuard("BTC/USD", UNKNOWN_SECONDS)


def test_a_fresh_guard_waits_for_nothing(guard):
    assert not guard.is_waiting_for(ID)
    assert guard.seconds_until_ask(0) == 0
    assert guard.seconds_until_allowed(Side.BUY, 0) == 0


def test_a_sent_order_is_waited_for_until_its_event_is_late_then_asked_for(guard):
    guard.sending(ID, 100)
    assert guard.is_waiting_for(ID)
    assert not guard.is_waiting_for("dca-1-a1b2c3d4-1"), "the next state may send"
    assert guard.seconds_until_ask(100) == LINK_SECONDS
    assert guard.seconds_until_ask(100 + LINK_SECONDS) == 0
    guard.found(110)
    assert guard.is_waiting_for(ID)
    assert guard.seconds_until_ask(110) == LINK_SECONDS


@pytest.mark.parametrize(
    ("why", "asked_at", "waits"),
    [
        ("nothing was asked", [], True),
        ("one 404", [100], True),
        ("two at once", [100, 100], True),
        ("two a little apart", [100, 129], True),
        ("many, all too early", [100, 110, 120, 129.9], True),
        ("two far enough apart", [100, 130], False),
        ("the first counts", [100, 110, 131], False),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_after_an_unknown_outcome_two_404s_far_enough_apart_free_the_state(
    guard, why, asked_at, waits
):
    guard.sending(ID, 99)
    guard.unknown(100)
    assert guard.seconds_until_ask(100) == 0, "the id is asked for at once"
    for moment in asked_at:
        guard.not_found(moment)
    assert guard.is_waiting_for(ID) is waits


def test_a_404_plans_the_second_question_and_a_find_forgets_the_first(guard):
    guard.sending(ID, 99)
    guard.unknown(100)
    guard.not_found(100)
    assert guard.seconds_until_ask(100) == UNKNOWN_SECONDS
    guard.not_found(110)
    assert guard.seconds_until_ask(110) == 20
    guard.found(120)
    guard.not_found(131)
    assert guard.is_waiting_for(ID), "the 404 before the find does not count"


def test_refusals_back_off_longer_each_time_and_the_fifth_buy_pauses(guard, caplog):
    waits = []
    for _ in range(5):
        guard.sending(ID, 0)
        guard.refused(Side.BUY, 0)
        assert not guard.is_waiting_for(ID)
        waits.append(guard.seconds_until_allowed(Side.BUY, 0))
    assert waits == [5, 10, 20, 40, PAUSE_SECONDS]
    [record] = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert record.getMessage().startswith("buying.paused symbol=BTC/USD")


def test_five_refusals_are_one_alert(guard, caplog):
    for _ in range(14):
        guard.refused(Side.BUY, 0)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2


def test_sells_are_never_paused_however_often_they_are_refused(guard, caplog):
    for _ in range(3000):
        guard.refused(Side.SELL, 0)
        assert guard.seconds_until_allowed(Side.SELL, 0) <= MAX_BACKOFF_SECONDS
    assert "paused" not in caplog.text


@pytest.mark.parametrize(("refused", "goes_on"), [(Side.BUY, Side.SELL), (Side.SELL, Side.BUY)])
def test_a_refusal_of_one_side_does_not_hold_back_the_other(guard, refused, goes_on):
    for _ in range(5):
        guard.refused(refused, 0)
    assert guard.seconds_until_allowed(goes_on, 0) == 0
    guard.refused(goes_on, 0)
    assert guard.seconds_until_allowed(goes_on, 0) == 5


def test_a_filled_order_starts_the_count_from_zero(guard):
    for _ in range(4):
        guard.refused(Side.BUY, 0)
    guard.succeeded(Side.BUY)
    assert guard.seconds_until_allowed(Side.BUY, 0) == 0
    guard.refused(Side.BUY, 0)
    assert guard.seconds_until_allowed(Side.BUY, 0) == 5


def test_a_backoff_passes(guard):
    guard.refused(Side.BUY, 100)
    assert guard.seconds_until_allowed(Side.BUY, 104) == 1
    assert guard.seconds_until_allowed(Side.BUY, 105) == 0
