"""The task of every rival of the replay: the same bars, the same rules, one line for each replay.

Runs with the packages of a peer as well: imports nothing but the standard library and numpy.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

SYMBOL = "BTC/USD"
CASH_USD, ORDER_USD, SAFETY_ORDERS = 10_000, 100, 8
DEVIATION_PERCENT, TAKE_PROFIT_PERCENT, FEE_PERCENT = "1.5", "1.2", "0.25"
COOLDOWN_BARS, BAR_SECONDS = 5, 60
DEVIATION, TAKE_PROFIT = float(DEVIATION_PERCENT) / 100, float(TAKE_PROFIT_PERCENT) / 100
FEE = float(FEE_PERCENT) / 100
_FILE = "bars.npz"


@dataclass(frozen=True, slots=True)
class Bars:
    """Whole `step`s of 10 ** -`places` USD; `starts` in seconds since 1970."""

    starts: npt.NDArray[np.int64]
    opens: npt.NDArray[np.int64]
    highs: npt.NDArray[np.int64]
    lows: npt.NDArray[np.int64]
    closes: npt.NDArray[np.int64]
    places: int

    def in_usd(self) -> tuple[npt.NDArray[np.float64], ...]:
        """Open, high, low and close as floats."""
        columns = (self.opens, self.highs, self.lows, self.closes)
        return tuple(np.ascontiguousarray(one / 10**self.places) for one in columns)

    def save(self, folder: Path) -> None:
        columns = (self.starts, self.opens, self.highs, self.lows, self.closes)
        np.savez(folder / _FILE, columns=np.stack(columns), places=np.int64(self.places))


def load_bars() -> Bars:
    """The bars in the folder that the first argument names."""
    with np.load(Path(sys.argv[1]) / _FILE) as found:
        starts, opens, highs, lows, closes = found["columns"]
        return Bars(starts, opens, highs, lows, closes, int(found["places"]))


def serve(replay: Callable[[], T], judge: Callable[[T], tuple[int, float]], **facts: Any) -> None:
    """Replay once for each line of standard input, after once that does not count (it compiles).

    `replay` is measured; `judge` says of what it returns how many orders there were and what the
    account is worth at the end, in USD.
    """
    begun = time.process_time()
    replay()
    first_seconds = time.process_time() - begun
    print(json.dumps({"first_seconds": first_seconds, **facts}), flush=True)
    for _line in sys.stdin:
        begun = time.process_time()
        outcome = replay()
        cpu_seconds = time.process_time() - begun
        orders, worth_usd = judge(outcome)
        said = {"cpu_seconds": cpu_seconds, "orders": orders, "worth_usd": worth_usd}
        print(json.dumps(said), flush=True)
