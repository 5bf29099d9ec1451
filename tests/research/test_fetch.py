"""Bars fetched from the local exchange over sockets: pages, faults, gaps, months that go on."""

from __future__ import annotations

import json
from datetime import timedelta
from decimal import Decimal

import pytest

from canned_server import Answer, canned_server
from past_bars import BTC, add_history, at, make_bars, other_prices, prices_of
from research.errors import UnusablePrices
from research.fetch import Fetch
from research.history import History
from research.months import Month
from research.series import Kind
from utils import alpaca_bars, alpaca_http
from utils.alpaca_bars import BarSource
from utils.alpaca_http import ExchangeRefused, ExchangeUnavailable, UnreadableAnswer

JUNE, JULY, AUGUST = (Month(2023, number) for number in (6, 7, 8))
LATER = at("2024-01-01")
BARS = "/v1beta3/crypto/us/bars"


def fetch(history: History, origin: str, first=JUNE, last=JULY, *, now=LATER, **more):
    """What became of each month."""
    with history.writing():
        source = BarSource(origin)
        work = Fetch(history=history, source=source, symbol=BTC, now=now, **more)
        return list(work.months(first, last))


def kept(history: History):
    """Every price of the history, as decimals."""
    bars = history.load_bars(BTC).series
    step = bars.price_step
    return [tuple(int(one) * step for one in row) for row in zip(*bars.prices, strict=True)]


def requests_of(exchange) -> int:
    async def count() -> int:
        return exchange.server.control.data_api.meter.total

    return exchange.run(count())


@pytest.fixture
def small_pages(monkeypatch):
    monkeypatch.setattr(alpaca_bars, "PAGE_BARS", 100)


@pytest.fixture
def turn_of_month(exchange):
    """600 minutes: 300 of June, 300 of July."""
    bars = make_bars("2023-06-30T19:00", 600)
    add_history(exchange, bars)
    return bars


def test_every_page_of_every_month_is_kept_exactly(history, exchange, small_pages, turn_of_month):
    account = alpaca_http.requests_left()
    june, july = fetch(history, exchange.urls.data_url)
    assert kept(history) == prices_of(turn_of_month)
    assert [len(one.content.series) for one in (june, july)] == [300, 300]
    assert [one.missing for one in june.gaps] == [43_200 - 300]
    assert [one.missing for one in july.gaps] == [44_640 - 300]
    assert june.content.origin.is_complete
    assert requests_of(exchange) == 6
    assert alpaca_http.requests_left() == account  # what trades has its allowance to itself


def test_a_month_that_is_there_whole_is_not_asked_for_again(history, exchange, turn_of_month):
    fetch(history, exchange.urls.data_url, JUNE, JUNE)
    asked = requests_of(exchange)
    june, july = fetch(history, exchange.urls.data_url)
    assert (june.is_new, july.is_new) == (False, True)
    assert [one.missing for one in june.gaps] == [43_200 - 300]
    assert requests_of(exchange) == asked + 1
    june, july = fetch(history, exchange.urls.data_url, replaces=True)
    assert (june.is_new, july.is_new) == (True, True)


def test_the_running_month_is_fetched_again_up_to_the_last_whole_minute(
    history, exchange, turn_of_month
):
    now = at("2023-07-01T01:30:59")
    [july] = fetch(history, exchange.urls.data_url, JULY, AUGUST, now=now)
    assert len(july.content.series) == 90  # the minute of 01:30 is not over
    assert (july.content.origin.is_complete, july.gaps) == (False, ())
    [july] = fetch(history, exchange.urls.data_url, JULY, AUGUST, now=now + timedelta(hours=1))
    assert len(july.content.series) == 150
    # Over, but its last bars may still be on their way.
    [july] = fetch(history, exchange.urls.data_url, JULY, JULY, now=at("2023-08-01T00:05"))
    assert (len(july.content.series), july.content.origin.is_complete) == (300, False)
    [july] = fetch(history, exchange.urls.data_url, JULY, JULY, now=at("2023-08-01T00:10"))
    assert (july.is_new, july.content.origin.is_complete) == (True, True)


def test_in_the_first_minute_of_a_month_there_is_nothing_to_ask_for(history, exchange):
    [july] = fetch(history, exchange.urls.data_url, JULY, JULY, now=at("2023-07-01T00:00:30"))
    assert (july.content, requests_of(exchange)) == (None, 0)


def test_gaps_and_duplicates_are_told_and_nothing_is_filled(history, exchange, small_pages):
    bars = make_bars("2023-06-01", 300)
    twice, changed = bars[50], other_prices(bars[60])
    holes = [one for n, one in enumerate(bars) if not (100 <= n < 130 or n == 200)]
    add_history(exchange, sorted([*holes, twice, changed], key=lambda one: one.at_ns))
    [june] = fetch(history, exchange.urls.data_url, JUNE, JUNE)
    assert [one.missing for one in june.gaps] == [30, 1, 43_200 - 300]
    assert (june.content.origin.duplicates, june.content.origin.differing) == (1, 1)
    assert kept(history) == prices_of(holes)
    assert history.read(Kind.BARS, BTC, JUNE).origin == june.content.origin


def test_an_empty_month_is_told_and_asked_for_again(history, exchange, turn_of_month):
    may, june = fetch(history, exchange.urls.data_url, Month(2023, 5), JUNE)
    assert (may.content, len(june.content.series)) == (None, 300)
    assert history.months(Kind.BARS, BTC) == [JUNE]
    asked = requests_of(exchange)
    fetch(history, exchange.urls.data_url, Month(2023, 5), JUNE)
    assert requests_of(exchange) == asked + 1


@pytest.mark.parametrize(
    "fault",
    [
        {"name": "http_429"},
        {"name": "http_500"},
        {"name": "http_504"},
        {"name": "http_html"},
        {"name": "http_truncated"},
        {"name": "http_hang", "seconds": 0.0},
    ],
    ids=lambda fault: fault["name"],
)
def test_a_fault_in_the_middle_of_a_month_leaves_no_trace(
    history, exchange, small_pages, turn_of_month, fault
):
    faulty = {**fault, "match": {"path": BARS}, "count": 2, "probability": 0.5}
    name = faulty.pop("name")
    exchange.arm(name, **faulty)
    fetch(history, exchange.urls.data_url)
    assert kept(history) == prices_of(turn_of_month)
    assert exchange.times_applied(name) == 2


def test_a_line_that_stays_down_keeps_the_months_before_and_goes_on_there(
    history, exchange, small_pages, turn_of_month
):
    source, done = BarSource(exchange.urls.data_url), []
    work = Fetch(history=history, source=source, symbol=BTC, now=LATER)
    with history.writing(), pytest.raises(ExchangeUnavailable):  # noqa: PT012 - it is cut midway
        for month in work.months(JUNE, JULY):
            done.append(month.month)
            exchange.arm("http_hang", seconds=0.0)
    assert done == history.months(Kind.BARS, BTC) == [JUNE]
    exchange.clear_faults()
    asked = requests_of(exchange)
    june, _july = fetch(history, exchange.urls.data_url)
    assert (june.is_new, requests_of(exchange) - asked) == (False, 3)
    assert kept(history) == prices_of(turn_of_month)


def test_a_damaged_file_is_fetched_anew_and_told(history, exchange, turn_of_month):
    fetch(history, exchange.urls.data_url)
    history.path_of(Kind.BARS, BTC, JUNE).write_bytes(b"garbage")
    june, july = fetch(history, exchange.urls.data_url)
    assert "2023-06.bars is damaged" in june.replaced
    assert (june.is_new, july.is_new) == (True, False)
    assert kept(history) == prices_of(turn_of_month)


def test_what_the_exchange_declines_is_not_tried_again(history, exchange):
    source = BarSource(exchange.urls.data_url)
    work = Fetch(history=history, source=source, symbol="X1/USD", now=LATER)
    with history.writing(), pytest.raises(ExchangeRefused, match="invalid symbol"):
        list(work.months(JUNE, JUNE))
    assert requests_of(exchange) == 1


# Answers that no exchange of ours would give.


def page(*bars, token=None) -> str:
    rows = [
        f'{{"t":"{t}","o":{o},"h":{h},"l":{low},"c":{c},"v":1,"n":1,"vw":1}}'
        for t, o, h, low, c in bars
    ]
    return f'{{"bars":{{"{BTC}":[{",".join(rows)}]}},"next_page_token":{json.dumps(token)}}}'


@pytest.fixture
def canned():
    with canned_server() as server:
        yield server


def test_every_digit_of_the_answer_is_kept(history, canned):
    long = "0.123456789012345678"
    canned.say(200, page(("2023-06-05T10:00:00Z", long, "0.2", "1e-07", "0.15")))
    fetch(history, canned.url, JUNE, JUNE)
    assert kept(history) == [tuple(map(Decimal, (long, "0.2", "0.0000001", "0.15")))]
    [request] = canned.requests
    assert not any("APCA" in name.upper() for name in request.headers)  # no keys are needed


def test_digits_that_fit_into_no_step_are_an_error_and_rounded_only_when_asked(history, canned):
    long = "16587.150000000001234"
    canned.say(200, page(("2023-06-05T10:00:00Z", long, "20000", "10000", "16000")))
    with pytest.raises(UnusablePrices, match=r"BTC/USD 2023-06.*16587\.15.*--places 9"):
        fetch(history, canned.url, JUNE, JUNE)
    assert not history.months(Kind.BARS, BTC)
    [june] = fetch(history, canned.url, JUNE, JUNE, places=9)
    assert june.content.origin.rounded == 1
    assert kept(history)[0][0] == Decimal("16587.15")


def test_only_the_token_says_where_the_pages_end(history, canned):
    bars = [(f"2023-06-05T10:0{n}:00Z", 5 + n, 9 + n, 5, 6 + n) for n in range(4)]
    pages = {None: page(bars[0], token="a"), "a": page(token="b"), "b": page(*bars[1:])}
    canned.answer = lambda request: Answer(200, pages[request.query.get("page_token")])
    fetch(history, canned.url, JUNE, JUNE)
    assert [one[0] for one in kept(history)] == [5, 6, 7, 8]


@pytest.mark.parametrize(
    "body",
    [
        page(token="again"),
        "[]",
        "null",
        '{"bars":{}}',
        '{"bars":{"ETH/USD":[]},"next_page_token":null}',
        '{"bars":{"BTC/USD":[3]},"next_page_token":null}',
        '{"bars":{"BTC/USD":{}},"next_page_token":3}',
    ],
)
def test_pages_that_are_none_or_do_not_end_are_an_error(history, canned, body):
    canned.say(200, body)
    with pytest.raises(UnreadableAnswer):
        fetch(history, canned.url, JUNE, JUNE)
    assert not history.months(Kind.BARS, BTC)


@pytest.mark.parametrize(
    ("bar", "reason"),
    [
        (("2023-06-05T10:00:00Z", 5, 4, 3, 5), "beyond its open and close"),
        (("2023-06-05T10:00:00Z", 5, 6, 0, 5), "above 0"),
        (("2023-06-05T10:00:30Z", 5, 6, 5, 5), "whole 60 seconds"),
        (("2023-07-01T00:00:00Z", 5, 6, 5, 5), "nobody asked for"),
        (("soon", 5, 6, 5, 5), "without a time"),
        (("2023-06-05T10:00:00Z", '"x"', 6, 5, 5), "no price"),
        (("2023-06-05T10:00:00Z", "null", 6, 5, 5), "no price"),
    ],
)
def test_a_bar_that_cannot_be_is_named_with_its_month_and_stores_nothing(
    history, canned, bar, reason
):
    canned.say(200, page(("2023-06-05T09:00:00Z", 5, 6, 5, 5), bar))
    with pytest.raises(UnusablePrices, match=f"BTC/USD 2023-06 from 127.*{reason}"):
        fetch(history, canned.url, JUNE, JUNE)
    assert not history.months(Kind.BARS, BTC)
