"""A rival: the same rules in backtesting.py, which sends what one bar asks for in the next.

So its orders come a bar later than those of the others, and not all of them at the same prices.
"""
# mypy: ignore-errors
# It runs with packages that the product has not got.

from __future__ import annotations

import warnings

import backtesting
import pandas as pd
from backtesting.lib import FractionalBacktest
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

UNIT = 1e-8  # of a coin: it trades whole units


class Ladder(backtesting.Strategy):
    def init(self):
        self.cost, self.qty, self.held, self.waits_until = 0.0, 0.0, 0, 0

    def next(self):
        held = len(self.trades)
        if held == self.held:
            if not held and not self.orders and len(self.data) >= self.waits_until:
                self.send(self.data.Close[-1], None)
            return
        if not held:
            for order in self.orders:
                order.cancel()
            self.cost, self.qty, self.waits_until = 0.0, 0.0, len(self.data) + COOLDOWN_BARS - 1
        else:
            for trade in self.trades[self.held :]:
                self.cost += trade.size * trade.entry_price
                self.qty += trade.size
            target = self.cost / self.qty * (1 + TAKE_PROFIT)
            for trade in self.trades:
                trade.tp = target
            if held <= SAFETY_ORDERS:
                limit = self.trades[-1].entry_price * (1 - DEVIATION)
                self.send(limit, limit)
        self.held = held

    def send(self, price, limit):
        # Prices are in USD for each unit here. The fee of a buy is taken of the coins.
        self.buy(size=max(1, round(ORDER_USD / price * (1 - FEE))), limit=limit)


def main():
    opens, highs, lows, closes = load_bars().in_usd()
    columns = {"Open": opens, "High": highs, "Low": lows, "Close": closes, "Volume": 0.0}
    frame = pd.DataFrame(columns)
    warnings.filterwarnings("ignore")
    test = FractionalBacktest(
        frame,
        Ladder,
        fractional_unit=UNIT,
        cash=CASH_USD,
        commission=lambda size, price: abs(size) * price * FEE,
    )

    def judge(found):
        trades = found["_trades"]
        is_open = found["_strategy"].trades
        orders = len(trades) + trades["ExitTime"].nunique() + len(is_open)
        return orders, float(found["Equity Final [$]"])

    serve(test.run, judge, version=f"backtesting.py {backtesting.__version__}")


if __name__ == "__main__":
    main()
