"""A sweep: many configurations on the same prices, chosen on the earlier part and judged on the
later one.

The only place that puts grid, search, workers and journal together. Knows no terminal and no Dask:
it is given something that runs trials, and asks for it only where a trial is missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any

from research.backtest import Backtest, run_backtest
from research.result import entrant_json
from research.sweep_choice import (
    Objective,
    Surroundings,
    correlate,
    is_eligible,
    look_around,
    merit_of,
    rank,
)
from research.sweep_grid import Grid, Point
from research.sweep_journal import SweepJournal
from research.sweep_runner import TrialRunner
from research.sweep_trial import Ground, Prepared, Trial
from utils.formatting import plain


@dataclass(frozen=True, slots=True)
class Search:
    """How the grid is searched; `trials` None: all of it is tried."""

    trials: int | None = None
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far it is. `fresh`: of `done`, those that were computed by this run."""

    done: int
    total: int
    fresh: int
    workers: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """What came of it. `ranking`: those that may be chosen, best first; without one of them there
    is no winner, no surroundings and no test.
    """

    ground: Ground
    grid: Grid
    objective: Objective
    search: Search
    trials: Mapping[Point, Trial]
    ranking: tuple[Point, ...]
    surroundings: Surroundings | None
    correlation: Decimal | None
    tests: tuple[Backtest, ...]  # the winner on each part, beside the same money without it

    @property
    def winner(self) -> Point | None:
        return self.ranking[0] if self.ranking else None


def run_sweep(
    ground: Ground,
    grid: Grid,
    objective: Objective,
    search: Search,
    journal: SweepJournal,
    open_runner: Callable[[], AbstractContextManager[TrialRunner]],
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Sweep:
    """Try what the journal does not know yet, and choose.

    Raises:
        HistoryError: the journal cannot be written; what is in it stays.
        Whatever `open_runner` and its runner raise.
    """
    with ExitStack() as opened:
        run = _Run(grid, journal, lambda: opened.enter_context(open_runner()), on_progress)
        if search.trials is None:
            run.total = grid.count
            run.try_all(list(grid.points()))
        else:
            run.total = search.trials
            _search(run, grid, objective, search)
            _look_around(run, grid, objective)
    ranking = rank(objective, run.trials)
    prepared = Prepared(ground)
    return Sweep(
        ground=ground,
        grid=grid,
        objective=objective,
        search=search,
        trials=dict(sorted(run.trials.items())),
        ranking=tuple(ranking),
        surroundings=look_around(objective, grid, run.trials, ranking[0]) if ranking else None,
        correlation=correlate(objective, run.trials),
        tests=_test(ground, prepared, grid.settings(ranking[0])) if ranking else (),
    )


class _Run:
    """The trials so far, and what is told of them."""

    def __init__(
        self,
        grid: Grid,
        journal: SweepJournal,
        open_runner: Callable[[], TrialRunner],
        on_progress: Callable[[Progress], None],
    ) -> None:
        self._grid, self._journal = grid, journal
        self._open_runner, self._on_progress = open_runner, on_progress
        self._runner: TrialRunner | None = None
        self.trials: dict[Point, Trial] = {}
        self.total = 0
        self._done = self._fresh = 0

    def try_all(self, points: Sequence[Point]) -> None:
        """Those that were tried before are taken from the journal; one can be named twice."""
        missing = []
        for point in dict.fromkeys(points):
            known = self.trials.get(point) or self._journal.find(self._grid.texts(point))
            if known is None:
                missing.append(point)
            else:
                self.trials[point] = known
        self._done += len(points) - len(missing)
        self._tell()
        if not missing:
            return
        if self._runner is None:
            self._runner = self._open_runner()
        for number, trial in self._runner.run([self._grid.settings(one) for one in missing]):
            point = missing[number]
            self._journal.add([(self._grid.texts(point), trial)])
            self.trials[point] = trial
            self._done += 1
            self._fresh += 1
            self._tell()

    def _tell(self) -> None:
        workers = 0 if self._runner is None else self._runner.workers
        self._on_progress(
            Progress(done=self._done, total=self.total, fresh=self._fresh, workers=workers)
        )


def _search(run: _Run, grid: Grid, objective: Objective, search: Search) -> None:
    from research.sweep_tpe import BATCH, TpeSearch  # loads Optuna

    assert search.trials is not None
    sampler = TpeSearch(grid, search.seed)
    for begin in range(0, search.trials, BATCH):
        asked = sampler.ask(min(BATCH, search.trials - begin))
        run.try_all([point for _, point in asked])
        sampler.tell([(number, _merit(objective, run.trials[point])) for number, point in asked])


def _look_around(run: _Run, grid: Grid, objective: Objective) -> None:
    """The neighbours of the winner, and of a neighbour that turns out to be better."""
    while ranking := rank(objective, run.trials):
        around = [one for one in grid.neighbours(ranking[0]) if one not in run.trials]
        if not around:
            return
        run.total += len(around)
        run.try_all(around)


def _merit(objective: Objective, trial: Trial) -> Decimal | None:
    return merit_of(objective, trial.scores[0]) if is_eligible(trial) else None


def _test(ground: Ground, prepared: Prepared, settings: Mapping[str, Any]) -> tuple[Backtest, ...]:
    trial = prepared.run(settings)
    account = ground.account
    if not ground.has_cash:
        account = replace(account, cash_usd=trial.ladder_usd)
    return tuple(
        run_backtest(prepared.entrants(settings, part), account, [ground.path])
        for part in range(len(trial.scores))
    )


def key_of(ground: Ground, grid: Grid) -> str:
    """The hash of all that a trial depends on but the values that vary."""
    columns = {one.column for one in grid.dimensions}
    assets = []
    for one in ground.assets:
        shown = entrant_json(one.entrant)
        settings = {name: text for name, text in shown["settings"].items() if name not in columns}
        prices = shown["data"]["hash"]  # whatever files they came from
        assets.append(
            {**shown, "settings": settings, "ladder_usd": None, "data": prices, "split": one.split}
        )
    account = plain(asdict(ground.account))
    if not ground.has_cash:
        del account["cash_usd"]
    facts = {
        "code": ground.code,
        "assets": assets,
        "account": account,
        "path": ground.path.value,
        "varied": sorted(columns),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
