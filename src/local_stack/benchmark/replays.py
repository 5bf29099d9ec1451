"""The section `research`: how fast a replay is, beside a plain loop and two other programs."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from config import inspect_environment
from local_stack.benchmark import peers
from local_stack.benchmark.checkout import Checkout, this_checkout
from local_stack.benchmark.clients import RIVALS
from local_stack.benchmark.figures import Series
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.replay_bars import (
    Market,
    draw_market,
    read_history,
    read_recordings,
)
from local_stack.benchmark.results import Bar, Group, Section
from local_stack.benchmark.rivals import replay_task as task
from local_stack.benchmark.sweeps import measure_scaling
from local_stack.exchange_process import StackError
from research.errors import HistoryError
from research.history import History, by_month
from research.history_file import MonthFile, Origin
from research.months import SECOND_NS
from runtime.daemon_process import last_line
from runtime.process_table import STACK_MARK
from utils.formatting import usd

LOOP, VECTORBT, BACKTESTING = "plain loop, floats", "vectorbt", "backtesting.py"
PESSIMISTIC = "both paths of a bar"
_PEERS = {"vectorbt": VECTORBT, "backtesting": BACKTESTING}
CONFIGURATIONS = 60  # of a sweep
_THREE_YEARS_OF_MINUTES = (2 * 365 + 366) * 24 * 60
_LOW_FIRST = "open-low-high-close"
_ONE_THREAD = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "NUMBA")}


class Rival:
    """A process that replays once for each line it gets."""

    def __init__(
        self, name: str, python: str, script: str, folder: Path, *arguments: str, source: str = ""
    ) -> None:
        self.name, self._said = name, folder / f"{script}.err"
        with open(self._said, "wb") as errors:
            self.process = subprocess.Popen(
                [python, str(RIVALS / f"{script}.py"), str(folder), *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
                env={
                    **{name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
                    **({"PYTHONPATH": source} if source else {}),
                    **_ONE_THREAD,
                    STACK_MARK: str(folder),
                },
            )

    def __enter__(self) -> Rival:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.process.kill()
        self.process.communicate()

    def read(self) -> dict[str, Any]:
        """The next that it says.

        Raises:
            StackError: with its last words when it says no more.
        """
        assert self.process.stdout is not None
        if not (line := self.process.stdout.readline()):
            raise StackError(f"{self.name} ended: {last_line(self._said)}")
        said: dict[str, Any] = json.loads(line)
        return said

    def replay(self) -> dict[str, Any]:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.read()


def measure_research(
    checkouts: Sequence[Checkout],
    plan: BenchmarkPlan,
    folder: Path,
    report: Callable[[str], None],
) -> Section:
    """Raises StackError, with one line for a person."""
    if plan.installs_peers:
        peers.install(report)
    section, missing = Section("research"), peers.find_missing()
    try:
        market = _market(plan)
    except HistoryError as error:
        raise StackError(str(error)) from None
    bars = market.bars
    starts = bars.at_ns // SECOND_NS
    task.Bars(starts, bars.open, bars.high, bars.low, bars.close, bars.places).save(folder)
    with ExitStack() as until_the_end:
        rivals = [
            until_the_end.enter_context(one) for one in _start_rivals(checkouts, missing, folder)
        ]
        first = {rival.name: _first_words(rival, report) for rival in rivals}
        rounds: dict[str, list[dict[str, Any]]] = {rival.name: [] for rival in rivals}
        for number in range(1, plan.rounds + 1):
            report(f"research: {len(bars):,} bars, round {number} of {plan.rounds}")
            for rival in rivals if number % 2 else rivals[::-1]:
                rounds[rival.name].append(rival.replay())
    _add_speed(section, checkouts[0].name, len(bars), rounds)
    section.notes.insert(0, f"bars: {market.source}; spread 0, fee {task.FEE_PERCENT} % a side")
    # Another checkout may index its bars within each replay.
    if indexed := first[checkouts[0].name].get("index_seconds"):
        indexing = f"where the extremes of all bars lie is found in {indexed * 1e3:.2f} ms"
        section.notes.append(f"{indexing}, once, when they are loaded: it does not count")
    if VECTORBT in first:
        versions = [said["version"] for said in first.values() if "version" in said]
        compiled = f"its callback was compiled before, in {first[VECTORBT]['first_seconds']:.1f} s"
        section.notes.append(f"{', '.join(versions)}; {compiled}, which does not count")
    if missing:
        section.notes.append(
            f"not there, so not compared: {', '.join(_PEERS[name] for name in missing)};"
            " scripts/benchmark research --install-peers installs them into .local"
        )
    report("research: memory of three years")
    _add_memory(section, checkouts[0], folder)
    _add_sweep(section, plan, report)
    return section


def _market(plan: BenchmarkPlan) -> Market:
    if plan.bar_files:
        return read_recordings(plan.bar_files, plan.bars)
    if plan.stored:
        settings, _ = inspect_environment()  # no keys are needed
        return read_history(settings.history_dir, plan.stored, plan.bars)
    return draw_market(plan.bars)


def _start_rivals(
    checkouts: Sequence[Checkout], missing: Sequence[str], folder: Path
) -> list[Rival]:
    ours = this_checkout()
    bots = [
        Rival(one.name, one.python, "replay_bot", folder, _LOW_FIRST, source=str(one.source))
        for one in checkouts
    ]
    return [
        *bots,
        Rival(
            PESSIMISTIC,
            checkouts[0].python,
            "replay_bot",
            folder,
            "pessimistic",
            source=str(checkouts[0].source),
        ),
        Rival(LOOP, ours.python, "replay_loop", folder),
        *(
            Rival(name, str(peers.PYTHON), f"replay_{package}", folder)
            for package, name in _PEERS.items()
            if package not in missing
        ),
    ]


def _first_words(rival: Rival, report: Callable[[str], None]) -> dict[str, Any]:
    report(f"research: {rival.name} gets ready")
    return rival.read()


def _add_speed(
    section: Section, ours: str, bars: int, rounds: Mapping[str, Sequence[dict[str, Any]]]
) -> None:
    series = {
        name: Series(name, "ms", tuple((said["cpu_seconds"] * 1e3,) for said in found))
        for name, found in rounds.items()
    }
    peer = VECTORBT if VECTORBT in series else LOOP
    group = Group(f"CPU of one replay of {bars:,} bars of a minute", series, peer)
    section.groups.append(group)
    speeds = [f"{name} {bars / one.p50 / 1e3:.2f}" for name, one in series.items()]
    section.notes.append(f"million bars a second: {', '.join(speeds)}")
    results = {name: found[-1] for name, found in rounds.items()}
    mine = results[ours]
    section.notes.append(f"of each: {mine['orders']} orders, worth {usd(mine['worth_usd'])} USD")
    for name, one in results.items():
        orders, more_usd = one["orders"] - mine["orders"], one["worth_usd"] - mine["worth_usd"]
        if orders or abs(more_usd) >= 0.005:
            section.notes.append(f"{name} differs: {orders:+} orders, {more_usd:+.2f} USD")
    times = group.ratio(VECTORBT, ours).median if VECTORBT in series else float("nan")
    section.bars.append(Bar("this bot / vectorbt, bars a second", times, 20, is_minimum=True))


def _add_memory(section: Section, checkout: Checkout, folder: Path) -> None:
    """Three years of minutes from the stored history to the figures, in a process of their own."""
    history = History(folder / "history")
    market = draw_market(_THREE_YEARS_OF_MINUTES)
    with history.writing():
        for month, part in by_month(market.bars):
            history.save(MonthFile(month, part, Origin(source="drawn")))
    with Rival(
        "three years of minutes",
        checkout.python,
        "replay_years",
        folder,
        source=str(checkout.source),
    ) as rival:
        said = rival.read()
    section.notes.append(
        f"{said['bars']:,} bars, three years, from the files of the history to the figures:"
        f" {said['orders']} orders, {said['cpu_seconds']:.2f} s of CPU"
    )
    section.bars.append(Bar("peak memory of three years", said["peak_mb"], 400, "MB"))


def _add_sweep(section: Section, plan: BenchmarkPlan, report: Callable[[str], None]) -> None:
    """How a sweep grows from one worker to two; its bars are drawn, whatever the replay's are."""
    text = "two workers / one worker, configurations a second"
    if find_spec("distributed") is None:
        section.notes.append("scaling not measured: requirements-sweep.txt is not installed")
        section.bars.append(Bar(text, float("nan"), 1.8, is_minimum=True))
        return
    found = measure_scaling(
        bars=plan.bars,
        configurations=CONFIGURATIONS,
        pairs=plan.rounds,
        tell=lambda line: report(f"research: sweeps with one and two workers, {line}"),
    )
    one, two = (
        Series(name, "s", tuple((CONFIGURATIONS / pair[which],) for pair in found.pairs))
        for which, name in enumerate(("one worker", "this bot"))
    )
    title = f"sweep of {CONFIGURATIONS} configurations over {plan.bars:,} bars, two workers"
    section.groups.append(Group(title, {"this bot": two, "one worker": one}, "one worker"))
    section.notes.append(
        f"10,000 configurations with two workers, from that: {found.seconds_of(10_000):,.0f} s;"
        f" scaling of each pair: {', '.join(f'{ratio:.2f}' for ratio in found.ratios)}"
    )
    section.bars.append(Bar(text, found.median_ratio, 1.8, is_minimum=True))
