"""A trader led through bars from crossing to crossing.

What is assumed of a bar: its prices come in the order open, then low and high (or high and low),
then close; between two of them every price between is passed, and an order fills at the price that
crosses its trigger, or at the open where that is beyond it already. Everything in a bar happens at
its start; a wait ends with the first bar that starts at or after its end. Between two bars no price
is passed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from enum import StrEnum

from domain.cycle import CycleStatus
from domain.records import Record
from research.price_path import NO_HIGH, NO_LOW, Extremes, Integers, Scale
from research.trader import SimulatedTrader, TraderMoment
from strategy.triggers import ANY_PRICE, Triggers

_COOLDOWN = CycleStatus.COOLDOWN


class PathChoice(StrEnum):
    """The order of the prices within a bar."""

    PESSIMISTIC = "pessimistic"  # bar by bar, whichever leaves less equity at its close
    LOW_FIRST = "open-low-high-close"
    HIGH_FIRST = "open-high-low-close"


# Looked up once: see strategy.ladder.
_PESSIMISTIC, _LOW_FIRST = PathChoice.PESSIMISTIC, PathChoice.LOW_FIRST


@dataclass(frozen=True, slots=True)
class Bars:
    """Columns of equal length, oldest first. `starts` in seconds since 1970 (UTC), prices in whole
    `step`s of USD. Their extremes are looked for once, however many replays search in them.
    """

    starts: Integers
    opens: Integers
    highs: Integers
    lows: Integers
    closes: Integers
    step: Decimal
    extremes: Extremes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "extremes", Extremes(self.lows, self.highs))


class _Levels(Record, frozen=True):
    """What matters in one state, in units: an ask at or below `buy`, a bid at or above `sell`, at
    or below `drop` (a trail, a stop loss), at or above `rise` (a higher peak, the end of a stop's
    clock).
    """

    buy: int
    sell: int
    drop: int
    rise: int
    buys_at_any_price: bool
    cools_down: bool
    low: int  # the same as prices in steps, for the search
    high: int
    over: int | None  # the bar by which what the trader waits for came by itself

    def matter_at(self, bid: int, ask: int) -> bool:
        """Whether there is something to decide at these prices."""
        return self.buys_at_any_price or ask <= self.buy or bid >= self.sell or bid <= self.drop


class BarWalk:
    """One trader on one series of bars. `at` is the bar that comes next."""

    def __init__(
        self, trader: SimulatedTrader, bars: Bars, path: PathChoice, spread_percent: Decimal
    ) -> None:
        self.trader, self.bars, self.path = trader, bars, path
        self.scale = Scale.of(bars.step, trader.rules.price_increment, spread_percent)
        self.at = 0
        self._extremes = bars.extremes
        if self.count:
            trader.highest_ask = self.scale.usd(self.scale.ask(self._extremes.highest))

    @property
    def count(self) -> int:
        return self._extremes.count

    def start_of(self, number: int) -> int:
        """Microseconds since 1970."""
        return self.bars.starts.item(number) * 1_000_000

    @property
    def last_bid(self) -> Decimal:
        return (
            self.scale.usd(self.scale.bid(int(self.bars.closes[-1]))) if self.count else Decimal(0)
        )

    def find_next(self) -> int:
        """The next bar in which something happens; `count` where nothing does any more."""
        levels = self._current_levels()
        found = self._search(levels)
        return found if levels.over is None else min(found, max(levels.over, self.at))

    def _find_end_of_wait(self) -> int | None:
        """The bar by which a cooldown is over, or the time of a stop loss; None: nothing of the
        kind comes by itself.
        """
        trader = self.trader
        wakes_at = trader.wakes_at
        wake = None if wakes_at is None else wakes_at.timestamp()
        if trader.triggers.stop_at_or_below is not None and trader.track.below_since is not None:
            due = trader.track.below_since + trader.state.asset.stop_loss_seconds
            wake = due if wake is None else min(wake, due)
        if wake is None:
            return None
        # A whole number: a float would make floats of the whole column first.
        return int(self.bars.starts.searchsorted(math.ceil(wake)))

    def _search(self, levels: _Levels) -> int:
        if levels.buys_at_any_price:
            return self.at
        if levels.low == NO_LOW and levels.high == NO_HIGH:
            return self.count
        return self._extremes.find(self.at, levels.low, levels.high)

    def _current_levels(self) -> _Levels:
        """Asked for at every price: kept until the trader stands elsewhere. Where it buys nothing
        they depend on what others trade as well.
        """
        trader = self.trader
        levels: _Levels | None = trader.kept
        if levels is None:
            refused = trader.buys_nothing
            levels = self._compute_levels(trader.triggers, refused=refused)
            trader.kept = None if refused else levels
        return levels

    def _compute_levels(self, triggers: Triggers, *, refused: bool) -> _Levels:
        trader = self.trader
        scale, price = self.scale, triggers.buy_at_or_below
        any_price = price == ANY_PRICE and not refused
        buy, low = NO_LOW, NO_LOW
        if price is not None and not refused and not any_price:
            buy = scale.units_down(price)
            low = scale.steps_with_ask_to(buy)
        sell, drop, rise = NO_HIGH, NO_LOW, NO_HIGH
        if triggers.sell_at_or_above is not None:
            sell = scale.units_up(triggers.sell_at_or_above)
        if (trail := triggers.trail) is not None:
            rise = scale.units_up(trail.confirm_at_or_above)
            if trail.peak is not None and trail.sell_at_or_below is not None:
                rise = scale.units_up(trail.peak) + 1
                drop = scale.units_down(trail.sell_at_or_below)
        if triggers.stop_at_or_below is not None:
            stop = scale.units_down(triggers.stop_at_or_below)
            seconds = trader.track.below_seconds
            is_due = (seconds or 0.0) >= trader.state.asset.stop_loss_seconds
            if seconds is None or is_due:
                drop = max(drop, stop)
            if seconds is not None:
                rise = min(rise, stop + 1)
        if drop != NO_LOW:
            low = max(low, scale.steps_with_bid_to(drop))
        highest = min(sell, rise)
        high = NO_HIGH if highest == NO_HIGH else scale.steps_with_bid_from(highest)
        cools_down, over = trader.state.cycle.status is _COOLDOWN, self._find_end_of_wait()
        return _Levels(buy, sell, drop, rise, any_price, cools_down, low, high, over)

    def walk(self, number: int) -> None:
        """All that happens in this bar; the next one comes after it."""
        bars = self.bars
        start = datetime.fromtimestamp(bars.starts.item(number), UTC)
        self.trader.let_time_pass(start)
        opens, low = bars.opens.item(number), bars.lows.item(number)
        high, close = bars.highs.item(number), bars.closes.item(number)
        low_first, high_first = (opens, low, high, close), (opens, high, low, close)
        if self.path is _PESSIMISTIC:
            self._walk_the_worse(low_first, high_first, start)
        else:
            self._walk(low_first if self.path is _LOW_FIRST else high_first, start)
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
        if self.trader.held_back is not moment.held_back:
            return False
        if orders == 0 and self.trader.track is moment.track:
            return True
        after = self._current_levels()
        reached = [levels for levels in (before, after) if _reaches(levels, low, high)]
        is_crossed_once = not (low <= before.low and high >= before.high)
        if self.trader.track != moment.track and self.trader.state is moment.state:
            return False
        return orders == 1 and reached in ([], [before]) and is_crossed_once

    def _equity(self, close: int) -> Decimal:
        account = self.trader.account
        bid = self.scale.usd(self.scale.bid(close))
        return account.cash_usd + account.held(self.trader.symbol) * bid

    def _walk(self, prices: tuple[int, ...], now: datetime) -> None:
        """From the open along each leg; at every crossing the trader gets the quote of it."""
        scale, at = self.scale, prices[0]
        if self.trader.follows_quotes:
            self.trader.follow(scale.usd(scale.bid(at)), now)
        levels = self._current_levels()
        if levels.cools_down or _reaches(levels, at, at):
            self._act_here(scale.bid(at), scale.ask(at), now)
            levels = self._current_levels()
        for to in prices[1:]:
            if to <= levels.low or to >= levels.high:
                self._walk_leg(at, to, now)
                levels = self._current_levels()
            at = to

    def _walk_leg(self, start: int, end: int, now: datetime) -> None:
        scale, trader, may_buy = self.scale, self.trader, True
        bid, ask = scale.bid(start), scale.ask(start)
        to_bid, to_ask = scale.bid(end), scale.ask(end)
        while True:
            levels = self._current_levels()
            crossed = None
            if to_ask < ask and to_ask <= levels.buy and may_buy:
                crossed = min(ask, levels.buy)
            if to_bid < bid and to_bid <= levels.drop:
                at_drop = scale.ask_beside(min(bid, levels.drop))
                if crossed is None or at_drop > crossed:
                    bid, ask = min(bid, levels.drop), at_drop
                    if not self._act_here(bid, ask, now):
                        return
                    may_buy = True
                    continue
            if crossed is not None:
                ask = crossed
                bid = scale.bid_beside(ask)
            elif to_bid > bid and to_bid >= levels.sell:
                bid = max(bid, levels.sell)
                ask = scale.ask_beside(bid)
            elif to_bid > bid and to_bid >= levels.rise:
                trader.follow(scale.usd(to_bid), now)  # a stop's clock ends
                trader.reach_peak(scale.usd(to_bid))
                return
            else:
                return
            has_acted = self._act_here(bid, ask, now)
            if not has_acted and crossed is None:
                return
            may_buy = has_acted  # what stops a buy stops no sale further on

    def _act_here(self, bid: int, ask: int, now: datetime) -> bool:
        """At one price, until nothing more is asked for at it. False: what was is refused."""
        trader, usd = self.trader, self.scale.usd
        while True:
            levels = self._current_levels()
            if levels.cools_down:
                trader.end_cooldown(now)
                levels = self._current_levels()
            if trader.follows_quotes:
                trader.reach_peak(usd(bid))
                levels = self._current_levels()
            if not levels.matter_at(bid, ask):
                return True
            before = trader.track
            if trader.follows_quotes:
                trader.follow(usd(bid), now)
            if trader.on_quote(usd(bid), usd(ask), now):
                continue
            if trader.track.below_since is not None and before.below_since is None:
                continue  # a stop's clock began
            return False


def _reaches(levels: _Levels, low: int, high: int) -> bool:
    return levels.buys_at_any_price or low <= levels.low or high >= levels.high
