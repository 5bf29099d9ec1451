"""The words of `scripts/bot`: its commands, options and help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cli.assets_options import add_symbol
from cli.command_line import OneLineParser
from operations.asset_input import read_symbol

HELP = """\
Steers the bot. Safe at any time, whatever else runs: the daemon, the watchdog, another scripts/bot.

  scripts/bot start            start the daemon (and let the watchdog keep it alive)
  scripts/bot stop             end it; the watchdog leaves it stopped, also after a reboot
  scripts/bot restart          for new settings in .env, or a new version
  scripts/bot pause            no new buys; what is held is still sold
  scripts/bot resume           buy again
  scripts/bot open BTC/USD     buy its base order now (of an asset with a manual start)
  scripts/bot close BTC/USD    cancel its open buy and sell all it holds, now, at market
  scripts/bot status-line      one line, for a prompt or a monitor: is it trading?

The daemon outlives the terminal it was started from. Its log is LOG_DIR/app.log; scripts/status
shows everything at a glance."""
EPILOG = """\
exit codes: 0 done (status-line: it trades)
            1 not done, or not yet: the line says why (status-line: it does not trade)
            2 refused: the line says what would be right
settings:   .env (see .env.example); what you request is noted in LOG_DIR/bot.log"""
START_HELP = """\
Starts the daemon in the background and returns when it trades, or says why it does not yet. Undoes
an earlier stop: the watchdog keeps it alive again. Where it runs already, nothing happens. Warns
when no asset is configured or cron does not run the caretakers."""
STOP_HELP = """\
Asks the daemon to end, and kills it if it has not within 20 seconds. Open orders stay on the
exchange; what becomes of them is found at the next start. A stopped bot neither buys nor sells: to
go on selling, use scripts/bot pause instead. The file run/stopped keeps it stopped until
scripts/bot start."""
RESTART_HELP = """\
Ends the daemon as stop does and starts it as start does. The watchdog does nothing meanwhile."""
PAUSE_HELP = """\
No asset buys any more: neither base orders nor safety orders. Take profits go on, and a buy that is
open already may still fill. In effect at once, and until scripts/bot resume.
For one asset only: scripts/assets disable BTC/USD."""
RESUME_HELP = """\
Ends a pause: buys are placed again within seconds."""
OPEN_HELP = """\
Lets an asset with a manual start (scripts/assets edit BTC/USD --start manual) buy its base order at
the next price; its safety orders and its take profit follow by themselves, and the next cycle waits
again. A cooldown ends with that, whatever the start. Refused while a cycle of the asset is open.

  scripts/bot open BTC/USD
  scripts/bot open BTC/USD --withdraw                withdraw a request that is not carried out yet

The request is saved and carried out by the daemon. It stays until a base order is filled: while
buying is paused, at a buy limit, above --max-entry, or while no daemon runs. scripts/assets disable
ends it."""
CLOSE_HELP = """\
Cancels the asset's open buy and sells everything that its cycle holds at market, also at a loss.
You are asked twice; without a terminal to ask on, name the asset twice:

  scripts/bot close BTC/USD
  scripts/bot close BTC/USD --disable                the asset buys no more afterwards
  scripts/bot close BTC/USD --confirm BTC/USD        for a program (or --yes --yes)
  scripts/bot close BTC/USD --withdraw               withdraw a request that is not carried out yet

Once you have agreed to what it would sell, the request is saved and carried out by the daemon, or
by this command where no daemon runs. It outlives both: if the exchange cannot be reached, the sale
comes when it can. The sale is booked like any other, and the asset cools down before it buys
again."""
STATUS_LINE_HELP = """\
One line that says whether the bot trades. Reads files of this machine only: it is fast, and works
while the database or the exchange is away."""

_COMMANDS = {
    "start": ("start the daemon", START_HELP),
    "stop": ("end it and leave it stopped", STOP_HELP),
    "restart": ("end it and start it again", RESTART_HELP),
    "pause": ("no new buys; sells go on", PAUSE_HELP),
    "resume": ("end a pause", RESUME_HELP),
    "open": ("buy the base order of an asset with a manual start", OPEN_HELP),
    "close": ("sell all that an asset's cycle holds, now", CLOSE_HELP),
    "status-line": ("is it trading? in one line", STATUS_LINE_HELP),
}
WAIT_SECONDS = 60.0


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options.

    Raises:
        Refused: for arguments that do not fit, in one line.
        SystemExit: after --help.
    """
    return build_parser().parse_args(arguments)


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/bot", description=HELP, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for name, (summary, text) in _COMMANDS.items():
        made[name] = commands.add_parser(name, help=summary, description=text, epilog=EPILOG)
        made[name].add_argument("--json", action="store_true", help="one JSON object")
    add_symbol(made["open"])
    _add_withdraw(made["open"])
    _add_close_options(made["close"])
    return parser


def _add_withdraw(command: argparse.ArgumentParser) -> None:
    text = "withdraw a request that is not carried out yet"
    command.add_argument("--withdraw", action="store_true", help=text)


def _add_close_options(close: argparse.ArgumentParser) -> None:
    add_symbol(close)
    close.add_argument("--disable", action="store_true", help="the asset buys no more afterwards")
    _add_withdraw(close)
    close.add_argument(
        "--confirm", metavar="SYMBOL", type=read_symbol, help="do not ask: the same symbol again"
    )
    close.add_argument(
        "--yes", action="count", default=0, help="answer the first question; twice: both"
    )
    close.add_argument(
        "--wait",
        type=float,
        default=WAIT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the sale (default: {WAIT_SECONDS:.0f}); the request stays",
    )
