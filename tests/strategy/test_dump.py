"""When the market as a whole falls: pure, seconds and prices in, falls out."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strategy.dump import DumpDetector, Sample

NAMES = ("AAA/USD", "BBB/USD", "CCC/USD", "DDD/USD", "EEE/USD")


def watch(detector, begin, end, prices, *, quoted=lambda at: at):
    """One sample each second from `begin`; the last falls. `prices`: of a symbol at a second."""
    falls = detector.falls
    for at in range(begin, end):
        samples = [
            Sample(symbol=symbol, bid=price(at), quoted_at=quoted(at))
            for symbol, price in prices.items()
        ]
        falls = detector.see(samples, at)
    return falls


def step(before, after, at):
    return lambda now: before if now < at else after


@pytest.mark.parametrize(
    ("assets", "fallen", "is_dump"),
    [
        (1, 1, False),
        (2, 1, False),
        (2, 2, True),
        (3, 1, False),
        (3, 2, True),
        (4, 1, False),
        (4, 2, True),
        (5, 2, False),
        (5, 3, True),
    ],
)
def test_half_of_the_assets_and_at_least_two_must_fall(assets, fallen, is_dump):
    prices = {
        symbol: step(100.0, 95.0 if number < fallen else 99.0, 60)
        for number, symbol in enumerate(NAMES[:assets])
    }
    falls = watch(DumpDetector(Decimal(5)), 0, 70, prices)
    assert (len(falls.fallen), falls.is_dump) == (fallen, is_dump)


@pytest.mark.parametrize(("after", "is_dump"), [(95.0, True), (95.01, False), (0.01, True)])
def test_the_percent_itself_counts(after, is_dump):
    prices = {symbol: step(100.0, after, 10) for symbol in NAMES}
    assert watch(DumpDetector(Decimal(5)), 0, 20, prices).is_dump is is_dump


@pytest.mark.parametrize(("seconds", "is_dump"), [(240, True), (600, False)])
def test_only_a_fall_within_five_minutes_counts(seconds, is_dump):
    """6 % at an even pace."""
    prices = dict.fromkeys(NAMES, lambda at: 100.0 - 6.0 * max(0, at - 10) / seconds)
    detector = DumpDetector(Decimal(5))
    assert any(watch(detector, at, at + 1, prices).is_dump for at in range(seconds + 10)) is is_dump


def test_a_high_price_counts_for_five_minutes_and_no_longer():
    prices = {symbol: step(100.0, 98.0, 10) for symbol in NAMES}
    deeper = {symbol: step(100.0, 94.9, 0) for symbol in NAMES}
    detector = DumpDetector(Decimal(5))
    watch(detector, 0, 300, prices)
    assert watch(detector, 300, 302, deeper).is_dump, "the high is less than five minutes old"
    detector = DumpDetector(Decimal(5))
    watch(detector, 0, 320, prices)
    assert not watch(detector, 320, 330, deeper).is_dump


@pytest.mark.parametrize("spike", [50.0, 94.0, 109.0, 200.0])
def test_one_bad_quote_of_every_asset_is_no_dump(spike):
    """Neither one that is far below, nor one from which all others are far below."""
    prices = dict.fromkeys(NAMES, lambda at: spike if at == 30 else 100.0)
    detector = DumpDetector(Decimal(5))
    assert not any(watch(detector, at, at + 1, prices).is_dump for at in range(90))


def test_a_bad_quote_that_stays_the_newest_for_a_minute_is_no_dump():
    """Of a coin that is quoted seldom: the same quote again says nothing new."""
    prices = dict.fromkeys(NAMES, lambda at: 94.0 if 60 <= at < 120 else 100.0)
    detector = DumpDetector(Decimal(5))
    quoted = lambda at: at // 60 * 60.0  # noqa: E731 - a quote each minute
    for at in range(300):
        assert not watch(detector, at, at + 1, prices, quoted=quoted).is_dump


def test_a_fall_across_a_gap_of_the_quotes_counts_by_the_time_of_the_quotes():
    def quoted(gap):
        return lambda at: 59 if 60 <= at < 60 + gap else at

    def found(gap):
        prices = {symbol: step(100.0, 94.0, 60 + gap) for symbol in NAMES}
        detector = DumpDetector(Decimal(5))
        return watch(detector, 0, 70 + gap, prices, quoted=quoted(gap)).is_dump

    assert found(120), "it fell within two minutes"
    assert not found(400), "it fell within more than five"


@pytest.mark.parametrize("jump", [16, 3600, -100])
def test_after_a_gap_of_its_own_it_begins_anew(jump):
    """A process that was suspended, or a clock that was set."""
    detector = DumpDetector(Decimal(5))
    watch(detector, 1000, 1100, dict.fromkeys(NAMES, lambda at: 100.0))
    low = dict.fromkeys(NAMES, lambda at: 90.0)
    assert not watch(detector, 1099 + jump, 1110 + jump, low).is_dump


def test_an_asset_without_quotes_is_not_counted_and_one_that_is_not_watched_is_forgotten():
    silent, lively = NAMES[:3], NAMES[3:]
    detector = DumpDetector(Decimal(5))
    prices = {name: step(100.0, 94.0, 400) for name in lively} | dict.fromkeys(
        silent, lambda at: 100.0
    )
    falls = detector.falls
    for at in range(410):
        samples = [
            Sample(symbol=name, bid=prices[name](at), quoted_at=0.0 if name in silent else at)
            for name in NAMES
        ]
        falls = detector.see(samples, at)
    assert (set(falls.percents), falls.is_dump) == (set(lively), True)
    falls = watch(detector, 410, 412, {lively[0]: lambda at: 94.0})
    assert (set(falls.percents), falls.is_dump) == ({lively[0]}, False)


def test_each_fall_counts_once_and_another_one_counts_again():
    detector = DumpDetector(Decimal(5))
    prices = {name: lambda at: 100.0 if at < 10 else 94.0 if at < 100 else 88.0 for name in NAMES}
    dumps = []
    for at in range(500):
        if watch(detector, at, at + 1, prices).is_dump:
            dumps.append(at)
            detector.forget()
    assert dumps == [11, 101], "two quotes in a row, each time"


@given(
    st.lists(st.lists(st.floats(1, 1e6), min_size=3, max_size=3), min_size=2, max_size=40),
    st.decimals("0.5", "50", places=1),
)
def test_it_says_dump_only_where_the_quotes_themselves_show_one(rows, percent):
    """Against a plain search: an asset fell by so much between two quotes, the later one lower."""
    detector, limit = DumpDetector(percent), float(percent)
    for at, row in enumerate(rows):
        samples = [
            Sample(symbol=NAMES[number], bid=bid, quoted_at=at) for number, bid in enumerate(row)
        ]
        falls = detector.see(samples, at)
        fell = 0
        for number in range(3):
            bids = [earlier[number] for earlier in rows[: at + 1]]
            highest, present = max(bids), min(bids[-2:])
            fell += (1 - present / highest) * 100 >= limit * (1 - 1e-6)
        assert not falls.is_dump or fell >= 2
