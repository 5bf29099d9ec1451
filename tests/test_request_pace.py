"""The pace of reads: under the exchange's count, and under 200 in any minute at all."""

from __future__ import annotations

import time

import pytest

from utils import alpaca_http


@pytest.fixture
def clock(monkeypatch):
    """A monotonic clock that a test moves."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(alpaca_http.time, "monotonic", lambda: Clock.now)
    return Clock


def answer(pace, remaining, limit=200):
    headers = {
        "X-RateLimit-Limit": str(limit),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset": str(time.time() + 30),
    }
    pace.learn(headers)


def test_two_minutes_of_the_exchange_do_not_add_up_to_twice_the_allowance_in_one(clock):
    pace = alpaca_http._RatePace()
    for used in range(139):  # at the end of the exchange's minute
        answer(pace, 199 - used)
    assert pace.seconds_until_allowed() == 0
    clock.now += 20  # the next minute of the exchange: its count begins anew
    answer(pace, 199)
    assert pace.seconds_until_allowed() == alpaca_http.LONGEST_RATE_WAIT_SECONDS, "40, bounded"
    clock.now += 35
    assert pace.seconds_until_allowed() == 5, "until the oldest of the 140 is a minute old"
    clock.now += 5
    assert pace.seconds_until_allowed() == 0


def test_an_account_with_a_larger_allowance_is_not_held_back(clock):
    pace = alpaca_http._RatePace()
    for _ in range(400):
        answer(pace, 500, limit=1000)
    assert pace.seconds_until_allowed() == 0


def test_without_the_headers_there_is_nothing_to_respect(clock):
    pace = alpaca_http._RatePace()
    for _ in range(400):
        pace.learn({})
    assert pace.seconds_until_allowed() == 0
