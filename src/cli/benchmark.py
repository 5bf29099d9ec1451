"""`scripts/benchmark`: what a quote costs the bot, beside what decoding it costs. Never a test."""

from __future__ import annotations

import argparse
import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import Any

import msgpack

from config import load_settings
from strategy.triggers import Triggers
from trading.market_data_handler import MarketDataHandler
from trading.quote_watch import SymbolWatch

Handler = Callable[[Any], Awaitable[None]]
HELP = """\
What a quote costs the bot, compared with the floor that any bot on this stream must spend: msgpack
decoding plus an empty awaited handler. Measures on one core of this machine; needs no account and
no database. The ratio can be compared between machines, the microseconds cannot."""
_REQUIRED = ("ALPACA_API_KEY", "ALPACA_SECRET_KEY", "DB_USER", "DB_NAME")


def make_frames(quotes: int, seed: int) -> list[bytes]:
    """Data stream frames of one quote each, a random walk."""
    rng, price, frames = random.Random(seed), 50_000.0, []
    for _ in range(quotes):
        price *= 1 + rng.gauss(0, 1e-4)
        moment = msgpack.Timestamp(1_767_322_000, rng.randrange(10**9))
        quote = {"T": "q", "S": "BTC/USD", "bp": price, "bs": 1.0, "ap": price + 1, "as": 1.0}
        frames.append(msgpack.packb([quote | {"t": moment}]))
    return frames


async def run_through(frames: list[bytes], handler: Handler) -> float:
    """Nanoseconds for each quote, decoding included, as the SDK's loop does it."""
    started = time.perf_counter_ns()
    for frame in frames:
        for message in msgpack.unpackb(frame):
            await handler(message)
    return (time.perf_counter_ns() - started) / len(frames)


async def measure(quotes: int, rounds: int) -> dict[str, float]:
    """Median nanoseconds for each quote: the floor, and the bot with two live triggers."""
    frames = make_frames(quotes, seed=1)
    settings = load_settings(dict.fromkeys(_REQUIRED, "benchmark"))
    market = MarketDataHandler(settings, rules=None, placer=None)  # type: ignore[arg-type]
    watch = SymbolWatch("BTC/USD", Decimal(10))
    watch.set_triggers(Triggers(buy_at_or_below=Decimal(1), sell_at_or_above=Decimal(10**9)))
    market._watches[watch.symbol] = watch

    async def empty(message: Any) -> None:
        return None

    floors, bots = [], []
    for _ in range(rounds):  # alternating: a busy machine slows both
        floors.append(await run_through(frames, empty))
        bots.append(await run_through(frames, market.on_crypto_quote))
    middle = rounds // 2
    return {"floor_ns": sorted(floors)[middle], "bot_ns": sorted(bots)[middle]}


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(
        prog="scripts/benchmark",
        description=HELP,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--quotes", type=int, default=50_000, help="quotes a round")
    parser.add_argument("--rounds", type=int, default=7, help="rounds; the median counts")
    options = parser.parse_args(arguments)
    figures = asyncio.run(measure(options.quotes, options.rounds))
    floor, bot = figures["floor_ns"], figures["bot_ns"]
    print(f"floor (decode + empty handler): {floor / 1000:.2f} us a quote")
    print(f"the bot (decode + triggers):    {bot / 1000:.2f} us a quote")
    print(f"the bot costs {bot / floor:.2f} x the floor")
    print(f"one core carries about {1e9 / bot:,.0f} quotes a second")


if __name__ == "__main__":
    main()
