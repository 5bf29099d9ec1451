"""One backtest: assets and prices in, the replay, its figures, and the same money without it.

The only place that puts them together: the command line, a sweep and a page call this one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from domain.asset import DcaAsset
from research.bars import PathChoice
from research.baselines import Purchase, Purchases, buy_at_once, buy_weekly
from research.equity import Drawdown, EquityCurve, UnderWater, changes_of, compute_equity
from research.feed import Feed
from research.figures import Figures, compute_figures
from research.market_rules import KnownRules
from research.simulate import Outcome, SimulatedMarket, simulate
from strategy.ladder import compute_ladder_usd
from strategy.limits import NO_LIMITS, AccountLimits


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """One asset of a backtest with its settings, the coin's rules and its prices, and when the user
    asks for a cycle of it.
    """

    asset: DcaAsset
    known: KnownRules
    feed: Feed
    opens: tuple[datetime, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What they trade with together, and what the bot's settings refuse."""

    cash_usd: Decimal
    fee_percent: Decimal
    max_spread_percent: Decimal
    max_jump_percent: Decimal
    limits: AccountLimits = NO_LIMITS

    @property
    def fee_rate(self) -> Decimal:
        return self.fee_percent / 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One replay, along one path."""

    path: PathChoice
    outcome: Outcome
    curve: EquityCurve
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The same money without the strategy."""

    result_usd: Decimal
    fees_usd: Decimal
    curve: EquityCurve
    drawdown: Drawdown | None
    under_water: UnderWater | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Backtest:
    entrants: tuple[Entrant, ...]
    account: Account
    start: datetime
    end: datetime
    runs: tuple[Run, ...]
    held: Baseline
    weekly: Baseline


def run_backtest(
    entrants: Sequence[Entrant],
    account: Account,
    paths: Sequence[PathChoice],
    on_step: Callable[[str], None] = lambda _: None,
) -> Backtest:
    """Replay along each path, and compare. `on_step` is told what is being done.

    Raises:
        ValueError: a spread that leaves no bid.
    """
    runs = [run_path(entrants, account, path, on_step) for path in paths]
    on_step("comparing")
    purchases = _purchases(entrants, account.cash_usd)
    return Backtest(
        entrants=tuple(entrants),
        account=account,
        start=min(one.feed.begin for one in entrants),
        end=max(one.feed.end for one in entrants),
        runs=tuple(runs),
        held=_baseline(purchases, buy_at_once(purchases, account.fee_rate), account.cash_usd),
        weekly=_baseline(purchases, buy_weekly(purchases, account.fee_rate), account.cash_usd),
    )


def run_path(
    entrants: Sequence[Entrant],
    account: Account,
    path: PathChoice,
    on_step: Callable[[str], None] = lambda _: None,
) -> Run:
    """Replay along one path, and judge it.

    Raises:
        ValueError: a spread that leaves no bid.
    """
    on_step(f"replaying ({path.value})")
    outcome = replay(entrants, account, path)
    on_step("judging")
    curve = judge(entrants, account, outcome)
    figures = compute_figures(
        [one.asset for one in entrants],
        outcome,
        curve,
        cash_usd=account.cash_usd,
        start=min(one.feed.begin for one in entrants),
        end=max(one.feed.end for one in entrants),
    )
    return Run(path=path, outcome=outcome, curve=curve, figures=figures)


def replay(entrants: Sequence[Entrant], account: Account, path: PathChoice) -> Outcome:
    """What becomes of the account along this path.

    Raises:
        ValueError: a spread that leaves no bid.
    """
    return simulate(
        [
            SimulatedMarket(
                asset=one.asset,
                rules=one.known.rules,
                prices=one.feed.prices,
                spread_percent=one.feed.spread_percent,
                opens=one.opens,
            )
            for one in entrants
        ],
        cash_usd=account.cash_usd,
        fee_rate=account.fee_rate,
        path=path,
        max_spread_percent=account.max_spread_percent,
        max_jump_percent=account.max_jump_percent,
        limits=account.limits,
    )


def judge(entrants: Sequence[Entrant], account: Account, outcome: Outcome) -> EquityCurve:
    """What the account was worth over time."""
    lines = {one.asset.asset_symbol: one.feed.line for one in entrants}
    entries = [entry for one in outcome.assets for entry in one.entries]
    return compute_equity(account.cash_usd, changes_of(entries), lines)


def _purchases(entrants: Sequence[Entrant], cash_usd: Decimal) -> list[Purchase]:
    """The money of several assets is shared out as their ladders share it."""
    ladders = [compute_ladder_usd(one.asset) for one in entrants]
    return [
        Purchase(
            line=one.feed.line, rules=one.known.rules, usd=cash_usd * ladder_usd / sum(ladders)
        )
        for one, ladder_usd in zip(entrants, ladders, strict=True)
    ]


def _baseline(wanted: Sequence[Purchase], bought: Purchases, cash_usd: Decimal) -> Baseline:
    lines = {one.line.symbol: one.line for one in wanted}
    curve = compute_equity(cash_usd, bought.changes, lines)
    return Baseline(
        result_usd=sum(
            (one.usd + one.coins * lines[one.symbol].last_bid for one in bought.changes), Decimal(0)
        ),
        fees_usd=bought.fees_usd,
        curve=curve,
        drawdown=curve.worst_drawdown(),
        under_water=curve.longest_under_water(),
    )
