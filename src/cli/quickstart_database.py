"""The second step of `scripts/quickstart`: where the bot's memory is.

Owns: the choice between the private server and one of the user's, tried before it is saved.
"""

from __future__ import annotations

import mysql.connector

from cli.command_line import EXIT_FAILED, Stop
from cli.quickstart_account import DATABASE, LOCAL, account_of
from cli.quickstart_guide import Guide, remember, remembered
from config import Settings, inspect_settings, read_environment, use_settings
from mariadb_server.errors import MariaDBError
from mariadb_server.server import PrivateMariaDB
from models.meta import ForeignDatabase, apply_schema
from operations.refused import Refused
from utils.db_utils import DatabaseError, close_thread_connection, thread_connection
from utils.private_database import FOLDER, is_private_database

PRIVATE, OWN = "private", "own"
IN_THIS_FOLDER = "a private one, in this folder"


def database_of(settings: Settings) -> str | None:
    """Which kind the settings name; None: none yet."""
    if not settings.db_user or not settings.db_name:
        return None
    return PRIVATE if is_private_database(settings) else OWN


def usual_name(settings: Settings) -> str:
    """Each account has a database of its own, because one must never meet the other's records."""
    return "dca_local" if account_of(settings) == LOCAL else "dca_bot"


def set_up_database(guide: Guide) -> None:
    guide.begin_step("The database")
    named = database_of(guide.settings)
    chosen = guide.options.database
    if named and chosen and named != chosen:
        raise Refused(
            f".env names {'a server of your own' if named == OWN else 'the private server'}:"
            " take its DB_* lines out first"
        )
    kind = named or chosen or remembered("database")
    if kind is None and guide.options.yes:
        kind = PRIVATE
    if kind == OWN and named is None and not guide.can_ask:
        raise Refused("--database own needs DB_USER and DB_NAME, in .env or in the environment")
    if kind == PRIVATE:
        _use_private(guide)
    elif kind == OWN and named == OWN:
        _keep(guide, {})
    else:
        _ask_for_server(guide)
    settings = guide.settings
    what = "The private MariaDB" if database_of(settings) == PRIVATE else "Your server"
    where = f"{settings.db_host}:{settings.db_port}"
    guide.say(f"{what} answers at {where}, database {settings.db_name}.")
    guide.shown |= {"database": database_of(settings), "database_name": settings.db_name}


def _ask_for_server(guide: Guide) -> None:
    """The private one, or one that takes what was typed."""
    while True:
        host = guide.ask("Host of your MariaDB or MySQL server?", IN_THIS_FOLDER)
        if host == IN_THIS_FOLDER:
            remember(database=PRIVATE)
            return _use_private(guide)
        typed = {
            "DB_HOST": host,
            "DB_PORT": guide.ask("Port?", "3306"),
            "DB_USER": guide.ask("User?", "dca"),
            "DB_PASSWORD": guide.ask_secret("Password (not shown): "),
            "DB_NAME": guide.ask("Database?", usual_name(guide.settings)),
        }
        try:
            return _keep(guide, typed)
        except (DatabaseError, ForeignDatabase, Refused) as error:
            guide.say(f"{error}\n")


def _use_private(guide: Guide) -> None:
    server = PrivateMariaDB(FOLDER, report=guide.say)
    name = guide.settings.db_name or usual_name(guide.settings)
    try:
        with guide.waiting_for("Starting the private MariaDB"):
            server.start()
            server.create_database(name)
    except (MariaDBError, mysql.connector.Error, ValueError) as error:
        raise Stop(str(error), EXIT_FAILED) from None
    _keep(guide, server.db_env(name))


def _keep(guide: Guide, wanted: dict[str, str]) -> None:
    """Make the tables, and save what leads to them: only what works is saved.

    Raises:
        DatabaseError, ForeignDatabase, Refused: nothing was saved.
    """
    environment = {**read_environment(), **wanted}
    settings, problems = inspect_settings(environment)
    if wrong := [problem for problem in problems if problem.startswith("DB_")]:
        raise Refused("; ".join(wrong))
    use_settings(settings)
    try:
        apply_schema(thread_connection())
    finally:
        close_thread_connection()
        use_settings(guide.settings)
    guide.change_settings({name: environment.get(name) for name in DATABASE})
    remember(database=None)
