"""What the history holds, and whether it is sound. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from research.errors import DamagedHistory, HistoryError, UnusablePrices
from research.history import History, joined
from research.history_file import MonthFile, check_month
from research.series import Bars, Gap, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """All bars of one length, or all quotes, of one symbol. `problems`: of files that cannot be
    used; then there need be no rows.
    """

    symbol: str
    kind: Kind
    bar_seconds: int
    first_ns: int
    last_ns: int
    rows: int
    months: int
    gaps: tuple[Gap, ...]
    duplicates: int
    differing: int
    is_rounded: bool
    size: int
    sources: tuple[str, ...]
    problems: tuple[str, ...]

    @property
    def missing(self) -> int:
        return sum(one.missing for one in self.gaps)

    @property
    def longest_gap(self) -> Gap | None:
        return max(self.gaps, key=lambda one: one.seconds, default=None)


@dataclass(frozen=True, slots=True)
class Checked:
    """One file, and what is wrong with it."""

    path: Path
    rows: int
    problem: str = ""


def list_holdings(history: History, symbols: Sequence[str] = ()) -> list[Holding]:
    """What there is of these symbols, or of all."""
    return [
        holding
        for symbol in symbols or history.symbols()
        for kind in Kind
        for holding in _holdings(history, symbol, kind)
    ]


def _holdings(history: History, symbol: str, kind: Kind) -> Iterator[Holding]:
    groups: dict[int, list[MonthFile]] = {}
    problems: list[str] = []
    for month in history.months(kind, symbol):
        try:
            one = history.read(kind, symbol, month)
        except HistoryError as error:
            problems.append(str(error))
            continue
        length = one.series.bar_seconds if isinstance(one.series, Bars) else 0
        groups.setdefault(length, []).append(one)
    if problems and not groups:
        groups[0] = []
    for length, files in groups.items():
        yield _holding(symbol, kind, length, files, problems)
        problems = []


def _holding(
    symbol: str, kind: Kind, length: int, files: list[MonthFile], problems: list[str]
) -> Holding:
    series = joined([one.series for one in files]) if files else None
    return Holding(
        symbol=symbol,
        kind=kind,
        bar_seconds=length,
        first_ns=int(series.at_ns[0]) if series is not None else 0,
        last_ns=int(series.at_ns[-1]) if series is not None else 0,
        rows=len(series) if series is not None else 0,
        months=len(files),
        gaps=series.find_gaps() if series is not None else (),
        duplicates=sum(one.origin.duplicates for one in files),
        differing=sum(one.origin.differing for one in files),
        is_rounded=any(one.origin.rounded for one in files),
        size=sum(one.size for one in files),
        sources=tuple(dict.fromkeys(one.origin.source for one in files)),
        problems=tuple(problems),
    )


def verify(history: History, symbols: Sequence[str] = ()) -> Iterator[Checked]:
    """Read every file of these symbols (or of all) whole, and check each row.

    A file that bears no name of the history is none, and is told.
    """
    for symbol in symbols or history.symbols():
        known = {
            history.path_of(kind, symbol, month): (kind, month)
            for kind in Kind
            for month in history.months(kind, symbol)
        }
        for path in sorted(history.folder_of(symbol).iterdir()):
            if path.name.startswith("."):
                continue  # a writer at work
            if path not in known:
                yield Checked(path, 0, f"{path} is no file of the history: move it away")
                continue
            kind, month = known[path]
            try:
                content = history.read(kind, symbol, month)
                check_month(content)
            except (DamagedHistory, UnusablePrices, HistoryError) as error:
                text = str(error)
                problem = text if str(path) in text else f"{path}: {text}"
                yield Checked(path, 0, problem)
            else:
                yield Checked(path, len(content.series))
