"""Medians, spreads, and the ratio of two things measured in turn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


def quantile(values: Sequence[float], share: float) -> float:
    """The nearest of the values: with few of them p99 is the largest."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True)
class Series:
    """What one client needed, round by round; each round has one figure or many."""

    name: str
    unit: str
    rounds: tuple[tuple[float, ...], ...]

    @property
    def all(self) -> list[float]:
        return [value for one in self.rounds for value in one]

    @property
    def p50(self) -> float:
        return median(self.all)

    def at(self, share: float) -> float:
        """p50 is the middle of the two middle ones, others the nearest figure."""
        return self.p50 if share == 0.5 else quantile(self.all, share)

    def as_json(self) -> dict[str, Any]:
        known = {f"p{int(share * 100)}": round(self.at(share), 4) for share in (0.1, 0.9, 0.99)}
        return {
            "name": self.name,
            "unit": self.unit,
            "p50": round(self.p50, 4),
            **known,
            "samples": len(self.all),
        }


@dataclass(frozen=True, slots=True)
class Ratio:
    """How many times as much one takes as another: the median of the rounds' ratios, and the
    least and the most of them. Where those lie far apart the machine was busy.
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, one: Series, other: Series) -> Ratio:
        pairs = zip(one.rounds, other.rounds, strict=True)
        ratios = [median(mine) / median(theirs) for mine, theirs in pairs]
        return cls(median(ratios), min(ratios), max(ratios))

    def as_json(self) -> dict[str, float]:
        return {name: round(getattr(self, name), 3) for name in ("median", "low", "high")}
