"""The words of `scripts/assets`: its commands, options and help."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from cli.command_line import OneLineParser
from operations.asset_input import DEFAULTS, TAKER_FEE, read_symbol

HELP = """\
What the bot trades, and how. A change is shown before it is saved: the plan of the cycle, with the
price and size of each order and what a sale would earn after fees.

  scripts/assets add BTC/USD                      with the defaults (see scripts/assets add --help)
  scripts/assets add btcusd --base 50 --safety 25 --max-safety 8 --deviation 2 --take-profit 1.5
  scripts/assets list                             everything that is configured
  scripts/assets show BTC/USD                     its plan at the current price, and its open cycle
  scripts/assets show SOL/USD --base 100          the plan of an asset you may add
  scripts/assets edit BTC/USD --take-profit 2     other values stay
  scripts/assets disable BTC/USD                  no more buys; what it holds is still sold
  scripts/assets enable BTC/USD
  scripts/assets remove BTC/USD                   forget it; its orders stay in the journal
  scripts/assets adopt BTC/USD                    make a cycle of coins that no cycle claims

A running bot notices within seconds; nothing has to be restarted."""
EPILOG = """\
exit codes: 0 done
            1 not done: the database or Alpaca cannot be used now, or you said no
            2 refused: the line says what would be right
settings:   .env (see .env.example); changes are noted in LOG_DIR/assets.log and in dca_events"""
ADD_HELP = """\
Shows the plan of the cycle, asks, and saves the asset with its first cycle. The bot buys the base
order at the next price, a safety order each time the price is --deviation percent below the last
buy, and sells everything when the price is --take-profit percent above the average.

  scripts/assets add BTC/USD
  scripts/assets add ETH/USD --base 100 --safety 50 --max-safety 4 --deviation 2.5 --fee-aware
  scripts/assets add SOL/USD --yes --json         for a program: no question, exact numbers"""
SHOW_HELP = """\
The plan of a cycle at the current price, and what is still to come in the open cycle. With options:
the plan with these values. Nothing is saved, and the symbol need not be configured.

  scripts/assets show BTC/USD
  scripts/assets show BTC/USD --take-profit 2 --max-safety 8"""
EDIT_HELP = """\
Shows the plan with the new values, asks, and saves them. Values that you do not name stay. An open
cycle goes on with the new values.

  scripts/assets edit BTC/USD --take-profit 1.8 --cooldown 600
  scripts/assets edit BTC/USD --early-restart off --fee-aware off"""
ENABLE_HELP = """\
Shows the plan and lets the asset buy; it gets a first cycle if it has none.

  scripts/assets enable BTC/USD"""
DISABLE_HELP = """\
The asset buys no more. What it holds is still watched and sold at its take profit.

  scripts/assets disable BTC/USD"""
REMOVE_HELP = """\
Forgets the asset and its cycles; its orders stay in the journal. Refused while an order is open.
While it holds coins, say what becomes of them:

  scripts/assets remove BTC/USD                   it holds nothing
  scripts/bot close BTC/USD                       sell what it holds, then remove it
  scripts/assets remove BTC/USD --keep-coins      the coins stay in the account and are yours"""
ADOPT_HELP = """\
Makes a cycle of coins in the account that no cycle claims: after a lost database, or after a sale
by hand that left some. Quantity and average price come from Alpaca; how many safety orders the
coins count as follows from what they cost. You are warned where the bid is at the take profit
already: the bot then sells the coins at once. The asset must be configured.

  scripts/assets adopt BTC/USD"""
LIST_HELP = """\
Everything that is configured, with its open cycle. Needs the database only.

  scripts/assets list --json"""


_MORE_USD = ", or more where a coin's steps would eat the profit"
_MORE_PERCENT = ", or more where the fees are higher than usual"


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """The command and its options, as text.

    Raises:
        Refused: for arguments that do not fit, in one line.
        SystemExit: after --help.
    """
    return build_parser().parse_args(arguments)


def add_symbol(parser: argparse.ArgumentParser) -> None:
    """The asset that a command is about, normalised; a text that is none raises Refused."""
    text = "BTC/USD; btcusd and BTC-USD mean the same"
    parser.add_argument("symbol", metavar="SYMBOL", type=read_symbol, help=text)


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/assets", description=HELP, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(
        name: str, summary: str, text: str, *, symbol: bool = True
    ) -> argparse.ArgumentParser:
        one: argparse.ArgumentParser = commands.add_parser(
            name, help=summary, description=text, epilog=EPILOG
        )
        if symbol:
            add_symbol(one)
        one.add_argument("--json", action="store_true", help="one JSON object, exact numbers")
        return one

    def asks(one: argparse.ArgumentParser) -> None:
        one.add_argument("--yes", action="store_true", help="do it without asking")

    add = command("add", "trade a new asset", ADD_HELP)
    add_values(add, with_defaults=True)
    asks(add)
    command("list", "everything that is configured", LIST_HELP, symbol=False)
    show = command("show", "the plan of a cycle, and the cycle that is open", SHOW_HELP)
    add_values(show, with_defaults=False)
    edit = command("edit", "change values", EDIT_HELP)
    add_values(edit, with_defaults=False)
    asks(edit)
    command("enable", "let it buy", ENABLE_HELP)
    command("disable", "no more buys; sells go on", DISABLE_HELP)
    remove = command("remove", "forget it", REMOVE_HELP)
    remove.add_argument(
        "--keep-coins", action="store_true", help="forget what it holds: the coins are yours"
    )
    asks(remove)
    asks(command("adopt", "make a cycle of coins that no cycle claims", ADOPT_HELP))
    return parser


def add_values(parser: argparse.ArgumentParser, *, with_defaults: bool) -> None:
    """The values of an asset, as text: read_values refuses all that are wrong in one line."""

    def value(option: str, metavar: str, text: str, **more: Any) -> None:
        default = DEFAULTS[option]
        if with_defaults:
            more_of = {"base": _MORE_USD, "safety": _MORE_USD, "take_profit": _MORE_PERCENT}
            text += f" (default: {default or 'off'}{more_of.get(option, '')})"
        parser.add_argument(f"--{option.replace('_', '-')}", metavar=metavar, help=text, **more)

    value("base", "USD", "size of the base order")
    value("safety", "USD", "size of each safety order")
    value("max_safety", "COUNT", "safety orders in one cycle at most")
    value("deviation", "PERCENT", "how far below the last buy a safety order comes")
    value("take_profit", "PERCENT", "how far above the average price everything is sold")
    value("cooldown", "SECONDS", "cooldown after a sale")
    value("early_restart", "PERCENT", "how far below the last sale the price ends a cooldown early")
    value(
        "fee_aware",
        "PERCENT",
        "fee a side that the take profit earns on top; without a number: TAKER_FEE_PERCENT",
        nargs="?",
        const=TAKER_FEE,
    )
    value("volume_scale", "FACTOR", "each safety order costs this many times the one before")
    value("step_scale", "FACTOR", "each deviation is this many times the one before")
    value("reference", "FILL", "what deviations are below: last-fill or base-order")
    value(
        "trailing",
        "PERCENT",
        "from the take profit on, follow the peak and sell this far below it",
    )
    value("stop_loss", "PERCENT", "how far below the average price everything is sold at a loss")
    value("stop_loss_seconds", "SECONDS", "how long the price must stay below")
    value("stop_loss_action", "WHAT", "disable or cooldown: what follows a stop loss")
    value("start", "at-once|manual", "manual: a base order waits for scripts/bot open SYMBOL")
    value("max_entry", "USD", "no base order above this price")
