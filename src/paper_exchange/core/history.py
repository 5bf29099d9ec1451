"""What the market brought since the exchange was started: quotes, trades, minute bars.

The oldest are dropped. Times are the wall clock's, also in a replay. A bar is history when its
minute is over; longer bars are joined from those minutes.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from paper_exchange.core.clock import NANOS
from paper_exchange.core.prices import Bar, Quote, Tick, Trade

MAX_TICKS = 5_000
"""Quotes of a symbol, and trades: about twenty minutes of the synthetic market."""
MAX_MINUTES = 40 * 24 * 60
_TRADING_DAY = ZoneInfo("America/Chicago")
"""Recorded daily bars of crypto begin at midnight there: 05:00Z in summer, 06:00Z in winter."""
_TIMEFRAME = re.compile(r"(\d{1,2})(Min|T|Hour|H|Day|D|Week|W|Month|M)")
_AMOUNTS = {
    "T": range(1, 60), "H": range(1, 24), "D": (1,), "W": (1,), "M": (1, 2, 3, 4, 6, 12),
}  # fmt: skip
_SHORT = {"Min": "T", "Hour": "H", "Day": "D", "Week": "W", "Month": "M"}

Record = TypeVar("Record", Quote, Trade, Bar)


class History:
    def __init__(self) -> None:
        self.quotes = defaultdict[str, deque[Quote]](lambda: deque(maxlen=MAX_TICKS))
        self.trades = defaultdict[str, deque[Trade]](lambda: deque(maxlen=MAX_TICKS))
        self.minutes = defaultdict[str, deque[Bar]](lambda: deque(maxlen=MAX_MINUTES))
        self.days = defaultdict[str, deque[Bar]](lambda: deque(maxlen=2))
        """The last two days of each symbol; the newest one still runs."""

    def on_tick(self, tick: Tick) -> None:
        symbol = tick.quote.symbol
        self.quotes[symbol].append(tick.quote)
        if tick.trade is not None:
            self.trades[symbol].append(tick.trade)
            self._extend_day(tick.trade)
        if tick.closed_bar is not None:
            self.minutes[symbol].append(tick.closed_bar)

    def bars(self, symbol: str, timeframe: "TimeFrame") -> list[Bar]:
        minutes = self.minutes.get(symbol, ())
        return list(minutes) if timeframe.is_a_minute else list(timeframe.joined(minutes))

    def _extend_day(self, trade: Trade) -> None:
        days = self.days[trade.symbol]
        if days and days[-1].at_ns <= trade.at_ns < days[-1].at_ns + 23 * 3600 * NANOS:
            days[-1] = days[-1].including(trade)  # no calendar needed
            return
        begin = DAY.begin(trade.at_ns)
        if days and days[-1].at_ns == begin:
            days[-1] = days[-1].including(trade)
        else:
            days.append(Bar.of(trade, begin))


@dataclass(frozen=True, slots=True)
class TimeFrame:
    """1Min, 4Hour, 1Day, 1Week, 3Month...: how long a bar is, and when it begins."""

    amount: int
    unit: str

    @classmethod
    def parse(cls, text: str) -> "TimeFrame":
        """Raises ValueError for what Alpaca's description does not list."""
        found = _TIMEFRAME.fullmatch(text)
        if found is None:
            raise ValueError(text)
        unit = _SHORT.get(found[2], found[2])
        if int(found[1]) not in _AMOUNTS[unit]:
            raise ValueError(text)
        return cls(int(found[1]), unit)

    @property
    def is_a_minute(self) -> bool:
        return (self.amount, self.unit) == (1, "T")

    def begin(self, at_ns: int) -> int:
        """The beginning of the bar that this moment belongs to.

        Minutes and hours count from midnight UTC; longer bars begin with a day of Chicago.
        """
        if self.unit in "TH":
            length = self.amount * (60 if self.unit == "T" else 3600) * NANOS
            midnight = at_ns - at_ns % (24 * 3600 * NANOS)
            return midnight + (at_ns - midnight) // length * length
        local = datetime.fromtimestamp(at_ns // NANOS, UTC).astimezone(_TRADING_DAY)
        day = local.replace(hour=0, minute=0, second=0, microsecond=0)
        if self.unit == "W":
            day -= timedelta(days=day.weekday())
        elif self.unit == "M":
            day = day.replace(month=(day.month - 1) // self.amount * self.amount + 1, day=1)
        return int(day.timestamp()) * NANOS

    def joined(self, minutes: Iterable[Bar]) -> Iterator[Bar]:
        bar: Bar | None = None
        for minute in minutes:
            begin = self.begin(minute.at_ns)
            if bar is not None and bar.at_ns == begin:
                bar = bar.followed_by(minute)
                continue
            if bar is not None:
                yield bar
            bar = replace(minute, at_ns=begin)
        if bar is not None:
            yield bar


DAY = TimeFrame(1, "D")


def between(records: Iterable[Record], start_ns: int, end_ns: int) -> list[Record]:
    """Those of the interval, both ends included, oldest first: a skewed clock may disorder them."""
    found = (one for one in records if start_ns <= one.at_ns <= end_ns)
    return sorted(found, key=lambda one: one.at_ns)
