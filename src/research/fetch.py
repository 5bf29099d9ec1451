"""Fetches bars into the history, month by month. Knows no terminal.

Owns: which months are wanted. One that is there whole is not asked for again, so that a fetch that
was killed goes on with the month that is missing; the running month is fetched anew, up to now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import numpy as np

from research.errors import DamagedHistory, UnusablePrices
from research.history import History, MonthResult
from research.history_file import MonthFile, Origin
from research.months import MINUTE_NS, Month, read_time, time_text, to_ns
from research.price_steps import read_prices
from research.series import Bars, Kind, tidy_bars

BAR_SECONDS = 60
SETTLED_NS = 10 * MINUTE_NS
"""A month is whole when it is over for so long: its last bar comes a moment later."""
_PRICES = ("o", "h", "l", "c")


class BarPages(Protocol):
    """Where bars come from: utils.alpaca_bars."""

    name: str

    def pages(self, symbol: str, start: str, end: str) -> Iterator[list[Mapping[str, Any]]]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetch:
    """What is to be fetched of one symbol. Only while the history is `writing`.

    `places`: round prices to so many digits after the point; `replaces`: also months that are
    there; `on_progress`: called with the month and the part of it that is there (0 to 1).
    """

    history: History
    source: BarPages
    symbol: str
    now: datetime
    places: int | None = None
    replaces: bool = False
    on_progress: Callable[[Month, float], None] = lambda _month, _part: None

    def months(self, first: Month, last: Month) -> Iterator[MonthResult]:
        """Each month from `first` to `last` (or the running one) when it is done.

        Raises:
            ExchangeError: a month could not be fetched; those before it are stored.
            UnusablePrices: what came cannot be kept. HistoryError: it cannot be written.
        """
        for month in first.until(min(last, Month.at(to_ns(self.now)))):
            self.on_progress(month, 0.0)
            done = self._month(month)
            self.on_progress(month, 1.0)
            yield done

    def _month(self, month: Month) -> MonthResult:
        path = self.history.path_of(Kind.BARS, self.symbol, month)
        replaced = ""
        if path.exists():
            try:
                there = self.history.read(Kind.BARS, self.symbol, month)
            except DamagedHistory as error:
                replaced = str(error)
            else:
                if there.origin.is_complete and not self.replaces:
                    gaps = there.series.find_gaps(month.begin_ns, month.end_ns)
                    return MonthResult(
                        symbol=self.symbol, month=month, content=there, gaps=gaps, is_new=False
                    )
        now_ns = to_ns(self.now)
        # The running minute is left out: its bar would be another one a moment later.
        end_ns = min(month.end_ns, now_ns - now_ns % MINUTE_NS)
        found = self._fetch(month, end_ns) if end_ns > month.begin_ns else None
        if found is None:
            return MonthResult(symbol=self.symbol, month=month, content=None, replaced=replaced)
        self.history.save(found)
        gaps = found.series.find_gaps(month.begin_ns, end_ns)
        return MonthResult(
            symbol=self.symbol, month=month, content=found, gaps=gaps, replaced=replaced
        )

    def _fetch(self, month: Month, end_ns: int) -> MonthFile | None:
        """Raises UnusablePrices, with the month that it is about, and ExchangeError."""
        times: list[int] = []
        columns: tuple[list[str], ...] = tuple([] for _ in _PRICES)
        start, last = time_text(month.begin_ns), time_text(end_ns - MINUTE_NS)
        try:
            for page in self.source.pages(self.symbol, start, last):
                for bar in page:
                    times.append(_time_of(bar))
                    for column, name in zip(columns, _PRICES, strict=True):
                        column.append(_text_of(bar, name))
                if times:
                    length_ns = month.end_ns - month.begin_ns
                    self.on_progress(month, (times[-1] - month.begin_ns) / length_ns)
            if not times:
                return None
            return self._tidied(month, end_ns, times, columns)
        except UnusablePrices as error:
            raise UnusablePrices(
                f"{self.symbol} {month} from {self.source.name}: {error}"
            ) from None

    def _tidied(
        self, month: Month, end_ns: int, times: list[int], columns: tuple[list[str], ...]
    ) -> MonthFile:
        strange = next((one for one in times if not month.begin_ns <= one < end_ns), None)
        if strange is not None:
            raise UnusablePrices(
                f"there came a bar of {time_text(strange)}, which nobody asked for"
            )
        prices = read_prices(columns, self.places)
        first, high, low, close = prices.columns
        tidied = tidy_bars(
            Bars(
                symbol=self.symbol,
                places=prices.places,
                bar_seconds=BAR_SECONDS,
                at_ns=np.array(times, np.int64),
                open=first,
                high=high,
                low=low,
                close=close,
            )
        )
        origin = Origin(
            source=self.source.name,
            is_complete=to_ns(self.now) >= month.end_ns + SETTLED_NS,
            duplicates=len(tidied.duplicates),
            differing=len(tidied.differing),
            rounded=prices.rounded,
        )
        return MonthFile(month, tidied.bars, origin)


def _time_of(bar: Mapping[str, Any]) -> int:
    with suppress(ValueError):
        return read_time(str(bar.get("t")))
    raise UnusablePrices(f"there came a bar without a time: {str(bar.get('t'))[:40]!r}")


def _text_of(bar: Mapping[str, Any], name: str) -> str:
    value = bar.get(name)
    if value is None or isinstance(value, bool | float):  # a float has lost digits already
        raise UnusablePrices(f"the bar of {bar.get('t')} has no price {name!r}")
    return str(value)
