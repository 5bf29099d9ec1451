"""The tables of a run, 80 columns wide, and what it ran on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.results import Bar, Group, Section

WIDTH = 80
_PACKAGES = ("alpaca-py", "websockets", "msgpack", "requests", "mysql-connector-python")


def describe_machine(checkouts: Sequence[Checkout], database: str) -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "is_urgent": os.sched_getscheduler(0) == os.SCHED_RR,
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "database": database,
        "network": "loopback",
        "measured": {one.name: one.revision for one in checkouts},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def table_lines(sections: Sequence[Section], ran_on: dict[str, Any]) -> Iterator[str]:
    """Everything for a person."""
    yield "ran on"
    packages = ", ".join(f"{name} {number}" for name, number in ran_on["packages"].items())
    measured = ", ".join(f"{name} = {revision}" for name, revision in ran_on["measured"].items())
    facts = (
        f"{ran_on['cpu']}, {ran_on['cores']} cores, load {ran_on['load_average']}"
        f"{' (--urgent),' if ran_on['is_urgent'] else ','}"
        f" {ran_on['network']}",
        f"{ran_on['system']}, Python {ran_on['python']}, {ran_on['database']}",
        packages,
        measured,
    )
    for fact in facts:
        yield from _wrapped(fact)
    for section in sections:
        yield ""
        yield f"{section.name} {'-' * (WIDTH - len(section.name) - 1)}"
        for group in section.groups:
            yield from _group_lines(group)
        for note in section.notes:
            yield from _wrapped(note)
        for bar in section.bars:
            yield _bar_line(bar)


def _group_lines(group: Group) -> Iterator[str]:
    """A row for each client, with its spread where there are several figures of it."""
    measured = [one for name, one in group.series.items() if name != group.compared_with]
    is_single = all(len(one.all) == 1 for one in measured or group.series.values())
    points = {"p50": 0.5} if is_single else {"p50": 0.5, "p10": 0.1, "p90": 0.9, "p99": 0.99}
    unit = next(iter(group.series.values())).unit
    yield group.title
    heads = "".join(f"{name if not is_single else '':>8}" for name in points)
    yield f"  {unit:<22}{heads}  x {group.compared_with}"
    for name, series in group.series.items():
        ratio = group.ratio(name)
        figures = "".join(f"{_short(series.at(share)):>8}" for share in points.values())
        spread = f" ({_short(ratio.low)}-{_short(ratio.high)})" if not is_single else ""
        yield f"  {name:<22.22}{figures}  {_short(ratio.median)}{spread}"


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


def _bar_line(bar: Bar) -> str:
    side = ">=" if bar.is_minimum else "<="
    limit = f"{side} {_short(bar.limit)} {'' if bar.unit == 'x' else bar.unit}".rstrip()
    verdict = "holds" if bar.holds else "MISSED"
    return f"  bar: {bar.text:<44.44}{_short(bar.value):>8}  {limit:<11} {verdict}"


def _wrapped(text: str) -> Iterator[str]:
    line = " "
    for word in text.split():
        if len(line) + 1 + len(word) > WIDTH:
            yield line
            line = " "
        line += f" {word}"
    yield line
