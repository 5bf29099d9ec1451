"""What a chaos run does to the market at the worst moment: prices gone, buys left behind, positions
that lag.

Owns: the moments. Each fault waits for one (a quote was requested, a buy accepted, coins received)
and then moves the market of that symbol, which stays there until the fault is over.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from local_stack.chaos.plan import ChaosFault, Planned
from local_stack.chaos.undo import ChangedExchange, Moments
from local_stack.stack import LocalStack
from strategy.order_identity import parse_client_order_id

QUOTES_PATH = "/v1beta3/crypto/us/latest/quotes"
# Longer than any quote may decide (MAX_QUOTE_AGE_SECONDS), shorter than the client's time-out.
SLOW_SECONDS = (7.0, 8.5)
SLOW_ARRIVAL_SECONDS = 0.4  # an order travels for so long, and again until its first match


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBuy:
    """A safety buy that stays open because the market went up while it arrived."""

    symbol: str
    order_id: str
    cycle_id: int
    moved_at: datetime


def symbol_of_request(facts: Mapping[str, Any]) -> str:
    """'BTC/USD', whether it stands in the query or at the end of the path."""
    return facts.get("symbol") or f"{facts['path'].rpartition('/')[2].removesuffix('USD')}/USD"


class MarketFaults:
    """`hit` is called when a fault has found its moment."""

    def __init__(
        self,
        stack: LocalStack,
        symbols: tuple[str, ...],
        changed: ChangedExchange,
        moments: Moments,
        hit: Callable[[ChaosFault], None],
    ) -> None:
        self._stack, self._symbols = stack, symbols
        self._changed, self._moments, self._hit = changed, moments, hit
        self.last_left_buy: LeftBuy | None = None

    def price_gone(self, planned: Planned, chance: random.Random) -> bool:
        """A sale reads its confirming quote, then its position. One of the two answers is slow, and
        the market falls as soon as it was requested.
        """
        seconds = round(chance.uniform(*SLOW_SECONDS), 1)
        is_last, percent = chance.random() < 0.4, round(chance.uniform(-4, -2), 2)
        slow = {"name": "http_slow", "count": 1, "seconds": seconds}
        short = {"name": "http_slow", "seconds": SLOW_ARRIVAL_SECONDS}
        asked = self._changed.arm(
            planned.for_seconds,
            **(slow if is_last else short),
            match={"method": "GET", "path": QUOTES_PATH},
        )

        def has_come() -> bool:
            nonlocal asked, is_last
            facts = self._facts_of_fault(asked)
            if facts is None:
                return False
            if is_last:
                symbol = symbol_of_request(facts)
                self._move(symbol, percent, seconds + 2)
                self._hit(ChaosFault.PRICE_GONE)
                return True
            # The quote may have confirmed nothing; a sale that reads the position goes on.
            is_last = True
            path = f"/v2/positions/{symbol_of_request(facts).replace('/', '')}"
            match = {"method": "GET", "path": path}
            asked = self._changed.arm(planned.for_seconds, **slow, match=match)
            return False

        self._moments.wait(planned.for_seconds, has_come)
        return False

    def _facts_of_fault(self, fault_id: str) -> Mapping[str, Any] | None:
        """What was requested when this fault took effect; None before."""
        for one in self._stack.exchange.faults()["history"]:
            if one["id"] == fault_id:
                facts: Mapping[str, Any] = one["facts"]
                return facts
        return None

    def resting_buy(self, planned: Planned, chance: random.Random) -> bool:
        """The market goes up while a safety order arrives: it stays open, far below the bid."""
        exchange = self._stack.exchange
        percent = round(chance.uniform(3, 4.5), 2)
        seen = {one["id"] for one in exchange.state()["orders"]["open"]}
        self._changed.configure(planned.for_seconds, latency_seconds=SLOW_ARRIVAL_SECONDS)

        def has_come() -> bool:
            for one in exchange.state()["orders"]["open"]:
                identity = parse_client_order_id(one["client_order_id"])
                is_safety = one["side"] == "buy" and identity is not None and identity.order_seq
                if one["id"] in seen or not is_safety or one["status"] != "pending_new":
                    continue
                assert identity is not None
                self._move(one["symbol"], percent, planned.for_seconds)
                self.last_left_buy = LeftBuy(
                    symbol=one["symbol"],
                    order_id=one["id"],
                    cycle_id=identity.cycle_id,
                    moved_at=datetime.now(UTC),
                )
                self._hit(ChaosFault.RESTING_BUY)
                return True
            return False

        self._moments.wait(planned.for_seconds, has_come)
        return False

    def lagging_position(self, planned: Planned, chance: random.Random) -> bool:
        """Coins came, the position shows a part of them, and the market reaches the take profit."""
        symbol, before = chance.choice(self._symbols), dict[str, Decimal]()
        fraction, percent = chance.choice((0.3, 0.5, 0.8)), round(chance.uniform(1.5, 3), 2)

        def has_come() -> bool:
            held = self._held(symbol)
            came = held > before.setdefault(symbol, held)
            before[symbol] = held
            if came:
                lag: dict[str, Any] = {"name": "position_lags", "fraction": fraction}
                for match in ({"route": "single", "symbol": symbol}, {"route": "list"}):
                    self._changed.arm(planned.for_seconds, **lag, match=match)
                self._move(symbol, percent, planned.for_seconds)
                self._hit(ChaosFault.LAGGING_POSITION)
            return came

        self._moments.wait(planned.for_seconds, has_come)
        return False

    def _held(self, symbol: str) -> Decimal:
        coins = self._stack.exchange.state()["balances"]["coins"].get(symbol)
        return Decimal(coins["qty"]) if coins else Decimal(0)

    def _move(self, symbol: str, percent: float, seconds: float) -> None:
        self._changed.arm(seconds, name="market_moves", match={"symbol": symbol}, percent=percent)
