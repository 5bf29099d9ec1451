"""The bars that replays are measured on: recordings, the stored history, or a drawn market."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from local_stack.benchmark.rivals.replay_task import BAR_SECONDS, SYMBOL
from research.errors import HistoryError
from research.history import History
from research.months import SECOND_NS
from research.price_steps import Steps, read_prices, rescaled
from research.series import Bars, Kind
from research.tables import read_table

SEED = 20260101
BEGIN_SECONDS = 1_672_531_200  # 2023-01-01, so that three years are whole months
_PLACES = 2
_FIRST_USD = 30_000.0
# Of a minute. Of the quieter recordings of BTC/USD: 0.045 % in 2025, 0.08 % in 2023.
_VOLATILITY = 0.0006
_STEPS_A_BAR = 4


@dataclass(frozen=True, slots=True)
class Market:
    """`source` says for a person what it is."""

    bars: Bars
    source: str


def draw_market(count: int) -> Market:
    """A random walk, the same each time."""
    rng = np.random.default_rng(SEED)
    moves = rng.normal(0.0, _VOLATILITY / _STEPS_A_BAR**0.5, count * _STEPS_A_BAR)
    path = _FIRST_USD * np.exp(np.cumsum(moves)).reshape(count, _STEPS_A_BAR)
    prices = np.rint(path * 10**_PLACES).astype(np.int64)
    opens = np.concatenate([[round(_FIRST_USD * 10**_PLACES)], prices[:-1, -1]])
    columns = (
        opens,
        np.maximum(opens, prices.max(axis=1)),
        np.minimum(opens, prices.min(axis=1)),
        prices[:, -1],
    )
    return Market(_bars(columns, _PLACES), f"a random market (seed {SEED})")


def read_recordings(paths: Sequence[Path], count: int) -> Market:
    """Bars of files, one after another as they are, from the beginning again until there are
    `count`; each comes a minute after the one before.

    Raises:
        HistoryError: a file cannot be used.
    """
    parts = []
    for path in paths:
        kind, rows = read_table(path)
        if kind is not Kind.BARS:
            raise HistoryError(f"{path} holds {kind}, not bars")
        prices = read_prices(tuple(zip(*(row.prices for row in rows), strict=True)))
        if not prices.columns:
            raise HistoryError(f"{path}: there are no rows")
        parts.append(prices)
    places = max(one.places for one in parts)
    columns = [
        np.concatenate([rescaled(one.columns[number], one.places, places) for one in parts])
        for number in range(4)
    ]
    found = len(columns[0])
    named = f"{len(paths)} recordings" if len(paths) > 1 else paths[0].name
    repeated = "" if found >= count else ", repeated"
    source = f"{named} ({found:,} bars{repeated})"
    return Market(_bars(tuple(np.resize(one, count) for one in columns), places), source)


def read_history(folder: Path, symbol: str, count: int) -> Market:
    """The first `count` stored bars of a symbol, as they are: gaps stay.

    Raises:
        HistoryError: there are none.
    """
    bars = History(folder).load_bars(symbol).series
    kept = bars.slice(0, count)
    assert isinstance(kept, Bars)
    return Market(kept, f"{len(kept):,} stored bars of {symbol}")


def _bars(columns: tuple[Steps, ...], places: int) -> Bars:
    first, high, low, close = columns
    starts = BEGIN_SECONDS + np.arange(len(first), dtype=np.int64) * BAR_SECONDS
    return Bars(
        symbol=SYMBOL,
        places=places,
        at_ns=starts * SECOND_NS,
        bar_seconds=BAR_SECONDS,
        open=first,
        high=high,
        low=low,
        close=close,
    )
