"""`scripts/logs`: the log of the daemon or of another program, filtered, followed. Reads only."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.text import Text

from cli.command_line import (
    EXIT_DONE,
    EXIT_FAILED,
    OneLineParser,
    Stop,
    make_console,
)
from cli.runner import run_tool
from config import inspect_settings, read_environment
from monitoring.log_lines import LEVELS, Follower, LogLine, log_files, parse_lines
from operations.asset_input import read_symbol
from operations.refused import Refused
from utils.formatting import plain

POLL_SECONDS = 0.25
_STYLES = {
    "DEBUG": "dim",
    "INFO": "",
    "WARNING": "yellow",
    "ERROR": "bold red",
    "CRITICAL": "bold red",
}
HELP = """\
What the daemon logged, rotated files included; docs/log-lines.md says what each line means. Reads
files only: it works whatever else is away.

  scripts/logs                                 the last 50 lines of the daemon
  scripts/logs --follow                        and each new one, until Ctrl-C; also through rotation
  scripts/logs --level warning                 warnings and worse
  scripts/logs --symbol BTC/USD --lines 0      everything about one asset that is kept
  scripts/logs watchdog                        another program's: order_manager, assets, bot...
  scripts/logs --json | jq .fields             one JSON object a line

On a terminal in colours; into a file or a pipe, lines as they stand in the log."""
EPILOG = """\
exit codes: 0 done
            1 nothing was logged yet
            2 refused: the line says what would be right"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print once, or until Ctrl-C; whatever stops it is one line, and an exit code."""
    return run_tool("logs", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    settings, _ = inspect_settings(read_environment())  # a log is read whatever is wrong in .env
    path = settings.log_dir / f"{options.program}.log"
    if not log_files(path) and not options.follow:
        raise _nothing_logged(path)
    console, follower = make_console(), Follower(path)
    try:
        lines = filter(lambda line: _is_wanted(line, options), parse_lines(follower.read()))
        _show(console, deque(lines, maxlen=options.lines or None), as_json=options.json)
        if options.follow:
            new = filter(lambda line: _is_wanted(line, options), _new_lines(follower))
            _show(console, new, as_json=options.json)
    except KeyboardInterrupt:
        if not options.follow:
            raise
    finally:
        follower.close()
    return EXIT_DONE


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/logs", description=HELP, epilog=EPILOG)
    parser.add_argument("program", nargs="?", default="app", help="whose (default: the daemon's)")
    parser.add_argument("--follow", "-f", action="store_true", help="go on with each new line")
    parser.add_argument(
        "--level", type=_level, default="DEBUG", metavar="LEVEL", help="this level and worse"
    )
    parser.add_argument("--symbol", type=read_symbol, help="lines about this asset only")
    parser.add_argument(
        "--lines", type=_count, default=50, metavar="N", help="the last N (default: 50; 0: all)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    return parser


def _level(text: str) -> str:
    if text.upper() not in LEVELS:
        raise argparse.ArgumentTypeError(f"expected one of {', '.join(LEVELS).lower()}")
    return text.upper()


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise argparse.ArgumentTypeError(f"expected a whole number, not {text[:20]!r}")
    return int(text)


def _nothing_logged(path: Path) -> Exception:
    known = sorted(one.stem for one in path.parent.glob("*.log"))
    if path.stem == "app" or not known:
        return Stop(f"nothing was logged yet: there is no {path} (LOG_DIR)", EXIT_FAILED)
    return Refused(f"there is no log of {path.stem[:40]!r}: there is {', '.join(known)}")


def _is_wanted(line: LogLine, options: argparse.Namespace) -> bool:
    is_about = options.symbol is None or line.is_about(options.symbol)
    return is_about and line.is_at_least(options.level)


def _new_lines(follower: Follower) -> Iterator[LogLine]:
    """Each line as soon as it is whole; lines of a traceback belong to what came with them."""
    while True:
        new = follower.read()
        yield from parse_lines(new)
        if not new:
            time.sleep(POLL_SECONDS)  # nothing announces a line


def _show(console: Console, lines: Iterable[LogLine], *, as_json: bool) -> None:
    for line in lines:
        if as_json:
            print(json.dumps(_line_json(line)))
        elif console.is_terminal:
            console.print(_coloured(line))
        else:
            print("\n".join([line.text, *line.more]))
        sys.stdout.flush()


def _coloured(line: LogLine) -> Text:
    text = Text("\n".join([line.text, *line.more]), style=_STYLES.get(line.level, ""))
    at = line.text.find(line.event)
    text.stylize("dim", 0, max(0, at))
    text.stylize("bold", at, at + len(line.event))
    return text


def _line_json(line: LogLine) -> dict[str, object]:
    return {
        "at": plain(line.at),
        "level": line.level,
        "module": line.module,
        "event": line.event,
        "fields": line.fields,
        "more": line.more,
    }


if __name__ == "__main__":
    sys.exit(main())
