"""`scripts/backtest --verify`: the same quotes through the real bot and through the replay, and the
first difference. Arguments, words and exit codes; no rule.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from cli.assets_options import add_values
from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    OneLineParser,
    Stop,
    make_console,
    print_json,
)
from cli.runner import run_tool
from config import inspect_environment
from local_stack.exchange_process import TAKER_FEE_RATE, StackError
from local_stack.lockstep.compare import Difference, Facts, facts_json
from local_stack.lockstep.recordings import load_file, load_history
from local_stack.lockstep.run import Market, Verdict
from local_stack.lockstep.stack import as_traded, verify_on_stack
from local_stack.scratch import scratch_folder
from local_stack.stopper import Stopper
from mariadb_server.errors import MariaDBError
from operations.asset_input import COLUMN_OF, build_asset, read_defaults, read_symbol, read_values
from operations.refused import Refused
from operations.time_ranges import read_moment
from research.errors import HistoryError, UnusablePrices
from research.history import History
from research.quotes import Quotes
from utils.formatting import counted

PROGRAM = "backtest --verify"
HELP = """\
Proves on your quotes that a replay does what the bot does: they are played one after another
through the daemon's own handlers, a private database and the local exchange, each waiting until the
bot is at rest, and through the replay. Compared to the last digit: every order with its quote,
purpose, limit price, quantity, fill price, fees and average price, the profit of every cycle, and
what cash and coins are left. Your account, database and .env are not touched.

  scripts/backtest --verify quotes.csv.gz --deviation 0.5 --take-profit 0.8
  scripts/backtest --verify ETH/USD --from 2021-07-01 --to 2021-07-01   quotes of the history

A file has a header (timestamp, bid, ask, and symbol, or a name such as BTCUSD.csv); prices in USDT
and USDC count as USD. Fees, spread and jump limits are the bot's defaults; the smallest orders and
steps of a coin are those of the local exchange."""
EPILOG = """\
exit codes: 0 the same in every digit
            1 a difference, which is shown with both sides, or it could not be played
            2 refused: the line says what would be right"""


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/backtest --verify", description=HELP, epilog=EPILOG)
    parser.add_argument("source", metavar="FILE_OR_SYMBOL", help="recorded quotes")
    parser.add_argument("--symbol", type=read_symbol, help="whose, whatever the file says")
    parser.add_argument("--from", dest="since", metavar="WHEN", help="2021-07-01, 2021-07-01T06:00")
    parser.add_argument("--to", dest="until", metavar="WHEN", help="a day is included whole")
    parser.add_argument("--cash", metavar="USD", default="100000", help="(default: 100000)")
    parser.add_argument("--json", action="store_true", help="one JSON object, exact numbers")
    add_values(parser, with_defaults=True)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Play, compare, print; the exit code."""
    return run_tool(PROGRAM, arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the answer
    options = build_parser().parse_args(arguments)
    try:
        with Stopper() as stopper, scratch_folder("verify") as folder:
            market = _read_market(options, folder)
            console = make_console(sys.stderr)
            with console.status("starting a database and an exchange") as shown:
                total = len(market.quotes.times)
                verdict = verify_on_stack(
                    folder,
                    [market],
                    cash_usd=_read_usd("--cash", options.cash),
                    on_progress=lambda count: shown.update(f"{count:,} of {total:,} quotes"),
                )
            stopper.ignore()
    except UnusablePrices as error:
        raise Stop(str(error), EXIT_REFUSED) from error
    except (HistoryError, StackError, MariaDBError) as error:
        raise Stop(str(error), EXIT_FAILED) from error
    if options.json:
        print_json(verdict_json(verdict))
    else:
        print("\n".join(verdict_lines(market.symbol, verdict)))
    return EXIT_DONE if verdict.difference is None else EXIT_FAILED


def _read_market(options: argparse.Namespace, folder: Path) -> Market:
    symbol, quotes = _read_quotes(options, folder)
    if not len(quotes.times):
        raise Refused("there are no quotes in that range")
    fee_percent = TAKER_FEE_RATE * 100
    texts = {option: getattr(options, option) for option in COLUMN_OF}
    values = read_defaults(fee_percent) | read_values(texts, fee_percent)
    return Market(asset=build_asset(as_traded(options.symbol or symbol), values), quotes=quotes)


def _read_quotes(options: argparse.Namespace, folder: Path) -> tuple[str, Quotes]:
    now, path = datetime.now(UTC), Path(options.source)
    since = read_moment("--from", options.since, now, is_end=False)
    until = read_moment("--to", options.until, now, is_end=True)
    if path.is_file():
        return load_file(path, folder / "history", since, until)
    try:
        symbol = read_symbol(options.source)
    except Refused:
        raise Refused(f"{options.source} is neither a file nor a symbol like BTC/USD") from None
    settings, _ = inspect_environment()  # whatever is missing in .env
    return symbol, load_history(History(settings.history_dir), symbol, since, until)


def _read_usd(option: str, text: str) -> Decimal:
    try:
        usd = Decimal(text)
    except InvalidOperation:
        usd = Decimal(0)
    if not usd.is_finite() or usd <= 0:
        raise Refused(f"{option} takes USD above 0, not {text[:40]!r}")
    return usd


def verdict_lines(symbol: str, verdict: Verdict) -> list[str]:
    """For a person."""
    rate = verdict.quotes / max(verdict.seconds, 1e-9)
    lines = [
        f"{verdict.quotes:,} quotes of {symbol} through the bot in {verdict.seconds:.1f} s"
        f" ({rate:,.0f} a second), through the replay in {verdict.replay_seconds:.2f} s.",
        f"{counted(verdict.orders, 'order')} of {counted(verdict.cycles, 'complete cycle')},"
        f" {verdict.profit_usd:.2f} USD after fees; the bot considered one at"
        f" {counted(verdict.crossings, 'quote')}.",
    ]
    found = verdict.difference
    if found is None:
        return [*lines, "The same in every digit: orders, prices, quantities, fees, profit, cash."]
    return [*lines, *_difference_lines(found)]


def _difference_lines(found: Difference) -> list[str]:
    if found.bot is None or found.replay is None:
        there, lacks = ("the bot", "the replay") if found.bot else ("the replay", "the bot")
        shown = found.bot or found.replay
        facts = ", ".join(f"{name} {value}" for name, value in _shown(shown).items())
        return [f"DIFFERENT at {found.what}: {there} has it, {lacks} has not: {facts}"]
    bot, replay = _shown(found.bot), _shown(found.replay)
    lines = [f"DIFFERENT at {found.what}:"]
    for name in bot:
        mark = "  <--" if name in found.names else ""
        lines.append(f"  {name:22} bot {bot[name]!s:28} replay {replay.get(name)!s:28}{mark}")
    return [line.rstrip() for line in lines]


def _shown(facts: Facts | None) -> dict[str, Any]:
    return facts_json(facts) or {}


def verdict_json(verdict: Verdict) -> dict[str, Any]:
    """For a program; money as text, exact."""
    found = verdict.difference
    return {
        "done": True,
        "same": found is None,
        "quotes": verdict.quotes,
        "crossings": verdict.crossings,
        "orders": verdict.orders,
        "cycles": verdict.cycles,
        "profit_usd": f"{verdict.profit_usd:f}",
        "seconds": round(verdict.seconds, 3),
        "replay_seconds": round(verdict.replay_seconds, 3),
        "difference": None
        if found is None
        else {
            "what": found.what,
            "names": list(found.names),
            "bot": facts_json(found.bot),
            "replay": facts_json(found.replay),
        },
    }


if __name__ == "__main__":
    sys.exit(main())
