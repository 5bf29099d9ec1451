"""The replay of this bot, along the path that the second argument names."""

from __future__ import annotations

import sys
import time
from decimal import Decimal

from replay_task import (  # type: ignore[import-not-found]
    BAR_SECONDS,
    CASH_USD,
    COOLDOWN_BARS,
    DEVIATION_PERCENT,
    FEE_PERCENT,
    ORDER_USD,
    SAFETY_ORDERS,
    SYMBOL,
    TAKE_PROFIT_PERCENT,
    load_bars,
    serve,
)

from domain.asset import DcaAsset
from research.bars import Bars, PathChoice
from research.market_rules import usual_rules
from research.price_steps import step_of
from research.simulate import Outcome, SimulatedMarket, simulate

ASSET = DcaAsset(
    id=1,
    asset_symbol=SYMBOL,
    is_enabled=True,
    base_order_amount=Decimal(ORDER_USD),
    safety_order_amount=Decimal(ORDER_USD),
    max_safety_orders=SAFETY_ORDERS,
    safety_order_deviation=Decimal(DEVIATION_PERCENT),
    take_profit_percent=Decimal(TAKE_PROFIT_PERCENT),
    cooldown_period=COOLDOWN_BARS * BAR_SECONDS,
)


def main() -> None:
    found, path = load_bars(), PathChoice(sys.argv[2])
    step = step_of(found.places)
    begun = time.process_time()
    bars = Bars(found.starts, found.opens, found.highs, found.lows, found.closes, step)
    index_seconds = time.process_time() - begun
    rules = usual_rules(SYMBOL, Decimal(1), int(found.opens[0]) * step).rules
    market = SimulatedMarket(asset=ASSET, rules=rules, prices=bars)
    fee_rate = Decimal(FEE_PERCENT) / 100

    def replay() -> Outcome:
        return simulate([market], cash_usd=Decimal(CASH_USD), fee_rate=fee_rate, path=path)

    def judge(outcome: Outcome) -> tuple[int, float]:
        return len(outcome.assets[0].entries), float(outcome.equity_usd)

    serve(replay, judge, index_seconds=index_seconds)


if __name__ == "__main__":
    main()
