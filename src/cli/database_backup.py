"""`scripts/database backup`, `restore` and `catch-up`: words and the order of steps.

Owns no rule: operations/backup.py, operations/restore.py and operations/lost_cycles.py do the work.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from cli.command_line import EXIT_DONE, EXIT_FAILED, OneLineParser, confirm, print_json
from cli.database_upgrade import database_settings
from cli.runner import run_tool
from config import Settings, SettingsError, inspect_settings, read_environment
from operations.backup import make_backup
from operations.refused import Refused
from runtime.schedule import BACKUP_KEEP_DAYS
from utils.backup_file import BackupError, check_backup
from utils.db_utils import DatabaseError
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging

log = logging.getLogger(__name__)

HELP = {
    "backup": f"""\
Writes the bot's tables of the database in .env into one compressed file, as they are at one
moment, while the bot trades; reads it back and checks it before it gets its name. Without FILE it
goes into BACKUP_DIR, under the name of the database and the time. Only you can read it.

  scripts/database backup
  scripts/database backup /mnt/usb/bot.backup.gz
  scripts/database backup --keep-days {BACKUP_KEEP_DAYS}      and remove older ones from BACKUP_DIR

scripts/install_crontab makes one each night and keeps {BACKUP_KEEP_DAYS} days. The keys and .env
are not in it.""",
    "restore": """\
Puts a backup in place of the bot's tables in the database of .env. The bot must be stopped
(scripts/bot stop). The file is checked, loaded into a fresh database beside the one in use,
compared with the file, and swapped in one step; what was in use is kept under another name. Then
everything that happened on the exchange since the backup is booked, cycles that began since
included. Until the swap nothing is changed.

  scripts/database restore backups/dca_bot-2026-01-31T031700Z.backup.gz
  scripts/bot start

What you changed since the backup (scripts/assets add, edit, remove) has to be done again.""",
    "catch-up": """\
Books what happened on the exchange since the backup that was restored: the end of restore, by
itself, for when the exchange could not be reached then, or when an asset had to be added again
first. The bot must be stopped.

  scripts/database catch-up""",
}
EPILOG = """\
exit codes: 0 done
            1 not done: the line says why and what is so now
            2 a setting or an argument is wrong, or it must not be now"""


def main(command: str, arguments: Sequence[str]) -> int:
    work = {"backup": _backup, "restore": _restore, "catch-up": _catch_up}[command]
    return run_tool(f"database {command}", arguments, work)


def _parser(command: str) -> OneLineParser:
    parser = OneLineParser(
        prog=f"scripts/database {command}", description=HELP[command], epilog=EPILOG
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    return parser


def _backup(arguments: Sequence[str]) -> int:
    parser = _parser("backup")
    parser.add_argument("file", nargs="?", type=Path, help="where to (default: into BACKUP_DIR)")
    parser.add_argument(
        "--keep-days", type=_days, metavar="N", help="remove older ones from BACKUP_DIR afterwards"
    )
    parser.add_argument("--quiet", action="store_true", help="print only what went wrong")
    options = parser.parse_args(arguments)
    settings = _settings()
    setup_logging(settings, "database", console=False)
    path = options.file.absolute() if options.file else None
    try:
        done = make_backup(settings, path, keep_days=options.keep_days)
    except (BackupError, DatabaseError, OSError) as error:
        log_event(log, LogEvent.BACKUP_FAILED, reason=error)
        raise
    rows, size = done.contents.rows, done.path.stat().st_size
    removed = [str(one) for one in done.removed]
    log_event(log, LogEvent.BACKUP_MADE, path=done.path, rows=rows, removed=len(removed) or None)
    if options.json:
        tables = {name: count for name, (count, _) in done.contents.tables.items()}
        print_json(
            {"done": True, "file": str(done.path), "bytes": size, "tables": tables}
            | {"removed": removed}
        )
    elif not options.quiet:
        print(f"{done.path}: {rows} rows, {size:,} bytes, read back and checked")
        for one in removed:
            print(f"removed {one}")
    return EXIT_DONE


def _days(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise Refused(f"--keep-days takes a number of days, not {text!r}")
    return int(text)


def _restore(arguments: Sequence[str]) -> int:
    parser = _parser("restore")
    parser.add_argument("file", type=Path, help="a file of scripts/database backup")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    options = parser.parse_args(arguments)
    settings = _settings()
    from operations.restore import nobody_works, restore  # loads the SDK, which takes a second

    path, say = options.file.absolute(), partial(_say, options.json)
    with nobody_works(settings):
        contents = check_backup(path)
        question = (
            f"Put the backup of {contents.head['made_at']} UTC ({contents.rows} rows) in place of"
            f" the bot's tables in database {settings.db_name}?"
        )
        confirm(question, is_sure=options.yes, as_json=options.json)
        setup_logging(settings, "database", console=False)
        done = restore(settings, path, say)
        log_event(log, LogEvent.DATABASE_RESTORED, path=path, rows=contents.rows)
        say(f"Database {settings.db_name} is that of the backup now.")
        if done.kept_in:
            say(
                f"What was in use is in database {done.kept_in}: when you need it no more,"
                f' scripts/database shell "DROP DATABASE {done.kept_in}"'
            )
        return _book(settings, options.json, {"rows": contents.rows, "kept_in": done.kept_in})


def _catch_up(arguments: Sequence[str]) -> int:
    options = _parser("catch-up").parse_args(arguments)
    settings = _settings()
    from operations.restore import nobody_works

    setup_logging(settings, "database", console=False)
    with nobody_works(settings):
        return _book(settings, options.json, {})


def _book(settings: Settings, as_json: bool, shown: dict[str, Any]) -> int:
    """Catch up, and say what came of it. An exchange that is away undoes no restore."""
    from operations.lost_cycles import catch_up
    from utils.alpaca_http import ExchangeError

    say = partial(_say, as_json)
    try:
        _, problems = inspect_settings(read_environment())
        if problems:
            raise SettingsError(problems)
        done = catch_up(settings)
    except (ExchangeError, SettingsError) as error:
        later = "what happened since is not booked yet: scripts/database catch-up, before the bot"
        if as_json:
            print_json({"done": False, "error": f"{error}; {later}", **shown})
        print(f"database: {error}; {later}", file=sys.stderr)
        return EXIT_FAILED
    log_event(log, LogEvent.DATABASE_CAUGHT_UP, orders=done.orders, cycles=len(done.cycles) or None)
    left = dict(done.left)
    if as_json:
        print_json(
            {"done": True, **shown, "orders": done.orders, "cycles": done.cycles, "left": left}
        )
    say(
        f"Booked since the backup: {done.orders} changes by orders,"
        f" {len(done.cycles)} cycles that began after it."
    )
    for symbol, count in left.items():
        say(
            f"{symbol}: {count} orders belong to no cycle: if the asset was added after the backup,"
            f" scripts/assets add {symbol} and scripts/database catch-up; else see docs/recovery.md"
        )
    say("Start the bot: scripts/bot start")
    return EXIT_DONE


def _say(as_json: bool, text: str) -> None:
    if not as_json:
        print(text, flush=True)


def _settings() -> Settings:
    """Those of .env; the keys of Alpaca may be missing.

    Raises:
        Refused: they name no database.
        SettingsError: a DB_* setting cannot be read.
    """
    settings = database_settings()
    if settings is None:
        raise Refused("no database in .env yet (DB_USER, DB_NAME)")
    return settings
