"""A sweep as a file: JSON with the settings, the range and hash of the data, the version, every
trial and the choice. The same input gives the same bytes, however many workers computed it.

`trials` hold for each point (of each dimension the number of its value) the figures of each part: a
heat map is drawn from nothing else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from decimal import Decimal
from pathlib import Path
from typing import Any

from research.backtest import Backtest
from research.history_file import write_whole
from research.result import FORMAT, entrant_json, read_result, read_version, risks_json
from research.sweep import Sweep
from research.sweep_grid import Dimension
from research.sweep_journal import trial_json
from utils.formatting import plain

WHAT = "sweep"


def sweep_json(sweep: Sweep) -> dict[str, Any]:
    """All that there is to say of it."""
    ground, grid, account = sweep.ground, sweep.grid, sweep.ground.account
    shown = plain(asdict(account))
    if not ground.has_cash:
        shown["cash_usd"] = None
    around = sweep.surroundings
    return {
        "what": WHAT,
        "format": FORMAT,
        "version": read_version(),
        "code": ground.code,
        "account": shown,
        "path": ground.path.value,
        "assets": [
            {**entrant_json(one.entrant), "split": one.split or None} for one in ground.assets
        ],
        "objective": sweep.objective.value,
        "search": {"kind": "grid"}
        if sweep.search.trials is None
        else {"kind": "tpe", "trials": sweep.search.trials, "seed": sweep.search.seed},
        "dimensions": [_dimension_json(one) for one in grid.dimensions],
        "ranking": [list(one) for one in sweep.ranking],
        "neighbours": [] if around is None else [list(one) for one in around.points],
        "kept_percent": None if around is None else _rounded(around.kept_percent),
        "is_lone_peak": around is not None and around.is_lone_peak,
        "correlation": plain(sweep.correlation),
        "parts": [_part_json(one) for one in sweep.tests],
        "trials": [
            {"at": list(point), **trial_json(trial)} for point, trial in sweep.trials.items()
        ],
    }


def results_folder(history_dir: Path) -> Path:
    """Where the page finds what was swept."""
    return history_dir / "results"


def kept_path(history_dir: Path, symbols: Iterable[str], options: Iterable[str], key: str) -> Path:
    """Where the result of a sweep of these options is kept; the next one takes its place."""
    names = "+".join(one.replace("/", "-") for one in symbols)[:60]
    return results_folder(history_dir) / f"{names}-{'-'.join(options)[:40]}-{key[:8]}.json"


def write_sweep(path: Path, result: Mapping[str, Any]) -> None:
    """A trial a line, so that the file can be read and compared.

    Raises:
        HistoryError: it could not be written; what was there is there.
    """
    head = json.dumps({**result, "trials": []}, indent=1)
    lines = ",\n".join(f"  {json.dumps(one)}" for one in result["trials"])
    begin, end = head.rsplit("[]", 1)
    write_whole(path, f"{begin}[\n{lines}\n ]{end}\n".encode())


def read_sweep(path: Path) -> dict[str, Any]:
    """What `write_sweep` wrote.

    Raises:
        HistoryError: there is no such file, or it is no result of this format.
    """
    return read_result(path, WHAT)


def trials_of(result: Mapping[str, Any]) -> dict[tuple[int, ...], Mapping[str, Any]]:
    """Its trials by point."""
    return {tuple(one["at"]): one for one in result["trials"]}


def _dimension_json(one: Dimension) -> dict[str, Any]:
    return {"option": one.option, "column": one.column, "values": list(one.texts)}


def _part_json(test: Backtest) -> dict[str, Any]:
    """One part of the prices, and what the winner's cash had earned on it without the strategy."""
    return {
        "from": plain(test.start),
        "to": plain(test.end),
        "cash_usd": plain(test.account.cash_usd),
        "won_percent": _rounded(test.runs[0].figures.report.total.won_percent),
        "buy_and_hold": {"result_usd": plain(test.held.result_usd), **risks_json(test.held)},
        "weekly_buy": {"result_usd": plain(test.weekly.result_usd), **risks_json(test.weekly)},
    }


def _rounded(value: Decimal | None) -> str | None:
    return None if value is None else f"{value:.2f}"
