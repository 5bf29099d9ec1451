"""The fee of an execution, taken from what is received: coins on a buy, USD on a sell.

The rates stand in config.py (maker_fee, taker_fee); activities.py posts the fees at the end of the
day.
"""

from dataclasses import dataclass
from decimal import Decimal

from paper_exchange.core.decimals import ZERO, ceil_to
from paper_exchange.core.orders import Side

COIN_INCREMENT = Decimal("0.000000001")
USD_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Fee:
    coins: Decimal = ZERO
    usd: Decimal = ZERO


@dataclass(frozen=True, slots=True, kw_only=True)
class FeeSchedule:
    maker: Decimal
    taker: Decimal
    usd_increment: Decimal

    def fee(self, *, side: Side, qty: Decimal, price: Decimal, is_maker: bool) -> Fee:
        """Rounded up, in favour of the exchange, and never more than what is received."""
        rate = self.maker if is_maker else self.taker
        if side is Side.BUY:
            return Fee(coins=min(qty, ceil_to(qty * rate, COIN_INCREMENT)))
        proceeds = qty * price
        return Fee(usd=min(proceeds, ceil_to(proceeds * rate, self.usd_increment)))
