"""The words of `scripts/quickstart`: its options and help."""

from __future__ import annotations

import argparse
import time

from cli.assets_options import add_values
from cli.command_line import OneLineParser
from operations.asset_input import read_symbol

FIRST_ASSET = "BTC/USD"
# Who can run the caretakers.
WAYS = CRON, SYSTEMD, FOREGROUND, NOBODY = "cron", "systemd", "foreground", "none"
HELP = """\
From a fresh clone to a bot that trades: five questions. Enter alone takes the usual answer; the
plan of what is bought wants a y.

  scripts/quickstart                          asks, and goes on where it stopped
  scripts/quickstart --local --yes            play money on this machine, no question
  scripts/quickstart --keys paper.txt --yes   an Alpaca paper account, no question
  scripts/quickstart --local --stop           end the local exchange and the bot on it

  1 the account        paper keys of Alpaca (checked before they are saved), or the local exchange
  2 the database       a private one in this folder, or a server of your own
  3 the first asset    its plan is shown: every order, what a sale earns, what it all needs
  4 the caretakers     cron, your systemd or a process in the background runs them; or nobody
  5 begin              the bot starts, and its first trade is shown

It writes .env itself: only you can read it, what else stands in it stays, and no key is ever shown.
Nothing that is done or answered is asked again. It never begins with real money: see
docs/going-live.md for that.

The local exchange speaks Alpaca's protocol and makes up prices that move. It stays when you log
out; its account, orders and port survive a stop. It has a database of its own, so a bot for an
Alpaca account can follow: scripts/quickstart --keys FILE --replace-account. A .env that names
another account is kept as .env.before-1 and changed only when you agree."""
EPILOG = """\
exit codes: 0 done
            1 not done: the line says why; run it again to go on
            2 refused: the line says what would be right; without a terminal: what is missing
settings:   .env (see .env.example); what it did is noted in LOG_DIR/quickstart.log"""


def parse_options(arguments: list[str]) -> argparse.Namespace:
    """The options, as text.

    Raises:
        Refused: for arguments that do not fit, in one line.
        SystemExit: after --help.
    """
    parser = build_parser()
    options = parser.parse_args(arguments)
    if not options.local and (options.stop or options.port is not None):
        parser.error(f"{'--stop' if options.stop else '--port'} is for --local")
    return options


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/quickstart", description=HELP, epilog=EPILOG)
    add = parser.add_argument
    account = parser.add_mutually_exclusive_group()
    account.add_argument("--local", action="store_true", help="trade on the local exchange")
    account.add_argument(
        "--keys", metavar="FILE",
        help="an Alpaca paper account: the key and the secret, a line each; - reads standard input"
        " (never an option itself: others can see a command line)",
    )  # fmt: skip
    add("--port", type=_port, metavar="N", help="where the local exchange listens (usual: 18777)")
    add("--replace-account", action="store_true", help="agree that .env changes to another account")
    add(
        "--database", choices=("private", "own"),
        help="own: the server that DB_* in .env name",
    )  # fmt: skip
    add("--asset", type=read_symbol, metavar="SYMBOL", help=f"what to trade (Enter: {FIRST_ASSET})")
    add_values(parser, with_defaults=True)
    add(
        "--caretakers", choices=WAYS, metavar="WAY",
        help="who runs them each minute: cron; systemd, your own, no root; foreground,"
        " scripts/caretakers run in the background; or none (Enter: the first that this machine"
        " has)",
    )  # fmt: skip
    add("--begin", choices=("now", "later"), help="later: all is ready for scripts/bot start")
    add("--yes", action="store_true", help="agree to the plan, and take the usual answers")
    add("--stop", action="store_true", help="with --local: end it; what it remembers stays")
    add("--json", action="store_true", help="one JSON object at the end, and no question")
    add("--began-at", type=float, default=time.time(), help=argparse.SUPPRESS)  # by the script
    return parser


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1024 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"expected a port from 1024 to 65535, not {text[:20]!r}")
    return int(text)
