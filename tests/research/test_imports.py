"""Files taken into the history: spellings, times, garbage, and back out again as CSV."""

from __future__ import annotations

import gzip
import importlib.util
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paper_exchange.core.assets import AssetCatalog
from paper_exchange.quotes.replay import load_recording
from past_bars import BTC, at, make_bars, prices_of
from research.errors import HistoryError, UnusablePrices
from research.export import csv_chunks
from research.history import History
from research.imports import import_files
from research.months import SECOND_NS, time_text
from research.series import Kind

HEAD = "timestamp,symbol,open,high,low,close"


def take(history: History, *paths: Path, **more):
    with history.writing():
        return import_files(history, paths, **more)


def prices(series):
    return [
        tuple(int(one) * series.price_step for one in row)
        for row in zip(*series.prices, strict=True)
    ]


@pytest.fixture
def write(tmp_path: Path):
    """A function: lines of a CSV -> its path."""

    def write_lines(*lines: str, name: str = "some.csv") -> Path:
        path = tmp_path / name
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return write_lines


@pytest.mark.parametrize(
    ("head", "row"),
    [
        (HEAD + ",volume", "2023-06-05T10:00:00Z,BTC/USD,5.1,7,4.25,6,1.5"),
        ("Open time,Open,High,Low,Close,Close time", "1685959200000,5.1,7,4.25,6,1685959259999"),
        ("unix,date,symbol,open,high,low,close", "1685959200,2023-06-05,BTC-USD,5.1,7,4.25,6"),
        ("date,close,open,low,high", "2023-06-05 10:00,6,5.1,4.25,7"),
        ("t,o,h,l,c,v,n,vw", "2023-06-05T10:00:00Z,5.1,7,4.25,6.00,1,1,1"),
        ("<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>", "2023-06-05 10:00:00,5.10,7.0,4.25,6"),
        ("\ufefftime,Pair,open_price,high_price,low_price,close_price",
         "2023-06-05T12:00:00+02:00,btcusd,5.1,7,4.25,6"),
    ],
)  # fmt: skip
def test_the_usual_spellings_are_understood(history, write, head, row):
    symbol = None if {"symbol", "Pair"} & set(head.split(",")) else BTC
    [month] = take(history, write(head, row), symbol=symbol)
    bars = history.load_bars(BTC).series
    assert [time_text(one) for one in bars.at_ns.tolist()] == ["2023-06-05T10:00:00Z"]
    assert prices(bars) == [tuple(map(Decimal, ("5.1", "7", "4.25", "6")))]
    assert month.content.origin.source == "some.csv"


def test_several_files_are_taken_as_one_whatever_their_order(history, write):
    rows = [
        f"{time_text(one.at_ns)},{BTC},{one.open},{one.high},{one.low},{one.close}"
        for one in make_bars("2023-06-30T23:00", 120)
    ]
    late = write(HEAD, *reversed(rows[50:]), name="b.csv")
    early = write(HEAD, *rows[:55], name="a.csv")
    with gzip.open(late.with_name("c.csv.gz"), "wt") as file:
        file.write("\n".join([HEAD, *rows[50:]]))
    june, july = take(history, late, early, late.with_name("c.csv.gz"))
    assert [june.content.origin.duplicates, july.content.origin.duplicates] == [15, 60]
    loaded = history.load_bars(BTC)
    assert prices(loaded.series) == prices_of(make_bars("2023-06-30T23:00", 120))
    assert loaded.gaps == ()
    assert loaded.sources == ("b.csv, a.csv, c.csv.gz",)


def test_a_bar_that_comes_again_with_other_prices_is_told(history, write):
    row = "2023-06-05T10:00:00Z,BTC/USD,5,7,4,{}"
    [month] = take(history, write(HEAD, row.format(6), row.format(7)))
    assert month.content.origin.differing == 1
    assert prices(history.load_bars(BTC).series)[0][3] == 6


def test_bars_of_another_length_have_their_gaps_by_that_length(history, write):
    rows = [f"2023-06-05T10:{minute:02}:00Z,BTC/USD,5,7,4,6" for minute in (0, 5, 10, 25)]
    [month] = take(history, write(HEAD, *rows))
    assert month.content.series.bar_seconds == 300
    assert [one.missing for one in month.gaps] == [2]


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([], "its first line must name"),
        (["a,b,c", "1,2,3"], "not a, b, c"),
        ([HEAD], "there are no rows"),
        ([HEAD, "2023-06-05T10:00:00Z,BTC/USD,5,7,4"], "line 2: 6 columns expected, 5 found"),
        ([HEAD, "soon,BTC/USD,5,7,4,6"], "line 2: 'soon' is no time"),
        ([HEAD, "2023-06-05T10:00:00Z,,5,7,4,6"], "line 2: it does not say whose"),
        ([HEAD, "2023-06-05T10:00:00Z,B?,5,7,4,6"], "line 2: not a crypto pair.*--symbol"),
        ([HEAD, "2023-06-05T10:00:00Z,BTC/USD,x,7,4,6"], "'x' is no price"),
        ([HEAD, "2023-06-05T10:00:00Z,BTC/USD,5,4,4,6"], "10:00:00Z: its high or low"),
        ([HEAD, "2023-06-05T10:00:07Z,BTC/USD,5,7,4,6"], "whole 60 seconds"),
        (["time,bid,ask", "2023-06-05T10:00:00Z,5,6", "2023-06-05T09:59:59Z,5,6"], "line 3.*back"),
    ],
)  # fmt: skip
def test_garbage_is_named_with_its_file_and_stores_nothing(history, write, lines, reason):
    path = write(*lines)
    symbol = None if lines[:1] == [HEAD] else BTC
    with pytest.raises(UnusablePrices, match=f"some.csv.*{reason}"):
        take(history, path, symbol=symbol)
    assert not history.symbols()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00\x01\n\x00", b"\x1f\x8bgarbage", b"a\x00b\n"])
def test_what_is_no_text_is_named(history, tmp_path, content):
    (tmp_path / "some.csv").write_bytes(content)
    with pytest.raises(HistoryError, match=r"some\.csv"):
        take(history, tmp_path / "some.csv", symbol=BTC)
    with pytest.raises(HistoryError, match=r"cannot read .*none\.csv: No such file"):
        take(history, tmp_path / "none.csv")


def test_two_symbols_are_kept_apart_and_never_called_one(history, write):
    row = "2023-06-05T10:00:00Z,{},5,7,4,6"
    path = write(HEAD, row.format("BTC/USDT"), row.format("ETH/USDT"))
    with pytest.raises(UnusablePrices, match="has BTC/USDT, ETH/USDT"):
        take(history, path, symbol=BTC)
    take(history, path)
    assert history.symbols() == ["BTC/USDT", "ETH/USDT"]


def test_a_month_that_is_there_is_only_replaced_when_asked(history, write):
    row = "2023-06-05T10:00:00Z,BTC/USD,5,7,4,{}"
    first, other = write(HEAD, row.format(6)), write(HEAD, row.format("6.5"), name="other.csv")
    take(history, first)
    [same] = take(history, first)
    assert not same.is_new
    more = write(HEAD, row.format("6.5"), row.format(6).replace("06-05", "05-05"), name="more.csv")
    with pytest.raises(HistoryError, match=r"2023-06.*already, from some\.csv.*--replace"):
        take(history, more)
    assert len(history.months(Kind.BARS, BTC)) == 1  # none of it
    [replaced] = take(history, other, replaces=True)
    assert replaced.is_new
    assert prices(history.load_bars(BTC).series)[0][3] == Decimal("6.5")


@given(
    st.lists(
        st.tuples(st.integers(0, 5_000), st.decimals("0.000001", "99999", places=6)),
        min_size=1,
        max_size=40,
        unique_by=lambda row: row[0],
    )
)
def test_what_is_exported_and_imported_again_is_the_same(tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("round")
    begin = int(at("2023-06-28").timestamp())
    lines = [
        f"{begin + 60 * minute},{BTC},{price},{price + 1},{price},{price}" for minute, price in rows
    ]
    (folder / "a.csv").write_text("\n".join([HEAD, *lines]))
    one, two = History(folder / "one"), History(folder / "two")
    take(one, folder / "a.csv")
    bars = one.load_bars(BTC).series
    assert prices(bars) == [(price, price + 1, price, price) for _, price in sorted(rows)]
    (folder / "b.csv").write_text("".join(csv_chunks(Kind.BARS, bars)))
    take(two, folder / "b.csv")
    again = two.load_bars(BTC).series
    assert (again.at_ns.tolist(), prices(again)) == (bars.at_ns.tolist(), prices(bars))
    assert again.data_hash == bars.data_hash


QUOTES = """\
timestamp,symbol,bid,bid_size,ask,ask_size
2023-06-30T23:59:59Z,BTC/USDT,60000.1,1,60000.2,1
2023-06-30T23:59:59.5Z,ETH/USDT,2000,1,2001.25,1
2023-06-30T23:59:59.5Z,BTC/USDT,60001,1,60002,1
2023-06-30T23:59:59.5Z,BTC/USDT,60003,1,60002,1
2023-07-01T00:00:00.123456Z,BTC/USDT,0,1,60002.125,1
"""


def test_a_recording_of_the_exchange_is_read_tick_by_tick_as_it_replays_it(history, tmp_path):
    path = tmp_path / "recording.csv.gz"
    path.write_bytes(gzip.compress(QUOTES.encode()))
    replayed = [one for one in load_recording(path, AssetCatalog()) if one.symbol == BTC]
    take(history, path)
    quotes = history.load_quotes("BTC/USDT").series
    assert prices(quotes) == [(one.bid, one.ask) for one in replayed]
    assert [one / SECOND_NS for one in quotes.at_ns.tolist()] == [
        one.at_seconds for one in replayed
    ]
    assert len(history.months(Kind.QUOTES, "BTC/USDT")) == 2
    assert len(history.load_quotes("ETH/USDT").series) == 1


def test_parquet_is_read_with_pyarrow_and_without_it_one_line_says_how(
    history, tmp_path, monkeypatch
):
    path = tmp_path / "bars.parquet"
    path.write_bytes(b"PAR1")
    if importlib.util.find_spec("pyarrow") is not None:
        with pytest.raises(HistoryError, match=r"cannot read .*bars\.parquet"):
            take(history, path)
        monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(HistoryError, match=r"bars\.parquet: parquet needs .*pip install pyarrow=="):
        take(history, path)
