"""`scripts/doctor`: the command line over `monitoring.doctor`. Owns words and exit codes."""

from __future__ import annotations

import logging
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cli.command_line import EXIT_DONE, EXIT_FAILED, OneLineParser, make_console, print_json
from cli.runner import run_tool
from monitoring.doctor.doctor import examine
from monitoring.doctor.findings import Finding, Level

_STYLES = {Level.OK: "green", Level.WARN: "bold yellow", Level.FAIL: "bold red"}
_LEVEL_COLUMNS, _SUBJECT_COLUMNS, _TEXT_COLUMNS = 5, 21, 44
HELP = """\
Checks everything that the bot needs, and says the cure of what is wrong. Run it after
scripts/setup, before going live, and whenever something is odd. It changes nothing, sends no order,
can run beside the daemon, and ends within 20 seconds, whatever does not answer.

  scripts/doctor             one line for each finding
  scripts/doctor --json      one JSON object
  scripts/doctor --send-test also send a test mail and test messages

OK    as it should be
WARN  it works, but not as it should; or another line is the reason that it was not checked
FAIL  it does not work, or money is in danger

It checks: settings, fees, .env, packages, paper or live, account, clock, both streams (it opens one
only while no daemon of yours holds it), database, grants, schema, times, account binding, a second
daemon, each asset's plan, capital, the daemon, what holds an asset back, the caretakers, crontab,
folders, disk, backups, logs, mail, alerts, the watcher outside this machine.

exit codes: 0 nothing failed (there may be warnings); 1 something failed; 2 a wrong argument"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Show each finding as soon as it is known."""
    return run_tool("doctor", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    logging.getLogger().addHandler(logging.NullHandler())  # what matters is in the findings
    console = make_console()
    found: list[Finding] = []
    for finding in examine(with_test=options.send_test):
        found.append(finding)
        if not options.json:
            _show(console, finding)
    counts = Counter(finding.level for finding in found)
    if options.json:
        print_json(
            {
                "failed": counts[Level.FAIL] > 0,
                "counts": {level.value: counts[level] for level in Level},
                "findings": [asdict(finding) for finding in found],
            }
        )
    else:
        words = ", ".join(f"{counts[level]} {level.name}" for level in Level)
        worst = next((level for level in reversed(Level) if counts[level]), Level.OK)
        console.print(Text(f"\n{len(found)} lines: {words}", style=_STYLES[worst]))
    return EXIT_FAILED if counts[Level.FAIL] else EXIT_DONE


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/doctor", description=HELP)
    parser.add_argument("--json", action="store_true", help="JSON instead of lines")
    parser.add_argument(
        "--send-test",
        "--mail",
        action="store_true",
        help="send a test mail to ALERT_TO and a test message to each service of ALERT_URLS",
    )
    return parser


def _show(console: Console, finding: Finding) -> None:
    """One line; where it does not fit, its text goes on below its beginning, and on a narrow
    terminal below its subject.
    """
    head = Text(finding.level.name.ljust(_LEVEL_COLUMNS), style=_STYLES[finding.level])
    head.append(finding.subject, style="bold")
    text = Text(finding.text)
    if finding.cure:
        text.append(f" -> {finding.cure}", style="cyan")
    longest = max(map(len, text.plain.split()), default=0)
    if console.width >= _LEVEL_COLUMNS + _SUBJECT_COLUMNS + max(longest, _TEXT_COLUMNS):
        grid = Table.grid(padding=0)
        grid.add_column(width=_LEVEL_COLUMNS + _SUBJECT_COLUMNS, no_wrap=True)
        grid.add_column()
        grid.add_row(head, text)
        console.print(grid)
    else:
        console.print(head)
        console.print(Padding(text, (0, 0, 0, _LEVEL_COLUMNS), expand=False))


if __name__ == "__main__":
    sys.exit(main())
