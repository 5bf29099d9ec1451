"""A seeded market without end: mean-reverting swings and a little noise, to see a DCA bot at work.

Each symbol swings around its home price: it falls for 12 to 18 seconds from a crest to a trough
more than two percent below, then recovers in three or four. A slow wave and noise that returns to
zero are added. The falls are long so that one follows most purchases: a bot with 0.5 % deviation,
0.6 % take profit and five safety orders completes a cycle with at least one safety order within its
first minute. Same seed, same prices: nothing depends on the clock.
"""

import heapq
import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Decimal

from paper_exchange.core.assets import Asset

QUOTE_INTERVAL_SECONDS = 0.25
SPREAD = 0.0002
_HOME_PRICES = {
    "BTC/USD": 62_000.0,
    "ETH/USD": 2_600.0,
    "SOL/USD": 148.0,
    "LTC/USD": 71.0,
    "DOGE/USD": 0.155,
    "AVAX/USD": 26.0,
    "LINK/USD": 14.2,
    "BCH/USD": 410.0,
    "UNI/USD": 8.4,
    "AAVE/USD": 155.0,
}
_OTHER_HOME_PRICE = 10.0
_CREST = (0.0105, 0.0135)
_FALL_SECONDS = (12.0, 18.0)
_RISE_SECONDS = (3.0, 4.5)
_NOISE_STEP = 0.00025
_NOISE_PULL = 0.15


@dataclass(frozen=True, slots=True)
class TimedQuote:
    """A quote of a source: `at_seconds` only paces, it is never sent."""

    at_seconds: float
    symbol: str
    bid: Decimal
    bid_size: Decimal
    ask: Decimal
    ask_size: Decimal


class _Swings:
    """Falls and rises without end, as a fraction of the home price, smooth at the turns.

    The first fall is the longest there is, so that a bot that starts in its first half can use it.
    """

    def __init__(self, chance: random.Random) -> None:
        self._draw = chance.uniform
        self._is_falling = True
        self._from_level, self._to_level = self._draw(*_CREST), -self._draw(*_CREST)
        self._started_at, self._seconds = 0.0, _FALL_SECONDS[1]

    def level(self, at_seconds: float) -> float:
        """Moments must come in the order of time."""
        while at_seconds >= self._started_at + self._seconds:
            self._turn()
        part = (at_seconds - self._started_at) / self._seconds
        eased = (1 - math.cos(math.pi * part)) / 2
        return self._from_level + (self._to_level - self._from_level) * eased

    def _turn(self) -> None:
        self._started_at += self._seconds
        self._is_falling = not self._is_falling
        self._from_level, self._to_level = self._to_level, self._draw(*_CREST)
        if self._is_falling:
            self._to_level = -self._to_level
        self._seconds = self._draw(*(_FALL_SECONDS if self._is_falling else _RISE_SECONDS))


class _Walk:
    """The price path of one symbol."""

    def __init__(self, asset: Asset, seed: int) -> None:
        self._asset = asset
        self._chance = random.Random(f"{seed}:walk:{asset.symbol}")
        draw = self._chance.uniform
        self._home = _HOME_PRICES.get(asset.symbol, _OTHER_HOME_PRICE) * draw(0.98, 1.02)
        self._slow_wave = (draw(70, 100), draw(0.002, 0.004), draw(0, 1))
        self._noise = 0.0
        self._swings = _Swings(random.Random(f"{seed}:swings:{asset.symbol}"))
        self.offset_seconds = draw(0, QUOTE_INTERVAL_SECONDS)

    def quote(self, at_seconds: float) -> TimedQuote:
        period, height, phase = self._slow_wave
        slow = height * math.sin(2 * math.pi * (at_seconds / period + phase))
        self._noise += self._chance.gauss(0, _NOISE_STEP) - _NOISE_PULL * self._noise
        swing = self._swings.level(at_seconds) + slow + self._noise
        middle = self._home * (1 + swing)
        step = self._asset.price_increment
        bid = max(step, _round_to(middle * (1 - SPREAD / 2), step))
        ask = max(bid + step, _round_to(middle * (1 + SPREAD / 2), step))
        return TimedQuote(
            at_seconds, self._asset.symbol, bid, self._size(middle), ask, self._size(middle)
        )

    def _size(self, price: float) -> Decimal:
        """Between 1,000 and 50,000 USD worth."""
        return Decimal(f"{self._chance.uniform(1_000, 50_000) / price:.6f}")


def synthetic_quotes(assets: Iterable[Asset], seed: int) -> Iterator[TimedQuote]:
    """Quotes of all assets in time order, four a second each, for ever."""
    walks = [_Walk(asset, seed) for asset in assets]
    due = [(walk.offset_seconds, index) for index, walk in enumerate(walks)]
    heapq.heapify(due)
    while due:
        at_seconds, index = due[0]
        yield walks[index].quote(at_seconds)
        heapq.heapreplace(due, (at_seconds + QUOTE_INTERVAL_SECONDS, index))


def _round_to(value: float, step: Decimal) -> Decimal:
    return (Decimal(value) / step).to_integral_value(ROUND_HALF_EVEN) * step
