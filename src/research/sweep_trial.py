"""One configuration on the earlier part of the prices and on the later one: what a worker does.

Pure: prices and settings in, figures out. The replay is that of a backtest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from domain.cycle import CycleStatus
from research.backtest import Account, Entrant, judge, replay
from research.bars import PathChoice
from research.equity import EquityCurve
from research.feed import Feed, make_feed
from research.figures import list_cycles
from research.series import Series
from research.simulate import Outcome
from strategy.asset_checks import check_asset
from strategy.ladder import compute_ladder_usd


@dataclass(frozen=True, slots=True)
class SweptAsset:
    """One asset, its prices and where they are parted: rows [0, split) are the earlier part, all
    the others the later one; `split` 0: they are one.
    """

    entrant: Entrant
    split: int

    def parts(self) -> list[Series]:
        series = self.entrant.feed.series
        if not self.split:
            return [series]
        return [series.slice(0, self.split), series.slice(self.split, len(series))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """All that a trial needs but the settings that vary; goes to each worker once. The account's
    cash counts where `has_cash`, else each configuration has what its ladders need.
    """

    key: str
    code: str  # the hash of the code that it was made by
    assets: tuple[SweptAsset, ...]
    account: Account
    has_cash: bool
    path: PathChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What one configuration did on one part. USD and percent; None: it never fell."""

    result_usd: Decimal
    return_percent: Decimal  # of what the ladders need
    drawdown_usd: Decimal
    drawdown_percent: Decimal
    under_water_seconds: float
    cycles: int
    open_cycles: int
    orders: int
    fees_usd: Decimal


@dataclass(frozen=True, slots=True)
class Trial:
    """What became of one configuration: a score for each part, or why it cannot be traded."""

    ladder_usd: Decimal
    scores: tuple[Score, ...]
    refused: str = ""


class Prepared:
    """A ground with its prices as the replay takes them; made once in each worker."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        jump = ground.account.max_jump_percent
        by_asset = [
            [
                make_feed(
                    part,
                    (),
                    (),
                    spread_percent=one.entrant.feed.spread_percent,
                    max_jump_percent=jump,
                )
                for part in one.parts()
            ]
            for one in ground.assets
        ]
        self._parts: list[tuple[Feed, ...]] = list(zip(*by_asset, strict=True))

    def run(self, settings: Mapping[str, Any]) -> Trial:
        """One trial; every asset takes these settings.

        Raises:
            ValueError: a spread that leaves no bid.
        """
        account = self._ground.account
        entrants = self.entrants(settings, 0)
        for one in entrants:
            asset, ask = one.asset, one.feed.line.ask(0)
            findings, _ = check_asset(asset, one.known.rules, account.fee_rate, ask)
            if refused := [each.text for each in findings if each.refuses]:
                return Trial(Decimal(0), (), f"{asset.asset_symbol}: {'; '.join(refused)}")
        ladder_usd = sum((compute_ladder_usd(one.asset) for one in entrants), Decimal(0))
        if not self._ground.has_cash:
            account = replace(account, cash_usd=ladder_usd)
        scores = [
            self._score(self.entrants(settings, number), account, ladder_usd)
            for number in range(len(self._parts))
        ]
        return Trial(ladder_usd, tuple(scores))

    def entrants(self, settings: Mapping[str, Any], part: int) -> list[Entrant]:
        """The assets with these settings, on one part of the prices."""
        return [
            replace(one.entrant, asset=replace(one.entrant.asset, **settings), feed=feed)
            for one, feed in zip(self._ground.assets, self._parts[part], strict=True)
        ]

    def _score(self, entrants: Sequence[Entrant], account: Account, ladder_usd: Decimal) -> Score:
        outcome = replay(entrants, account, self._ground.path)
        return score(outcome, judge(entrants, account, outcome), account.cash_usd, ladder_usd)


def score(outcome: Outcome, curve: EquityCurve, cash_usd: Decimal, ladder_usd: Decimal) -> Score:
    """The figures by which configurations are compared."""
    drawdown, water = curve.worst_drawdown(), curve.longest_under_water()
    cycles = list_cycles(outcome)
    complete = sum(one.status is CycleStatus.COMPLETE for one in cycles)
    entries = [entry for one in outcome.assets for entry in one.entries]
    result_usd = outcome.equity_usd - cash_usd
    fees = (one.fee_usd + one.fee_qty * (one.filled_avg_price or 0) for one in entries)
    return Score(
        result_usd=result_usd,
        return_percent=result_usd * 100 / ladder_usd,
        drawdown_usd=Decimal(0) if drawdown is None else drawdown.usd,
        drawdown_percent=Decimal(0) if drawdown is None else drawdown.percent,
        under_water_seconds=0.0 if water is None else water.seconds,
        cycles=complete,
        open_cycles=len(cycles) - complete,
        orders=len(entries),
        fees_usd=sum(fees, Decimal(0)),
    )
