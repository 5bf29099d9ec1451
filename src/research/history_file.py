"""One file of the history: a symbol's bars or quotes of one month.

    dca-history <SHA-256 of all that follows>
    {"format": 1, "kind": "bars", "symbol": "BTC/USD", "month": "2023-01", "price_step": "0.01",
     "source": "data.alpaca.markets", "rows": 44640, ...}
    the columns: differences, each as narrow as it can be, compressed

`head -2 FILE` shows what it is. Owns: that form, its checks, and that a file appears whole or not
at all.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from research.errors import DamagedHistory, HistoryError, UnusablePrices
from research.months import SECOND_NS, Month
from research.price_steps import step_of
from research.series import Bars, Kind, Quotes, Series, check_bars, check_quotes

FORMAT = 1
ARRIVING = ".arriving"
_MAGIC = b"dca-history"
_HASH_DIGITS = 64
_WIDTHS = (1, 2, 4, 8)
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where the rows of a file come from, and what was noticed when they came."""

    source: str
    is_complete: bool = True
    """Whether the month was over when it was fetched; an import is what it is."""
    duplicates: int = 0
    differing: int = 0
    """Bars that came again as they were, and with other prices: the first one is here."""
    rounded: int = 0
    """How many prices of that fetch or import were rounded, because the user said so."""


@dataclass(frozen=True, slots=True)
class MonthFile:
    """What a file holds."""

    month: Month
    series: Series
    origin: Origin
    size: int = field(default=0, compare=False)

    @property
    def kind(self) -> Kind:
        return Kind.BARS if isinstance(self.series, Bars) else Kind.QUOTES


def write_month(path: Path, content: MonthFile) -> None:
    """Write the file whole, or leave what was there.

    Raises:
        HistoryError: it could not be written. UnusablePrices: it makes no sense.
    """
    check_month(content)
    body = _encode(content)
    head = b"%s %s\n" % (_MAGIC, hashlib.sha256(body).hexdigest().encode())
    write_whole(path, head + body)


def write_whole(path: Path, content: bytes) -> None:
    """Give `path` this content in one step that a power cut cannot halve.

    Raises:
        HistoryError: it could not be written; what was there is there.
    """
    arriving = path.with_name(f".{path.name}.{os.getpid()}{ARRIVING}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(arriving, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            arriving.replace(path)
            _sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):
                arriving.unlink(missing_ok=True)
    except OSError as error:
        cure = ": make room" if error.errno in _FULL else ""
        reason = f"cannot write {path}: {error.strerror or error}{cure}"
        raise HistoryError(reason) from error


def _sync_folder(folder: Path) -> None:
    """The name must survive a power cut as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_month(path: Path) -> MonthFile:
    """Read and check a file.

    Raises:
        DamagedHistory: it is not what was written. HistoryError: it cannot be read.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise HistoryError(f"cannot read {path}: {error.strerror or error}") from error
    magic, digest = content[: len(_MAGIC)], content[len(_MAGIC) + 1 :][:_HASH_DIGITS]
    body = content[len(_MAGIC) + _HASH_DIGITS + 2 :]
    if magic != _MAGIC:
        raise DamagedHistory(f"{path} is damaged, or no file of the history")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise DamagedHistory(f"{path} is damaged or not whole: its checksum is another one")
    line, _, packed = body.partition(b"\n")
    try:
        head = json.loads(line)
        if head["format"] > FORMAT:
            raise DamagedHistory(f"{path} was written by a newer program: use that")
        found = _decode(head, packed, len(content))
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise DamagedHistory(f"{path} is damaged: {error}") from error
    return found


def check_month(content: MonthFile) -> None:
    """Whether the rows make sense and are of that month.

    Raises:
        UnusablePrices: they do not.
    """
    series, month = content.series, content.month
    if not len(series):
        raise UnusablePrices(f"no rows of {month}")
    if isinstance(series, Bars):
        check_bars(series)
    elif isinstance(series, Quotes):
        check_quotes(series)
    if not month.begin_ns <= int(series.at_ns[0]) <= int(series.at_ns[-1]) < month.end_ns:
        raise UnusablePrices(f"there are rows of another month than {month}")


# The columns


def _encode(content: MonthFile) -> bytes:
    series, origin = content.series, content.origin
    columns = _differences(series, content.month)
    packed = [_narrowed(one) for one in columns]
    head = {
        "format": FORMAT,
        "kind": content.kind.value,
        "symbol": series.symbol,
        "month": str(content.month),
        "price_step": f"{series.price_step:f}",
        "source": origin.source,
        "rows": len(series),
        "is_complete": origin.is_complete,
        "duplicates": origin.duplicates,
        "differing": origin.differing,
        "rounded": origin.rounded,
        "bar_seconds": series.bar_seconds if isinstance(series, Bars) else 0,
        "first_price": int(series.prices[0][0]),
        "widths": [width for width, _ in packed],
    }
    body = zlib.compress(b"".join(one for _, one in packed), 6)
    return json.dumps(head).encode() + b"\n" + body


def _decode(head: Mapping[str, Any], packed: bytes, size: int) -> MonthFile:
    """Raises KeyError, TypeError, ValueError or zlib.error for what is no such file."""
    rows, widths, month = head["rows"], head["widths"], Month.parse(head["month"])
    wanted = sum(width * rows for width in widths)
    opened = zlib.decompressobj()
    columns = opened.decompress(packed, wanted + 1)
    if len(columns) != wanted or not set(widths) <= set(_WIDTHS):
        raise ValueError("its columns are not as long as its head says")
    differences: list[NDArray[np.int64]] = []
    at = 0
    for width in widths:
        differences.append(_widened(columns[at : at + width * rows], width, rows))
        at += width * rows
    symbol, places = head["symbol"], _places_of(head["price_step"])
    first = head["first_price"]
    series: Series
    if Kind(head["kind"]) is Kind.BARS:
        length = head["bar_seconds"] * SECOND_NS
        steps, gap, move, above, below = differences
        close = first + np.cumsum(gap + move)
        opening = close - move
        series = Bars(
            symbol=symbol,
            places=places,
            bar_seconds=head["bar_seconds"],
            at_ns=month.begin_ns + (np.cumsum(steps) - 1) * length,
            open=opening,
            high=np.maximum(opening, close) + above,
            low=np.minimum(opening, close) - below,
            close=close,
        )
    else:
        nanos, moves, spreads = differences
        bid = first + np.cumsum(moves)
        at_ns = month.begin_ns + np.cumsum(nanos)
        series = Quotes(symbol=symbol, places=places, at_ns=at_ns, bid=bid, ask=bid + spreads)
    origin = {name: head[name] for name in Origin.__dataclass_fields__}
    return MonthFile(month, series, Origin(**origin), size)


def _differences(series: Series, month: Month) -> list[NDArray[np.int64]]:
    """What `_decode` adds up again: small numbers, most of them the same."""
    if isinstance(series, Bars):
        indexes = (series.at_ns - month.begin_ns) // (series.bar_seconds * SECOND_NS)
        before = np.concatenate([series.open[:1], series.close[:-1]])
        return [
            np.diff(indexes, prepend=-1),
            series.open - before,
            series.close - series.open,
            series.high - np.maximum(series.open, series.close),
            np.minimum(series.open, series.close) - series.low,
        ]
    bid, ask = series.prices
    return [
        np.diff(series.at_ns, prepend=month.begin_ns),
        np.diff(bid, prepend=bid[0]),
        ask - bid,
    ]


def _narrowed(column: NDArray[np.int64]) -> tuple[int, bytes]:
    """The bytes of the narrowest integers that hold it, first all lowest, then all second: what is
    alike stands together and compresses well.
    """
    low, high = int(column.min()), int(column.max())
    width = next(one for one in _WIDTHS if -(1 << 8 * one - 1) <= low and high < 1 << 8 * one - 1)
    return width, column.astype(f"<i{width}").view(np.uint8).reshape(-1, width).T.tobytes()


def _widened(column: bytes, width: int, rows: int) -> NDArray[np.int64]:
    by_byte = np.frombuffer(column, np.uint8).reshape(width, rows)
    return np.ascontiguousarray(by_byte.T).view(f"<i{width}").reshape(rows).astype(np.int64)


def _places_of(step: str) -> int:
    exponent = Decimal(step).as_tuple().exponent
    if not isinstance(exponent, int) or step_of(-exponent) != Decimal(step):
        raise ValueError(f"{step} is no step of a price")
    return -exponent
