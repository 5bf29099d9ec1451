"""A search instead of a whole grid: Optuna's TPE sampler, asked in batches and told their results.

The same seed and batch give the same trials, however many workers there are and however often the
search was broken off. Loads Optuna, so only what searches imports it.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from decimal import Decimal

import optuna

from research.sweep_grid import Grid, Point

BATCH = 32  # small beside the trials of a search, and enough for as many workers
_WORST = -1e15  # of a configuration that cannot be chosen: TPE leaves its region


class TpeSearch:
    """Where to look next on a grid. Each dimension is the number of its value."""

    def __init__(self, grid: Grid, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._names = [one.option for one in grid.dimensions]
        self._space: dict[str, optuna.distributions.BaseDistribution] = {
            one.option: optuna.distributions.IntDistribution(0, len(one.values) - 1)
            for one in grid.dimensions
        }
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            # constant_liar: those of one batch keep away from each other.
            sampler = optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)

    def ask(self, count: int) -> list[tuple[int, Point]]:
        """So many configurations, each with the number of its trial."""
        asked = [self._study.ask(self._space) for _ in range(count)]
        return [(one.number, tuple(int(one.params[name]) for name in self._names)) for one in asked]

    def tell(self, results: Sequence[tuple[int, Decimal | None]]) -> None:
        """The merit of each trial; None: it cannot be chosen."""
        for number, merit in results:
            self._study.tell(number, _WORST if merit is None else float(merit))
