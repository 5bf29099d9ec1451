"""The account's open orders, asked for once for everything that a buy is checked against."""

from __future__ import annotations

from dataclasses import dataclass

from domain.orders import ExchangeOrder, UnreadableOrder
from utils.alpaca_client_rest import UnreadableAnswer
from utils.alpaca_queries import fetch_orders
from utils.alpaca_sdk import TradingClient


@dataclass(frozen=True, slots=True)
class OpenOrders:
    """Of all symbols. `unreadable`: what is missing in `readable`; its reader says what follows."""

    readable: list[ExchangeOrder]
    unreadable: list[UnreadableOrder]

    def of(self, symbol: str) -> list[ExchangeOrder]:
        """The open orders of `symbol`.

        Raises:
            UnreadableAnswer: one that may be of it cannot be read.
        """
        for order in self.unreadable:
            if order.symbol in (symbol, None):  # without a symbol it may be of this one
                raise UnreadableAnswer(f"unusable answer: {order.problem}")
        return [order for order in self.readable if order.symbol == symbol]


def fetch_open_orders(client: TradingClient) -> OpenOrders:
    """Every open order.

    Raises:
        ExchangeError: the list is not complete.
    """
    # Asked for without `symbols`: Alpaca's description wants BTCUSD there, users saw that only
    # BTC/USD matches, and the wrong spelling answers an empty list, which would mean "none open".
    unreadable: list[UnreadableOrder] = []
    readable = fetch_orders(client, status="open", on_unreadable=unreadable.append)
    return OpenOrders(readable, unreadable)
