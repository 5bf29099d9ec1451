"""The table `dca_meta`: schema version, and the Alpaca account that this database belongs to.

Owns: how a database gets the tables of this program's version, from nothing (`schema.sql`) or from
an older version (`migrations/NNN_name.sql`, each leading to version NNN). Never takes anything
away from a database that is newer than the program.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mysql.connector.abstracts import MySQLConnectionAbstract

from models.statements import read_row, write
from utils.db_utils import DatabaseError, execute_query

SCHEMA_VERSION = 5
_SOURCES = Path(__file__).resolve().parent.parent
_SCHEMA_FILE = _SOURCES / "schema.sql"
_MIGRATIONS = _SOURCES / "migrations"
_OLDEST_VERSION = 1
_LOCK = "CONCAT('dca-schema-', LEFT(SHA2(DATABASE(), 256), 16))"  # locks are the whole server's
LOCK_SECONDS = 20  # shorter than a statement may take
_NO_SUCH_TABLE = 1146
# Duplicate table, column, key, and dropping what is gone: this statement was carried out before.
_DONE_ALREADY = {1050, 1060, 1061, 1091}


class ForeignDatabase(Exception):
    """The database belongs to another Alpaca account, or has no or another schema."""


class MigrationFailed(DatabaseError):
    """The database keeps the version that it had; the same command goes on from there."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: the file that leads to `version`."""

    version: int
    path: Path

    @property
    def name(self) -> str:
        return self.path.stem


def get_meta(db_conn: MySQLConnectionAbstract, name: str) -> str | None:
    """The value stored under `name`, or None."""
    row = read_row(db_conn, "SELECT value FROM dca_meta WHERE name = %s", name)
    return row["value"] if row else None


def put_meta(db_conn: MySQLConnectionAbstract, name: str, value: str) -> None:
    """Store `value` under `name`."""
    query = (
        "INSERT INTO dca_meta (name, value) VALUES (%s, %s)"
        " ON DUPLICATE KEY UPDATE value = VALUES(value)"
    )
    write(db_conn, query, name, value)


def load_migrations(folder: Path = _MIGRATIONS) -> list[Migration]:
    """Every numbered file, oldest first."""
    found = [(re.match(r"(\d{3})_", path.name), path) for path in sorted(folder.glob("*.sql"))]
    return [Migration(int(match[1]), path) for match, path in found if match]


def apply_schema(
    db_conn: MySQLConnectionAbstract, migrations: list[Migration] | None = None
) -> list[str]:
    """Bring the database to this program's version, from nothing or from an older one.

    Safe to run at any time, twice, and by several programs at once: one works, the others wait.

    Args:
        db_conn: an autocommit connection with no transaction open: the server commits each
            change of a table by itself.

    Returns:
        What was done, one name each; empty when everything was there.

    Raises:
        MigrationFailed: with the step and the reason; what came before it is kept.
        ForeignDatabase: the database is newer than this program.
    """
    steps = load_migrations() if migrations is None else migrations
    newest = steps[-1].version if steps else _OLDEST_VERSION
    with schema_lock(db_conn):
        found = _stored_version(db_conn)
        done = []
        if found is None:
            is_fresh = not _has_table(db_conn, "dca_assets")
            # Tables without a version: an interrupted first run, maybe of an older program. Every
            # step is tried; what is there counts as done. Stored before schema.sql, which would
            # store the newest.
            found = newest if is_fresh else _OLDEST_VERSION
            if _has_table(db_conn, "dca_meta"):
                put_meta(db_conn, "schema_version", str(found))
            _run(db_conn, _SCHEMA_FILE)
            put_meta(db_conn, "schema_version", str(found))
            done.append("schema")
        if found > newest:
            raise ForeignDatabase(_too_new(found))
        for step in steps:
            if step.version > found:
                _run(db_conn, step.path)
                put_meta(db_conn, "schema_version", str(step.version))
                done.append(step.name)
        return done


@contextmanager
def schema_lock(db_conn: MySQLConnectionAbstract) -> Iterator[None]:
    """No other program changes the tables meanwhile. The server frees it when the connection ends,
    so a crash never leaves it behind.

    Raises:
        MigrationFailed: another program has held it for too long.
    """
    row = read_row(db_conn, f"SELECT GET_LOCK({_LOCK}, {LOCK_SECONDS}) AS taken")
    if row is None or row["taken"] != 1:
        raise MigrationFailed("another program is changing the tables: run it again in a minute")
    try:
        yield
    finally:
        read_row(db_conn, f"SELECT RELEASE_LOCK({_LOCK})")


def _run(db_conn: MySQLConnectionAbstract, path: Path) -> None:
    """Every statement of a file, one after another."""
    text = "\n".join(line.split("--")[0] for line in path.read_text("utf-8").splitlines())
    statements = [part.strip() for part in text.split(";") if part.strip()]
    for number, statement in enumerate(statements, start=1):
        try:
            execute_query(statement, db_conn=db_conn)
        except DatabaseError as error:
            if error.errno not in _DONE_ALREADY:
                reason = str(error).removeprefix("database: ")
                raise MigrationFailed(
                    f"{path.stem}, statement {number} of {len(statements)}, failed: {reason};"
                    " the database keeps its version, run it again when the reason is gone",
                    error.errno,
                ) from error


def _stored_version(db_conn: MySQLConnectionAbstract) -> int | None:
    if not _has_table(db_conn, "dca_meta"):
        return None
    text = get_meta(db_conn, "schema_version")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()):
        raise ForeignDatabase(f"the database has schema version {text!r}: that is none of ours")
    return int(text)


def _has_table(db_conn: MySQLConnectionAbstract, name: str) -> bool:
    query = (
        "SELECT 1 FROM information_schema.tables"
        " WHERE table_schema = DATABASE() AND table_name = %s"
    )
    return read_row(db_conn, query, name) is not None


def check_schema(db_conn: MySQLConnectionAbstract) -> None:
    """Refuse a database without our tables or with another version of them.

    Raises:
        ForeignDatabase: with what to run.
    """
    try:
        found = get_meta(db_conn, "schema_version")
    except DatabaseError as error:
        if error.errno != _NO_SUCH_TABLE:
            raise
        found = None
    if found is None:
        raise ForeignDatabase("the database has no tables of the bot yet: run scripts/setup")
    if found.isascii() and found.isdigit() and int(found) > SCHEMA_VERSION:
        raise ForeignDatabase(_too_new(int(found)))
    if found != str(SCHEMA_VERSION):
        raise ForeignDatabase(
            f"the database has schema version {found}, this program needs {SCHEMA_VERSION}:"
            " run scripts/setup"
        )


def _too_new(found: int) -> str:
    return (
        f"the database has schema version {found}, newer than this program's {SCHEMA_VERSION}:"
        " use the program that made it, or a newer one"
    )


def claim_account(db_conn: MySQLConnectionAbstract, account_id: str) -> None:
    """Bind the database to `account_id` at the first start, and refuse another account ever after.

    A paper database must never meet a live account: every cycle in it would be wrong.

    Raises:
        ForeignDatabase: when the database belongs to another account.
    """
    query = "INSERT IGNORE INTO dca_meta (name, value) VALUES ('alpaca_account_id', %s)"
    write(db_conn, query, account_id)
    check_account(db_conn, account_id)


def check_account(db_conn: MySQLConnectionAbstract, account_id: str) -> None:
    """Refuse a database of another account; one that was never started belongs to any.

    Raises:
        ForeignDatabase: when the database belongs to another account.
    """
    owner = get_meta(db_conn, "alpaca_account_id")
    if owner not in (None, account_id):
        raise ForeignDatabase(
            f"this database belongs to Alpaca account {owner}, the keys are of account"
            f" {account_id}: use another DB_NAME for this account"
        )
