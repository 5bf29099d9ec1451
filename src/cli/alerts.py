"""`scripts/alerts`: the alerts that are open, with their cures, and which of them were seen.

Owns words and exit codes; what an alert is and when it ends is models/events.py and
caretakers/plans/alert_endings.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from rich.text import Text

from cli.command_line import EXIT_DONE, EXIT_FAILED, OneLineParser, print_json
from cli.runner import Command, run_tool
from config import get_settings
from models.events import get_open_alerts
from models.meta import check_schema
from operations.alerts import acknowledge_alerts, alert_json, cure_of, is_seen
from operations.refused import Refused
from utils.db_utils import thread_connection
from utils.formatting import span
from utils.logging_setup import setup_logging

HELP = """\
Every ERROR that is not over, with its cure. An alert ends by itself when what it is about is gone
(consistency_checker looks every five minutes, and mails that it ended); what only happened, and
needs no cure, ends after an hour.

  scripts/alerts              list them, newest first
  scripts/alerts ack 17       I have seen it: scripts/status calls it wrong no more, and it does
                              not come again before it ended
  scripts/alerts ack all
  scripts/alerts --json"""
EPILOG = """\
exit codes: 0 none is open, or all are acknowledged; after ack: done
            1 some are open and not acknowledged
            2 a setting or an argument is wrong"""
COMMANDS = ("list", "ack")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_tool("alerts", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = _parse(arguments)
    settings = get_settings()
    check_schema(thread_connection())
    if options.command == "ack":
        setup_logging(settings, "alerts", console=False)
    return AlertsCommand(settings, options).run()


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/alerts", description=HELP, epilog=EPILOG)
    parser.add_argument(
        "command", nargs="?", choices=COMMANDS, default="list", help="list (default) or ack"
    )
    parser.add_argument("numbers", nargs="*", metavar="N", help="for ack: numbers, or all")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    options = build_parser().parse_intermixed_args(arguments)
    if (options.command == "ack") != bool(options.numbers):
        raise Refused("ack takes the numbers that scripts/alerts shows, or all; list takes none")
    return options


class AlertsCommand(Command):
    """The methods are named as the commands."""

    def list(self) -> int:
        alerts, now = get_open_alerts(thread_connection()), datetime.now(UTC)
        if self.as_json:
            print_json({"alerts": [alert_json(one, now) for one in alerts]})
        for one in alerts:
            about = f" {one.symbol}" if one.symbol else ""
            was_seen = is_seen(one)  # its row is of that moment
            since = f"{span((now - one.created_at).total_seconds())} ago"
            head = Text(f"{one.id}  {one.kind}{about}, {'acknowledged ' * was_seen}{since}")
            head.stylize("dim" if was_seen else "bold red")
            self.say(head)
            self.say(f"    {one.reason}")
            if cure := cure_of(one.kind):
                self.say(f"    -> {cure}")
        if not alerts:
            self.say("No alert is open.")
        return EXIT_DONE if all(map(is_seen, alerts)) else EXIT_FAILED

    def ack(self) -> None:
        numbers = acknowledge_alerts(thread_connection(), self.options.numbers)
        self.answer(f"acknowledged: {', '.join(map(str, numbers)) or 'nothing'}", numbers=numbers)


if __name__ == "__main__":
    sys.exit(main())
