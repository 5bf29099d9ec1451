"""`scripts/database migrate`, and a step of scripts/setup: the tables of the database in .env.

Owns the texts and the exit code; models/meta.py changes the tables.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cli.command_line import EXIT_DONE, OneLineParser, print_json
from cli.runner import run_tool
from config import Settings, SettingsError, inspect_settings, read_environment, use_settings
from models.meta import SCHEMA_VERSION, apply_schema
from operations.refused import Refused
from runtime.daemon_process import find_daemon
from utils.db_utils import thread_connection

PROGRAM = "database migrate"
HELP = f"""\
Brings the database of .env (DB_*) to version {SCHEMA_VERSION}, which this program needs: makes
its tables, or changes those of an older version, keeping every row. Safe at any time and to run
twice; a step that fails stops with one line, and the next run goes on from there. scripts/setup
does it too.

  scripts/database migrate
  scripts/database migrate --json"""
EPILOG = """\
exit codes: 0 done, or nothing to do
            1 could not: the line says why
            2 a setting or an argument is wrong"""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_tool(PROGRAM, arguments, _migrate)


def _migrate(arguments: Sequence[str]) -> int:
    options = _parser().parse_args(arguments)
    settings = database_settings()
    if settings is None:
        reason = "no database in .env yet (DB_USER, DB_NAME): there are no tables to make"
        if not options.if_configured:
            raise Refused(reason)
        print(reason)
        return EXIT_DONE
    done = apply_schema(thread_connection())
    if options.json:
        print_json({"done": True, "version": SCHEMA_VERSION, "steps": done})
        return EXIT_DONE
    what = f"done: {', '.join(done)}" if done else "nothing to do"
    print(f"database {settings.db_name}: version {SCHEMA_VERSION}, {what}")
    if done and find_daemon(settings) is not None:
        print("the daemon was started before this change: scripts/bot restart")
    return EXIT_DONE


def database_settings() -> Settings | None:
    """Those of .env, None when they name no database. The keys of Alpaca may still be missing.

    Raises:
        SettingsError: a DB_* setting cannot be read.
    """
    settings, problems = inspect_settings(read_environment())
    if not settings.db_user or not settings.db_name:
        return None
    if ours := [problem for problem in problems if problem.startswith("DB_")]:
        raise SettingsError(ours)
    use_settings(settings)
    return settings


def _parser() -> OneLineParser:
    parser = OneLineParser(prog=f"scripts/{PROGRAM}", description=HELP, epilog=EPILOG)
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.add_argument(
        "--if-configured", action="store_true", help="nothing to do where .env names no database"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
