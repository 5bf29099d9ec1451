"""Recorded quotes for a lockstep: from the history, or from a file as `scripts/history import`
reads it (what it refuses is refused). Nothing is kept.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import numpy as np

from operations.refused import Refused
from research.history import History
from research.imports import import_files
from research.quotes import Quotes
from research.series import Kind
from research.series import Quotes as Series

_NS_PER_MICRO = 1000


def load_file(
    path: Path, folder: Path, since: datetime | None, until: datetime | None
) -> tuple[str, Quotes]:
    """The symbol and the quotes of a file with those of one symbol.

    Args:
        folder: an empty one, for what is made of it meanwhile.

    Raises:
        Refused: of another kind, or of several symbols. HistoryError: it cannot be read.
    """
    history = History(folder)
    with history.writing():
        import_files(history, [path])
    symbols = history.symbols()
    if len(symbols) != 1:
        raise Refused(f"{path} has quotes of {', '.join(symbols)}: one symbol is played")
    if not history.months(Kind.QUOTES, symbols[0]):
        raise Refused(f"{path} has bars: only quotes can be played, one after another")
    return symbols[0], load_history(history, symbols[0], since, until)


def load_history(
    history: History, symbol: str, since: datetime | None, until: datetime | None
) -> Quotes:
    """Raises HistoryError where there are none."""
    series = history.load_quotes(symbol, since, until).series
    assert isinstance(series, Series)
    bids, asks = (np.ascontiguousarray(one, dtype=np.int64) for one in series.prices)
    return Quotes(series.at_ns // _NS_PER_MICRO, bids, asks, series.price_step)
