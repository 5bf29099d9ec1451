"""How fast a sweep is, and how it grows from one worker to two: real workers on made-up minutes.

Runs of one and of two workers alternate: on a machine that does other things as well only their
ratio says something, and its best is nearest to what the workers can do.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from operations.asset_input import build_asset, read_defaults
from research.backtest import Account, Entrant
from research.bars import PathChoice
from research.feed import make_feed
from research.market_rules import usual_rules
from research.months import SECOND_NS, Month
from research.result import hash_code
from research.series import Bars
from research.sweep_trial import Ground, SweptAsset

_FEE_PERCENT = Decimal("0.25")
_SYMBOL, _CENTS = "BTC/USD", 3_000_000


@dataclass(frozen=True, slots=True)
class Scaling:
    """Configurations a second of each run (one worker, two workers), in pairs run one after the
    other.
    """

    bars: int
    configurations: int
    pairs: tuple[tuple[float, float], ...]

    @property
    def ratios(self) -> list[float]:
        return [two / one for one, two in self.pairs]

    @property
    def best_ratio(self) -> float:
        return max(self.ratios)

    @property
    def median_ratio(self) -> float:
        return statistics.median(self.ratios)

    @property
    def median_rates(self) -> tuple[float, float]:
        """With one worker, with two."""
        one, two = (statistics.median(side) for side in zip(*self.pairs, strict=True))
        return one, two

    def seconds_of(self, configurations: int) -> float:
        """What so many would take two workers, from the median of the rates."""
        return configurations / self.median_rates[1]


def measure_scaling(
    *,
    bars: int = 500_000,
    configurations: int = 60,
    pairs: int = 5,
    tell: Callable[[str], None] = lambda _: None,
) -> Scaling:
    """Sweep the same configurations with one worker and with two, `pairs` times. The start of the
    workers is left out: a long sweep has it once.
    """
    ground, settings = make_ground(bars), make_settings(configurations)
    found = []
    for number in range(1, pairs + 1):
        order = (1, 2) if number % 2 else (2, 1)
        rates = {workers: _measure(ground, settings, workers) for workers in order}
        found.append((rates[1], rates[2]))
        tell(f"{number} of {pairs}: {rates[1]:.2f} and {rates[2]:.2f} configurations a second")
    return Scaling(bars, configurations, tuple(found))


def _measure(ground: Ground, settings: Sequence[dict[str, Any]], workers: int) -> float:
    from research.cluster import TrialCluster  # loads Dask

    with TrialCluster(ground, workers=workers) as cluster:
        for _ in cluster.run(settings[: 2 * workers]):  # each has loaded and measured something
            pass
        begun = time.perf_counter()
        for _ in cluster.run(settings):
            pass
        return len(settings) / (time.perf_counter() - begun)


def make_ground(bars: int) -> Ground:
    """A random walk of minutes, the same each time, and the defaults of scripts/assets add."""
    random = np.random.default_rng(14)
    steps = random.normal(0.0, 0.0008, bars)
    close = (_CENTS * np.exp(np.cumsum(steps - steps.mean()))).astype(np.int64)
    opens = np.concatenate([[_CENTS], close[:-1]])
    spread = np.abs(random.normal(0.0, 0.0004, bars) * close).astype(np.int64)
    series = Bars(
        symbol=_SYMBOL,
        places=2,
        at_ns=Month(2023, 1).begin_ns + np.arange(bars, dtype=np.int64) * 60 * SECOND_NS,
        bar_seconds=60,
        open=opens,
        high=np.maximum(opens, close) + spread,
        low=np.minimum(opens, close) - spread,
        close=close,
    )
    feed = make_feed(
        series, (), ("made up",), spread_percent=Decimal("0.03"), max_jump_percent=Decimal(10)
    )
    asset = replace(build_asset(_SYMBOL, read_defaults(_FEE_PERCENT)), id=1, max_safety_orders=7)
    entrant = Entrant(
        asset=asset, known=usual_rules(_SYMBOL, Decimal(10), Decimal(30_000)), feed=feed
    )
    account = Account(
        cash_usd=Decimal(160),
        fee_percent=_FEE_PERCENT,
        max_spread_percent=Decimal(2),
        max_jump_percent=Decimal(10),
    )
    return Ground(
        key=f"benchmark-{os.getpid()}",
        code=hash_code(),
        assets=(SweptAsset(entrant, bars * 7 // 10),),
        account=account,
        has_cash=False,
        path=PathChoice.PESSIMISTIC,
    )


def make_settings(count: int) -> list[dict[str, Any]]:
    """Deviations of 1 to 3.9 % and take profits from 1 % on, in steps of 0.1."""
    return [
        {
            "safety_order_deviation": Decimal("1") + Decimal("0.1") * (number % 30),
            "take_profit_percent": Decimal("1") + Decimal("0.1") * (number // 30),
        }
        for number in range(count)
    ]
