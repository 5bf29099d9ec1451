"""`scripts/database`: a private MariaDB, with the bot's tables, for users who have no server.

Owns the folder .local/mariadb/main and nothing else. Never deletes data.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mysql.connector
import psutil
from mysql.connector.abstracts import MySQLConnectionAbstract

from cli.command_line import ask
from cli.database_backup import main as backup_command
from cli.database_upgrade import main as migrate
from config import SettingsError, inspect_environment
from mariadb_server.errors import MariaDBError
from mariadb_server.server import PrivateMariaDB
from models.meta import ForeignDatabase, apply_schema
from runtime.daemon_process import find_daemon
from utils.db_utils import DatabaseError
from utils.env_file import env_file_value
from utils.private_database import FOLDER, is_private_database
from utils.wrapping import PageFormatter

HELP = """\
A MariaDB server of your own inside this folder, for users who have no MariaDB or MySQL.

  scripts/database start              start it (also after a reboot), print the DB_* lines for .env
  scripts/database status             whether it runs, and where
  scripts/database env                the DB_* lines again
  scripts/database shell              type SQL; exit or Ctrl-D ends it
  scripts/database shell "SELECT 1"   run one statement
  scripts/database stop               shut it down; the data stays
  scripts/database backup             back up the database in .env while the bot trades
  scripts/database restore FILE       put a backup in its place; the bot must be stopped
  scripts/database catch-up           book what happened on the exchange since that backup
  scripts/database migrate            make or upgrade the tables of the database in .env,
                                      this one or a server of your own

It runs as your user, listens on this machine only, and is no service of the system. Its data is in
.local/mariadb/main: that folder is your bot's memory. A copy of it made while the server runs is
no backup: use scripts/database backup. backup, restore, catch-up and migrate are for a server of
your own as well, and each has a --help. With --json each command answers in JSON. Exit code 0:
done; 1: it could not be done; 2: it must not be done now; 3 (status): it does not run.
"""
REFUSED, NOT_RUNNING, INTERRUPTED = 2, 3, 130
BACKUP_COMMANDS = ("backup", "restore", "catch-up")
_FAILURES = (
    MariaDBError,
    DatabaseError,
    ForeignDatabase,
    SettingsError,
    mysql.connector.Error,
    ValueError,
)


def main(arguments: Sequence[str] | None = None) -> int:
    texts = list(sys.argv[1:] if arguments is None else arguments)
    if texts[:1] == ["migrate"]:
        return migrate(texts[1:])
    command = next((text for text in texts if not text.startswith("-")), "")
    if command in BACKUP_COMMANDS:
        texts.remove(command)
        return backup_command(command, texts)
    options = _parse(texts)
    server = PrivateMariaDB(FOLDER, report=lambda line: print(line, file=sys.stderr))
    try:
        return COMMANDS[options.command](server, options)
    except _FAILURES as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return INTERRUPTED


def start(server: PrivateMariaDB, options: argparse.Namespace) -> int:
    ran_already = server.is_running()
    server.start()
    server.create_database(options.database)
    with contextlib.closing(server.connect(options.database)) as connection:
        apply_schema(connection)
    if not options.json:
        state = "The private MariaDB runs already" if ran_already else "The private MariaDB runs"
        if options.database == _database_in_use():  # other lines would lead to an empty one
            print(f"{state}, as .env has it: database {options.database}")
            return 0
        print(f"# {state}. These lines belong in .env:")
    return env(server, options)


def _database_in_use() -> str | None:
    """The DB_NAME of .env where it leads to this server; .env may be incomplete by now."""
    settings, _ = inspect_environment()
    return (settings.db_name or None) if is_private_database(settings) else None


def stop(server: PrivateMariaDB, options: argparse.Namespace) -> int:
    ran = server.is_running()
    if ran and not options.yes and (daemon := _daemon_that_uses_it()) is not None:
        trades = f"the bot trades with this database (PID {daemon.pid}): scripts/bot stop first"
        if options.json or not sys.stdin.isatty():
            print(f"ERROR: {trades}; --yes stops the database all the same", file=sys.stderr)
            return REFUSED
        question = f"{trades[0].upper()}{trades[1:]}. Stop the database all the same? [y/N] "
        if ask(question).lower() not in ("y", "yes"):
            print("not stopped", file=sys.stderr)
            return REFUSED
    server.stop()
    _answer(options, {"running": False}, "stopped" if ran else "it does not run")
    return 0


def _daemon_that_uses_it() -> psutil.Process | None:
    """The bot of this folder, if it runs with this server; .env may be incomplete by now."""
    settings, _ = inspect_environment()
    return find_daemon(settings) if is_private_database(settings) else None


def status(server: PrivateMariaDB, options: argparse.Namespace) -> int:
    if not server.is_running():
        text = "not running (start it with: scripts/database start)"
        _answer(options, {"running": False, "folder": str(FOLDER)}, text)
        return NOT_RUNNING
    env = server.db_env()
    facts = {
        "running": True,
        "port": int(env["DB_PORT"]),
        "socket": env["DB_SOCKET"],
        "folder": str(FOLDER),
        "log": str(server.log_file),
    }
    where = f"{env['DB_HOST']}:{env['DB_PORT']}, data in {FOLDER}, log in {server.log_file.name}"
    _answer(options, facts, f"running on {where} there")
    return 0


def env(server: PrivateMariaDB, options: argparse.Namespace) -> int:
    settings = server.db_env(options.database)
    lines = (f"{name}={env_file_value(value)}" for name, value in settings.items())
    _answer(options, settings, "\n".join(lines))
    return 0


def shell(server: PrivateMariaDB, options: argparse.Namespace) -> int:
    if not server.is_running():
        raise MariaDBError("the private MariaDB does not run: scripts/database start")
    if options.statement is not None:
        with contextlib.closing(server.connect(options.database)) as connection:
            _run(connection, options.statement, options)
        return 0
    client = shutil.which("mariadb") or shutil.which("mysql")
    if client and sys.stdin.isatty() and not options.json:
        settings = server.db_env(options.database)
        os.environ["MYSQL_PWD"] = settings["DB_PASSWORD"]  # others can see a command line
        where = [f"--socket={settings['DB_SOCKET']}", f"--user={settings['DB_USER']}"]
        os.execv(client, [client, "--no-defaults", *where, settings["DB_NAME"]])
    return _own_shell(server, options)


def _own_shell(server: PrivateMariaDB, options: argparse.Namespace) -> int:
    """In place of the mariadb client, which the private copy does not contain."""
    interactive = sys.stdin.isatty()
    if interactive:
        print(f"SQL for database {options.database}; a statement ends with ';', exit ends.")
    refused = 0
    with contextlib.closing(server.connect(options.database)) as connection:
        for statement in _statements(options.database if interactive else None):
            try:
                _run(connection, statement, options)
            except mysql.connector.Error as error:
                refused += 1
                print(f"ERROR: {error}", file=sys.stderr)
    return 1 if refused and not interactive else 0


def _statements(prompt: str | None) -> Iterator[str]:
    """Statements from standard input: the lines up to one that ends with ';', or the end."""
    lines: list[str] = []
    while True:
        try:
            line = input("" if prompt is None else "... " if lines else f"{prompt}> ")
        except EOFError:
            break
        except KeyboardInterrupt:
            if prompt is None:
                raise
            print()
            lines = []
            continue
        if prompt is not None and line.strip().rstrip(";").lower() in ("exit", "quit"):
            return
        lines.append(line)
        if not line.rstrip().endswith(";"):
            continue
        yield "\n".join(lines)
        lines = []
    if "".join(lines).strip():
        yield "\n".join(lines)


def _run(connection: MySQLConnectionAbstract, statement: str, options: argparse.Namespace) -> None:
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(statement.strip().rstrip(";"))
        if cursor.description is None:
            _answer(options, {"rows_changed": cursor.rowcount}, f"{cursor.rowcount} rows changed")
            return
        names = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    if options.json:
        print(json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=str))
        return
    for row in [names, *rows]:
        print("\t".join("NULL" if value is None else str(value) for value in row))


def _answer(options: argparse.Namespace, facts: dict[str, Any], text: str) -> None:
    print(json.dumps(facts) if options.json else text)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/database", description=HELP, formatter_class=PageFormatter
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND")
    parser.add_argument("statement", nargs="?", help="SQL, for shell")
    parser.add_argument("--database", help="its DB_NAME (default: that of .env, or dca_bot)")
    parser.add_argument("--json", action="store_true", help="answer in JSON")
    parser.add_argument(
        "--yes", action="store_true", help="stop although the bot trades with this database"
    )
    return parser


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = build_parser()
    options = parser.parse_intermixed_args(arguments)
    if options.statement is not None and options.command != "shell":
        parser.error(f"{options.command} takes no statement")
    options.database = options.database or _database_in_use() or "dca_bot"
    return options


COMMANDS: dict[str, Callable[[PrivateMariaDB, argparse.Namespace], int]] = {
    "start": start,
    "stop": stop,
    "status": status,
    "env": env,
    "shell": shell,
    # Main gives these to their own parsers: here they stand for the usage.
    **dict.fromkeys(BACKUP_COMMANDS, lambda _server, _options: REFUSED),
    "migrate": lambda _server, options: migrate(["--json"] if options.json else []),
}


if __name__ == "__main__":
    sys.exit(main())
