"""How much money was bound in coins: its mean over a span of time, and its peak. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from performance.cycle_results import CapitalStep

_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class CapitalUse:
    """USD: the mean weighted by time, and the most at one moment."""

    mean_usd: Decimal
    peak_usd: Decimal


class CapitalCurve:
    """The sum of all steps, as levels over time."""

    def __init__(self, steps: Iterable[CapitalStep]) -> None:
        changes: dict[datetime, Decimal] = {}
        for step in steps:
            changes[step.at] = changes.get(step.at, _ZERO) + step.change_usd
        self.levels: list[tuple[datetime, Decimal]] = []
        level = _ZERO
        for at in sorted(changes):
            level += changes[at]
            self.levels.append((at, level))

    @property
    def last_usd(self) -> Decimal:
        """What is bound since the last step."""
        return self.levels[-1][1] if self.levels else _ZERO

    def use(self, start: datetime, end: datetime) -> CapitalUse:
        """Mean and peak from `start` to `end`. A span without length has the level of its moment.

        What was bound and freed within one instant (a buy and a sell of the same microsecond)
        was never at work.
        """
        level, since = _ZERO, start
        area, peak = _ZERO, _ZERO
        for at, new_level in self.levels:
            if at > end:
                break
            if at > start:
                area += level * _seconds(at - since)
                peak = max(peak, level)
                since = at
            level = new_level
        area += level * _seconds(end - since)
        if end > since or start == end:
            peak = max(peak, level)
        length = _seconds(end - start)
        return CapitalUse(area / length if length > 0 else level, peak)


def _seconds(span: timedelta) -> Decimal:
    """Exact: microseconds are whole numbers."""
    return Decimal(span // timedelta(microseconds=1)) / 1_000_000
