"""A rival: the same rules as a compiled callback of vectorbt, several orders in a bar.

Its fee of a buy is in USD; so that both take it of the coins, as Alpaca does, a buy is of fewer
coins at a higher price.
"""
# mypy: ignore-errors
# It runs with packages that the product has not got.

from __future__ import annotations

import numba
import numpy as np
import pandas as pd
import vectorbt as vbt
from replay_task import (
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
from vectorbt.portfolio.enums import NoOrder
from vectorbt.portfolio.nb import order_nb

QTY, COST_USD, LEFT, TRIGGER, TARGET, WAITS_UNTIL = range(6)
MAX_ORDERS = 100_000


@numba.njit
def buy(state, price):
    bought = ORDER_USD / price
    state[QTY] += bought
    state[COST_USD] += ORDER_USD
    state[TRIGGER] = price * (1 - DEVIATION)
    state[TARGET] = state[COST_USD] / state[QTY] * (1 + TAKE_PROFIT)
    return 0, order_nb(size=bought * (1 - FEE), price=price / (1 - FEE))


@numba.njit
def order_of(context, opens, highs, lows, state):
    """The next order of this bar; called again until there is none."""
    number = context.i
    if state[QTY] == 0:
        if number < state[WAITS_UNTIL]:
            return -1, NoOrder
        state[COST_USD], state[LEFT] = 0, SAFETY_ORDERS
        return buy(state, opens[number])
    if state[LEFT] > 0 and lows[number] <= state[TRIGGER]:
        state[LEFT] -= 1
        return buy(state, min(opens[number], state[TRIGGER]))
    if highs[number] >= state[TARGET]:
        price = max(opens[number], state[TARGET])
        sold = state[QTY] * (1 - FEE)
        state[QTY], state[WAITS_UNTIL] = 0, number + COOLDOWN_BARS
        return 0, order_nb(size=-sold, price=price, fees=FEE)
    return -1, NoOrder


def main():
    opens, highs, lows, closes = load_bars().in_usd()
    close = pd.Series(closes)

    def replay():
        return vbt.Portfolio.from_order_func(
            close,
            order_of,
            opens,
            highs,
            lows,
            np.zeros(6),
            flexible=True,
            init_cash=CASH_USD,
            max_orders=MAX_ORDERS,
            # What this callback does not ask for: a few percent faster without.
            ffill_val_price=False,
            update_value=False,
            fill_pos_record=False,
        )

    def judge(portfolio):
        records = portfolio.order_records
        signs = np.where(records["side"] == 0, -1, 1)
        cash_usd = CASH_USD + (signs * records["size"] * records["price"] - records["fees"]).sum()
        coins = -(signs * records["size"]).sum()
        return len(records), float(cash_usd + coins * closes[-1])

    serve(replay, judge, version=f"vectorbt {vbt.__version__} (numba {numba.__version__})")


if __name__ == "__main__":
    main()
