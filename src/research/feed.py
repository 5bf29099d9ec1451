"""The prices of one asset for a replay: from the history to what the traders take, and the bids
that its coins are judged by.

Owns the translation of the history's series; says what is missing in them, and fills nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
from numpy.typing import NDArray

from research import bars, quotes
from research.errors import HistoryError
from research.history import History
from research.months import MINUTE_NS, SECOND_NS, to_datetime, to_ns
from research.price_path import Integers
from research.series import Bars, Gap, Kind, Quotes, Series

Floats = NDArray[np.float64]

# Percent of the price. Of each symbol the widest of the recordings that docs/backtest.md names, by
# `measure_spread`, rounded up; of others the widest of all.
MEASURED_SPREADS = {
    "BTC/USD": Decimal("0.03"),
    "ETH/USD": Decimal("0.055"),
    "LTC/USD": Decimal("0.02"),
}
OTHER_SPREAD = Decimal("0.055")
_SILENT_NS = MINUTE_NS  # of a recording that stood still no more than this counts
_SPREAD_STEP = Decimal("0.0001")


@dataclass(frozen=True, slots=True, kw_only=True)
class PriceLine:
    """What one asset was worth, and what it cost. Of a bar its time is its beginning. The bids are
    floats in USD: they judge what was traded, and trade nothing.
    """

    symbol: str
    at_ns: Integers
    low_bid: Floats
    close_bid: Floats
    asks: Integers  # in steps: of a bar's open, before the spread
    ask_of_step: Decimal
    end_ns: int
    last_bid: Decimal

    def ask(self, number: int) -> Decimal:
        """USD, exact: what a buyer pays at this time."""
        return int(self.asks[number]) * self.ask_of_step


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """One asset's prices and what is to be told of them."""

    kind: Kind
    series: Series
    prices: bars.Bars | quotes.Quotes
    line: PriceLine
    gaps: tuple[Gap, ...]
    sources: tuple[str, ...]
    spread_percent: Decimal

    @property
    def begin(self) -> datetime:
        return to_datetime(int(self.series.at_ns[0]))

    @property
    def end(self) -> datetime:
        """When the last bar is over; of quotes, when the last one came."""
        return to_datetime(self.line.end_ns)


def load_feed(
    history: History,
    symbol: str,
    start: datetime | None,
    end: datetime | None,
    *,
    kind: Kind,
    spread_percent: Decimal,
    max_jump_percent: Decimal,
) -> Feed:
    """The bars or quotes of [start, end); `spread_percent` is for bars.

    Raises:
        HistoryError: there are none, or a file is damaged.
        ValueError: a spread that leaves no bid.
    """
    if not 0 <= spread_percent < 200:
        raise ValueError("a spread is at least 0 and below 200 percent")
    load = history.load_quotes if kind is Kind.QUOTES else history.load_bars
    loaded = load(symbol, start, end)
    return make_feed(
        loaded.series,
        loaded.gaps,
        loaded.sources,
        spread_percent=spread_percent,
        max_jump_percent=max_jump_percent,
    )


def make_feed(
    series: Series,
    gaps: tuple[Gap, ...],
    sources: tuple[str, ...],
    *,
    spread_percent: Decimal,
    max_jump_percent: Decimal,
) -> Feed:
    """What a replay takes of these prices, or of a part of them.

    Raises:
        HistoryError: no quote makes sense.
    """
    if isinstance(series, Quotes):
        ticks = convert_quotes(series)
        # Raw ones are given to the replay, which drops the same: see Quotes.sane.
        return Feed(
            kind=Kind.QUOTES,
            series=series,
            prices=ticks,
            line=_line_of_quotes(series.symbol, ticks.sane(max_jump_percent)),
            gaps=gaps,
            sources=sources,
            spread_percent=Decimal(0),
        )
    assert isinstance(series, Bars)
    return Feed(
        kind=Kind.BARS,
        series=series,
        prices=convert_bars(series),
        line=_line_of_bars(series, spread_percent),
        gaps=gaps,
        sources=sources,
        spread_percent=spread_percent,
    )


def find_kind(
    history: History, symbol: str, start: datetime | None, end: datetime | None
) -> Kind | None:
    """What there is of these months, bars first; None: neither."""
    for kind in (Kind.BARS, Kind.QUOTES):
        for month in history.months(kind, symbol):
            if (start is None or month.end_ns > to_ns(start)) and (
                end is None or month.begin_ns < to_ns(end)
            ):
                return kind
    return None


def convert_bars(series: Bars) -> bars.Bars:
    """The history's bars as the replay takes them; a bar begins with a whole second."""
    return bars.Bars(
        series.at_ns // SECOND_NS,
        series.open,
        series.high,
        series.low,
        series.close,
        series.price_step,
    )


def convert_quotes(series: Quotes) -> quotes.Quotes:
    """The history's quotes as the replay takes them; what is below a microsecond is cut off."""
    return quotes.Quotes(series.at_ns // 1_000, series.bid, series.ask, series.price_step)


def _line_of_bars(series: Bars, spread_percent: Decimal) -> PriceLine:
    bid = series.price_step * (1 - spread_percent / 200)
    return PriceLine(
        symbol=series.symbol,
        at_ns=series.at_ns,
        low_bid=_in_usd(series.low, bid),
        close_bid=_in_usd(series.close, bid),
        asks=series.open,
        ask_of_step=series.price_step * (1 + spread_percent / 200),
        end_ns=int(series.at_ns[-1]) + series.bar_seconds * SECOND_NS,
        last_bid=int(series.close[-1]) * bid,
    )


def _line_of_quotes(symbol: str, ticks: quotes.Quotes) -> PriceLine:
    if not len(ticks.times):
        raise HistoryError(f"no quote of {symbol} in this time makes sense")
    bids = _in_usd(ticks.bids, ticks.step)
    return PriceLine(
        symbol=symbol,
        at_ns=ticks.times * 1_000,
        low_bid=bids,
        close_bid=bids,
        asks=ticks.asks,
        ask_of_step=ticks.step,
        end_ns=int(ticks.times[-1]) * 1_000,
        last_bid=int(ticks.bids[-1]) * ticks.step,
    )


def _in_usd(steps: Integers, usd: Decimal) -> Floats:
    values: Floats = np.multiply(steps, float(usd), dtype=np.float64)
    return values


def measure_spread(series: Sequence[Quotes]) -> Decimal | None:
    """Ask less bid in percent of their middle, as the mean over time of the widest of these
    recordings; a silence counts as a minute at most. None: there is nothing to measure.
    """
    found = [percent for one in series if (percent := _measure(one)) is not None]
    return max(found, default=None)


def find_spread(history: History, symbol: str) -> tuple[Decimal, bool]:
    """Percent of the price, for bars, and whether it was measured in quotes of the user's own;
    otherwise it is that of the recordings that this program was made with.

    Raises:
        HistoryError: a file of those quotes is damaged.
    """
    if history.months(Kind.QUOTES, symbol):
        own = [history.load_quotes(symbol, None, None).series]
        if (measured := measure_spread(own)) is not None:
            return measured, True
    return MEASURED_SPREADS.get(symbol, OTHER_SPREAD), False


def _measure(series: Quotes) -> Decimal | None:
    is_sane = (series.bid > 0) & (series.bid <= series.ask)
    at_ns, bid, ask = (one[is_sane] for one in (series.at_ns, series.bid, series.ask))
    weights = np.minimum(np.diff(at_ns), _SILENT_NS)
    if not weights.sum():
        return None
    percents = (ask - bid)[:-1] * 200 / (ask + bid)[:-1]
    mean = float((percents * weights).sum() / weights.sum())
    return Decimal(mean).quantize(_SPREAD_STEP, ROUND_HALF_EVEN)
