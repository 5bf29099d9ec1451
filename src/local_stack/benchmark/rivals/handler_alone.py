"""A rival: the bot's stream and its quote handler with live triggers, without the rest of the bot.

Runs by itself with the packages of the checkout that is measured: imports nothing of local_stack.
"""

from __future__ import annotations

import asyncio
from typing import Any

from config import get_settings
from trading.bot import Bot
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_account_id


async def main() -> None:
    account_id = fetch_account_id(get_trading_client())

    async def on_quote(quote: Any) -> None:
        await bot.market.on_crypto_quote(quote)

    async def ignore(message: Any) -> None:
        """Nothing."""

    bot = Bot(get_settings(), account_id, on_quote=on_quote, on_trade_update=ignore)
    fresh = asyncio.create_task(bot.keep_triggers_fresh())
    await asyncio.wait(
        {fresh, asyncio.create_task(bot.streams.run_data_stream())},
        return_when=asyncio.FIRST_COMPLETED,
    )


if __name__ == "__main__":
    asyncio.run(main())
