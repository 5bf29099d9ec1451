"""The words of `scripts/bot`: its commands, options and help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from cli.command_line import OneLineParser

HELP = """\
Steers the running bot. Safe at any time, beside the daemon, its watchdog and another one of these.

  scripts/bot start            start the daemon (and let the watchdog keep it alive)
  scripts/bot stop             end it; the watchdog leaves it stopped, after a reboot too
  scripts/bot restart          for new settings in .env, or a new version
  scripts/bot pause            no new buys; what is held is still sold
  scripts/bot resume           buy again
  scripts/bot close BTC/USD    cancel its open buy and sell all it holds, now, at market
  scripts/bot status-line      one line, for a prompt or a monitor: is it trading?

The daemon runs on its own: it outlives the terminal it was started from. Its log is
LOG_DIR/app.log; scripts/status shows everything at a glance."""
EPILOG = """\
exit codes: 0 done (status-line: it trades)
            1 could not, or not yet: the line says why (status-line: it does not trade)
            2 refused: the line says what would be right
settings:   .env (see .env.example); what you ask for is noted in LOG_DIR/bot.log"""
START_HELP = """\
Starts the daemon in the background and returns when it gives its first sign of life, or says why
it does not. Takes back an earlier stop, so that the watchdog looks after it again. Where it runs
already, nothing happens. Warns when no asset is configured or cron does not run the caretakers."""
STOP_HELP = """\
Ends the daemon: asks it, waits, and kills it if it does not end within 20 seconds. Open orders
stay on the exchange; what happens to them meanwhile is found again at the next start. Nothing is
bought or sold while it is stopped: to go on selling, use scripts/bot pause instead.
The wish stands in run/stopped until scripts/bot start."""
RESTART_HELP = """\
Ends the daemon as stop does, and starts it as start does. The watchdog waits meanwhile."""
PAUSE_HELP = """\
No new buys, of no asset: neither base orders nor safety orders. Take profits go on, and a buy that
is open already may still fill. In effect at once, also for a daemon that is started later.
One asset alone: scripts/assets disable BTC/USD."""
RESUME_HELP = """\
Takes a pause back: buys are placed again within seconds."""
CLOSE_HELP = """\
Cancels the asset's open buy and sells everything that its cycle holds at the market, whatever the
price: also at a loss. You are asked twice; where nobody can be asked, name the asset twice:

  scripts/bot close BTC/USD
  scripts/bot close BTC/USD --disable                the asset buys no more afterwards
  scripts/bot close BTC/USD --confirm BTC/USD        for a program (or --yes --yes)
  scripts/bot close BTC/USD --withdraw               take a wish back that waits to be carried out

Once you have agreed to what it would sell (the exchange must be asked for that), the wish is
written down and then carried out by the daemon; where none runs, by this command itself. It
outlives both: what cannot be done then (the exchange goes away) is done when it can be.
The cycle is booked like any other, and the asset rests for its cooldown before it buys again."""
STATUS_LINE_HELP = """\
One line that says whether the bot trades. Reads files of this machine only, so it is fast and works
while the database or the exchange is away."""

SUMMARIES = {
    "start": "start the daemon",
    "stop": "end it and leave it stopped",
    "restart": "end it and start it again",
    "pause": "no new buys; sells go on",
    "resume": "take a pause back",
    "close": "sell all that an asset's cycle holds, now",
    "status-line": "is it trading? in one line",
}
_HELPS = {
    "start": START_HELP,
    "stop": STOP_HELP,
    "restart": RESTART_HELP,
    "pause": PAUSE_HELP,
    "resume": RESUME_HELP,
    "close": CLOSE_HELP,
    "status-line": STATUS_LINE_HELP,
}
WAIT_SECONDS = 60.0


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options.

    Raises:
        Refused: for arguments that do not fit, in one line.
        SystemExit: after --help.
    """
    parser = OneLineParser(prog="scripts/bot", description=HELP, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    made = {}
    for name, text in _HELPS.items():
        made[name] = commands.add_parser(
            name, help=SUMMARIES[name], description=text, epilog=EPILOG
        )
        made[name].add_argument("--json", action="store_true", help="one JSON object")
    _add_close_options(made["close"])
    return parser.parse_args(arguments)


def _add_close_options(close: argparse.ArgumentParser) -> None:
    close.add_argument("symbol", metavar="SYMBOL", help="BTC/USD; btcusd and BTC-USD mean the same")
    close.add_argument("--disable", action="store_true", help="the asset buys no more afterwards")
    close.add_argument(
        "--withdraw", action="store_true", help="take back a wish that waits to be carried out"
    )
    close.add_argument(
        "--confirm", metavar="SYMBOL", help="do it without asking: the same symbol once more"
    )
    close.add_argument(
        "--yes", action="count", default=0, help="answers the first question; twice: both"
    )
    close.add_argument(
        "--wait",
        type=float,
        default=WAIT_SECONDS,
        metavar="SECONDS",
        help=f"how long to wait for the sale (default: {WAIT_SECONDS:.0f}); the wish outlives it",
    )
