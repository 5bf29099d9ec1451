"""A rival: the same rules as a plain loop over floats, open, low, high, close, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from replay_task import (  # type: ignore[import-not-found]
    CASH_USD,
    COOLDOWN_BARS,
    DEVIATION,
    FEE,
    ORDER_USD,
    SAFETY_ORDERS,
    TAKE_PROFIT,
    load_bars,
    serve,
)

Outcome = tuple[int, float]


def replay(
    opens: Sequence[float], highs: Sequence[float], lows: Sequence[float], last: float
) -> Outcome:
    cash_usd, orders, amount = float(CASH_USD), 0, float(ORDER_USD)
    qty = coins = cost_usd = trigger = target = 0.0  # `coins` are what the fee leaves of `qty`
    left = waits_until = 0
    for number, price in enumerate(opens):
        if qty == 0.0:
            if number < waits_until:
                continue
            qty = amount / price
            coins, cost_usd, left = qty * (1 - FEE), amount, SAFETY_ORDERS
            trigger, target = price * (1 - DEVIATION), price * (1 + TAKE_PROFIT)
            cash_usd -= amount
            orders += 1
        while left and lows[number] <= trigger:
            bought_at = min(price, trigger)
            bought = amount / bought_at
            qty, coins, cost_usd = qty + bought, coins + bought * (1 - FEE), cost_usd + amount
            trigger, target = bought_at * (1 - DEVIATION), cost_usd / qty * (1 + TAKE_PROFIT)
            left -= 1
            cash_usd -= amount
            orders += 1
        if highs[number] >= target:
            cash_usd += coins * max(price, target) * (1 - FEE)
            qty = coins = 0.0
            waits_until = number + COOLDOWN_BARS
            orders += 1
    return orders, cash_usd + coins * last


def main() -> None:
    opens, highs, lows, closes = (one.tolist() for one in load_bars().in_usd())
    serve(lambda: replay(opens, highs, lows, closes[-1]), lambda outcome: outcome)


if __name__ == "__main__":
    main()
