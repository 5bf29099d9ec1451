"""The way to an order, gone once before the first one and left before its end.

What a process does for the first time takes it longer: the first base order's questions left 2 ms
later than those of the second, however long either had idled. Owns: what is read and asked, which
is what an order reads and asks. Must never send, cancel or write; nothing that it calls can.
"""

from __future__ import annotations

from domain.orders import Side
from domain.trading_state import TradingState
from trading.attempt import Questions, read_state
from utils.alpaca_sdk import TradingClient


def rehearse(client: TradingClient, known: TradingState, side: Side) -> None:
    """Read the row that is `known` and ask meanwhile what a base order (BUY) or a take profit
    (SELL) asks; use no answer. Blocking. Two requests.

    Raises:
        ExchangeError, DatabaseError: as before an order.
    """
    questions = Questions(client, known.asset.asset_symbol)
    other = questions.open_orders if side is Side.BUY else questions.bid
    questions.ask_meanwhile(questions.position, other)
    read_state(known.asset.asset_symbol, known)
    questions.position.answer()
    other.answer()
