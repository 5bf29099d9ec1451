"""The table `dca_meta`: schema version and the Alpaca account this database belongs to."""

from __future__ import annotations

from pathlib import Path

from mysql.connector.abstracts import MySQLConnectionAbstract

from utils.db_utils import DatabaseError, execute_query

SCHEMA_VERSION = 1
_SCHEMA_FILE = Path(__file__).resolve().parent.parent / "schema.sql"


class ForeignDatabase(Exception):
    """The database belongs to another Alpaca account, or has no or another schema."""


def get_meta(db_conn: MySQLConnectionAbstract, name: str) -> str | None:
    """The value stored under `name`, or None."""
    row = execute_query(
        "SELECT value FROM dca_meta WHERE name = %s", (name,), fetch_one=True, db_conn=db_conn
    )
    return row["value"] if row else None


def put_meta(db_conn: MySQLConnectionAbstract, name: str, value: str) -> None:
    """Store `value` under `name`."""
    execute_query(
        "INSERT INTO dca_meta (name, value) VALUES (%s, %s)"
        " ON DUPLICATE KEY UPDATE value = VALUES(value)",
        (name, value),
        commit=True,
        db_conn=db_conn,
    )


def apply_schema(db_conn: MySQLConnectionAbstract) -> None:
    """Create what `schema.sql` names and is not there yet. Safe to run at any time."""
    text = "\n".join(line.split("--")[0] for line in _SCHEMA_FILE.read_text("utf-8").splitlines())
    for statement in filter(None, (part.strip() for part in text.split(";"))):
        execute_query(statement, db_conn=db_conn)
    if get_meta(db_conn, "schema_version") is None:
        put_meta(db_conn, "schema_version", str(SCHEMA_VERSION))


def check_schema(db_conn: MySQLConnectionAbstract) -> None:
    """Refuse a database without our tables or with another version of them.

    Raises:
        ForeignDatabase: with what to run.
    """
    try:
        found = get_meta(db_conn, "schema_version")
    except DatabaseError as error:
        if error.errno == 1146:  # no such table
            raise ForeignDatabase(
                "the database has no tables of the bot yet: run scripts/setup"
            ) from None
        raise
    if found != str(SCHEMA_VERSION):
        raise ForeignDatabase(
            f"the database has schema version {found}, this program needs {SCHEMA_VERSION}:"
            " run scripts/setup"
        )


def claim_account(db_conn: MySQLConnectionAbstract, account_id: str) -> None:
    """Bind the database to `account_id` at the first start, and refuse another account ever after.

    A paper database must never meet a live account: every cycle in it would be wrong.

    Raises:
        ForeignDatabase: when the database belongs to another account.
    """
    execute_query(
        "INSERT IGNORE INTO dca_meta (name, value) VALUES ('alpaca_account_id', %s)",
        (account_id,),
        commit=True,
        db_conn=db_conn,
    )
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
