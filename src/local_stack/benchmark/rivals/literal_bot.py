"""A rival, the baseline: the plan taken literally.

A connection for each use, the row read at each quote, a client for each order, one call after
another, all in the handler. As `sdk_bot` it is told by the quote which order is wanted.
"""

from __future__ import annotations

import asyncio
from typing import Any

from alpaca.common.exceptions import APIError
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

settings = get_settings()
keys = (settings.alpaca_api_key, settings.alpaca_secret_key)


def read_row(symbol: str) -> Any:
    connection = get_db_connection()
    try:
        cursor: Any = connection.cursor(dictionary=True)
        cursor.execute("SELECT * FROM dca_assets WHERE asset_symbol = %s", (symbol,))
        [asset] = cursor.fetchall()
        cursor.execute(
            "SELECT * FROM dca_cycles WHERE asset_id = %s ORDER BY id DESC LIMIT 1", (asset["id"],)
        )
        return cursor.fetchall()[0]
    finally:
        connection.close()


async def on_quote(quote: Any) -> None:
    symbol, mark = quote["S"], quote["bs"]
    read_row(symbol)
    if not mark:
        return
    client = TradingClient(*keys, url_override=settings.alpaca_trading_url)
    position: Any = None
    if mark != SAFETY:
        try:
            position = client.get(f"/positions/{symbol.replace('/', '')}")
        except APIError:  # none
            position = None
    if mark == BASE:
        client.get("/orders", {"status": "open"})
    if mark == TAKE_PROFIT:
        data = CryptoHistoricalDataClient(*keys, url_override=settings.alpaca_data_url)
        data.get("/crypto/us/latest/quotes", {"symbols": symbol})
        post(client, symbol, "sell", position["qty_available"], type="market")
    else:
        post_buy(client, quote)


async def on_update(update: Any) -> None:
    if update["data"]["event"] != "fill":
        return
    client = TradingClient(*keys, url_override=settings.alpaca_trading_url)
    order: Any = client.get(f"/orders/{update['data']['order']['id']}")
    read_row(order["symbol"])
    connection = get_db_connection()
    try:
        Bookings(connection).book(order)
    finally:
        connection.close()


async def main() -> None:
    quotes_url, updates_url = settings.alpaca_data_stream_url, settings.alpaca_trading_stream_url
    quotes = CryptoDataStream(*keys, raw_data=True, url_override=quotes_url)
    updates = TradingStream(*keys, raw_data=True, url_override=updates_url or "")
    quotes.subscribe_quotes(on_quote, *SYMBOLS)
    updates.subscribe_trade_updates(on_update)
    await asyncio.gather(asyncio.to_thread(quotes.run), asyncio.to_thread(updates.run))


if __name__ == "__main__":
    asyncio.run(main())
