"""A trader led through bars from crossing to crossing.

What is assumed of a bar: its prices come in the order open, then low and high (or high and low),
then close; between two of them every price between is passed, and an order fills at the price that
crosses its trigger, or at the open where that is beyond it already. Everything in a bar happens at
its start; a wait ends with the first bar that starts at or after its end. Between two bars no price
is passed.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from research.price_path import NO_HIGH, NO_LOW, Extremes, Integers, Scale
from research.trader import SimulatedTrader, TraderMoment
from strategy.triggers import ANY_PRICE


class PathChoice(StrEnum):
    """The order of the prices within a bar."""

    PESSIMISTIC = "pessimistic"  # bar by bar, whichever leaves less equity at its close
    LOW_FIRST = "open-low-high-close"
    HIGH_FIRST = "open-high-low-close"


@dataclass(frozen=True, slots=True)
class Bars:
    """Columns of equal length, oldest first. `starts` in seconds since 1970 (UTC), prices in whole
    `step`s of USD.
    """

    starts: Integers
    opens: Integers
    highs: Integers
    lows: Integers
    closes: Integers
    step: Decimal


@dataclass(frozen=True, slots=True)
class _Levels:
    """The levels of one state in units: buy at this ask or below, sell at this bid or above."""

    buy: int
    sell: int
    buys_at_any_price: bool
    low: int  # the same in steps, for the search
    high: int


class BarWalk:
    """One trader on one series of bars. `at` is the bar that comes next."""

    def __init__(
        self, trader: SimulatedTrader, bars: Bars, path: PathChoice, spread_percent: Decimal
    ) -> None:
        self.trader, self.bars, self.path = trader, bars, path
        self.scale = Scale.of(bars.step, trader.rules.price_increment, spread_percent)
        self.at = 0
        self._extremes = Extremes(bars.lows, bars.highs)
        self._levels: tuple[object, _Levels] | None = None

    @property
    def count(self) -> int:
        return self._extremes.count

    def start_of(self, number: int) -> int:
        """Microseconds since 1970."""
        return int(self.bars.starts[number]) * 1_000_000

    @property
    def last_bid(self) -> Decimal:
        return (
            self.scale.usd(self.scale.bid(int(self.bars.closes[-1]))) if self.count else Decimal(0)
        )

    def find_next(self) -> int:
        """The next bar in which something happens; `count` where nothing does any more."""
        trader = self.trader
        if (ends_at := trader.cooldown_ends_at) is not None:
            over = int(self.bars.starts.searchsorted(_seconds(ends_at)))
            over = max(over, self.at)
            levels = self._current_levels()
            if levels.low == NO_LOW:
                return over
            return min(over, self._search(levels))
        return self._search(self._current_levels())

    def _search(self, levels: _Levels) -> int:
        if levels.buys_at_any_price:
            return self.at
        if levels.low == NO_LOW and levels.high == NO_HIGH:
            return self.count
        return self._extremes.find(self.at, levels.low, levels.high)

    def _current_levels(self) -> _Levels:
        triggers = self.trader.triggers
        refused = self.trader.lacks_cash
        if self._levels is not None and self._levels[0] is triggers and not refused:
            return self._levels[1]
        scale, price = self.scale, triggers.buy_at_or_below
        any_price = price == ANY_PRICE and not refused
        buy, low = NO_LOW, NO_LOW
        if price is not None and not refused and not any_price:
            buy = scale.units_down(price)
            low = scale.steps_with_ask_to(buy)
        sell, high = NO_HIGH, NO_HIGH
        if triggers.sell_at_or_above is not None:
            sell = scale.units_up(triggers.sell_at_or_above)
            high = scale.steps_with_bid_from(sell)
        levels = _Levels(buy, sell, any_price, low, high)
        self._levels = None if refused else (triggers, levels)
        return levels

    def walk(self, number: int) -> None:
        """All that happens in this bar; the next one comes after it."""
        bars = self.bars
        start = datetime.fromtimestamp(int(bars.starts[number]), UTC)
        opens, low = int(bars.opens[number]), int(bars.lows[number])
        high, close = int(bars.highs[number]), int(bars.closes[number])
        low_first, high_first = (opens, low, high, close), (opens, high, low, close)
        match self.path:
            case PathChoice.LOW_FIRST:
                self._walk(low_first, start)
            case PathChoice.HIGH_FIRST:
                self._walk(high_first, start)
            case PathChoice.PESSIMISTIC:
                self._walk_the_worse(low_first, high_first, start)
        self.at = number + 1

    def _walk_the_worse(
        self, low_first: tuple[int, ...], high_first: tuple[int, ...], start: datetime
    ) -> None:
        _, low, high, close = low_first
        levels, before = self._current_levels(), self.trader.moment()
        self._walk(low_first, start)
        if self._is_same_either_way(levels, before, low, high):
            return
        first, equity = self.trader.moment(), self._equity(close)
        entries, refusals = self.trader.since(before)
        self.trader.go_back(before)
        self._walk(high_first, start)
        if self._equity(close) > equity:
            self.trader.go_back(before)
            self.trader.go_on(first, entries, refusals)

    def _is_same_either_way(
        self, before: _Levels, moment: TraderMoment, low: int, high: int
    ) -> bool:
        """Whether one order at most was filled, and no other could be on either path."""
        orders = len(self.trader.entries) - moment.entries
        if orders == 0:
            return True
        after = self._current_levels()
        reached = [levels for levels in (before, after) if _reaches(levels, low, high)]
        is_crossed_once = not (low <= before.low and high >= before.high)
        return orders == 1 and reached in ([], [before]) and is_crossed_once

    def _equity(self, close: int) -> Decimal:
        account = self.trader.account
        bid = self.scale.usd(self.scale.bid(close))
        return account.cash_usd + account.held(self.trader.symbol) * bid

    def _walk(self, prices: tuple[int, ...], now: datetime) -> None:
        """From the open along each leg; at every crossing the trader gets the quote of it."""
        scale = self.scale
        bid, ask = scale.bid(prices[0]), scale.ask(prices[0])
        self._act_here(bid, ask, now)
        for price in prices[1:]:
            to_bid, to_ask = scale.bid(price), scale.ask(price)
            while True:
                levels = self._current_levels()
                if to_ask < ask and to_ask <= levels.buy:
                    ask = min(ask, levels.buy)
                    bid = scale.bid_beside(ask)
                elif to_bid > bid and to_bid >= levels.sell:
                    bid = max(bid, levels.sell)
                    ask = scale.ask_beside(bid)
                else:
                    break
                if not self._act_here(bid, ask, now):
                    break
            bid, ask = to_bid, to_ask

    def _act_here(self, bid: int, ask: int, now: datetime) -> bool:
        """At one price, until nothing more is asked for at it. False: what was is refused."""
        trader, usd = self.trader, self.scale.usd
        while True:
            trader.end_cooldown(now)
            levels = self._current_levels()
            if not (levels.buys_at_any_price or ask <= levels.buy or bid >= levels.sell):
                return True
            if not trader.on_quote(usd(bid), usd(ask), now):
                return False


def _reaches(levels: _Levels, low: int, high: int) -> bool:
    return levels.buys_at_any_price or low <= levels.low or high >= levels.high


def _seconds(moment: datetime) -> float:
    return moment.timestamp()
