"""Prices of the local exchange that live by themselves and that a test may move.

Only for the local exchange: nobody moves Alpaca's market.
"""

from __future__ import annotations

import threading
from decimal import Decimal

from local_stack.exchange_process import ExchangeProcess, StackError
from paper_exchange.core.assets import Asset, AssetCatalog
from paper_exchange.quotes.synthetic import synthetic_quotes

TICK_SECONDS = 0.2
_HALF_SPREAD = Decimal("0.0001")


class LocalMarket:
    """A thread that quotes one symbol five times a second, around a price that a test sets."""

    def __init__(self, exchange: ExchangeProcess, symbol: str) -> None:
        asset = AssetCatalog().find(symbol)
        if asset is None:
            known = ", ".join(one.symbol for one in AssetCatalog().all())
            raise StackError(f"the local exchange does not trade {symbol}, only {known}")
        self._asset: Asset = asset
        self._exchange = exchange
        self._lock = threading.Lock()
        first = next(iter(synthetic_quotes([asset], seed=1)))
        self._price = (first.bid + first.ask) / 2
        self._ticks = 0
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="local-market", daemon=True)

    def start(self) -> None:
        self._tick()
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def move_by(self, percent: Decimal | int) -> None:
        """Move the price at once; when this returns, orders that it reaches have been matched."""
        with self._lock:
            self._price *= 1 + Decimal(percent) / 100
        self._tick()

    def _run(self) -> None:
        while not self._stopping.wait(TICK_SECONDS):
            try:
                self._tick()
            except StackError:
                return  # the exchange has ended; whoever needs it next says so

    def _tick(self) -> None:
        with self._lock:
            self._ticks += 1
            step = self._asset.price_increment
            bid = max(step, self._rounded(self._price * (1 - _HALF_SPREAD)))
            ask = max(bid + step, self._rounded(self._price * (1 + _HALF_SPREAD)))
            ask += step * (self._ticks % 2)  # it moves a little, as a market does
            self._exchange.control("quote", symbol=self._asset.symbol, bid=bid, ask=ask)

    def _rounded(self, price: Decimal) -> Decimal:
        return (price // self._asset.price_increment) * self._asset.price_increment
