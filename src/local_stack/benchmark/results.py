"""What a section found: series beside what they are compared with, and the bars. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from local_stack.benchmark.figures import Ratio, Series


@dataclass(frozen=True, slots=True)
class Group:
    """Several clients at the same task. `compared_with` is the one that the ratios are of."""

    title: str
    series: Mapping[str, Series]
    compared_with: str

    def ratio(self, name: str, other: str | None = None) -> Ratio:
        return Ratio.of(self.series[name], self.series[other or self.compared_with])

    def as_json(self) -> dict[str, Any]:
        rows = [
            {**series.as_json(), "ratio": self.ratio(name).as_json()}
            for name, series in self.series.items()
        ]
        return {"title": self.title, "compared_with": self.compared_with, "rows": rows}


@dataclass(frozen=True, slots=True)
class Bar:
    """A limit that the project sets itself. NaN, where nothing could be measured, does not hold."""

    text: str
    value: float
    limit: float
    unit: str = "x"
    is_minimum: bool = False

    @property
    def holds(self) -> bool:
        return self.value >= self.limit if self.is_minimum else self.value <= self.limit

    def as_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "value": None if self.value != self.value else round(self.value, 4),
            "limit": self.limit,
            "unit": self.unit,
            "is_minimum": self.is_minimum,
            "holds": self.holds,
        }


@dataclass(slots=True)
class Section:
    """One section of the run. `notes` are lines for a person."""

    name: str
    groups: list[Group] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "groups": [group.as_json() for group in self.groups],
            "bars": [bar.as_json() for bar in self.bars],
            "notes": self.notes,
        }
