"""A rival: a stream whose handler does nothing. `sdk`: the stock stream; `bot`: the bot's class.

Runs by itself with the packages of the checkout that is measured: imports nothing of local_stack.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from alpaca.data.live.crypto import CryptoDataStream

from config import get_settings
from utils.alpaca_streams import AlpacaStreams


async def ignore(message: Any) -> None:
    """Nothing."""


def run_sdk(symbols: list[str]) -> None:
    settings = get_settings()
    stream = CryptoDataStream(
        settings.alpaca_api_key,
        settings.alpaca_secret_key,
        raw_data=True,  # the cheaper of its two ways
        url_override=settings.alpaca_data_stream_url,
    )
    stream.subscribe_quotes(ignore, *symbols)
    stream.run()


async def run_bot(symbols: list[str]) -> None:
    streams = AlpacaStreams(
        get_settings(), on_quote=ignore, on_trade_update=ignore, on_trade_connect=lambda: None
    )
    await streams.watch(symbols)
    await streams.run_data_stream()


if __name__ == "__main__":
    wanted = sys.argv[2].split(",")
    if sys.argv[1] == "sdk":
        run_sdk(wanted)
    else:
        asyncio.run(run_bot(wanted))
