"""A lull after a storm: a single fault, a safety buy that the market leaves behind. The position
must be sold soon all the same; other faults would excuse any delay.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

from local_stack.audit.invariants import Violation
from local_stack.chaos.database_line import DatabaseLine
from local_stack.chaos.faults import ChaosFaults
from local_stack.chaos.left_buys import SELL_SECONDS, Left, find_delays, trace_left_buy
from local_stack.chaos.market_faults import LeftBuy
from local_stack.chaos.plan import plan_lull
from local_stack.stack import LocalStack

LULL_SECONDS = 12.0  # for a safety order to come


@dataclass(frozen=True, slots=True)
class Lull:
    """`tick_until` runs the stack until a condition holds; whether it did in so many seconds."""

    stack: LocalStack
    faults: ChaosFaults
    line: DatabaseLine
    tick_until: Callable[[Callable[[], bool], float], bool]

    def leave_buy_behind(self, chance: random.Random) -> LeftBuy | None:
        """None when no safety order came, or when the streams or a connection are still dead: that
        would explain any delay.
        """
        if self.line.has_dead_clients() or not self._renew_streams():
            return None
        market = self.faults.market
        market.last_left_buy = None
        self.faults.apply(plan_lull(chance, SELL_SECONDS + LULL_SECONDS))
        if not self.tick_until(lambda: market.last_left_buy is not None, LULL_SECONDS):
            self.faults.end()
        return market.last_left_buy

    def _renew_streams(self) -> bool:
        """New streams for those that the storm left silent for good. Whether they came."""
        exchange = self.stack.exchange
        before = exchange.state()["clients"]
        for stream in ("trading", "data"):
            exchange.control("faults", name="cut_stream", count=1, match={"stream": stream})
        counts = ("trading_connections", "data_connections")

        def have_come() -> bool:
            now = exchange.state()["clients"]
            return (
                all(now[name] > before[name] for name in counts)
                and any(one["listening"] for one in now["trading"])
                and any(one["subscriptions"] for one in now["data"])
                and self.stack.is_trading()
            )

        came = self.tick_until(have_come, LULL_SECONDS)
        exchange.control("faults", clear="cut_stream")
        return came

    def watch(
        self, left: LeftBuy, target: Decimal | None, *, trails: bool = False
    ) -> tuple[Left | None, list[Violation]]:
        """What became of the buy once the bid was at `target` (None: nothing is held); delays. What
        `trails` is sold when the market falls again: only the buy's end is waited for.
        """
        exchange = self.stack.exchange

        def is_above() -> bool:
            bid = Decimal(exchange.state()["quotes"][left.symbol]["bid"])
            return target is not None and bid >= target

        if target is None or not self.tick_until(is_above, LULL_SECONDS):
            return None, []
        began_at = time.monotonic()

        def is_over() -> bool:
            traced = trace_left_buy(left, exchange.ledger())
            return traced.is_over or (trails and traced.canceled_seconds is not None)

        self.tick_until(is_over, SELL_SECONDS)
        traced = trace_left_buy(left, exchange.ledger())
        waited_seconds = time.monotonic() - began_at
        return traced, find_delays(left, traced, waited_seconds, trails=trails)
