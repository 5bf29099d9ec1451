"""The history as CSV: exact prices, times in UTC. `scripts/history import` takes it back."""

from __future__ import annotations

from collections.abc import Iterator

from research.months import time_text
from research.price_steps import price_texts
from research.series import Kind, Series
from research.tables import COLUMNS

_CHUNK_ROWS = 50_000


def csv_chunks(kind: Kind, series: Series) -> Iterator[str]:
    """Its lines, the header first, many at once."""
    yield f"timestamp,symbol,{','.join(COLUMNS[kind])}\n"
    for begin in range(0, len(series), _CHUNK_ROWS):
        part = series.slice(begin, begin + _CHUNK_ROWS)
        columns = [price_texts(one.tolist(), part.places) for one in part.prices]
        times = [time_text(one) for one in part.at_ns.tolist()]
        rows = zip(times, *columns, strict=True)
        yield "".join(f"{at},{series.symbol},{','.join(prices)}\n" for at, *prices in rows)
