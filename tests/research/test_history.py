"""The history as a whole: ranges, gaps, steps that differ, files in the wrong place."""

from __future__ import annotations

import shutil
from decimal import Decimal

import numpy as np
import pytest

from past_bars import BTC, at
from research.errors import DamagedHistory, HistoryError
from research.history import History
from research.history_file import MonthFile, Origin
from research.months import MINUTE_NS, Month, read_time, time_text, to_ns
from research.overview import list_holdings, verify
from research.series import Bars, Gap, Kind, Quotes

JUNE, JULY = Month(2023, 6), Month(2023, 7)


def save(history: History, month: Month, minutes, *, places=2, symbol=BTC, source="test") -> None:
    """Bars that open at their minute's number (times 100), one for each of these minutes."""
    index = np.array(sorted(minutes), np.int64)
    price = (index + 1) * 10**places
    bars = Bars(
        symbol=symbol,
        places=places,
        bar_seconds=60,
        at_ns=month.begin_ns + index * MINUTE_NS,
        open=price,
        high=price + 3,
        low=price - 2,
        close=price + 1,
    )
    history.save(MonthFile(month, bars, Origin(source=source)))


@pytest.fixture
def two_months(history: History) -> History:
    """All of June but 3 minutes, and July from its third minute on, in finer steps."""
    save(history, JUNE, set(range(43_200)) - {100, 101, 20_000})
    save(history, JULY, range(2, 44_640), places=3, source="other")
    return history


def test_a_range_is_what_begins_in_it_in_one_step(two_months):
    loaded = two_months.load_bars(BTC, at("2023-06-30T23:58"), at("2023-07-01T00:04"))
    bars = loaded.series
    assert [time_text(one) for one in bars.at_ns.tolist()] == [
        "2023-06-30T23:58:00Z",
        "2023-06-30T23:59:00Z",
        "2023-07-01T00:02:00Z",
        "2023-07-01T00:03:00Z",
    ]
    assert bars.price_step == Decimal("0.001")
    assert [one.dtype for one in (bars.at_ns, *bars.prices)] == [np.int64] * 5
    assert [int(one) * bars.price_step for one in bars.open] == [43_199, 43_200, 3, 4]
    assert int(bars.close[0]) * bars.price_step == Decimal("43199.01")
    assert int(bars.close[-1]) * bars.price_step == Decimal("4.001")
    assert loaded.sources == ("test", "other")
    first = to_ns(at("2023-07-01"))
    assert loaded.gaps == (Gap(first, first + 2 * MINUTE_NS, 2),)


def test_every_gap_is_told_the_edges_of_the_range_included(two_months):
    everything = two_months.load_bars(BTC)
    assert [one.missing for one in everything.gaps] == [2, 1, 2]
    wider = two_months.load_bars(BTC, at("2023-05-31"), at("2023-08-02"))
    assert [one.missing for one in wider.gaps] == [1_440, 2, 1, 2, 1_440]
    [gap] = two_months.load_bars(BTC, at("2023-06-01T01:40"), at("2023-06-01T01:43")).gaps
    assert (gap.missing, gap.seconds) == (2, 120)
    assert two_months.load_bars(BTC, at("2023-06-02"), at("2023-06-03")).gaps == ()


def test_a_missing_month_is_a_gap_of_a_month(two_months):
    save(two_months, Month(2023, 9), range(43_200))
    assert [one.missing for one in two_months.load_bars(BTC).gaps] == [2, 1, 2, 44_640]


def test_the_same_data_has_one_hash_however_it_is_asked_for(two_months):
    [exact, wider] = [
        two_months.load_bars(BTC, at(start), at("2023-06-02")).series.data_hash
        for start in ("2023-06-01", "2023-05-01")
    ]
    assert exact == wider
    other = two_months.load_bars(BTC, at("2023-06-01"), at("2023-06-03")).series
    assert other.data_hash != exact


def test_what_is_not_there_is_said_with_the_cure(two_months):
    with pytest.raises(HistoryError, match=r"no bars of ETH/USD.*scripts/history fetch"):
        two_months.load_bars("ETH/USD")
    with pytest.raises(HistoryError, match="no bars of BTC/USD from 2024-01-01"):
        two_months.load_bars(BTC, at("2024-01-01"))
    with pytest.raises(HistoryError, match="no quotes of BTC/USD"):
        two_months.load_quotes(BTC)


def test_quotes_of_one_time_keep_their_order_and_a_long_silence_is_a_gap(history):
    begin = JUNE.begin_ns
    at_ns = np.array([begin, begin, begin + 1, begin + 30 * MINUTE_NS], np.int64)
    bid = np.array([5, 7, 6, 6], np.int64)
    quotes = Quotes(symbol=BTC, places=0, at_ns=at_ns, bid=bid, ask=bid + 1)
    history.save(MonthFile(JUNE, quotes, Origin(source="test")))
    loaded = history.load_quotes(BTC, at("2023-06-01"), at("2023-06-02"))
    assert loaded.series.bid.tolist() == [5, 7, 6, 6]
    assert loaded.series.ask.tolist() == [6, 8, 7, 7]
    assert [one.seconds // 60 for one in loaded.gaps] == [29, 1_410]


def test_bars_of_two_lengths_are_no_one_history(two_months):
    fives = np.arange(10, dtype=np.int64)
    month = Month(2023, 8)
    bars = Bars(
        symbol=BTC, places=0, bar_seconds=300, at_ns=month.begin_ns + fives * 5 * MINUTE_NS,
        open=fives + 5, high=fives + 5, low=fives + 5, close=fives + 5,
    )  # fmt: skip
    two_months.save(MonthFile(month, bars, Origin(source="test")))
    with pytest.raises(HistoryError, match="60 and of 300 seconds"):
        two_months.load_bars(BTC)
    assert len(two_months.load_bars(BTC, at("2023-08-01")).series) == 10
    assert [one.bar_seconds for one in list_holdings(two_months)] == [60, 300]


def test_a_damaged_month_stops_the_ranges_that_need_it_and_is_named(two_months):
    path = two_months.path_of(Kind.BARS, BTC, JULY)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DamagedHistory, match=r"BTC-USD/2023-07\.bars is damaged"):
        two_months.load_bars(BTC)
    assert len(two_months.load_bars(BTC, end=at("2023-07-01")).series) == 43_197


def test_a_file_under_another_name_is_refused(two_months):
    source = two_months.path_of(Kind.BARS, BTC, JUNE)
    other = two_months.folder_of("ETH/USD")
    other.mkdir()
    shutil.copy(source, other / "2023-06.bars")
    with pytest.raises(DamagedHistory, match="holds bars of BTC/USD 2023-06"):
        two_months.load_bars("ETH/USD")


def test_verify_reads_all_and_names_what_is_wrong(two_months):
    assert [one.problem for one in verify(two_months)] == ["", ""]
    two_months.path_of(Kind.BARS, BTC, JUNE).write_bytes(b"garbage")
    (two_months.folder_of(BTC) / "notes.txt").write_text("mine")
    (two_months.folder_of(BTC) / ".2023-07.bars.1.arriving").write_text("half")
    problems = [one.problem for one in verify(two_months) if one.problem]
    assert len(problems) == 2
    assert "2023-06.bars is damaged" in problems[0]
    assert "notes.txt is no file of the history" in problems[1]
    [holding] = list_holdings(two_months)
    assert (holding.rows, holding.months, len(holding.problems)) == (44_638, 1, 1)


def test_one_process_writes_and_clears_what_a_killed_one_left(two_months):
    left = two_months.folder_of(BTC) / ".2023-08.bars.77.arriving"
    left.write_bytes(b"half")
    with two_months.writing():
        assert not left.exists()
        again = History(two_months.folder)
        with pytest.raises(HistoryError, match="another scripts/history writes"), again.writing():
            pass


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("2023-06-01", "2023-06-01T00:00:00Z"),
        ("2023-06-01 18:30", "2023-06-01T18:30:00Z"),
        ("2023-06-01 18:30:05 UTC", "2023-06-01T18:30:05Z"),
        ("2023-06-01T18:30:05+02:00", "2023-06-01T16:30:05Z"),
        ("2023-06-01T18:30:05.5Z", "2023-06-01T18:30:05.500000Z"),
        ("2023-06-01T18:30:05.123456789Z", "2023-06-01T18:30:05.123456789Z"),
        ("1685577600", "2023-06-01T00:00:00Z"),
        ("1685577600.0", "2023-06-01T00:00:00Z"),
        ("1685577600000", "2023-06-01T00:00:00Z"),
        ("1685577600000000", "2023-06-01T00:00:00Z"),
        ("1685577600000000001", "2023-06-01T00:00:00.000000001Z"),
    ],
)
def test_times_are_read_to_the_nanosecond(text, same):
    assert time_text(read_time(text)) == same


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2023-13-01", "2023-06-31", "12", "1985-01-01", "2023-06-01T25:00Z"]
)
def test_what_is_no_time_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        read_time(text)
