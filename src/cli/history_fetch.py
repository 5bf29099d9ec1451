"""One run of `scripts/history fetch`: its progress, and how it ends when it is broken off."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from rich.progress import Progress

from cli.command_line import EXIT_FAILED, Stop
from cli.history_tables import month_text, months_json
from config import Settings
from research.fetch import Fetch
from research.history import History, MonthResult
from research.months import Month
from utils.alpaca_bars import BarSource
from utils.alpaca_http import ExchangeError, ExchangeRefused
from utils.formatting import counted


@dataclass
class FetchRun:
    settings: Settings
    history: History
    options: argparse.Namespace
    now: datetime
    progress: Progress
    tell: Callable[[str], None]
    results: list[MonthResult] = field(default_factory=list)
    _at: str = ""

    def fetch(self, firsts: Mapping[str, Month], last: Month) -> list[MonthResult]:
        """What became of each month of each symbol, from its first month to `last`.

        Raises:
            Stop: it was broken off, or there was nothing; what is stored stays.
        """
        origin = None if self.options.alpaca else self.settings.alpaca_data_url
        source = BarSource(origin)
        try:
            for symbol, first in firsts.items():
                self._fetch(source, symbol, first, last)
        except ExchangeRefused as error:
            raise self._stop(f"{self._at}: {source.name} declined: {error}") from error
        except ExchangeError as error:
            raise self._broken_off(f"{self._at}: {source.name}: {error}") from error
        except KeyboardInterrupt:
            raise self._broken_off("stopped") from None
        if not any(one.content for one in self.results):
            hint = " (ALPACA_DATA_URL in .env; --alpaca asks Alpaca itself)" if origin else ""
            names = ", ".join(firsts)
            raise self._stop(f"{source.name} has no bars of {names} in that time{hint}")
        return self.results

    def _fetch(self, source: BarSource, symbol: str, first: Month, last: Month) -> None:
        task = self.progress.add_task(symbol, total=len(list(first.until(last))))

        def show(month: Month, part: float) -> None:
            self._at = f"{symbol} {month}"
            done = (month.year - first.year) * 12 + month.number - first.number
            self.progress.update(task, completed=done + part)

        fetch = Fetch(
            history=self.history,
            source=source,
            symbol=symbol,
            now=self.now,
            places=self.options.places,
            replaces=self.options.replace,
            on_progress=show,
        )
        for result in fetch.months(first, last):
            self.results.append(result)
            is_of_others = result.content and result.content.origin.source != source.name
            if result.is_new or is_of_others:
                self.tell(month_text(result, source.name))

    def _broken_off(self, reason: str) -> Stop:
        stored = sum(one.is_new and one.content is not None for one in self.results)
        there = f"{counted(stored, 'month')} {'is' if stored == 1 else 'are'} stored"
        return self._stop(f"{reason}; {there}, and the same command goes on from there")

    def _stop(self, reason: str) -> Stop:
        return Stop(reason, EXIT_FAILED, months_json(self.results))
