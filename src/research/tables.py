"""Rows of text from a CSV file (plain or .gz, with a header) or a parquet file.

Owns: which column is which, in the spellings that exporters and exchanges use. A price is never a
float here: the digits of the file are handed on.
"""

from __future__ import annotations

import csv
import gzip
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from research.errors import HistoryError, UnusablePrices
from research.series import Kind

# Optional: 170 MB installed, more than a third of everything else, for what most never import.
PYARROW = "pyarrow==26.0.1"
_BATCH_ROWS = 50_000
_SPELLINGS = {
    "at": (
        "timestamp", "open_time", "opentime", "unix", "unix_timestamp", "timestamp_utc",
        "datetime", "time", "start", "ts", "t", "date",  # last: beside a time it is only a day
    ),
    "symbol": ("symbol", "pair", "market", "ticker", "instrument", "s"),
    "open": ("open", "open_price", "o"),
    "high": ("high", "high_price", "h"),
    "low": ("low", "low_price", "l"),
    "close": ("close", "close_price", "c"),
    "bid": ("bid", "bid_price", "bidprice", "best_bid", "bp"),
    "ask": ("ask", "ask_price", "askprice", "best_ask", "ap"),
}  # fmt: skip
COLUMNS = {Kind.BARS: ("open", "high", "low", "close"), Kind.QUOTES: ("bid", "ask")}
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True, slots=True)
class Row:
    """`where`: the line or the row, for a person. `symbol` is empty where the file names none."""

    where: str
    at: str
    symbol: str
    prices: tuple[str, ...]


def read_table(path: Path) -> tuple[Kind, Iterator[Row]]:
    """What the file holds, and its rows, to be read once.

    Raises:
        HistoryError: it cannot be read. UnusablePrices: it has not the columns of bars or quotes,
            or a line has another number of them.
    """
    if path.suffix.lower() in (".parquet", ".pq"):
        names, rows = _parquet(path)
    else:
        rows = _csv(path)
        names = next(rows, ("", []))[1]
    kind, chosen = _choose(path, names)
    at, symbol = chosen["at"], chosen.get("symbol")
    wanted = [chosen[name] for name in COLUMNS[kind]]

    def pick() -> Iterator[Row]:
        for where, row in rows:
            if len(row) != len(names):
                raise UnusablePrices(
                    f"{path}, {where}: {len(names)} columns expected, {len(row)} found"
                )
            name = "" if symbol is None else row[symbol]
            yield Row(where, row[at], name, tuple(row[one] for one in wanted))

    return kind, pick()


def _choose(path: Path, names: Sequence[str]) -> tuple[Kind, dict[str, int]]:
    """Where the columns are that are needed."""
    plain = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in names]
    found = {}
    for column, spellings in _SPELLINGS.items():
        if given := next((one for one in spellings if one in plain), None):
            found[column] = plain.index(given)
    for kind in (Kind.BARS, Kind.QUOTES):
        if {"at", *COLUMNS[kind]} <= found.keys():
            return kind, found
    raise UnusablePrices(
        f"{path}: its first line must name a time and open, high, low, close (bars) or bid, ask"
        f" (quotes), not {', '.join(names)[:120] or 'nothing'}"
    )


def _csv(path: Path) -> Iterator[tuple[str, list[str]]]:
    try:
        with open(path, "rb") as raw:
            is_packed = raw.read(2) == _GZIP
        opener = gzip.open if is_packed else open
        with opener(path, "rt", encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text)
            for row in reader:
                if row:
                    yield f"line {reader.line_num}", row
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise HistoryError(f"cannot read {path}: {reason}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise HistoryError(f"cannot read {path}: it is no CSV in UTF-8") from error


def _parquet(path: Path) -> tuple[list[str], Iterator[tuple[str, list[str]]]]:
    try:
        arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    except ImportError:
        raise HistoryError(
            f"{path}: parquet needs a package more: .venv/bin/pip install {PYARROW}"
        ) from None
    try:
        file = parquet.ParquetFile(path)
    except (OSError, ValueError) as error:  # arrow's own errors are such
        raise HistoryError(f"cannot read {path}: {str(error).splitlines()[0]}") from error

    def rows() -> Iterator[tuple[str, list[str]]]:
        number = 0
        try:
            for batch in file.iter_batches(_BATCH_ROWS):
                for row in zip(*(_texts(arrow, one) for one in batch.columns), strict=True):
                    number += 1
                    yield f"row {number}", list(row)
        except (OSError, ValueError) as error:
            raise HistoryError(f"cannot read {path}: {str(error).splitlines()[0]}") from error

    return list(file.schema_arrow.names), rows()


def _texts(arrow: Any, column: Any) -> list[str]:
    """A column as text: a float in the fewest digits that mean it, a time in nanoseconds."""
    types = arrow.types
    if types.is_timestamp(column.type):
        nanos = column.cast(arrow.timestamp("ns", column.type.tz)).cast(arrow.int64())
        return [str(one) for one in nanos.to_pylist()]
    if types.is_float32(column.type):
        single = column.to_numpy(zero_copy_only=False)
        return [np.format_float_positional(one, unique=True, trim="-") for one in single]
    return ["" if one is None else str(one) for one in column.to_pylist()]
