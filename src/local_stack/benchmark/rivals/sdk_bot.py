"""A rival, the floor of orders and bookings: what the bot must ask and write, by the bare SDK.

Stock streams; one kept session and one kept database connection; what can be asked side by side is.
It knows no strategy: the quote says which order is wanted. No check of an answer, no time-out, no
log, no recovery.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from alpaca.data.historical.crypto import CryptoHistoricalDataClient
from alpaca.data.live.crypto import CryptoDataStream
from alpaca.trading.client import TradingClient
from alpaca.trading.stream import TradingStream

from config import get_settings
from local_stack.benchmark.rivals.wanted import (
    BASE,
    SAFETY,
    SYMBOLS,
    TAKE_PROFIT,
    Bookings,
    post,
    post_buy,
)
from utils.db_utils import get_db_connection


class SdkBot:
    def __init__(self) -> None:
        settings = get_settings()
        keys = (settings.alpaca_api_key, settings.alpaca_secret_key)
        self._client = TradingClient(*keys, url_override=settings.alpaca_trading_url)
        self._data = CryptoHistoricalDataClient(*keys, url_override=settings.alpaca_data_url)
        self._threads = ThreadPoolExecutor(2)
        self._bookings = Bookings(get_db_connection())
        quotes_url, updates_url = (
            settings.alpaca_data_stream_url,
            settings.alpaca_trading_stream_url,
        )
        self.quotes = CryptoDataStream(*keys, raw_data=True, url_override=quotes_url)
        self.updates = TradingStream(*keys, raw_data=True, url_override=updates_url or "")
        self.quotes.subscribe_quotes(self._on_quote, *SYMBOLS)
        self.updates.subscribe_trade_updates(self._on_update)

    async def _on_quote(self, quote: Any) -> None:
        symbol, mark = quote["S"], quote["bs"]
        if not mark:
            return
        asked = list[Future[Any]]()
        if mark != SAFETY:
            path = f"/positions/{symbol.replace('/', '')}"
            asked.append(self._threads.submit(self._client.get, path))
        if mark == BASE:
            asked.append(self._threads.submit(self._client.get, "/orders", {"status": "open"}))
        if mark == TAKE_PROFIT:
            latest = "/crypto/us/latest/quotes"
            asked.append(self._threads.submit(self._data.get, latest, {"symbols": symbol}))
        answers: list[Any] = [
            one.exception() or one.result() for one in asked
        ]  # no position: a 404
        if mark == TAKE_PROFIT:
            post(self._client, symbol, "sell", answers[0]["qty_available"], type="market")
        else:
            post_buy(self._client, quote)

    async def _on_update(self, update: Any) -> None:
        if update["data"]["event"] == "fill":
            self._bookings.book(self._client.get(f"/orders/{update['data']['order']['id']}"))


async def main() -> None:
    """Each stream has a thread, so that a booking holds up no quote."""
    bot = SdkBot()
    await asyncio.gather(asyncio.to_thread(bot.quotes.run), asyncio.to_thread(bot.updates.run))


if __name__ == "__main__":
    asyncio.run(main())
