"""How `scripts/history` words what there is, what is missing and what came."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.command_line import fitted, make_table, width_of
from research.history import MonthResult
from research.months import time_text, to_datetime
from research.overview import Holding
from research.series import Gap, Kind
from utils.formatting import NOTHING, counted, moment, span

_KILOBYTE = 1_000


def show_holdings(console: Console, holdings: Iterable[Holding]) -> None:
    """A table where it fits, else some lines for each."""
    holdings = list(holdings)
    table = _table(console, holdings)
    if width_of(table, console) <= console.width:
        console.print(table)
        return
    for one in holdings:
        console.print(fitted(console, "\n".join(_lines(one))))


def _table(console: Console, holdings: list[Holding]) -> Table:
    table = make_table(console)
    for name in ("symbol", "what", "from", "to"):
        table.add_column(name, no_wrap=True)
    for name in ("rows", "missing", "gaps", "longest", "size"):
        table.add_column(name, no_wrap=True, justify="right")
    table.add_column("source")
    for one in holdings:
        longest = one.longest_gap
        table.add_row(
            one.symbol,
            what(one),
            _moment(one.first_ns),
            _moment(one.last_ns),
            f"{one.rows:,}",
            f"{one.missing:,}" if one.kind is Kind.BARS else NOTHING,
            f"{len(one.gaps):,}",
            span(longest.seconds) if longest else NOTHING,
            size_text(one.size),
            ", ".join(one.sources),
        )
    return table


def _lines(one: Holding) -> list[str]:
    lines = [
        f"{one.symbol}: {rows_text(one)} in {counted(one.months, 'month')}, {size_text(one.size)}",
        f"  {_moment(one.first_ns)} to {_moment(one.last_ns)}, from {', '.join(one.sources)}",
    ]
    return [*lines, f"  {gaps_text(one.kind, one.gaps)}"]


def what(one: Holding) -> str:
    """`1 min bars`, `quotes`."""
    if one.kind is Kind.QUOTES:
        return "quotes"
    seconds = one.bar_seconds
    return f"{seconds // 60} min bars" if seconds % 60 == 0 else f"{seconds} s bars"


def rows_text(one: Holding) -> str:
    """`44,640 bars of 1 min`, `1,200 quotes`."""
    if one.kind is Kind.QUOTES:
        return f"{one.rows:,} quotes"
    return f"{one.rows:,} bars of {what(one).removesuffix(' bars')}"


def gaps_text(kind: Kind, gaps: Iterable[Gap]) -> str:
    """How much is missing, and where the most is."""
    gaps = list(gaps)
    if not gaps:
        return "nothing is missing in between"
    longest = max(gaps, key=lambda one: one.seconds)
    where = f"{_moment(longest.begin_ns)} to {_moment(longest.end_ns)} ({span(longest.seconds)})"
    if kind is Kind.QUOTES:
        return f"{counted(len(gaps), 'silence')} of more than ten minutes, the longest {where}"
    missing = sum(one.missing for one in gaps)
    verb = "is" if missing == 1 else "are"
    place = "at" if len(gaps) == 1 else f"in {len(gaps):,} gaps, the longest"
    return f"{missing:,} {'bar' if missing == 1 else 'bars'} {verb} missing {place} {where}"


def month_text(result: MonthResult, source: str) -> str:
    """One line of a fetch or an import."""
    name = f"{result.symbol} {result.month}"
    content = result.content
    if content is None:
        return f"{name}  no bars at {source}: nothing is stored, the next fetch asks again"
    parts = [f"{len(content.series):,} {content.kind}"]
    if not result.is_new:
        parts.append(f"there already, from {content.origin.source}")
    if result.gaps:
        parts.append(gaps_text(content.kind, result.gaps))
    origin = content.origin
    if origin.duplicates:
        parts.append(f"{counted(origin.duplicates, 'duplicate')} left out")
    if origin.differing:
        parts.append(f"{origin.differing:,} came again with other prices: the first one counts")
    if not origin.is_complete:
        parts.append("the month is running")
    text = f"{name}  {'; '.join(parts)}"
    return f"{text} ({result.replaced}: replaced)" if result.replaced else text


def months_json(results: Iterable[MonthResult]) -> dict[str, Any]:
    return {"months": [_month_json(one) for one in results]}


def _month_json(result: MonthResult) -> dict[str, Any]:
    content = result.content
    shown: dict[str, Any] = {"symbol": result.symbol, "month": str(result.month)}
    if content is None:
        return {**shown, "rows": 0, "stored": False}
    return {
        **shown,
        "kind": content.kind.value,
        "rows": len(content.series),
        "stored": result.is_new,
        "price_step": f"{content.series.price_step:f}",
        "missing": sum(one.missing for one in result.gaps),
        "gaps": len(result.gaps),
        "longest_gap": _longest_json(result.gaps),
        "duplicates": content.origin.duplicates,
        "differing": content.origin.differing,
        "rounded": content.origin.rounded,
        "is_complete": content.origin.is_complete,
        "replaced": result.replaced or None,
    }


def holding_json(one: Holding) -> dict[str, Any]:
    return {
        "symbol": one.symbol,
        "kind": one.kind.value,
        "bar_seconds": one.bar_seconds or None,
        "from": time_text(one.first_ns),
        "to": time_text(one.last_ns),
        "rows": one.rows,
        "months": one.months,
        "missing": one.missing,
        "gaps": [_gap_json(gap) for gap in one.gaps],
        "duplicates": one.duplicates,
        "differing": one.differing,
        "is_rounded": one.is_rounded,
        "bytes": one.size,
        "sources": list(one.sources),
        "problems": list(one.problems),
    }


def _longest_json(gaps: Iterable[Gap]) -> dict[str, Any] | None:
    longest = max(gaps, key=lambda one: one.seconds, default=None)
    return None if longest is None else _gap_json(longest)


def _gap_json(gap: Gap) -> dict[str, Any]:
    return {
        "from": time_text(gap.begin_ns),
        "to": time_text(gap.end_ns),
        "missing": gap.missing,
    }


def size_text(size: int) -> str:
    if size < _KILOBYTE:
        return f"{size} B"
    if size < _KILOBYTE**2:
        return f"{size / _KILOBYTE:.0f} kB"
    return f"{size / _KILOBYTE**2:.1f} MB"


def _moment(at_ns: int) -> str:
    return moment(to_datetime(at_ns))
