"""Where prices cross a level next: quotes and bars as integers, with an index of their extremes.

Prices are whole numbers of `unit` USD. A search reads a minimum and a maximum for each block of
prices and for each group of blocks, so that a year of minutes in which nothing is crossed costs a
few microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
import numpy.typing as npt

from strategy.cycle_plan import WIRE_STEP
from strategy.sizing import WIDE

Integers = npt.NDArray[np.int64]
BLOCK = 256
GROUP = 64  # blocks
NO_LOW, NO_HIGH = -1, np.iinfo(np.int64).max
_TRUE = b"\x01"


class Extremes:
    """First index at which `low` is at or below, or `high` at or above, a level."""

    def __init__(self, low: Integers, high: Integers) -> None:
        self.low, self.high = low, high
        self.count = len(low)
        block_low, block_high = _reduced(low, high, BLOCK)
        group_low, group_high = _reduced(block_low, block_high, GROUP)
        # A few hundred of them are looked through one by one, which lists are quicker at.
        self._blocks = list(zip(block_low.tolist(), block_high.tolist(), strict=True))
        self._groups = list(zip(group_low.tolist(), group_high.tolist(), strict=True))

    @property
    def highest(self) -> int:
        """Of all; there must be some."""
        return max(int(high) for _, high in self._groups)

    def find(self, start: int, low_level: int, high_level: int) -> int:
        """The first index from `start` on; `count` where there is none."""
        if start >= self.count:
            return self.count
        block, begins = start // BLOCK, start
        while (block := self._find_block(block, low_level, high_level)) < len(self._blocks):
            begins = max(begins, block * BLOCK)
            found = self._find_within(
                begins, begins - begins % BLOCK + BLOCK, low_level, high_level
            )
            if found >= 0:
                return found
            block += 1  # it was crossed before `start`
        return self.count

    def _find_block(self, block: int, low_level: int, high_level: int) -> int:
        """The first block from `block` on in which there is one; how many there are: in none."""
        blocks, group = self._blocks, block // GROUP
        while True:
            for number in range(block, min((group + 1) * GROUP, len(blocks))):
                low, high = blocks[number]
                if low <= low_level or high >= high_level:
                    return number
            group += 1
            for number in range(group, len(self._groups)):
                low, high = self._groups[number]
                if low <= low_level or high >= high_level:
                    group = number
                    break
            else:
                return len(blocks)
            block = group * GROUP

    def _find_within(self, start: int, end: int, low_level: int, high_level: int) -> int:
        """-1 where there is none."""
        # As bytes: looking for the first True among so few takes half as long as argmax does.
        found = (self.low[start:end] <= low_level).tobytes().find(_TRUE)
        if high_level != NO_HIGH:
            end = min(end, start + found) if found >= 0 else end
            higher = (self.high[start:end] >= high_level).tobytes().find(_TRUE)
            found = found if higher < 0 else higher
        return found if found < 0 else start + found


def _reduced(low: Integers, high: Integers, size: int) -> tuple[Integers, Integers]:
    """The lowest and highest of each `size`."""
    if not len(low):
        return low, high
    starts = np.arange(0, len(low), size)
    return np.minimum.reduceat(low, starts), np.maximum.reduceat(high, starts)


@dataclass(frozen=True, slots=True)
class Scale:
    """How the integers of one market translate: bar or quote prices in `step` USD to bid and ask in
    `unit` USD, half of `spread_percent` (of the price) on each side.

    The ask is rounded up and the bid down: never better than the market.
    """

    places: int
    unit: Decimal  # 10 ** -places
    steps: int  # units in one step
    above: int  # ask = price x above / whole
    below: int  # bid = price x below / whole
    whole: int

    @classmethod
    def of(cls, step: Decimal, price_increment: Decimal, spread_percent: Decimal) -> Scale:
        """Raises ValueError for a spread that leaves no bid."""
        if not 0 <= spread_percent < 200:
            raise ValueError("a spread is at least 0 and below 200 percent")
        places = max(-int(one.as_tuple().exponent) for one in (WIRE_STEP, step, price_increment))
        unit = Decimal(1).scaleb(-places)
        numerator, whole = (spread_percent / 200).as_integer_ratio()
        return cls(places, unit, int(step / unit), whole + numerator, whole - numerator, whole)

    def ask(self, price: int) -> int:
        """Units of the ask at a price of so many steps: up."""
        return -(-price * self.steps * self.above // self.whole)

    def bid(self, price: int) -> int:
        """Units of the bid at a price of so many steps: down."""
        return price * self.steps * self.below // self.whole

    def bid_beside(self, ask: int) -> int:
        """Units of the bid when the ask is so many units."""
        return ask * self.below // self.above

    def ask_beside(self, bid: int) -> int:
        """Units of the ask when the bid is so many units."""
        return -(-bid * self.above // self.below)

    def units_down(self, price: Decimal) -> int:
        """The highest ask in units that is at or below `price`."""
        return int(WIDE.scaleb(price, self.places))  # what is below one unit is cut off

    def units_up(self, price: Decimal) -> int:
        """The lowest bid in units that is at or above `price`."""
        units = WIDE.scaleb(price, self.places)
        whole = int(units)
        return whole + (units > whole)

    def steps_with_ask_to(self, ask: int) -> int:
        """The highest price in steps whose ask is at or below so many units."""
        return ask * self.whole // (self.steps * self.above)

    def steps_with_bid_to(self, bid: int) -> int:
        """The highest price in steps whose bid is at or below so many units."""
        return ((bid + 1) * self.whole - 1) // (self.steps * self.below)

    def steps_with_bid_from(self, bid: int) -> int:
        """The lowest price in steps whose bid is at or above so many units."""
        return -(-bid * self.whole // (self.steps * self.below))

    def usd(self, units: int) -> Decimal:
        """Exact."""
        return units * self.unit


def as_integers(values: Any) -> Integers:
    """`values` as 64-bit integers."""
    return np.ascontiguousarray(values, dtype=np.int64)
