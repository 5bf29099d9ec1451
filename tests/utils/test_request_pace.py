"""The pace of requests: under the allowance in any 60 seconds, whoever of us sends them."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from bisect import bisect_left
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon_process import wait_until
from pace_process import start
from utils import alpaca_http, request_pace
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.alpaca_http import RateLimited
from utils.alpaca_queries import fetch_latest_quote, fetch_orders
from utils.request_claims import PERIOD_SECONDS
from utils.request_pace import (
    FILE_NAME,
    MINUTE_SECONDS,
    WINDOW_SECONDS,
    AllowanceUsedUp,
    RequestPace,
)

READS, ALL = 160, 200  # of the usual allowance


class Clock:
    """A monotonic clock that a test moves; a sleep moves it, too.

    `meanwhile` is done once, the next time that it is read after `readings` others: what
    another process does while this one is between two steps.
    """

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.readings, self.meanwhile = 0, None

    def monotonic(self) -> float:
        self.now += 1e-6
        self.readings -= 1
        if self.meanwhile and self.readings < 0:
            work, self.meanwhile = self.meanwhile, None
            work()
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
    return tmp_path / "run" / FILE_NAME


def files(path):
    return sorted(path.parent.glob(f"{path.name}.*"))


def claims(path):
    """How many requests stand in the files, those of other times and withdrawn ones left out."""
    values = []
    for file in files(path):
        for word in file.read_bytes().split():
            with suppress(ValueError):
                values.append(float(word))
    return sum(1 for value in values if 0 < value < 1e9 and -value not in values)


@contextmanager
def unusable(path):
    """The folder cannot be used: a file stands in its place (root could write anywhere)."""
    kept = path.parent.with_name("kept")
    path.parent.rename(kept)
    path.parent.write_text("in the way")
    yield
    path.parent.unlink()
    kept.rename(path.parent)


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
    assert clock.slept == [pytest.approx(WINDOW_SECONDS - 45, abs=0.01)], (
        "until the oldest is too old"
    )


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
    assert sum(clock.slept) == pytest.approx(request_pace.MAX_WAIT_SECONDS, abs=0.01)
    clock.now += WINDOW_SECONDS - 20
    take(RequestPace(path), READS)


def test_an_order_waits_for_no_read_and_goes_out_until_the_whole_allowance_is_used(clock, path):
    pace = RequestPace(path)
    take(pace, READS)
    take(pace, 200 - READS, reads=False)
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=False)
    assert not clock.slept
    assert pace.requests_left() == 0
    clock.now += WINDOW_SECONDS
    take(pace, 200, reads=False)


def test_what_stands_beside_the_daemon_waits_before_the_daemon_does(clock, path, monkeypatch):
    monkeypatch.setattr(alpaca_http, "_pace", alpaca_http._pace)
    monkeypatch.setattr(alpaca_http, "_share_for_reads", alpaca_http._share_for_reads)
    daemon = RequestPace(path)
    alpaca_http.stand_back()
    alpaca_http.pace_requests(path.parent)
    page = alpaca_http._pace
    take(page, ALL // 2)
    with pytest.raises(AllowanceUsedUp):
        page.take(reads=True)
    clock.slept.clear()
    take(daemon, READS - ALL // 2)
    take(page, 1, reads=False)
    assert not clock.slept, "the daemon's reads did not wait, nor does an order of the page"


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


GARBAGE = [
    b"",
    b"{",
    b"[]",
    b'{"limit": "many", "sent": 5}',
    b"nan inf -inf 1e300 -1e300 0 -0.0 1e9 1_0",
    b"\x00\xff\xfe" * 1000,
    b"9",  # the first digit of a torn write
    b"9" * 5000,
    b"[" * 100_000,
]


@pytest.mark.parametrize("garbage", GARBAGE)
def test_garbage_in_the_file_counts_as_nothing(clock, path, garbage):
    pace = RequestPace(path)
    take(pace, 1)
    for file in files(path):
        file.write_bytes(file.read_bytes() + garbage)
    take(pace, 9)
    take(RequestPace(path), READS - 10)
    assert not clock.slept
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=True)


@pytest.mark.parametrize("limit", ["{", "[]", '{"limit": "many"}', '{"limit": -1}', "[" * 100_000])
def test_garbage_in_the_place_of_the_limit_is_no_limit(clock, path, limit):
    path.parent.mkdir()
    path.with_name(request_pace.LIMIT_FILE_NAME).write_text(limit)
    pace = RequestPace(path)
    take(pace, READS)
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=True)


def test_while_the_folder_cannot_be_used_a_process_counts_alone_and_tells_afterwards(
    clock, path, caplog
):
    pace, other = RequestPace(path), RequestPace(path)
    take(pace, 10)
    take(other, 10)
    assert pace.requests_left() == ALL - 20
    began = clock.now
    with unusable(path):
        take(pace, 20)
        assert clock.now - began < 0.01, "it waits for nothing"
        clock.now += 6
        take(pace, ALL - 40, reads=False)
        with pytest.raises(AllowanceUsedUp):
            pace.take(reads=False)
    clock.now += 6
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=False)
    assert RequestPace(path).requests_left() == 0, "nothing was forgotten"
    assert claims(path) in (ALL, ALL + 1), "a claim that failed half-way may count"
    warnings = [record for record in caplog.records if "requests.counted_alone" in record.message]
    assert len(warnings) == 1, "once, as long as it lasts"


def test_whoever_deletes_or_cuts_the_file_makes_nobody_forget_what_he_sent(clock, path):
    pace, other = RequestPace(path), RequestPace(path)
    take(pace, 50)
    for spoil in (Path.unlink, lambda file: os.truncate(file, 0)):
        for file in files(path):
            spoil(file)
        pace.take(reads=True)
    take(other, 30)
    assert claims(path) == 82
    assert RequestPace(path).requests_left() == ALL - 82


def test_a_new_file_every_few_minutes_loses_no_claim_and_leaves_no_old_file(clock, path):
    pace = RequestPace(path)
    clock.now = 3 * PERIOD_SECONDS - 1
    take(pace, ALL, reads=False)
    clock.now = 3 * PERIOD_SECONDS + 1
    for anybody in (pace, RequestPace(path)):
        with pytest.raises(AllowanceUsedUp):
            anybody.take(reads=False)
    clock.now += MINUTE_SECONDS
    take(pace, ALL, reads=False)
    for _ in range(5):
        clock.now += PERIOD_SECONDS
        pace.take(reads=False)
    assert len(files(path)) == 2


def test_the_times_of_another_boot_count_for_nothing_and_are_removed(clock, path):
    take(RequestPace(path), ALL, reads=False)
    [file] = files(path)
    before = file.rename(file.with_name(f"{FILE_NAME}.0a0b0c0d.{file.suffix[1:]}"))
    path.with_suffix(".json").write_text("{}")  # as an earlier version wrote it
    take(RequestPace(path), ALL, reads=False)
    assert files(path) == [file]
    assert not before.exists()


# What happens between two steps of a process.


def max_in_a_minute(moments):
    """The largest number of requests in any 60 seconds."""
    moments = sorted(moments)
    return max(
        (n + 1 - bisect_left(moments, moment - MINUTE_SECONDS) for n, moment in enumerate(moments)),
        default=0,
    )


READINGS = range(8)  # more than a request has


@pytest.mark.parametrize("readings", READINGS)
def test_of_two_that_see_the_last_place_free_one_takes_it(clock, path, readings):
    pace, other = RequestPace(path), RequestPace(path)
    take(pace, ALL - 1, reads=False)
    sent = []

    def try_it(one):
        with suppress(AllowanceUsedUp):
            one.take(reads=False)
            sent.append(one)

    clock.readings, clock.meanwhile = readings, lambda: try_it(other)
    try_it(pace)
    if clock.meanwhile:  # it was done before that
        clock.meanwhile = None
        try_it(other)
    assert len(sent) == 1
    assert claims(path) == ALL, "what was claimed in vain is free again"


@pytest.mark.parametrize("begins", [1000.0, 3 * PERIOD_SECONDS - 45])
@pytest.mark.parametrize("readings", READINGS)
def test_one_that_was_suspended_for_long_sends_nothing_on_an_old_claim(
    clock, path, readings, begins
):
    clock.now = begins
    pace, other, sent = RequestPace(path), RequestPace(path), []

    def send(one, count):
        with suppress(AllowanceUsedUp):
            for _ in range(count):
                one.take(reads=False)
                sent.append(clock.now)

    def meanwhile():
        clock.now += 90
        send(other, ALL)

    send(pace, 10)
    clock.readings, clock.meanwhile = readings, meanwhile
    send(pace, ALL)
    assert len(sent) >= ALL
    assert max_in_a_minute(sent) <= ALL


STEP = st.tuples(
    st.integers(0, 3),  # who
    st.booleans(),  # a read
    st.sampled_from([0, 0, 0, 0.3, 0.9, 1.1, 5, 20, 59, 61, 299]),  # seconds passed before
)


@given(st.lists(st.tuples(STEP, STEP, st.integers(0, 7)), max_size=60))
@settings(max_examples=200)
def test_no_minute_holds_more_than_the_allowance_whatever_comes_between(steps):
    clock, sent = Clock(), []
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as folder:
        patch.setattr(request_pace.time, "monotonic", clock.monotonic)
        patch.setattr(request_pace.time, "sleep", clock.sleep)
        paces = [RequestPace(Path(folder) / FILE_NAME) for _ in range(4)]
        for pace in paces:
            answer(pace, 5, limit=5)

        def act(step):
            who, reads, seconds = step
            clock.now += seconds
            with suppress(AllowanceUsedUp):
                paces[who].take(reads=reads)
                sent.append(clock.now)

        for step, between, readings in steps:
            if step[0] != between[0]:  # threads of one process wait for each other
                clock.readings, clock.meanwhile = readings, partial(act, between)
            act(step)
            clock.meanwhile = None
    assert max_in_a_minute(sent) <= 5


# With real processes and the real clock.


def claim_times(path):
    """When each request went out, of all processes."""
    text = b"".join(file.read_bytes() for file in files(path)).split()
    return [float(word) for word in text if not word.startswith(b"-") and b"-" + word not in text]


def test_twenty_processes_at_once_send_the_allowance_and_no_more(path):
    children = [start("take_what_there_is", path) for _ in range(20)]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    said = [child.communicate() for child in children]
    assert [errors for _, errors in said] == [""] * 20
    taken = sum(int(count) for count, _ in said)
    assert taken >= ALL
    assert len(claim_times(path)) == taken
    assert max_in_a_minute(claim_times(path)) == ALL


@pytest.mark.parametrize("what", ["be_suspended", "be_killed"])
def test_one_suspended_or_killed_in_the_middle_costs_the_others_no_more_than_its_place(
    path, caplog, what
):
    child = start(what, path)
    is_fallen = {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}
    wait_until(lambda: psutil.Process(child.pid).status() in is_fallen)
    pace = RequestPace(path)
    take(pace, ALL - 1, reads=False)
    with pytest.raises(AllowanceUsedUp):
        pace.take(reads=False)
    child.send_signal(signal.SIGCONT)
    assert child.communicate() == ("", "")
    assert max_in_a_minute(claim_times(path)) <= ALL
    assert "requests.counted_alone" not in caplog.text


def test_a_full_disk_loses_no_count(path):
    said, errors = start("meet_a_full_disk", path).communicate()
    assert said == "torn\n", errors
    left = RequestPace(path).requests_left()
    assert left in (ALL - 15, ALL - 16), "half a time can read as one"


# With the real SDK.


def test_every_trading_request_is_counted_and_no_request_for_market_data(settings, exchange):
    client = get_trading_client()
    fetch_orders(client, status="open")
    place_limit_buy_order(client, "BTC/USD", "0.011", 1000)
    before = exchange.state()["requests"]["total"]
    exchange.push_quote("BTC/USD", 50000, 50001)
    fetch_latest_quote("BTC/USD")
    assert claims(settings.run_dir / FILE_NAME) == before == 2


def test_a_used_up_allowance_refuses_an_order_before_it_is_sent(settings, exchange, caplog):
    client = get_trading_client()
    take(alpaca_http._pace, 200, reads=False)
    with pytest.raises(RateLimited, match="this minute's requests are used up"):
        place_limit_buy_order(client, "BTC/USD", "0.011", 1000)
    assert "order.not_sent" in caplog.text
    assert exchange.state()["requests"]["total"] == 0
