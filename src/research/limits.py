"""The limits of the whole account in a replay: what they count, of all assets that share it.

What a limit says is decided in strategy.limits, losses and dump, as in the daemon. Owns: what is
counted, from the journals of the replay, and for how long an answer holds. It keeps nothing of its
own: a bar that is walked twice finds the same account twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby
from typing import Literal

import numpy as np
import numpy.typing as npt

from domain.holding import HeldCoins
from domain.journal import JournalEntry
from domain.market import AssetRules
from domain.orders import Side
from research.account import SimulatedAccount
from research.bars import BarWalk
from research.dumps import BidSeries, bids_of_bars, bids_of_quotes, find_dumps
from research.price_path import Integers, as_integers
from research.quotes import QuoteWalk
from research.trader import HeldBack, SimulatedTrader
from strategy.dump import compute_pause_end
from strategy.limits import (
    LOSS_PER_DAY,
    OPEN_LOSS,
    AccountLimits,
    Usage,
    find_exceeded,
    find_reached,
    start_of_day,
)
from strategy.losses import compute_open_loss_usd, compute_unrealised_usd, loss_of
from strategy.sizing import is_dust
from strategy.triggers import Decision

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_ZERO, _CENT = Decimal(0), Decimal("0.01")
_FIRST_SEARCH = 64  # prices
DUMP_PAUSE = "DUMP_PAUSE_PERCENT"
_BY_THE_DAY = {"MAX_BUY_USD_PER_DAY", LOSS_PER_DAY}

Walk = BarWalk | QuoteWalk


class SharedLimits:
    """Of all walks of one account. `find` is a trader's `find_limit`."""

    def __init__(
        self, limits: AccountLimits, account: SimulatedAccount, walks: Sequence[Walk]
    ) -> None:
        self._limits, self._account = limits, account
        self._walks = {walk.trader.symbol: walk for walk in walks}
        self._order = {symbol: number for number, symbol in enumerate(self._walks)}
        self._traders = [walk.trader for walk in walks]
        self._times = {symbol: _times_of(walk) for symbol, walk in self._walks.items()}
        percent = limits.dump_pause_percent
        series = [] if percent is None else [_bids_of(walk) for walk in walks]
        self._dumps = [] if percent is None else find_dumps(percent, series)

    def find(
        self, trader: SimulatedTrader, decision: Decision, bid: Decimal, now: datetime
    ) -> HeldBack | None:
        """The limit that keeps this buy back, in the daemon's order; None: nothing does."""
        assert decision.amount_usd is not None, "a buy always names its amount"
        if (until := self._paused_until(now)) is not None:
            return HeldBack(f"the market fell ({DUMP_PAUSE})", self._account.version, until)
        held = self._held_coins(trader, bid, now) if self._limits.max_open_loss_usd else []
        if self._limits.of_losses:
            losses = self._losses(held, now)
            for name in find_reached(self._limits, losses):
                if name == OPEN_LOSS:
                    return self._held_back_by_loss(trader, held, losses[name], now)
                return self._held_back(name, now)
        usage = self._usage(now)
        exceeded = find_exceeded(
            self._limits, usage, trader.state, decision.purpose, decision.amount_usd
        )
        return None if exceeded is None else self._held_back(exceeded, now)

    def _held_back(self, name: str, now: datetime) -> HeldBack:
        until = start_of_day(now) + _DAY if name in _BY_THE_DAY else None
        return HeldBack(self._describe(name), self._account.version, until)

    def _describe(self, name: str) -> str:
        return f"{name}={self._limits.set_ones[name]} is reached"

    def _paused_until(self, now: datetime) -> datetime | None:
        place = bisect_right(self._dumps, now)
        if not place:
            return None
        until = compute_pause_end(self._dumps[place - 1], self._limits.dump_pause_minutes)
        return until if now < until else None

    # The buy limits

    def _usage(self, now: datetime) -> Usage:
        midnight, bought_usd = start_of_day(now), _ZERO
        if self._limits.max_buy_usd_per_day is not None:
            for trader in self._traders:
                for entry in _ended_since(trader, midnight):
                    if entry.side is Side.BUY:
                        bought_usd += entry.filled_usd
        symbols: frozenset[str] = frozenset()
        if self._limits.max_open_cycles is not None:
            symbols = frozenset(one.symbol for one in self._traders if _holds_coins(one))
        return Usage(bought_today_usd=bought_usd, on_order_usd={}, open_symbols=symbols)

    # The limits on losses

    def _losses(self, held: Sequence[_Held], now: datetime) -> dict[str, Decimal]:
        losses = {}
        if OPEN_LOSS in self._limits.of_losses:
            losses[OPEN_LOSS] = compute_open_loss_usd(
                [one.coins for one in held],
                {one.coins.symbol: one.rules for one in held},
                self._account.fee_rate,
                {one.coins.symbol: one.bid for one in held},
            )
        if LOSS_PER_DAY in self._limits.of_losses:
            midnight = start_of_day(now)
            earned = (_earned_since(one, midnight) for one in self._traders)
            losses[LOSS_PER_DAY] = loss_of(sum(earned, _ZERO))
        return losses

    def _held_coins(self, asks: SimulatedTrader, bid: Decimal, now: datetime) -> list[_Held]:
        return [
            _Held(
                coins=HeldCoins(
                    symbol=one.symbol,
                    quantity=one.state.cycle.quantity,
                    coin_fees=one.state.coin_fees,
                    average_price=one.state.cycle.average_purchase_price,
                ),
                rules=one.rules,
                bid=bid if one is asks else self._bid_of(one.symbol, asks.symbol, now),
            )
            for one in self._traders
            if _holds_coins(one)
        ]

    def _bid_of(self, symbol: str, beside: str, now: datetime) -> Decimal:
        """Of `symbol` when `beside` is at `now`: its newest quote, of the same time only where it
        was given before; the close of its newest bar that began before.
        """
        walk = self._walks[symbol]
        place = int(self._places(symbol, beside, np.array([_micros(now)]))[0])
        if isinstance(walk, QuoteWalk):
            return int(walk.quotes.bids[place]) * walk.quotes.step
        # Held since this very bar, its first: nothing is known but the open.
        price = walk.bars.closes[place] if place >= 0 else walk.bars.opens[0]
        return walk.scale.usd(walk.scale.bid(int(price)))

    def _places(self, symbol: str, beside: str, micros: Integers) -> Integers:
        is_first = self._order[symbol] < self._order[beside]
        is_quotes = isinstance(self._walks[symbol], QuoteWalk)
        side: Literal["left", "right"] = "right" if is_first and is_quotes else "left"
        return as_integers(self._times[symbol].searchsorted(micros, side=side)) - 1

    def _held_back_by_loss(
        self, trader: SimulatedTrader, held: Sequence[_Held], loss_usd: Decimal, now: datetime
    ) -> HeldBack:
        """Until the first price at which less might be lost: asked at each one before, years of a
        deep market would take minutes.
        """
        limit, why = self._limits.of_losses[OPEN_LOSS], self._describe(OPEN_LOSS)
        times = self._times[trader.symbol]
        begin, size = int(times.searchsorted(_micros(now))), _FIRST_SEARCH
        while begin < len(times):
            at = times[begin : begin + size]
            # Less is lost where this is above 0.
            most_usd: npt.NDArray[np.float64] = np.full(len(at), float(limit - loss_usd))
            for one in held:
                most_usd += one.most_gained(self._best_bids(one, trader, at, begin), self._account)
            hits = np.flatnonzero(most_usd > 0)
            if len(hits) and at[hits[0]] <= _micros(now):
                return HeldBack(why)
            if len(hits):
                until = _EPOCH + timedelta(microseconds=int(at[hits[0]]))
                return HeldBack(why, self._account.version, until)
            begin, size = begin + size, size * 4
        return HeldBack(why, self._account.version)

    def _best_bids(
        self, held: _Held, asks: SimulatedTrader, at: Integers, begin: int
    ) -> npt.NDArray[np.float64]:
        """The highest that can count at these times, the first of which is number `begin`."""
        symbol, walk = held.coins.symbol, self._walks[held.coins.symbol]
        is_own = symbol == asks.symbol
        if is_own:
            places = np.arange(begin, begin + len(at))
        else:
            places = self._places(symbol, asks.symbol, at)
        if isinstance(walk, QuoteWalk):
            prices, usd = walk.quotes.bids, float(walk.quotes.step)
        else:
            scale = walk.scale
            usd = float(scale.unit * scale.steps) * scale.below / scale.whole
            prices = walk.bars.highs if is_own else walk.bars.closes
        bids = (prices[np.maximum(places, 0)] * usd).astype(np.float64)
        bids[places < 0] = np.inf
        return bids


@dataclass(frozen=True, slots=True)
class _Held:
    coins: HeldCoins
    rules: AssetRules
    bid: Decimal

    def most_gained(
        self, bids: npt.NDArray[np.float64], account: SimulatedAccount
    ) -> npt.NDArray[np.float64]:
        """USD that selling at these bids earns more than at its bid, by a few cents too much: fees
        are rounded to them.
        """
        rules, fee_rate = self.rules, account.fee_rate
        here, there = (
            compute_unrealised_usd(self.coins, rules, fee_rate, self.bid * factor)
            for factor in (1, 2)
        )
        assert here is not None, "dust is not held"
        assert there is not None, "dust is not held"
        slope = float(there - here + _CENT) / float(self.bid)
        found: npt.NDArray[np.float64] = slope * (bids - float(self.bid))
        return found + float(3 * _CENT) + np.abs(found) * 1e-9


def _holds_coins(trader: SimulatedTrader) -> bool:
    """More than dust."""
    quantity = trader.state.cycle.quantity
    return quantity > 0 and not is_dust(quantity, trader.rules, trader.account.fee_rate)


def _ended_since(trader: SimulatedTrader, since: datetime) -> Iterator[JournalEntry]:
    for entry in reversed(trader.entries):
        assert entry.ended_at is not None, "in a replay every order has a time"
        if entry.ended_at < since:
            return
        yield entry


def _earned_since(trader: SimulatedTrader, since: datetime) -> Decimal:
    """USD after fees, of all cycles that sold their last coins since then."""
    earned_usd = _ZERO
    for cycle_id, entries in groupby(reversed(trader.entries), lambda one: one.cycle_id):
        last = next(entries)
        assert last.ended_at is not None, "in a replay every order has a time"
        if last.ended_at < since:
            break
        if cycle_id == trader.state.cycle.id:
            continue
        for entry in (last, *entries):
            is_buy = entry.side is Side.BUY
            earned_usd += -entry.filled_usd if is_buy else entry.filled_usd - entry.fee_usd
    return earned_usd


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _times_of(walk: Walk) -> Integers:
    """Microseconds since 1970."""
    return walk.quotes.times if isinstance(walk, QuoteWalk) else walk.bars.starts * 1_000_000


def _bids_of(walk: Walk) -> BidSeries:
    symbol = walk.trader.symbol
    if isinstance(walk, QuoteWalk):
        quotes = walk.quotes
        return bids_of_quotes(symbol, quotes.times, quotes.bids, quotes.step)
    bars = walk.bars
    return bids_of_bars(symbol, bars.starts, bars.opens, bars.closes, bars.step)
