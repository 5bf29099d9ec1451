"""What the account owns: cash, coins, and what open orders have reserved of them.

A fill is planned first (nothing changes, InsufficientFunds if it cannot be paid) and then
committed. Values are exact: cash only moves by fills, fees and the operator's adjustments.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from decimal import Decimal

from paper_exchange.core.decimals import ZERO
from paper_exchange.core.fees import Fee
from paper_exchange.core.orders import Side


class InsufficientFunds(Exception):
    """The account does not hold what the fill costs: the operator changed its balance."""


@dataclass(frozen=True, slots=True)
class Position:
    symbol: str
    qty: Decimal
    avg_entry_price: Decimal

    @property
    def cost_basis(self) -> Decimal:
        return self.qty * self.avg_entry_price


@dataclass(frozen=True, slots=True)
class Reservation:
    symbol: str
    usd: Decimal = ZERO
    coins: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class AccountChange:
    """The balances after a fill, computed and checked but not yet true."""

    cash: Decimal
    position: Position


class Account:
    def __init__(self, cash: Decimal) -> None:
        self.cash = cash
        self._positions: dict[str, Position] = {}
        self._reservations: dict[str, Reservation] = {}

    def positions(self) -> list[Position]:
        return sorted(self._positions.values(), key=lambda position: position.symbol)

    def position(self, symbol: str) -> Position | None:
        return self._positions.get(symbol)

    def qty(self, symbol: str) -> Decimal:
        position = self._positions.get(symbol)
        return position.qty if position else ZERO

    def reserved_usd(self) -> Decimal:
        return sum((one.usd for one in self._reservations.values()), ZERO)

    def reserved_coins(self, symbol: str) -> Decimal:
        return sum((one.coins for one in self._reservations.values() if one.symbol == symbol), ZERO)

    def available_usd(self) -> Decimal:
        return max(ZERO, self.cash - self.reserved_usd())

    def available_coins(self, symbol: str) -> Decimal:
        return max(ZERO, self.qty(symbol) - self.reserved_coins(symbol))

    def reserve(self, order_id: str, reservation: Reservation) -> None:
        """Sets what the order holds back, replacing what it held back before."""
        self._reservations[order_id] = reservation

    def reservation(self, order_id: str) -> Reservation | None:
        return self._reservations.get(order_id)

    def release(self, order_id: str) -> None:
        self._reservations.pop(order_id, None)

    def restore(self, cash: Decimal, positions: Iterable[Position]) -> None:
        """The balances of an earlier process, instead of those it was made with."""
        self.cash = cash
        self._positions = {position.symbol: position for position in positions}

    def plan_fill(
        self, symbol: str, side: Side, qty: Decimal, price: Decimal, fee: Fee
    ) -> AccountChange:
        """Balances after the fill. Raises InsufficientFunds."""
        held = self._positions.get(symbol) or Position(symbol, ZERO, price)
        if side is Side.BUY:
            cash = self.cash - qty * price
            if cash < 0:
                raise InsufficientFunds(f"cash {self.cash}, needed {qty * price}")
            average = (held.cost_basis + qty * price) / (held.qty + qty)
            return AccountChange(cash, Position(symbol, held.qty + qty - fee.coins, average))
        if held.qty < qty:
            raise InsufficientFunds(f"{symbol} {held.qty}, needed {qty}")
        cash = self.cash + qty * price - fee.usd
        return AccountChange(cash, replace(held, qty=held.qty - qty))

    def commit(self, change: AccountChange) -> None:
        self.cash = change.cash
        self._store(change.position)

    def set_coins(self, symbol: str, qty: Decimal, price: Decimal) -> None:
        """The operator's hand, not a trade; `price` is the entry price of a new position."""
        held = self._positions.get(symbol) or Position(symbol, ZERO, price)
        self._store(replace(held, qty=qty))

    def _store(self, position: Position) -> None:
        if position.qty > 0:
            self._positions[position.symbol] = position
        else:
            self._positions.pop(position.symbol, None)
