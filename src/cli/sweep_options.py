"""The words of `scripts/sweep`: its options and help."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from cli.assets_options import add_values
from cli.backtest_options import amount, new_file, percent, png_file
from cli.backtest_options import build_parser as build_backtest_parser
from cli.command_line import OneLineParser
from operations.asset_input import COLUMN_OF, read_symbol
from operations.refused import Refused
from research.bars import PathChoice
from research.sweep_choice import Objective

MAX_WORKERS = 512
MAX_TRIALS = 1_000_000
HELP = """\
Many settings on the same past prices: chosen on the earlier part, judged on the later one. Each is
replayed as scripts/backtest does it, on all cores of this machine or on many machines. Any setting
of scripts/assets add takes a range A:B:STEP, both ends included, or a list; several span a grid.

  scripts/sweep BTC/USD --deviation 0.5:5:0.25 --take-profit 0.5:4:0.25
  scripts/sweep BTC/USD --deviation 1:4:0.5 --volume-scale 1,1.5,2 --trailing off,0.3 --plot map.png
  scripts/sweep BTC/USD --deviation 0.5:5:0.05 --take-profit 0.5:4:0.05 --max-safety 3:10:1 \\
      --search tpe --trials 2000                  finds its way in a grid too large to try whole
  scripts/sweep BTC/USD --deviation 1:4:0.5 --out sweep.json
  scripts/sweep --show sweep.json --apply         the asset's plan with the winner's settings; asks
  scripts/sweep --join --help                     many machines

Settings that you do not name are those that the bot has of the asset, else the defaults of
scripts/assets add; with --defaults always these. Several assets share the cash and take the same
values.

earlier, later   each begins with all the cash and no coins; open cycles count at the last bid
--objective      net-profit (USD after fees), return (the same in percent of what the ladders need),
                 return-drawdown (net profit by the worst drawdown, both USD), under-water (the
                 longest time below an earlier best; least). Only what completed a cycle can win
beside it        the settings one step away from the winner. Where they lose most of its figure it
                 is a lone peak, which is luck

Ctrl-C keeps what is done, and the same command goes on from there. The best of many settings on
these prices is partly luck: the later part says how much. docs/sweep.md says how to read it."""
EPILOG = """\
exit codes: 0 done
            1 not done: no prices, a damaged file, no workers, a full disk, or you said no
            2 refused: the line says what would be right
settings:   HISTORY_DIR, TAKER_FEE_PERCENT, MINIMUM_ORDER_USD, SWEEP_TLS_... of .env, if any"""


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/sweep", description=HELP, epilog=EPILOG)
    add = parser.add_argument
    add("symbols", nargs="*", type=read_symbol, metavar="SYMBOL", help="BTC/USD, btcusd ...")
    add("--from", dest="since", metavar="WHEN", help="2024-01, 2024-01-31, 90d ... (default: all)")
    add("--to", dest="until", metavar="WHEN", help="a day or month is included whole")
    add(
        "--split", default="70", metavar="WHERE",
        help="where the later part begins: percent of the prices, a day, or none (default: 70)",
    )  # fmt: skip
    add(
        "--objective", choices=[one.value for one in Objective], metavar="WHAT",
        default=Objective.NET_PROFIT.value, help="what the best has most of (default: net-profit)",
    )  # fmt: skip
    add("--search", choices=["grid", "tpe"], default="grid", help="all, or where it is promising")
    add("--trials", type=_trials, metavar="N", help="of --search tpe (default: 1000)")
    add("--seed", type=_seed, default=1, metavar="N", help="of --search tpe (default: 1)")
    add(
        "--cash", type=amount, metavar="USD", help="to begin with (default: what each ladder needs)"
    )
    add(
        "--path", choices=[one.value for one in PathChoice], metavar="PATH",
        default=PathChoice.PESSIMISTIC.value,
        help="of the price within a bar (default: pessimistic)",
    )  # fmt: skip
    add("--spread", type=percent, metavar="PERCENT", help="half of it on each side of the price")
    add("--fee", type=percent, metavar="PERCENT", help="a side (default: TAKER_FEE_PERCENT)")
    add("--quotes", action="store_true", help="quotes instead of bars; where only they are, too")
    add("--defaults", action="store_true", help="what is not named is as of a new asset")
    add(
        "--workers",
        type=worker_count,
        metavar="N",
        help="processes here (default: one a core)",
    )
    add("--scheduler", metavar="URL", help="a Dask scheduler, tls://HOST:PORT (docs/sweep.md)")
    add_certificates(parser)
    add("--json", action="store_true", help="one JSON object, exact numbers")
    add("--plot", type=png_file, metavar="FILE.png", help="a heat map of two settings, or a line")
    add("--axes", metavar="A,B", help="which settings --plot shows (default: the first two)")
    add("--out", type=new_file, metavar="FILE", help="all of it as a file; same input, same bytes")
    add("--show", type=Path, metavar="FILE", help="what --out wrote; nothing is replayed")
    add("--apply", action="store_true", help="shows the asset's plan with the winner, and saves it")
    add("--yes", action="store_true", help="--apply without asking")
    add_values(parser, with_defaults=True)
    return parser


def add_certificates(parser: argparse.ArgumentParser) -> None:
    """Those of a cluster of many machines."""
    for name, text in (
        ("ca", "the authority that signed all certificates, PEM (SWEEP_TLS_CA)"),
        ("cert", "this machine's certificate, PEM (SWEEP_TLS_CERT)"),
        ("key", "its key, PEM (SWEEP_TLS_KEY)"),
    ):
        parser.add_argument(f"--tls-{name}", type=Path, metavar="FILE", help=text)


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options; those of the asset as text. What only scripts/backtest knows has its default.

    Raises:
        Refused: for arguments that do not fit, in one line.
        SystemExit: after --help.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if options.json and options.apply:
        parser.error("--apply is for a person: for a program there is scripts/assets edit --json")
    if options.yes and not options.apply:
        parser.error("--yes belongs to --apply")
    if options.show is not None:
        given = [one for one in (*COLUMN_OF, "out", "scheduler") if getattr(options, one)]
        if options.symbols or given:
            parser.error("--show shows a file: beside it --plot, --axes, --json and --apply")
        return options
    if not options.symbols:
        parser.error("name what to try, as scripts/sweep BTC/USD --deviation 1:4:0.5")
    if double := {one for one in options.symbols if options.symbols.count(one) > 1}:
        parser.error(f"{', '.join(sorted(double))} is named twice")
    if options.search == "grid" and options.trials is not None:
        parser.error("--trials belongs to --search tpe: a grid is tried whole")
    if options.scheduler is not None and options.workers is not None:
        parser.error("--workers are processes of this machine: the scheduler knows its own")
    usual = vars(build_backtest_parser().parse_args([]))
    return argparse.Namespace(**{**usual, **vars(options)})


def _whole(text: str, option: str, least: int, most: int) -> int:
    if re.fullmatch(r"[0-9]{1,9}", text, re.ASCII) and least <= int(text) <= most:
        return int(text)
    raise Refused(f"{option} takes a whole number from {least:,} to {most:,}, not {text[:20]!r}")


def _trials(text: str) -> int:
    return _whole(text, "--trials", 1, MAX_TRIALS)


def _seed(text: str) -> int:
    return _whole(text, "--seed", 0, 999_999_999)


def worker_count(text: str) -> int:
    """Of this machine."""
    return _whole(text, "--workers", 1, MAX_WORKERS)
