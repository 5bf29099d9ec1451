"""Which settings a sweep tries: ranges and lists as typed, and the grid that they span. Pure.

`0.5:5:0.25` is every step from 0.5 to 5, both included where the steps meet them; `1,1.5,2` a list,
whose parts can be ranges too. Numbers are exact (Decimal): nine steps of 0.1 are 0.9.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from utils.formatting import number

MAX_VALUES = 10_000  # of one setting
_DECIMAL = r"([0-9]{1,12}(?:\.[0-9]{0,12})?|\.[0-9]{1,12})"
_RANGE = re.compile(rf"{_DECIMAL}:{_DECIMAL}:{_DECIMAL}", re.ASCII)

Point = tuple[int, ...]
"""One configuration: of each dimension the number of its value."""


def is_many(text: str) -> bool:
    """Whether a text names more than one value: a list or a range."""
    return "," in text or ":" in text


def expand(text: str) -> list[str]:
    """The values of a list or range, each as it would be typed alone.

    Raises:
        ValueError: it is none, or of too many values; the message follows the option's name.
    """
    found: list[str] = []
    for part in text.split(","):
        bare = part.strip().removesuffix("%").strip()
        if not bare:
            raise ValueError("has an empty value in its list")
        found += _expand_range(bare) if ":" in bare else [bare]
        if len(found) > MAX_VALUES:
            raise ValueError(f"takes at most {MAX_VALUES:,} values")
    return found


def _expand_range(text: str) -> list[str]:
    match = _RANGE.fullmatch(text)
    if match is None:
        raise ValueError("takes a range like 0.5:5:0.25 (from, to, step)")
    first, last, step = (Decimal(one) for one in match.groups())
    if not step:
        raise ValueError("takes a range whose step is above 0")
    if last < first:
        raise ValueError("takes a range that ends at or above its beginning")
    count = int((last - first) / step) + 1
    if count > MAX_VALUES:
        raise ValueError(f"takes at most {MAX_VALUES:,} values")
    return [number(first + one * step) for one in range(count)]


@dataclass(frozen=True, slots=True)
class Dimension:
    """One setting that varies: its option and column, its values as typed and as they are stored.

    Numbers ascend, "off" (None) before them; words stand as they were named.
    """

    option: str
    column: str
    texts: tuple[str, ...]
    values: tuple[Any, ...]

    @classmethod
    def of(cls, option: str, column: str, typed: Sequence[tuple[str, Any]]) -> Dimension:
        """Each value once; of numbers the text is plain."""
        unique: dict[Any, str] = {}
        for text, value in typed:
            is_number = isinstance(value, Decimal | int) and not isinstance(value, str)
            unique.setdefault(value, number(Decimal(value)) if is_number else text.strip().lower())
        values = list(unique)
        if not any(isinstance(one, str) for one in values):
            values.sort(key=lambda one: (one is not None, one or 0))
        return cls(option, column, tuple(unique[one] for one in values), tuple(values))

    @property
    def flag(self) -> str:
        return f"--{self.option.replace('_', '-')}"


@dataclass(frozen=True, slots=True)
class Grid:
    """Every combination of the values of its dimensions; the last one varies fastest."""

    dimensions: tuple[Dimension, ...]

    @property
    def count(self) -> int:
        return math.prod(len(one.values) for one in self.dimensions)

    def points(self) -> Iterator[Point]:
        """All of them, in order."""
        return (self.at(one) for one in range(self.count))

    def at(self, position: int) -> Point:
        found = []
        for one in reversed(self.dimensions):
            position, place = divmod(position, len(one.values))
            found.append(place)
        return tuple(reversed(found))

    def settings(self, point: Point) -> dict[str, Any]:
        """The columns of the assets."""
        pairs = zip(self.dimensions, point, strict=True)
        return {one.column: one.values[place] for one, place in pairs}

    def texts(self, point: Point) -> dict[str, str]:
        """By option, as typed."""
        pairs = zip(self.dimensions, point, strict=True)
        return {one.option: one.texts[place] for one, place in pairs}

    def neighbours(self, point: Point) -> list[Point]:
        """Those that differ by one step in one setting."""
        return [
            (*point[:axis], place + step, *point[axis + 1 :])
            for axis, place in enumerate(point)
            for step in (-1, 1)
            if 0 <= place + step < len(self.dimensions[axis].values)
        ]


def describe(texts: Mapping[str, str]) -> str:
    """As options: `--deviation 2 --take-profit 1.5`."""
    return " ".join(f"--{name.replace('_', '-')} {text}" for name, text in texts.items())
