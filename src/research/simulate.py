"""A backtest: the live strategy functions on recorded prices, several assets sharing one account.

Nothing here decides or computes a figure of the strategy: traders do, with the functions that trade
(see research.trader). Each step takes the asset whose next event comes first; of two in the same
bar the one that was given first.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.asset import DcaAsset
from domain.cycle import DcaCycle
from domain.journal import JournalEntry
from domain.market import AssetRules
from research.account import SimulatedAccount
from research.bars import Bars, BarWalk, PathChoice
from research.limits import SharedLimits
from research.quotes import Quotes, QuoteWalk
from research.trader import Refusal, SimulatedTrader
from strategy.exits import with_track
from strategy.limits import NO_LIMITS, AccountLimits

Walk = BarWalk | QuoteWalk


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatedMarket:
    """One asset with its settings and its prices. `spread_percent` of the price, half of it on each
    side, is for bars: quotes have their own. `opens`: when the user asks for a cycle, as with
    `scripts/bot open`: a manual start waits for that.
    """

    asset: DcaAsset
    rules: AssetRules
    prices: Bars | Quotes
    spread_percent: Decimal = Decimal(0)
    opens: Sequence[datetime] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetOutcome:
    """What became of one asset: its journal, the cycle that is open at the end, its coins."""

    symbol: str
    entries: tuple[JournalEntry, ...]
    refusals: tuple[Refusal, ...]
    open_cycle: DcaCycle
    coins: Decimal
    last_bid: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of the account. `equity_usd`: cash, and every coin at the last bid."""

    assets: tuple[AssetOutcome, ...]
    cash_usd: Decimal

    @property
    def equity_usd(self) -> Decimal:
        return self.cash_usd + sum((one.coins * one.last_bid for one in self.assets), Decimal(0))


def simulate(
    markets: Sequence[SimulatedMarket],
    *,
    cash_usd: Decimal,
    fee_rate: Decimal,
    path: PathChoice = PathChoice.PESSIMISTIC,
    max_spread_percent: Decimal | None = None,
    max_jump_percent: Decimal = Decimal(5),
    limits: AccountLimits = NO_LIMITS,
) -> Outcome:
    """Trade every market from its first bar to its last, from one account of `cash_usd`.

    Raises:
        ValueError: a spread that leaves no bid.
    """
    account = SimulatedAccount(cash_usd, fee_rate)
    walks: list[Walk] = []
    for one in markets:
        trader = SimulatedTrader.begin(one.asset, one.rules, account, max_spread_percent)
        trader.opens = sorted(one.opens, reverse=True)
        if isinstance(one.prices, Quotes):
            walks.append(QuoteWalk(trader, one.prices.sane(max_jump_percent)))
        else:
            walks.append(BarWalk(trader, one.prices, path, one.spread_percent))
    if limits.set_ones:
        shared = SharedLimits(limits, account, walks)
        for walk in walks:
            walk.trader.find_limit = shared.find
    if len(walks) == 1:
        [walk], count = walks, walks[0].count
        while (number := walk.find_next()) < count:
            walk.walk(number)
    else:
        _walk_in_turn(walks)
    return Outcome(assets=tuple(_outcome_of(walk) for walk in walks), cash_usd=account.cash_usd)


def _walk_in_turn(walks: Sequence[Walk]) -> None:
    now, acted = 0, 0
    while (found := _find_first(walks, now, acted)) is not None:
        acted, number = found
        now = walks[acted].start_of(number)
        walks[acted].walk(number)


def _find_first(walks: Sequence[Walk], now: int, acted: int) -> tuple[int, int] | None:
    """Which walk's next event comes first, and its bar; None when nothing happens any more. `now`
    is the time of the last one, which was that of the walk `acted`.
    """
    first: tuple[int, int, int] | None = None
    for which, walk in enumerate(walks):
        number = walk.find_next()
        if number < walk.count and walk.start_of(number) < now:
            # It lacked cash, or a limit kept it back, until another traded just now: that buys
            # nothing at prices of before.
            find = bisect_right if which < acted else bisect_left
            walk.at = find(range(walk.count), now, lo=walk.at, key=walk.start_of)
            number = walk.find_next()
        if number < walk.count:
            start = walk.start_of(number)
            if first is None or start < first[0]:
                first = start, which, number
    return None if first is None else first[1:]


def _outcome_of(walk: Walk) -> AssetOutcome:
    trader = walk.trader
    return AssetOutcome(
        symbol=trader.symbol,
        entries=tuple(trader.entries),
        refusals=tuple(trader.refusals),
        open_cycle=with_track(trader.state, trader.track).cycle,
        coins=trader.account.held(trader.symbol),
        last_bid=walk.last_bid,
    )
