"""The bars that decide a curve's figures, beside all of them."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from research.equity import Change, EquityCurve, compute_equity
from research.feed import PriceLine
from research.months import MINUTE_NS

D = Decimal
BTC = "BTC/USD"


def line_of(seed: int, count: int, calm: bool) -> PriceLine:
    """Minutes that walk at random; `calm`: many of them at the same price."""
    chance = np.random.default_rng(seed)
    moves = chance.normal(0, 0.002, count) * (chance.random(count) < (0.1 if calm else 1))
    close = 100 * np.exp(np.cumsum(moves))
    return PriceLine(
        symbol=BTC,
        at_ns=np.cumsum(chance.choice([1, 1, 1, 500], count)) * MINUTE_NS,
        low_bid=close * (1 - 0.001 * chance.random(count)),
        close_bid=close,
        asks=np.ones(count, np.int64),
        ask_of_step=D(1),
        end_ns=int(count) * 1000 * MINUTE_NS,
        last_bid=D(1),
    )


def changes_on(line: PriceLine, seed: int, fills: int) -> list[Change]:
    """Buys and sales of everything at random bars, some of them in the same one."""
    chance = np.random.default_rng(seed)
    coins, found = D(0), []
    for number in sorted(chance.integers(0, len(line.at_ns), fills).tolist()):
        price = D(str(round(float(line.close_bid[number]), 6)))
        qty = -coins if coins and chance.random() < 0.4 else D(str(round(chance.random(), 6)))
        coins += qty
        fee = abs(qty) * price * D("0.0025")
        found.append(Change(int(line.at_ns[number]), BTC, -qty * price - fee, qty))
    return found


@settings(max_examples=150)
@given(
    seed=st.integers(0, 10**6),
    count=st.sampled_from([1, 2, 255, 256, 257, 5000]),
    fills=st.integers(0, 60),
    calm=st.booleans(),
)
def test_the_bars_that_are_left_out_change_no_figure_in_the_last_bit(seed, count, fills, calm):
    line = line_of(seed, count, calm)
    few = compute_equity(D(500), changes_on(line, seed, fills), {BTC: line})
    every = EquityCurve(few.start_usd, few.at_ns, few.low, few.close, few.end_ns)
    assert few.worst_drawdown() == every.worst_drawdown()
    assert few.longest_under_water() == every.longest_under_water()
    assert few.thinned(400) == every.thinned(400)
    assert few.last_usd == every.last_usd
    assert (few.falls() == every.falls()).all()


def test_of_a_year_of_minutes_few_bars_are_looked_at():
    line = line_of(3, 500_000, calm=False)
    curve = compute_equity(D(500), changes_on(line, 3, 100), {BTC: line})
    assert len(curve._deciding.numbers) < 50_000
