"""Results of `scripts/sweep`, as a heat map wants them. Reads its folder only."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from operations.refused import Refused
from research.errors import HistoryError
from research.sweep_result import read_sweep, results_folder

MAX_SWEEPS = 100
MAX_BYTES = 20_000_000  # what a browser can be asked to draw
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,120}", re.ASCII)


def list_sweeps(history_dir: Path) -> list[dict[str, Any]]:
    """The newest first; what is no result of a sweep is left out."""
    files = [
        path for path in results_folder(history_dir).glob("*.json") if _NAME.fullmatch(path.stem)
    ]
    files.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    found = []
    for path in files[:MAX_SWEEPS]:
        try:
            result = _read(path)
            shown = {
                "name": path.stem,
                "symbol": " ".join(one["symbol"] for one in result["assets"]),
                "made_at": datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat(),
                "axes": _axes(result),
            }
        except (HistoryError, Refused, KeyError, TypeError, OSError):
            continue
        found.append(shown)
    return found


def load_sweep(history_dir: Path, name: str) -> bytes:
    """One result with its points as a heat map wants them, as JSON.

    Raises:
        Refused: there is none of that name, or it is too large or damaged.
    """
    path = results_folder(history_dir) / f"{name}.json"
    if not _NAME.fullmatch(name) or not path.is_file():
        raise Refused("there is no sweep of that name")
    try:
        result = _read(path)
        shown = {name: result[name] for name in result if name != "trials"}
        shown |= {"name": name, "axes": _axes(result), "points": _points(result)}
    except (HistoryError, KeyError, TypeError, IndexError) as error:
        raise Refused(f"{name} is damaged: {error}") from None
    return json.dumps(shown).encode()


def _read(path: Path) -> dict[str, Any]:
    if path.stat().st_size > MAX_BYTES:
        raise Refused(f"{path.stem} is too large for a page: scripts/sweep --show {path.name}")
    return read_sweep(path)


def _axes(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"option": one["option"], "values": one["values"]} for one in result["dimensions"]]


def _points(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """`figures` of the part that was chosen on, and as `later_...` of the one that judges it; those
    that cannot be traded come last, with the reason.
    """
    axes = _axes(result)
    points = []
    for trial in result["trials"]:
        places = zip(axes, trial["at"], strict=True)
        settings = {axis["option"]: axis["values"][place] for axis, place in places}
        figures: dict[str, Any] = {}
        for prefix, score in zip(("", "later_"), trial.get("scores", ()), strict=False):
            figures |= {f"{prefix}{name}": value for name, value in score.items()}
        point = {"settings": settings, "figures": figures}
        points.append(point | ({"refused": trial["refused"]} if "refused" in trial else {}))
    return sorted(points, key=lambda one: "refused" in one)
