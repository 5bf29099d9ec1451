"""The cash and coins of a replay: what the exchange would hold for the bot. Exact; no I/O.

Fills and fees are those of the local exchange: an order fills whole and at once, at the quote's own
price; the fee is taken from what is received (see strategy.fees).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from domain.orders import Side
from strategy.fees import compute_coin_fee, compute_usd_fee

_NONE, _BUY = Decimal(0), Side.BUY


@dataclass(slots=True, eq=False)
class SimulatedAccount:
    """USD and coins, by symbol, as a real account would show them after each fill.

    `version` counts what changed it: who was refused for lack of cash asks again when it differs.
    """

    cash_usd: Decimal
    fee_rate: Decimal
    coins: dict[str, Decimal] = field(default_factory=dict)
    fees_usd: Decimal = _NONE  # of sells
    version: int = 0

    def can_pay(self, usd: Decimal) -> bool:
        """Whether the exchange would reserve so much for a buy."""
        return usd <= self.cash_usd

    def held(self, symbol: str) -> Decimal:
        """Coins of `symbol` in the account, after the coin fees."""
        return self.coins.get(symbol, _NONE)

    def fill(self, symbol: str, side: Side, qty: Decimal, price: Decimal) -> None:
        """Book one whole fill of `qty` coins at `price` USD."""
        held, usd = self.coins.get(symbol, _NONE), qty * price
        if side is _BUY:
            self.cash_usd -= usd
            self.coins[symbol] = held + qty - compute_coin_fee(qty, self.fee_rate)
        else:
            fee_usd = compute_usd_fee(qty, price, self.fee_rate)
            self.cash_usd += usd - fee_usd
            self.fees_usd += fee_usd
            self.coins[symbol] = held - qty
        self.version += 1
