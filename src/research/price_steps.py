"""Prices as whole numbers of one step: exact, small, and quick to compute with.

Owns: how text becomes steps and back. Never through a float: 0.1 + 0.2 would not be 0.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

import numpy as np
from numpy.typing import NDArray

from research.errors import UnusablePrices

Steps = NDArray[np.int64]
# So that a sum or a difference of two still fits into 64 bits.
MAX_STEPS = 10**18
_MAX_PLACES = 18
_MAX_TEXT = 64
_WIDE = Context(prec=_MAX_TEXT + 2 * _MAX_PLACES)
_POWERS = np.array([10**power for power in range(_MAX_PLACES + 1)], np.int64)


@dataclass(frozen=True, slots=True)
class Prices:
    """Columns of prices: each is `columns[n] * 10**-places`."""

    columns: tuple[Steps, ...]
    places: int
    rounded: int = 0
    """How many did not have the places that were asked for."""


def step_of(places: int) -> Decimal:
    """What one step is worth."""
    return Decimal(1).scaleb(-places)


def read_prices(columns: Sequence[Sequence[str]], places: int | None = None) -> Prices:
    """The prices of several columns in the coarsest step that all of them are whole numbers of.

    Args:
        places: round to so many digits after the point (half to even), and count what that changed.

    Raises:
        UnusablePrices: a text is no price, or they fit into no step of 64 bits.
    """
    rounded = 0
    digits: list[list[int]] = []
    counts: list[list[int]] = []
    for texts in columns:
        one_digits, one_counts = [], []
        for text in texts:
            value, count = _split(text)
            if places is not None and count > places:
                rounded += 1
                value, count = _rounded(value, count, places), places
            one_digits.append(value)
            one_counts.append(count)
        digits.append(one_digits)
        counts.append(one_counts)
    finest = max((max(one, default=0) for one in counts), default=0)
    return Prices(
        tuple(
            _scaled(values, own, finest, texts)
            for values, own, texts in zip(digits, counts, columns, strict=True)
        ),
        finest,
        rounded,
    )


def _split(text: str) -> tuple[int, int]:
    """The digits of a price as one number, and how many of them stand behind the point."""
    whole, _, fraction = text.partition(".")
    fraction = fraction.rstrip("0")
    digits = whole + fraction
    if len(digits) <= _MAX_TEXT and digits.isdigit() and digits.isascii():
        return int(digits), len(fraction)
    return _split_unusual(text)


def _split_unusual(text: str) -> tuple[int, int]:
    """As `1e-05`, in which JSON writes what is small, or `.5`."""
    try:
        number = Decimal(text.strip()) if text.isascii() and len(text) <= _MAX_TEXT else None
    except InvalidOperation:
        number = None
    if number is None or not number.is_finite() or number < 0 or abs(number.adjusted()) > 30:
        raise UnusablePrices(f"{text[:40]!r} is no price")
    plain = format(number.normalize(_WIDE), "f")
    return _split(plain) if number else (0, 0)


def _rounded(value: int, places: int, wanted: int) -> int:
    exact = Decimal(value).scaleb(wanted - places, _WIDE)
    return int(exact.to_integral_value(ROUND_HALF_EVEN, _WIDE))


def _scaled(
    values: Sequence[int], counts: Sequence[int], places: int, texts: Sequence[str]
) -> Steps:
    if places > _MAX_PLACES or max(values, default=0) * 10**places >= MAX_STEPS:
        # Only now one by one: the largest need not be the longest.
        for value, count, text in zip(values, counts, texts, strict=True):
            if places > _MAX_PLACES or value * 10 ** (places - count) >= MAX_STEPS:
                raise UnusablePrices(
                    f"{text[:40]} beside others with {places} digits after the point is more than"
                    " fits into 64 bits exactly: --places 9 rounds them to 9, and says how many"
                )
    steps: Steps = np.array(values, np.int64) * _POWERS[places - np.array(counts, np.int64)]
    return steps


def rescaled(steps: Steps, places: int, wanted: int) -> Steps:
    """The same prices in a finer step.

    Raises:
        UnusablePrices: they do not fit into it.
    """
    if places == wanted:
        return steps
    factor = np.int64(10 ** (wanted - places))
    if steps.size and int(steps.max()) * int(factor) >= MAX_STEPS:
        raise UnusablePrices(
            f"prices of {int(steps.max()) * step_of(places):f} and such with {wanted} digits after"
            " the point do not fit into one step of 64 bits: load less of the history at once"
        )
    finer: Steps = steps * factor
    return finer


def price_texts(steps: Iterable[int], places: int) -> list[str]:
    """Each price as exact decimal text."""
    if not places:
        return [str(one) for one in steps]
    unit = 10**places
    return [f"{one // unit}.{one % unit:0{places}}" for one in steps]
