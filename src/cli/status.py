"""`scripts/status`: the command line over `monitoring.status`. Owns words, the look, exit codes."""

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
    OneLineParser,
    complain,
    forget_unwritten,
    make_console,
    print_json,
)
from cli.status_screen import render, status_json
from config import SettingsError, get_settings
from monitoring.status.status import Status, StatusReader
from operations.refused import Refused

EXIT_WELL, EXIT_WRONG, EXIT_SETTINGS = 0, 1, 2
MIN_INTERVAL_SECONDS = 1.0
HELP = """\
One screen of what the bot does: is it alive and trading, how each asset stands, what it earned, and
everything that is wrong, one line each. It changes nothing and can be called at any time; what is
away (daemon, database, exchange) is said, and the rest is shown all the same.

  scripts/status                       look once
  scripts/status --watch               keep looking, every 5 seconds; Ctrl-C ends it. A low window
                                       shows what fits and counts what does not
  scripts/status --watch --interval 2
  scripts/status --json                one JSON object, exact numbers
  scripts/status >/dev/null || mail ...    for a monitor: the exit code says whether all is well

daemon      its heartbeat, and the watchdog's verdict about it
streams     quotes and trade updates: connected, and when the last one came; when the daemon last
            compared its records with the exchange
caretakers  when cron last ran each script
buys at     the price of the next buy, and how far the ask must go (negative: down); due: now
held back   something keeps it from the order that it wants: why, since when and the cure: on top
coins held  what the fees left of the coins that the open cycle bought
sells at    the take profit's price, and how far the bid must go
unrealised  what selling everything now at the bid would earn, after the fees of both sides
profit      of the cycles that ended today (UTC) and of all time, after fees, from the journal
~           based on estimated fees: Alpaca posts them hours later
buy limits  MAX_BUY_USD_PER_DAY and others, and what of them is used
ERROR       one of the last hour counts as wrong until the hour is over; about an order: until that
            is booked, or can be read or explained again

exit codes: 0 all is well (also when you stopped or paused it on purpose)
            1 something is wrong: each thing one line
            2 a setting or an argument is wrong"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Look once or until Ctrl-C."""
    texts = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in texts
    try:
        options = _parse(texts)
        settings = get_settings()
    except Refused as error:
        return complain("status", str(error), EXIT_SETTINGS, as_json=as_json)
    except SettingsError as error:
        shown = {"is_well": False, "problems": error.problems}
        return complain("status", error.problems, EXIT_SETTINGS, as_json=as_json, shown=shown)
    # Nobody reads our log: what matters stands in the answer.
    logging.getLogger().addHandler(logging.NullHandler())
    reader = StatusReader(settings)
    try:
        if not options.watch:
            status = reader.load()
            _show(status, make_console(), as_json=as_json)
            return _exit_code(status)
        signal.signal(signal.SIGTERM, _interrupt)
        return _watch(reader, make_console(), options.interval, as_json=as_json)
    except BrokenPipeError:  # whoever read us has seen enough
        forget_unwritten()
        return EXIT_WELL
    except OSError as error:
        return complain("status", f"cannot answer: {error}", EXIT_WRONG, as_json=as_json)
    except KeyboardInterrupt:
        return EXIT_WELL if options.watch else EXIT_WRONG


def _parse(texts: Sequence[str]) -> argparse.Namespace:
    parser = OneLineParser(
        prog="scripts/status",
        description=HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--watch", action="store_true", help="keep looking until Ctrl-C")
    parser.add_argument(
        "--interval",
        metavar="SECONDS",
        type=_interval,
        default=5.0,
        help="between two looks of --watch; each costs one or two of the account's 200 a minute",
    )
    parser.add_argument("--json", action="store_true", help="JSON instead of a screen")
    return parser.parse_args(texts)


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
    """Until Ctrl-C or SIGTERM, which are its proper end."""
    pause = threading.Event()
    if as_json or not console.is_terminal:
        while True:
            _show(reader.load(), console, as_json=as_json)
            pause.wait(interval_seconds)
    status = None
    try:
        # On a screen of its own, so that a smaller picture leaves nothing of a larger one behind.
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                status = reader.load()
                live.update(render(status, console, height=console.height), refresh=True)
                pause.wait(interval_seconds)
    except KeyboardInterrupt:
        if status is not None:
            console.print(render(status, console))
        return EXIT_WELL


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _exit_code(status: Status) -> int:
    return EXIT_WELL if status.is_well else EXIT_WRONG


if __name__ == "__main__":
    sys.exit(main())
