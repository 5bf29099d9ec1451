"""The command line: python -m paper_exchange."""

import argparse
import asyncio
import json
import logging
import os
import random
import signal
import sys
from decimal import Decimal
from pathlib import Path

from paper_exchange.api.wire import account_id
from paper_exchange.core.assets import DEFAULT_ASSETS, more_assets
from paper_exchange.core.clock import parse_time
from paper_exchange.core.config import ExchangeConfig, MarketConfig, MarketKind, SymbolsFilter
from paper_exchange.core.decimals import to_decimal
from paper_exchange.core.errors import ApiError
from paper_exchange.core.journal import Journal, StateFileError
from paper_exchange.faults.armed import FaultBoard
from paper_exchange.faults.manual import MANUAL
from paper_exchange.quotes.replay import ReplayError
from paper_exchange.server import PaperExchange, Urls

DESCRIPTION = """\
A local exchange that unmodified Alpaca clients can talk to. It listens on 127.0.0.1 only, prints
one JSON line with its addresses when it is ready, and ends on SIGINT, SIGTERM or POST
/control/shutdown.

  python -m paper_exchange                                    a lively synthetic market
  python -m paper_exchange --seed 7 --symbols BTC/USD         the same market every time
  python -m paper_exchange --replay quotes.csv.gz --speed 60  a recorded hour in a minute
  python -m paper_exchange --manual                           only quotes pushed by /control/quote
"""
EPILOG = f"""\
recordings: CSV, plain or .gz, with the header timestamp,symbol,bid,bid_size,ask,ask_size.
  Recorded times only pace; what is sent bears the time of the wall clock. BTCUSD, BTC/USDT and
  BTC-USD mean BTC/USD.

clients: give the SDK the addresses of the ready line and the keys:
  TradingClient(key, secret, url_override=trading_url)
  TradingStream(key, secret, url_override=trading_stream_url)
  CryptoHistoricalDataClient(url_override=data_url)
  CryptoDataStream(key, secret, url_override=data_stream_url)

{MANUAL}"""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m paper_exchange",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    source = parser.add_mutually_exclusive_group()
    # fmt: off
    add("--port", type=_port, default=0, help="0 (default) picks a free one")
    add("--ready-file", type=Path, help="the ready line goes into this file, too")
    add("--key", default=os.environ.get("PAPER_EXCHANGE_KEY", "local-key"),
        help="API key of the account (default: PAPER_EXCHANGE_KEY or local-key)")
    add("--secret", default=os.environ.get("PAPER_EXCHANGE_SECRET", "local-secret"),
        help="its secret (default: PAPER_EXCHANGE_SECRET or local-secret)")
    add("--cash", type=_amount, default=Decimal(100_000), help="USD at the start (default 100000)")
    add("--coin", type=_coin, action="append", default=[], metavar="BTC/USD=0.5@60000",
        help="coins at the start and their entry price; may be repeated")
    add("--seed", type=int,
        help="same seed, same market, same chances, same order ids (default: the state file's, or"
        " a new one, in the ready line)")
    add("--state", type=Path, metavar="FILE",
        help="account, orders, ids and activities survive a restart in here; --cash and --coin only"
        " fill a new one. Without it a restart is a new account: give the bot a new database")
    source.add_argument("--replay", type=Path, nargs="+", default=[], metavar="FILE",
        help="recorded quotes; several are merged")
    source.add_argument("--manual", action="store_true", help="quotes only through /control/quote")
    add("--symbols", default="", help="only these, separated by commas (default: all)")
    add("--more-coins", type=int, default=0, metavar="N",
        help="N coins more than the usual ten: XAAA/USD, XAAB/USD and on (default 0)")
    add("--from", dest="from_ns", type=_time, metavar="TIME",
        help="replay from this recorded time (UTC)")
    add("--until", dest="until_ns", type=_time, metavar="TIME",
        help="replay until before this time")
    add("--speed", type=_number, default=1.0,
        help="market seconds per second; 0 = as fast as possible")
    add("--paused", action="store_true",
        help='the market waits for POST /control/market {"paused":false}')
    add("--latency-ms", type=_number, default=5.0,
        help="between accepted and new, new and fill, cancel and canceled (default 5)")
    add("--partial-probability", type=_share, default=0.10,
        help="share of orders that fill a random part first (default 0.10)")
    add("--rate-limit", type=int, default=200,
        help="requests a minute on /v2, and as many on market data (default 200, 0 = off)")
    add("--symbols-filter", type=SymbolsFilter, default=SymbolsFilter.PAIR,
        choices=list(SymbolsFilter), metavar="{pair,joined,both}",
        help="which spelling the list of orders' symbols=... finds: BTC/USD (default, as users of"
        " Alpaca saw), BTCUSD (as its description says), both")
    add("--usd-fee-increment", type=_amount, default=Decimal("0.01"),
        help="fees (maker 0.15 %%, taker 0.25 %%) in USD round up to this (default 0.01, as live"
        " accounts are billed)")
    add("--fault", type=_fault, action="append", default=[], metavar="JSON",
        help="armed at the start, like the body of POST /control/faults; may be repeated")
    add("--log-level", default="WARNING", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    # fmt: on
    return parser


def config_from(arguments: argparse.Namespace) -> ExchangeConfig:
    kind = MarketKind.MANUAL if arguments.manual else MarketKind.SYNTHETIC
    market = MarketConfig(
        kind=MarketKind.REPLAY if arguments.replay else kind,
        symbols=tuple(name for name in arguments.symbols.split(",") if name),
        replay_files=tuple(arguments.replay),
        replay_from_ns=arguments.from_ns,
        replay_until_ns=arguments.until_ns,
        speed=arguments.speed,
        paused=arguments.paused,
    )
    return ExchangeConfig(
        port=arguments.port,
        key=arguments.key,
        secret=arguments.secret,
        cash=arguments.cash,
        coins=tuple(arguments.coin),
        seed=_seed(arguments),
        symbols_filter=arguments.symbols_filter,
        state_file=arguments.state,
        latency_seconds=arguments.latency_ms / 1000,
        partial_fill_probability=arguments.partial_probability,
        rate_limit_per_minute=arguments.rate_limit,
        usd_fee_increment=arguments.usd_fee_increment,
        faults=tuple(arguments.fault),
        assets=(*DEFAULT_ASSETS, *more_assets(arguments.more_coins)),
        market=market,
    )


def _seed(arguments: argparse.Namespace) -> int:
    if arguments.seed is not None:
        return int(arguments.seed)
    kept = None
    if arguments.state is not None and arguments.state.exists():
        journal = Journal(arguments.state, account_id=account_id(arguments.key))
        kept = journal.seed
        journal.close()
    return random.SystemRandom().randrange(1_000_000) if kept is None else kept


async def serve(config: ExchangeConfig, ready_file: Path | None) -> None:
    server = PaperExchange(config)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, server.stopping.set)
    try:
        _announce(await server.start(), config.seed, ready_file)
        await server.stopping.wait()
    finally:
        await server.stop()
    if server.failure is not None:
        raise server.failure


def _announce(urls: Urls, seed: int, ready_file: Path | None) -> None:
    line = json.dumps({"event": "ready", **urls.as_dict(), "seed": seed, "pid": os.getpid()})
    if ready_file is not None:
        # Renamed into place: a program that waits for the file never reads half of it.
        half = ready_file.with_name(ready_file.name + ".part")
        half.write_text(line + "\n", encoding="utf-8")
        half.replace(ready_file)
    print(line, flush=True)


def _amount(text: str) -> Decimal:
    try:
        amount = to_decimal(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if amount < 0:
        raise argparse.ArgumentTypeError("must not be negative")
    return amount


def _coin(text: str) -> tuple[str, Decimal, Decimal]:
    symbol, _, rest = text.partition("=")
    qty, _, price = rest.partition("@")
    if not (symbol and qty and price):
        raise argparse.ArgumentTypeError(f"{text!r} is not like BTC/USD=0.5@60000")
    return symbol, _amount(qty), _amount(price)


def _time(text: str) -> int:
    try:
        return parse_time(text)
    except ValueError:
        complaint = f"{text!r} is not a time like 2021-07-01T12:00:00Z"
        raise argparse.ArgumentTypeError(complaint) from None


def _fault(text: str) -> dict[str, object]:
    try:
        fault: dict[str, object] = json.loads(text)
        FaultBoard().arm(fault)
    except (ValueError, AttributeError) as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return fault


def _number(text: str) -> float:
    return float(_amount(text))


def _share(text: str) -> float:
    share = _number(text)
    if share > 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return share


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError("must be between 0 and 65535")
    return int(text)


def main() -> int:
    arguments = build_parser().parse_args()
    logging.basicConfig(
        level=arguments.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        asyncio.run(serve(config_from(arguments), arguments.ready_file))
    except (ReplayError, StateFileError, ApiError, OSError) as problem:
        print(f"paper_exchange: {problem}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        pass  # Ctrl-C before the signal handlers were set
    return 0


if __name__ == "__main__":
    sys.exit(main())
