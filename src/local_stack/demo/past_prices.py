"""A past for the coins of a demo, so that the page has candles and something to try settings on.

Made up, as the demo's market is: it ends at the price with which that begins.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from local_stack.stack import LocalStack

DAYS = 14
QUOTE_SECONDS = 5.0
POLL_SECONDS = 0.05
_SWING, _PULL, _STEP = 0.0004, 0.0015, 0.00035
_SEED = 7
_HEADER = "timestamp,symbol,open,high,low,close"


def give_past(stack: LocalStack, symbols: Sequence[str]) -> None:
    """Into the stack's own history, once its market has a price for each symbol.

    Raises:
        StackError: the import took too long, or the exchange does not answer.
    """
    prices, deadline = _prices(stack), time.monotonic() + QUOTE_SECONDS
    while not prices.keys() >= set(symbols) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
        prices = _prices(stack)
    path = stack.folder / "past-prices.csv"
    known = {symbol: prices[symbol] for symbol in symbols if symbol in prices}
    write_past(path, known, datetime.now(UTC))
    stack.run_python("history", ["-m", "cli.history", "import", str(path)])


def _prices(stack: LocalStack) -> dict[str, float]:
    return {symbol: float(one["bid"]) for symbol, one in stack.exchange.state()["quotes"].items()}


def write_past(path: Path, prices: Mapping[str, float], now: datetime) -> None:
    """Minute bars up to `now` as CSV; the swings are the same in every demo."""
    chance = random.Random(_SEED)
    end = now.replace(second=0, microsecond=0)
    with path.open("w") as out:
        print(_HEADER, file=out)
        for symbol, price in prices.items():
            places = 2 if price >= 100 else 4 if price >= 1 else 6
            # Backwards: a walk that ends where the market begins.
            levels = [price * level for level in _walk(chance, DAYS * 24 * 60 + 1)]
            for minute, (opened, close) in enumerate(
                zip(levels[:0:-1], levels[-2::-1], strict=True)
            ):
                at = end - timedelta(minutes=DAYS * 24 * 60 - minute)
                high = max(opened, close) * (1 + chance.random() * _STEP)
                low = min(opened, close) * (1 - chance.random() * _STEP)
                numbers = ",".join(f"{one:.{places}f}" for one in (opened, high, low, close))
                print(f"{at:%Y-%m-%dT%H:%M:%SZ},{symbol},{numbers}", file=out)


def _walk(chance: random.Random, count: int) -> Iterator[float]:
    """From 1 on, with swings of some percent that always return."""
    level, drift = 0.0, 0.0
    for _ in range(count):
        yield 1 + level
        drift = 0.98 * drift + chance.gauss(0, _SWING) * 0.03
        level += drift - _PULL * level + chance.gauss(0, _SWING)
