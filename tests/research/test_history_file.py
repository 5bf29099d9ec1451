"""One file of the history: what goes in comes out, garbage never does."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from research.errors import DamagedHistory, HistoryError, UnusablePrices
from research.history_file import MonthFile, Origin, read_month, write_month, write_whole
from research.months import MINUTE_NS, Month
from research.series import Bars, Quotes

JUNE = Month(2023, 6)


def bars_of(rows, *, places=2, seconds=60) -> Bars:
    """Rows of (index of the bar in June, open, close, above, below)."""
    index, first, close, above, below = np.array(rows, np.int64).T
    return Bars(
        symbol="BTC/USD",
        places=places,
        bar_seconds=seconds,
        at_ns=JUNE.begin_ns + index * seconds * 1_000_000_000,
        open=first,
        high=np.maximum(first, close) + above,
        low=np.minimum(first, close) - below,
        close=close,
    )


def june(series=None) -> MonthFile:
    rows = [(n, 6_000_000 + n, 6_000_010 + n, 7, 3) for n in range(200)]
    return MonthFile(JUNE, bars_of(rows) if series is None else series, Origin(source="test"))


def columns_of(found: MonthFile):
    series = found.series
    return [one.tolist() for one in (series.at_ns, *series.prices)]


PRICE = st.integers(10, 10**17)
BARS = st.lists(
    st.tuples(st.integers(0, 43_199), PRICE, PRICE, st.integers(0, 10**15), st.integers(0, 9)),
    min_size=1,
    max_size=60,
    unique_by=lambda row: row[0],
).map(sorted)


@given(rows=BARS, places=st.integers(0, 18))
def test_bars_come_back_as_they_were_written(tmp_path_factory, rows, places):
    path = tmp_path_factory.mktemp("file") / "2023-06.bars"
    written = june(bars_of(rows, places=places))
    write_month(path, written)
    found = read_month(path)
    assert columns_of(found) == columns_of(written)
    assert (found.series.places, found.series.data_hash) == (places, written.series.data_hash)
    assert (found.month, found.origin, found.size) == (JUNE, written.origin, path.stat().st_size)


@given(
    st.lists(
        st.tuples(st.integers(0, JUNE.end_ns - JUNE.begin_ns - 1), PRICE, PRICE), min_size=1
    ).map(sorted)
)
def test_quotes_come_back_in_their_order_crossed_ones_as_well(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("file") / "2023-06.quotes"
    nanos, bid, ask = np.array(rows, np.int64).T
    quotes = Quotes(
        symbol="ETH/USD", places=4, at_ns=JUNE.begin_ns + nanos, bid=bid, ask=ask
    )  # fmt: skip
    write_month(path, june(quotes))
    at_ns = (JUNE.begin_ns + nanos).tolist()
    assert columns_of(read_month(path)) == [at_ns, bid.tolist(), ask.tolist()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_month(tmp_path / "2023-06.bars", june())
    return tmp_path / "2023-06.bars"


def test_any_flipped_bit_is_noticed_and_the_file_named(path):
    whole = path.read_bytes()
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(DamagedHistory, match=r"2023-06\.bars"):
            read_month(path)


def test_a_file_that_is_cut_or_has_more_is_noticed(path):
    whole = path.read_bytes()
    for garbage in (*(whole[:size] for size in range(0, len(whole), 11)), whole + b"x"):
        path.write_bytes(garbage)
        with pytest.raises(DamagedHistory, match=r"2023-06\.bars"):
            read_month(path)


@pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04" * 400, bytes(5000)])
def test_garbage_is_no_file_of_the_history(path, content):
    path.write_bytes(content)
    with pytest.raises(DamagedHistory, match="no file of the history"):
        read_month(path)


def with_head(content: bytes, **changes) -> bytes:
    """The file with another head and the checksum that fits."""
    _, line, packed = content.split(b"\n", 2)
    body = json.dumps(json.loads(line) | changes).encode() + b"\n" + packed
    return b"dca-history " + hashlib.sha256(body).hexdigest().encode() + b"\n" + body


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 201},
        {"rows": "many"},
        {"widths": [1, 2, 4, 8, 3]},
        {"month": "2023-13"},
        {"price_step": "0.03"},
        {"kind": "trades"},
    ],
)
def test_a_head_that_does_not_fit_is_damage_though_its_checksum_is_right(path, changes):
    path.write_bytes(with_head(path.read_bytes(), **changes))
    with pytest.raises(DamagedHistory, match=r"2023-06\.bars is damaged"):
        read_month(path)


def test_a_file_of_a_later_version_is_refused_as_such(path):
    path.write_bytes(with_head(path.read_bytes(), format=2))
    with pytest.raises(DamagedHistory, match="newer program"):
        read_month(path)


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        ([(5, 100, 110, 0, 100)], "above 0"),
        ([(5, 100, 110, -1, 0)], "beyond its open and close"),
        ([(5, 100, 110, 0, -1)], "beyond its open and close"),
        ([(5, 100, 110, 0, 0), (5, 100, 110, 0, 0)], "not later"),
        ([(43_200, 100, 110, 0, 0)], "another month"),
    ],
)
def test_what_makes_no_sense_is_never_written(path, rows, reason):
    before = path.read_bytes()
    with pytest.raises(UnusablePrices, match=reason):
        write_month(path, june(bars_of(rows)))
    assert path.read_bytes() == before


def test_a_bar_that_begins_off_its_minute_is_never_written(path):
    bars = bars_of([(5, 100, 110, 0, 0)])
    moved = bars.with_columns(2, bars.at_ns + MINUTE_NS // 2, bars.prices)
    with pytest.raises(UnusablePrices, match="whole 60 seconds"):
        write_month(path, june(moved))


def test_a_month_of_minutes_takes_less_than_the_nine_bytes_a_bar_of_npz(tmp_path):
    chance = np.random.default_rng(1)
    moves = chance.integers(-2_000, 2_000, 43_200)
    close = 6_000_000 + np.cumsum(moves)
    rows = np.stack(
        [np.arange(43_200), close - moves, close, *chance.integers(0, 500, (2, 43_200))]
    )
    write_month(tmp_path / "2023-06.bars", june(bars_of(rows.T)))
    assert (tmp_path / "2023-06.bars").stat().st_size < 9 * 43_200


def test_what_cannot_be_written_leaves_the_older_file_and_nothing_else(path):
    before, target = path.read_bytes(), path.parent / "sub" / "x"
    path.parent.joinpath("sub").write_text("a file where a folder is needed")
    with pytest.raises(HistoryError, match="cannot write"):
        write_whole(target, b"new")
    assert path.read_bytes() == before
    assert sorted(one.name for one in path.parent.iterdir()) == ["2023-06.bars", "sub"]
