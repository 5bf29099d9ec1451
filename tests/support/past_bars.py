"""Past minute bars: made up from a seed, and put into a running exchange as its history."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from paper_exchange.core.prices import Bar
from research.history import History
from research.history_file import MonthFile, Origin
from research.months import MINUTE_NS, Month, to_ns
from research.series import Bars
from running_exchange import RunningExchange

BTC = "BTC/USD"


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def make_bars(start: str, count: int, *, symbol: str = BTC, seed: int = 1) -> list[Bar]:
    """So many minutes from `start` on; prices in cents that walk at random."""
    chance, close, begin_ns = random.Random(seed), 6_000_000, to_ns(at(start))
    bars = []
    for number in range(count):
        first = close + chance.randint(-300, 300)
        close = max(1_000, first + chance.randint(-2_000, 2_000))
        high = max(first, close) + chance.randint(0, 500)
        low = min(first, close) - chance.randint(0, 500)
        prices = (Decimal(one) / 100 for one in (first, high, low, close))
        at_ns = begin_ns + number * MINUTE_NS
        bars.append(Bar(symbol, *prices, Decimal(1), Decimal(close) / 100, 1, at_ns))
    return bars


def other_prices(bar: Bar) -> Bar:
    """The same minute, a cent higher."""
    moved = {
        name: getattr(bar, name) + Decimal("0.01") for name in ("open", "high", "low", "close")
    }
    return replace(bar, **moved)


def add_history(exchange: RunningExchange, bars: Iterable[Bar]) -> None:
    """Let the exchange answer these when it is asked for the past, as they stand here."""

    async def add() -> None:
        minutes = exchange.server.exchange.history.minutes
        for bar in bars:
            minutes[bar.symbol].append(bar)

    exchange.run(add())


def prices_of(bars: Sequence[Bar]) -> list[tuple[Decimal, ...]]:
    return [(one.open, one.high, one.low, one.close) for one in bars]


def save_waves(
    history: History, symbol: str, price: int, month: Month, *, without: Sequence[int] = ()
) -> Bars:
    """A month of minutes that go up and down by 12 % twice a day, in cents; none of the minutes
    `without`.
    """
    count = (month.end_ns - month.begin_ns) // MINUTE_NS
    minutes = np.delete(np.arange(count, dtype=np.int64), list(without))
    middle = (price * 100 * (1 + 0.06 * np.sin(minutes / 720 * 2 * np.pi))).astype(np.int64)
    bars = Bars(
        symbol=symbol,
        places=2,
        at_ns=month.begin_ns + minutes * MINUTE_NS,
        bar_seconds=60,
        open=middle,
        high=middle + 100,
        low=middle - 100,
        close=middle,
    )
    with history.writing():
        history.save(MonthFile(month, bars, Origin(source="a test")))
    return bars
