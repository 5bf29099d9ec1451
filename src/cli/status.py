"""`scripts/status`: the command line over `monitoring.status`. Owns words and exit codes."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from rich.console import Console
from rich.live import Live

from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_REFUSED,
    OneLineParser,
    complain,
    forget_unwritten,
    make_console,
    print_json,
)
from cli.status_screen import render
from config import SettingsError, get_settings
from monitoring.status.status import Status, StatusReader
from monitoring.status.status_json import status_json
from operations.refused import Refused
from runtime.unwritable import describe_unwritable

MIN_INTERVAL_SECONDS = 1.0
HELP = """\
One screen of what the bot does: whether it trades, how each asset stands, what it earned, and
everything that is wrong, one line each. It changes nothing and can be called at any time. Where the
daemon, the database or the exchange is away it says so and shows the rest.

  scripts/status                       once
  scripts/status --watch               again every 5 seconds; Ctrl-C ends it. A low window shows
                                       what fits and counts what does not
  scripts/status --watch --interval 2
  scripts/status --json                one JSON object, exact numbers
  COLUMNS=80 scripts/status | less     what is piped is as wide as COLUMNS says, if it is set
  scripts/status >/dev/null || mail ...    for a monitor: the exit code says whether all is well

daemon      what the watchdog finds, and its last heartbeat
streams     quotes and trade updates: connected, and when the last one came; when the daemon last
            compared its records with the exchange
caretakers  when cron last ran each script
buys at     the price of the next buy, and how far the ask must go (negative: down); due: now
held back   its price is reached and it cannot trade: why, since when and the cure stand on top
waiting     for what you chose yourself: a manual start, a highest entry price, a buy limit
coins held  what the fees left of the coins that the open cycle bought
sells at    the take profit's price, and how far the bid must go
unrealised  what selling everything now at the bid would earn, after the fees of both sides
profit      of the cycles that ended today (UTC) and of all time, after fees, from the journal
~           based on estimated fees: Alpaca posts them hours later
buy limits  MAX_BUY_USD_PER_DAY and others, and what of them is used
ERROR       counts as wrong for an hour, or until its order is booked, can be read again, or is
            found harmless

exit codes: 0 all is well (also when you stopped or paused it)
            1 something is wrong: each thing one line
            2 a setting or an argument is wrong"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Once, or until Ctrl-C."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in texts
    try:
        options = build_parser().parse_args(texts)
        settings = get_settings()
    except Refused as error:
        return complain("status", str(error), EXIT_REFUSED, as_json=as_json)
    except SettingsError as error:
        shown = {"is_well": False, "problems": error.problems}
        return complain("status", error.problems, EXIT_REFUSED, as_json=as_json, shown=shown)
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the answer
    reader = StatusReader(settings)
    try:
        if not options.watch:
            status = reader.load()
            _show(status, make_console(), as_json=as_json)
            return EXIT_DONE if status.is_well else EXIT_FAILED
        signal.signal(signal.SIGTERM, _interrupt)
        return _watch(reader, make_console(), options.interval, as_json=as_json)
    except BrokenPipeError:  # whoever read the answer has seen enough
        forget_unwritten()
        return EXIT_DONE
    except OSError as error:
        return complain(
            "status", describe_unwritable(error, settings), EXIT_FAILED, as_json=as_json
        )
    except KeyboardInterrupt:
        return EXIT_DONE if options.watch else EXIT_FAILED


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/status", description=HELP)
    parser.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=5.0,
        help="of --watch (default: 5); each costs a few of the 200 requests a minute",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a screen")
    return parser


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not MIN_INTERVAL_SECONDS <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"expected 1 to 3600 seconds, not {text!r}")
    return seconds


def _show(status: Status, console: Console, *, as_json: bool) -> None:
    if as_json:
        print_json(status_json(status))
        sys.stdout.flush()
    else:
        console.print(render(status, console))
        console.file.flush()


def _watch(
    reader: StatusReader, console: Console, interval_seconds: float, *, as_json: bool
) -> int:
    """Until Ctrl-C or SIGTERM."""
    pause = threading.Event()
    if as_json or not console.is_terminal:
        while True:
            _show(reader.load(), console, as_json=as_json)
            pause.wait(interval_seconds)
    status = None
    try:
        # A screen of its own: nothing of a larger picture stays below a smaller one.
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                status = reader.load()
                live.update(render(status, console, height=console.height), refresh=True)
                pause.wait(interval_seconds)
    except KeyboardInterrupt:
        if status is not None:
            console.print(render(status, console))
        return EXIT_DONE


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
