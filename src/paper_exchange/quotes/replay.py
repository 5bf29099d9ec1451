"""Recorded quotes from CSV, plain or .gz: `timestamp,symbol,bid,bid_size,ask,ask_size`.

The whole file is read and checked before the first quote goes out, so that a bad line, named with
its file, never ends a run in its middle. Recorded times only pace.
"""

import csv
import gzip
import heapq
import zlib
from collections.abc import Collection, Iterator
from decimal import Decimal
from pathlib import Path

from paper_exchange.core.assets import AssetCatalog
from paper_exchange.core.clock import NANOS, parse_time
from paper_exchange.core.decimals import to_decimal
from paper_exchange.quotes.synthetic import TimedQuote

COLUMNS = ["timestamp", "symbol", "bid", "bid_size", "ask", "ask_size"]


class ReplayError(Exception):
    """The recording cannot be used; one line names the file, the line and the reason."""


def load_recording(
    path: Path,
    assets: AssetCatalog,
    *,
    symbols: Collection[str] = (),
    from_ns: int | None = None,
    until_ns: int | None = None,
) -> list[TimedQuote]:
    """The quotes of [from, until); `at_seconds` is the recorded epoch. Raises ReplayError."""
    quotes: list[TimedQuote] = []
    names: dict[str, str] = {}
    last_ns = 0
    try:
        for number, row in _rows(path):
            try:
                at_ns = parse_time(row[0])
                if at_ns < last_ns:
                    raise ValueError("time goes backwards")
                last_ns = at_ns
                if (from_ns is not None and at_ns < from_ns) or (
                    until_ns is not None and at_ns >= until_ns
                ):
                    continue
                symbol = names.get(row[1]) or names.setdefault(row[1], _symbol(row[1], assets))
                bid, bid_size, ask, ask_size = (_price(text) for text in row[2:])
            except ValueError as error:
                raise ReplayError(f"{path}, line {number}: {error}") from None
            if not symbols or symbol in symbols:
                quotes.append(TimedQuote(at_ns / NANOS, symbol, bid, bid_size, ask, ask_size))
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise ReplayError(f"{path}: cannot be read: {error}") from None
    return quotes


def replay_quotes(recordings: Collection[list[TimedQuote]]) -> Iterator[TimedQuote]:
    """Several recordings as one, in the order of their recorded times."""
    return heapq.merge(*recordings, key=lambda quote: quote.at_seconds)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8", newline="") as text:
        reader = csv.reader(text)
        if (header := next(reader, None)) != COLUMNS:
            raise ReplayError(
                f"{path}, line 1: the header must be {','.join(COLUMNS)}, not {header}"
            )
        for row in reader:
            if len(row) != len(COLUMNS):
                raise ReplayError(
                    f"{path}, line {reader.line_num}: "
                    f"{len(COLUMNS)} columns expected, {len(row)} found"
                )
            yield reader.line_num, row


def _symbol(name: str, assets: AssetCatalog) -> str:
    asset = assets.find_recorded(name)
    if asset is None:
        raise ValueError(f"unknown symbol {name!r}")
    return asset.symbol


def _price(text: str) -> Decimal:
    number = to_decimal(text)
    if number < 0:
        raise ValueError(f"negative number: {text}")
    return number
