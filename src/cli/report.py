"""`scripts/report`: the command line over the figures of the journal. Reads only."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

from mysql.connector.abstracts import MySQLConnectionAbstract

from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    OneLineParser,
    Stop,
    make_console,
    print_json,
)
from cli.report_tables import render
from cli.runner import run_tool
from config import get_settings
from models.asset_config import get_asset_config
from models.cycle_journals import load_cycle_journals
from models.meta import check_schema
from models.recent_fills import get_recent_fills
from monitoring.status.timed_calls import Pending, TookTooLong
from operations.asset_input import read_symbol
from operations.refused import Refused
from operations.time_ranges import read_moment
from performance.cycle_results import find_completion
from performance.report import By, Report, compute_report
from performance.report_json import Now, report_csv, report_json
from strategy.exits import compute_take_profit_price
from utils.db_utils import thread_connection

ACCOUNT_SECONDS = 8.0
FILLS_SHOWN = 5
HELP = """\
What the complete cycles earned, from the journal of fills and fees; with it what the account holds
now (one request; the exchange may be away) and the last fills. Reads only; needs the database, but
not the daemon.

  scripts/report                                  by asset, of all time
  scripts/report --by month
  scripts/report --by day --since 30d --asset BTC/USD
  scripts/report --by cycle --since 2026-01 --until 2026-03      both months whole
  scripts/report --by cycle --csv > cycles.csv     exact numbers; --json has the total as well
  scripts/report --plot profit.png                realised profit over time, as a picture
  scripts/report --plot-cycle 42 cycle.png         one cycle: its fills, average and take profit

cycles    complete ones, counted on the day (UTC) of their last sale
won       how many of them earned something after fees
held      from the end of the first buy to the last sale, on average; worst: the longest
safety    the most safety orders that one of the cycles used
cost      what their buys cost
at work   money bound in coins, mean over time, open cycles included; peak: the most at one moment.
          In the line of a day, week or month: of that alone; else of the whole report
fees      of both sides, coins at the price that was paid for them
profit    sells - their USD fees - buys. The fee of a buy is paid in coins, so that fewer are sold:
          it is in the profit already. Coins too few to be sold count as nothing
of cost   the profit in percent of what those cycles spent; of peak: of the most money bound
~         based on estimated fees: Alpaca posts them hours later (CSV, JSON: fees_are_estimated)"""
EPILOG = """\
exit codes: 0 done
            1 not done: the database cannot be used now, or there is nothing to draw
            2 refused: the line says what would be right"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Report once; whatever stops it is one line, and an exit code."""
    return run_tool("report", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the answer
    options = build_parser().parse_args(arguments)
    get_settings()
    connection, now = thread_connection(), datetime.now(UTC)
    check_schema(connection)
    if options.plot_cycle is not None:
        _plot_cycle(connection, options, now)
    else:
        _report(connection, options, now)
    return EXIT_DONE


def _report(
    connection: MySQLConnectionAbstract, options: argparse.Namespace, now: datetime
) -> None:
    console = make_console()  # first: it refuses a closed standard output
    symbol = options.asset
    since = read_moment("--since", options.since, now, is_end=False)
    until = read_moment("--until", options.until, now, is_end=True)
    if since is not None and until is not None and since >= until:
        raise Refused(f"--since {options.since} is not before --until {options.until}")
    cycles = load_cycle_journals(connection, symbol=symbol)
    if symbol is not None and not cycles and get_asset_config(connection, symbol) is None:
        raise Refused(f"the journal knows no {symbol}, and it is not configured")
    report = compute_report(cycles, By(options.by), now=now, since=since, until=until)
    if options.plot is not None:
        _plot_profit(report, symbol, options.plot)
    if options.csv:
        print(report_csv(report), end="")
    elif options.json:
        print_json(report_json(report, load_now(connection, symbol)))
    elif options.plot is not None:
        print(f"drawn: {options.plot}")
    else:
        console.print(render(report, console, symbol, load_now(connection, symbol)))
    sys.stdout.flush()


def load_now(connection: MySQLConnectionAbstract, symbol: str | None) -> Now:
    """One request, of which a report does not depend: the account is not known where it fails."""
    from utils.account_value import fetch_account_value  # loads the SDK: a second
    from utils.alpaca_client_rest import ExchangeError, get_trading_client

    pending = Pending(lambda: fetch_account_value(get_trading_client()), seconds=ACCOUNT_SECONDS)
    fills = get_recent_fills(connection, FILLS_SHOWN, symbol)
    try:
        account = pending.result()
    except (ExchangeError, TookTooLong):
        account = None
    return Now(account=account, fills=tuple(fills))


# Pictures


def _plot_profit(report: Report, symbol: str | None, path: Path) -> None:
    if not report.total.cycles:
        raise Stop("there is no complete cycle to draw yet", EXIT_FAILED)
    from performance.charts import draw_profit  # matplotlib takes a second to load

    title = "Realised profit" + (f" of {symbol}" if symbol else "")
    _write_whole(path, lambda scratch: draw_profit(report, title, scratch))


def _plot_cycle(
    connection: MySQLConnectionAbstract, options: argparse.Namespace, now: datetime
) -> None:
    number_text, path_text = options.plot_cycle
    path = _png(path_text)
    if not (number_text.isascii() and number_text.isdigit() and 0 < int(number_text) < 2**31):
        raise Refused(
            f"--plot-cycle {number_text[:20]!r}: expected the number of a cycle"
            " (scripts/report --by cycle)"
        )
    cycles = load_cycle_journals(connection, cycle_id=int(number_text))
    if not cycles:
        reason = f"cycle {number_text} has no fills: see scripts/report --by cycle"
        raise Stop(reason, EXIT_FAILED)
    [cycle] = cycles
    asset = get_asset_config(connection, cycle.symbol)
    from performance.charts import draw_cycle

    end = find_completion(cycle) or cycle.completed_at or now
    # How far above the average it sells, as the asset is configured now.
    factor = compute_take_profit_price(asset, Decimal(1)) if asset else None
    _write_whole(path, lambda scratch: draw_cycle(cycle, end, factor, scratch))
    if options.json:
        print_json({"done": True, "file": str(path)})
    else:
        print(f"drawn: {path}")


def _write_whole(path: Path, draw: Callable[[Path], None]) -> None:
    """A picture that fails leaves an older one of this name as it was."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draw(scratch)
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def _png(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() != ".png":
        raise Refused(f"{text[:80]}: pictures are PNG files, name it like profit.png")
    if not path.parent.is_dir():
        raise Refused(f"{text[:80]}: there is no folder {path.parent}")
    return path


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/report", description=HELP, epilog=EPILOG)
    parser.add_argument("--by", choices=[by.value for by in By], default=By.ASSET.value)
    parser.add_argument("--asset", metavar="SYMBOL", type=read_symbol, help="this one only")
    parser.add_argument("--since", metavar="WHEN", help="2026-01-31, 2026-01, today, 24h, 7d, 4w")
    parser.add_argument("--until", metavar="WHEN", help="a day or month is included whole")
    formats = parser.add_mutually_exclusive_group()
    formats.add_argument("--csv", action="store_true", help="a line for each group, exact numbers")
    formats.add_argument("--json", action="store_true", help="one JSON object, exact numbers")
    parser.add_argument(
        "--plot", metavar="FILE.png", type=_png, help="draw realised profit over time"
    )
    parser.add_argument(
        "--plot-cycle", nargs=2, metavar=("ID", "FILE.png"), help="draw the course of one cycle"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
