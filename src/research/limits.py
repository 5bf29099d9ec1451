"""The limits of the whole account in a replay: what they count, of all assets that share it.

What a limit says is decided in strategy.limits, losses and dump, as in the daemon. Owns: what is
counted, from the journals of the replay, and for how long an answer holds. It keeps nothing of its
own: a bar that is walked twice finds the same account twice.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import groupby

from domain.holding import HeldCoins
from domain.journal import JournalEntry
from domain.orders import Side
from research.account import SimulatedAccount
from research.bars import BarWalk
from research.dumps import BidSeries, bids_of_bars, bids_of_quotes, find_dumps
from research.price_path import Integers
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
from strategy.losses import compute_open_loss_usd, loss_of
from strategy.sizing import is_dust
from strategy.triggers import Decision

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY = timedelta(days=1)
_ZERO = Decimal(0)
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
        if self._limits.of_losses:
            losses = self._losses(trader, bid, now)
            for name in find_reached(self._limits, losses):
                return self._held_back(name, now)
        usage = self._usage(now)
        exceeded = find_exceeded(
            self._limits, usage, trader.state, decision.purpose, decision.amount_usd
        )
        return None if exceeded is None else self._held_back(exceeded, now)

    def _held_back(self, name: str, now: datetime) -> HeldBack:
        why = f"{name}={self._limits.set_ones[name]} is reached"
        if name == OPEN_LOSS:  # the next price may say something else
            return HeldBack(why)
        until = start_of_day(now) + _DAY if name in _BY_THE_DAY else None
        return HeldBack(why, self._account.version, until)

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

    def _losses(self, trader: SimulatedTrader, bid: Decimal, now: datetime) -> dict[str, Decimal]:
        losses = {}
        if OPEN_LOSS in self._limits.of_losses:
            losses[OPEN_LOSS] = self._open_loss_usd(trader, bid, now)
        if LOSS_PER_DAY in self._limits.of_losses:
            midnight = start_of_day(now)
            earned = (_earned_since(one, midnight) for one in self._traders)
            losses[LOSS_PER_DAY] = loss_of(sum(earned, _ZERO))
        return losses

    def _open_loss_usd(self, trader: SimulatedTrader, bid: Decimal, now: datetime) -> Decimal:
        holders = [one for one in self._traders if _holds_coins(one)]
        held = [
            HeldCoins(
                symbol=one.symbol,
                quantity=one.state.cycle.quantity,
                coin_fees=one.state.coin_fees,
                average_price=one.state.cycle.average_purchase_price,
            )
            for one in holders
        ]
        bids = {
            one.symbol: bid if one is trader else self._bid_of(one.symbol, trader.symbol, now)
            for one in holders
        }
        rules = {one.symbol: one.rules for one in holders}
        return compute_open_loss_usd(held, rules, self._account.fee_rate, bids)

    def _bid_of(self, symbol: str, beside: str, now: datetime) -> Decimal:
        """Of `symbol` when `beside` is at `now`: its newest quote, of the same time only where it
        was given before; the close of its newest bar that began before.
        """
        walk, times = self._walks[symbol], self._times[symbol]
        is_first = isinstance(walk, QuoteWalk) and self._order[symbol] < self._order[beside]
        micros = (now - _EPOCH) // timedelta(microseconds=1)
        place = int(times.searchsorted(micros, side="right" if is_first else "left")) - 1
        if isinstance(walk, QuoteWalk):
            return int(walk.quotes.bids[place]) * walk.quotes.step
        # Held since this very bar, its first: nothing is known but the open.
        price = walk.bars.closes[place] if place >= 0 else walk.bars.opens[0]
        return walk.scale.usd(walk.scale.bid(int(price)))


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
