"""The pace of requests: under the allowance in any 60 seconds, whoever of us sends them."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from utils import alpaca_http, request_pace
from utils.alpaca_client_rest import (
    fetch_latest_quote,
    fetch_orders,
    get_trading_client,
    place_limit_buy_order,
)
from utils.alpaca_http import RateLimited
from utils.request_pace import FILE_NAME, AllowanceUsedUp, RequestPace
from utils.state_file import locked

READS = 160  # of the usual 200


class Clock:
    """A monotonic clock that a test moves; a sleep moves it, too."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        self.now += 1e-6
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    ours = Clock()
    monkeypatch.setattr(request_pace.time, "monotonic", ours.monotonic)
    monkeypatch.setattr(request_pace.time, "sleep", ours.sleep)
    return ours


@pytest.fixture
def path(tmp_path):
    return tmp_path / FILE_NAME


def answer(pace, remaining, limit=200):
    pace.learn(
        {
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(remaining),
            "X-RateLimit-Reset": str(time.time() + 30),
        }
    )


def take(pace, count, *, reads=True):
    for _ in range(count):
        pace.take(reads=reads)


def test_two_minutes_of_the_exchange_do_not_add_up_to_twice_the_allowance_in_one(clock, path):
    pace = RequestPace(path)
    take(pace, READS)  # at the end of the exchange's minute
    clock.now += 45
    answer(pace, 199)  # its next minute: its count begins anew
    pace.take(reads=True)
    assert clock.slept == [pytest.approx(15, abs=0.01)], "until the oldest is a minute old"


def test_all_processes_share_one_minute_and_one_that_starts_again_remembers_it(clock, path):
    daemon, caretaker = RequestPace(path), RequestPace(path)
    take(daemon, 80)
    take(caretaker, READS - 80)
    assert not clock.slept
    again = RequestPace(path)  # the daemon after a kill -9
    again.take(reads=True)
    assert not clock.slept, "its first request does not wait: a start must not hang on others"
    with pytest.raises(AllowanceUsedUp):
        again.take(reads=True)
    assert sum(clock.slept) == pytest.approx(request_pace.LONGEST_WAIT_SECONDS, abs=0.01)
    clock.now += 41
    take(RequestPace(path), READS)


def test_an_order_waits_for_no_read_and_goes_out_until_the_whole_allowance_is_used(clock, path):
    pace = RequestPace(path)
    take(pace, READS)
    take(pace, 200 - READS, reads=False)
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=False)
    assert not clock.slept
    assert pace.requests_left() == 0
    clock.now += 60
    take(pace, 200, reads=False)


def test_reads_leave_the_rest_of_the_exchanges_own_minute_to_orders(clock, path):
    pace = RequestPace(path)
    pace.take(reads=True)
    answer(pace, 20)  # another program has used it up
    assert pace.requests_left() == 20
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=True)
    pace.take(reads=False)


@pytest.mark.parametrize("reset", ["inf", "-inf", "nan", "9e300", "1e12", "4102444800", "0", "-5"])
def test_whatever_a_header_or_a_wrong_clock_makes_of_its_end_the_minute_ends(clock, path, reset):
    pace = RequestPace(path)
    pace.take(reads=True)
    pace.learn({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset})
    clock.now += 60
    pace.take(reads=True)
    assert not clock.slept


@pytest.mark.parametrize("limit", ["-1", "9" * 400, "many", "nan", "1e5"])
def test_a_limit_that_is_none_says_nothing(clock, path, limit):
    pace = RequestPace(path)
    pace.learn(
        {"X-RateLimit-Limit": limit, "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "inf"}
    )
    take(pace, READS)
    assert not clock.slept


def test_a_small_allowance_is_shared_alike(clock, path):
    pace = RequestPace(path)
    answer(pace, 19, limit=20)
    take(pace, 16)
    assert not clock.slept


def test_a_larger_allowance_is_used_by_the_next_process_too_and_no_allowance_is_no_limit(
    clock, path
):
    pace = RequestPace(path)
    answer(pace, 990, limit=1000)
    take(pace, 1)
    take(RequestPace(path), 600)
    unlimited = RequestPace(path)
    answer(unlimited, 0, limit=0)
    take(unlimited, 600)
    assert unlimited.requests_left() is None
    assert not clock.slept


def test_an_allowance_of_one_still_lets_one_out(clock, path):
    pace = RequestPace(path)
    answer(pace, 30, limit=1)
    pace.take(reads=True)
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=False)


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "{",
        "[]",
        '{"limit": "many", "sent": 5}',
        '{"limit": -1, "sent": [null, "x", [1], NaN, Infinity, -Infinity, 1e300]}',
        json.dumps({"sent": [1e9, -1e9]}),
        '{"limit": true, "sent": [true, false]}',
        '{"limit": ' + "9" * 400 + "}",
        "[" * 100_000,
    ],
)
def test_garbage_in_the_file_counts_as_nothing_and_is_replaced(clock, path, garbage):
    path.write_text(garbage)
    take(RequestPace(path), READS)
    assert len(json.loads(path.read_text())["sent"]) == READS
    assert not clock.slept


def test_while_the_file_cannot_be_used_a_process_counts_alone_and_tells_afterwards(
    clock, path, caplog
):
    pace = RequestPace(path)
    take(pace, 10)
    with locked(path.with_suffix(".lock")):  # as a suspended process would
        take(pace, 1)
        began = clock.now
        take(pace, 20)
        assert clock.now - began < 0.01, "it does not try again each time"
    clock.now += 5
    path.unlink()
    path.mkdir()
    take(pace, 1)
    path.rmdir()
    clock.now += 5
    take(pace, 1)
    assert len(json.loads(path.read_text())["sent"]) == 33, "nothing was forgotten"
    told = [record for record in caplog.records if "requests.counted_alone" in record.message]
    assert len(told) == 1, "once, as long as it lasts"


def _take_many(path: Path, count: int) -> None:
    take(RequestPace(path), count, reads=False)


def test_real_processes_together_send_no_more_than_the_allowance(path):
    several = multiprocessing.get_context("spawn")
    children = [several.Process(target=_take_many, args=(path, 50)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0] * 4
    with pytest.raises(AllowanceUsedUp):
        RequestPace(path).take(reads=False)


# With the real SDK.


def test_every_trading_request_is_counted_and_no_request_for_market_data(settings, exchange):
    client = get_trading_client()
    fetch_orders(client, status="open")
    place_limit_buy_order(client, "BTC/USD", "0.011", 1000)
    before = exchange.state()["requests"]["total"]
    exchange.push_quote("BTC/USD", 50000, 50001)
    fetch_latest_quote("BTC/USD")
    sent = json.loads((settings.run_dir / FILE_NAME).read_text())["sent"]
    assert len(sent) == before == 2


def test_a_used_up_allowance_refuses_an_order_before_it_is_sent(settings, exchange, caplog):
    client = get_trading_client()
    take(alpaca_http._pace, 200, reads=False)
    with pytest.raises(RateLimited, match="this minute's requests are used up"):
        place_limit_buy_order(client, "BTC/USD", "0.011", 1000)
    assert "order.not_sent" in caplog.text
    assert exchange.state()["requests"]["total"] == 0
