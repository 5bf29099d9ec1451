"""The words of `scripts/backtest`: its options and help."""

from __future__ import annotations

import argparse
import re
from decimal import Decimal
from pathlib import Path

from cli.assets_options import add_values
from cli.command_line import OneLineParser
from operations.asset_input import read_symbol
from operations.refused import Refused
from research.bars import PathChoice

BOTH = "both"
PATHS = {
    BOTH: (PathChoice.LOW_FIRST, PathChoice.HIGH_FIRST),
    **{one.value: (one,) for one in PathChoice},
}
HELP = """\
What settings would have earned: past prices, traded by the very functions that the bot trades with.
Needs prices (scripts/history), but no account, no keys, no bot, and with options no database.

  scripts/history fetch BTC/USD --from 2024-01-01
  scripts/backtest BTC/USD --from 2024-01-01 --deviation 2
  scripts/backtest BTC/USD --from 2024-01 --to 2024-06          both months whole
  scripts/backtest BTC/USD ETH/USD --cash 500 --path both       two that share their cash
  scripts/backtest BTC/USD --plot test.png --csv fills.csv --out test.json
  scripts/backtest --show test.json               what --out wrote
  scripts/backtest --verify --help                is the replay what the bot does? proves it

Which settings: those that you name, the defaults of scripts/assets add for the others. Where you
name none: those that the bot has of the asset (in the database), or all defaults with --defaults.
Several assets share the cash; named settings are those of each.

result    what the account is worth at the end less what it began with: complete cycles and what is
          still held, at the last bid, after fees
ladder    the money that all ladders need if every safety order comes; also the default of --cash
at work   money bound in coins, mean over time
drawdown  how far the account fell below its best, coins at the lowest bid of each bar
water     how long it was below its best at the longest; "still": it is at the end
bought    share of the time in which every safety order was used, and only a rise could help
held      the same money, all of it spent at the first price; weekly: in equal parts week by week.
          Same spread and fees; nothing is sold

--path    a bar tells open, high, low and close, not what came first. open-low-high-close and
          open-high-low-close say it for all bars; pessimistic: bar by bar the one that leaves less;
          both: the first two beside each other, files of the first. They should differ little
--spread  ask less bid in percent of the price. Default: as in your own quotes of the symbol
          (scripts/history import), else as in recorded ones: docs/backtest.md

The past is not the future, and settings that were chosen because they did well here did well here.
docs/backtest.md says what is assumed, and where it is optimistic."""
EPILOG = """\
exit codes: 0 done
            1 not done: no prices, a damaged file, the database cannot be used, nothing to draw
            2 refused: the line says what would be right
settings:   TAKER_FEE_PERCENT, MINIMUM_ORDER_USD, MAX_SPREAD_PERCENT, HISTORY_DIR of .env, if any"""
_NUMBER = re.compile(r"[0-9]{1,12}(\.[0-9]{0,12})?|\.[0-9]{1,12}", re.ASCII)


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/backtest", description=HELP, epilog=EPILOG)
    add = parser.add_argument
    add("symbols", nargs="*", type=read_symbol, metavar="SYMBOL", help="BTC/USD, btcusd ...")
    add("--from", dest="since", metavar="WHEN", help="2024-01, 2024-01-31, 90d ... (default: all)")
    add("--to", dest="until", metavar="WHEN", help="a day or month is included whole")
    add("--cash", type=amount, metavar="USD", help="to begin with (default: what ladders need)")
    add(
        "--path", choices=list(PATHS), default=PathChoice.PESSIMISTIC.value, metavar="PATH",
        help="of the price within a bar (default: pessimistic)",
    )  # fmt: skip
    add("--spread", type=percent, metavar="PERCENT", help="half of it on each side of the price")
    add("--fee", type=percent, metavar="PERCENT", help="a side (default: TAKER_FEE_PERCENT)")
    add("--quotes", action="store_true", help="quotes instead of bars; where only they are, too")
    add("--defaults", action="store_true", help="settings as of an asset added without options")
    add("--json", action="store_true", help="one JSON object, exact numbers")
    add("--csv", type=new_file, metavar="FILE", help="the journal, an order a line")
    add("--plot", type=png_file, metavar="FILE.png", help="prices with fills, equity, drawdown")
    add("--out", type=new_file, metavar="FILE", help="all of it as a file; same input, same bytes")
    add("--show", type=Path, metavar="FILE", help="what --out wrote; nothing is replayed")
    add_values(parser, with_defaults=True)
    return parser


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options; those of the asset as text.

    Raises:
        Refused: for arguments that do not fit, in one line.
        SystemExit: after --help.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.show is None and not options.symbols:
        parser.error("name what to try, as scripts/backtest BTC/USD")
    if options.show is not None and (options.symbols or options.csv or options.plot or options.out):
        parser.error("--show shows a file, and needs nothing else")
    if double := {one for one in options.symbols if options.symbols.count(one) > 1}:
        parser.error(f"{', '.join(sorted(double))} is named twice")
    return options


def amount(text: str) -> Decimal:
    """USD above 0."""
    value = _read(text)
    if value is None or value <= 0:
        raise Refused(f"--cash takes a plain number above 0, like 500, not {text[:20]!r}")
    return value


def percent(text: str) -> Decimal:
    """Below 100."""
    value = _read(text.strip().removesuffix("%"))
    if value is None or value >= 100:
        raise Refused(f"--spread and --fee take a percent like 0.25, not {text[:20]!r}")
    return value


def _read(text: str) -> Decimal | None:
    return Decimal(text.strip()) if _NUMBER.fullmatch(text.strip()) else None


def png_file(text: str) -> Path:
    """A PNG file that can be written."""
    if Path(text).suffix.lower() != ".png":
        raise Refused(f"{text[:80]}: pictures are PNG files, name it like test.png")
    return new_file(text)


def new_file(text: str) -> Path:
    """A file in a folder that is there."""
    path = Path(text)
    if not path.parent.is_dir():
        raise Refused(f"{text[:80]}: there is no folder {path.parent}")
    return path
