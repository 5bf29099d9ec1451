"""The options of `scripts/history`, and its help."""

from __future__ import annotations

import argparse
from pathlib import Path

from cli.command_line import OneLineParser
from operations.asset_input import read_symbol
from operations.refused import Refused

HELP = """\
Past prices on this machine, for research: a file for each symbol and month in HISTORY_DIR
(history/). Needs no account, no keys, no database and no bot.

  scripts/history fetch BTC/USD --from 2023-01    from Alpaca, month by month
  scripts/history list                            what there is, and what is missing in it
  scripts/history import bars.csv.gz              from files of your own
  scripts/history verify                          reads every file whole, and checks each price
  scripts/history export BTC/USD --from 2023-01 --to 2023-03 > bars.csv

Prices are kept exactly, as they came. What is missing stays missing: every gap is told, none is
filled. Times are UTC. docs/history.md says more."""
FETCH = """\
Fetches one-minute bars from Alpaca, which asks for no keys. Months that are there whole are not
fetched again, so after Ctrl-C, a crash or a lost line the same command goes on where it was; the
running month is fetched anew, up to the last whole minute. Stays below 200 requests a minute; a
year takes about 60.

  scripts/history fetch BTC/USD --from 2023-01
  scripts/history fetch BTC/USD ETH/USD --from 2024-06 --to 2025-05     both months whole
  scripts/history fetch BTC/USD             goes on from the first month that is there
  scripts/history fetch BTC/USD --from 2024-03 --to 2024-03 --replace   once more

With ALPACA_DATA_URL in .env that exchange is asked; --alpaca asks Alpaca itself."""
IMPORT = """\
Takes bars or quotes from CSV files (plain or .gz, with a header) or parquet files. Several files
are taken as one. Nothing is written before all rows were read and make sense.

  scripts/history import bars.csv
  scripts/history import BTCUSDT-1m-2023-*.csv --symbol BTC/USD
  scripts/history import quotes.csv.gz        quotes as the local exchange replays them

bars      a time and open, high, low, close (and symbol, or --symbol); a minute, or another length
quotes    a time and bid, ask; read and replayed one by one
time      2023-01-31T18:00:00Z, 2023-01-31 18:00 (UTC), or seconds, ms, us, ns since 1970; of a
          bar: its beginning. Usual spellings (Open time, unix, o, bid_price, ...) are understood
Volumes and other columns are left out: nothing here is computed from them."""
LIST = """\
What there is of each symbol: from when to when, how many bars or quotes, what is missing between
them (of quotes: ten minutes without any), how large the files are, where they came from."""
VERIFY = """\
Reads every file whole: its checksum, that it is what its name says, and that each price makes
sense. What is wrong is named, with the file."""
EXPORT = """\
Writes bars (or quotes) as CSV, exact prices, on standard output or to --output.

  scripts/history export BTC/USD --from 2023-01 --to 2023-03 > bars.csv
  scripts/history export ETH/USD --quotes --output quotes.csv"""
EPILOG = """\
exit codes: 0 done
            1 not done, or a file is damaged: the line says which, and what is so now
            2 refused: the line says what would be right"""


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/history", description=HELP, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, summary: str, text: str) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = commands.add_parser(
            name, help=summary, description=text, epilog=EPILOG
        )
        one.add_argument("--json", action="store_true", help="one JSON object")
        return one

    fetch = command("fetch", "bars from Alpaca, month by month", FETCH)
    fetch.add_argument("symbols", nargs="+", type=read_symbol, metavar="SYMBOL")
    _add_range(fetch, "its month is fetched whole")
    fetch.add_argument("--replace", action="store_true", help="also months that are there")
    fetch.add_argument("--alpaca", action="store_true", help="whatever .env says")
    _add_places(fetch)

    take = command("import", "bars or quotes from files", IMPORT)
    take.add_argument("files", nargs="+", type=Path, metavar="FILE")
    take.add_argument("--symbol", type=read_symbol, help="whose, whatever the files say")
    take.add_argument("--replace", action="store_true", help="also months that are there")
    _add_places(take)

    listing = command("list", "what there is, and its gaps", LIST)
    check = command("verify", "whether every file is sound", VERIFY)
    for one in (listing, check):
        one.add_argument("symbols", nargs="*", type=read_symbol, metavar="SYMBOL")

    export = command("export", "as CSV", EXPORT)
    export.add_argument("symbol", type=read_symbol, metavar="SYMBOL")
    _add_range(export, "a day or month is included whole")
    export.add_argument("--quotes", action="store_true", help="quotes instead of bars")
    export.add_argument("--output", type=Path, metavar="FILE", help="where to, whole or not at all")
    return parser


def _add_range(parser: argparse.ArgumentParser, remark: str) -> None:
    parser.add_argument("--from", dest="since", metavar="WHEN", help="2023-01, 2023-01-31, 30d ...")
    parser.add_argument("--to", dest="until", metavar="WHEN", help=f"{remark} (default: now)")


def _add_places(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--places", type=_places, metavar="N", help="round prices to N digits after the point"
    )


def _places(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 18):
        raise Refused(f"--places takes a number from 0 to 18, not {text[:20]!r}")
    return int(text)
