"""Puts a backup in the place of the bot's tables. The bot must be stopped.

The file is checked whole, loaded into a fresh database beside the one in use, and compared there
with the file, row by row; then both are swapped in one statement. Whatever fails before that leaves
the tables in use as they were. What was in use is kept in a database of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings, use_settings
from domain.events import Event, EventKind, Severity
from models.events import append_event
from models.meta import SCHEMA_VERSION, apply_schema, get_meta, put_meta
from models.table_copies import (
    PAGE_ROWS,
    TableCopy,
    describe_tables,
    drop_database,
    has_rows,
    insert_rows,
    is_ours,
    make_database,
    prepare_table,
    read_table,
    set_next_id,
    swap_tables,
    tables_in,
)
from operations.refused import Refused
from runtime.account_lock import find_lock_holder
from runtime.daemon_process import WATCHDOG_LOCK, WATCHDOG_SECONDS, find_daemon
from utils.backup_file import BackupError, Contents, Digest, check_backup, read_sections
from utils.db_utils import DatabaseError, close_thread_connection, get_db_connection
from utils.state_file import locked

RESTORED_FROM = "restored_from"  # in dca_meta: the moment of the backup
CYCLE_IDS_FROM = "restored_cycle_ids_from"  # and the first id that no cycle of it could have
# Ids that stay free for the cycles that began since: the bot may start before they are caught up.
LOST_IDS = 10_000
_CARETAKERS = "order_manager", "cooldown_manager", "consistency_checker"
_CARETAKER_SECONDS = 120.0
_MAY_NOT = {1044, 1045, 1142, 1227}  # access denied: for a database, a user, a table, a privilege


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What is in use now. `kept_in`: where the tables of before are; None: they were empty."""

    contents: Contents
    kept_in: str | None
    migrated: tuple[str, ...]


@contextmanager
def nobody_works(settings: Settings) -> Iterator[None]:
    """No daemon runs, none is started, and no caretaker of cron works in the block.

    Raises:
        Refused: the daemon runs.
        TimeoutError: a caretaker is at work and does not end.
    """
    with ExitStack() as stack:
        stack.enter_context(locked(settings.run_dir / WATCHDOG_LOCK, WATCHDOG_SECONDS))
        if (daemon := find_daemon(settings)) is not None:
            raise Refused(f"the daemon runs (PID {daemon.pid}): scripts/bot stop")
        for name in _CARETAKERS:
            stack.enter_context(locked(settings.run_dir / f"{name}.lock", _CARETAKER_SECONDS))
        yield


def find_refusal(settings: Settings, contents: Contents) -> str | None:
    """Why this backup must not come into this database; None: it may."""
    version, account = contents.head.get("schema_version"), contents.head.get("account_id")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        return (
            f"the backup has schema version {version}, this program knows {SCHEMA_VERSION}:"
            " use the program that made it, or a newer one"
        )
    if unknown := [name for name in contents.tables if not is_ours(name)]:
        return f"the backup has a table that this program does not know: {', '.join(unknown)}"
    with closing(get_db_connection()) as connection:
        here = {one.name for one in describe_tables(connection)}
        owner = get_meta(connection, "alpaca_account_id") if "dca_meta" in here else None
        if owner and account and owner != account:
            return (
                f"the backup is of Alpaca account {account}, database {settings.db_name} belongs"
                f" to {owner}: name another DB_NAME in .env"
            )
        if account and (holder := find_lock_holder(connection, account)):
            return f"a daemon on {holder} trades this account with this server: stop it first"
    return None


def restore(settings: Settings, path: Path, say: Callable[[str], None]) -> Restored:
    """Put the backup `path` in place of the tables of DB_NAME; to be called in `nobody_works`.

    Raises:
        Refused: it must not be, or this user of the database may not do it; nothing was changed.
        BackupError, DatabaseError: the tables in use are as they were.
    """
    contents = check_backup(path)
    if refusal := find_refusal(settings, contents):
        raise Refused(refusal)
    say(f"The file is whole: {contents.rows} rows of {contents.head['made_at']} UTC.")
    stem, now = settings.db_name[:40], datetime.now(UTC)
    fresh, before = f"{stem}_restore", f"{stem}_before_{now:%Y%m%d_%H%M%S}"
    with closing(get_db_connection()) as connection:
        _make_fresh(connection, settings, fresh)
        with _database(settings, fresh) as loading:
            migrated = _load(loading, path, contents)
            append_event(loading, _event(path, contents))
        say("Loaded beside the tables in use, and compared with the file: the same.")
        replaced = [one.name for one in describe_tables(connection)]
        keeps = has_rows(connection)
        _as_permitted(settings, lambda: make_database(connection, before))
        swap_tables(
            connection,
            used=settings.db_name,
            fresh=fresh,
            before=before,
            replaced=replaced,
            arriving=[name for name in tables_in(connection, fresh) if is_ours(name)],
        )
        drop_database(connection, fresh)
        if not keeps:
            drop_database(connection, before)
    close_thread_connection()
    return Restored(contents=contents, kept_in=before if keeps else None, migrated=tuple(migrated))


def _make_fresh(connection: MySQLConnectionAbstract, settings: Settings, fresh: str) -> None:
    left = tables_in(connection, fresh)
    if strangers := [name for name in left if not is_ours(name)]:
        raise Refused(f"database {fresh} is needed and has other tables: {', '.join(strangers)}")
    if left:  # of a restore that was killed
        drop_database(connection, fresh)
    _as_permitted(settings, lambda: make_database(connection, fresh))


def _as_permitted(settings: Settings, make: Callable[[], None]) -> None:
    try:
        make()
    except DatabaseError as error:
        if error.errno not in _MAY_NOT:
            raise
        pattern = settings.db_name[:40].replace("_", r"\_")
        raise Refused(
            f"the user {settings.db_user!r} may not make a database beside {settings.db_name}; an"
            f" administrator of the server can allow it: GRANT ALL PRIVILEGES ON `{pattern}\\_%`.*"
            f" TO '{settings.db_user}'@'...'"
        ) from error


@contextmanager
def _database(settings: Settings, name: str) -> Iterator[MySQLConnectionAbstract]:
    """A connection to another database of the server. Not by USE: a line that is lost and opened
    again would be back in the database in use.
    """
    use_settings(replace(settings, db_name=name))
    try:
        connection = get_db_connection()
    finally:
        use_settings(settings)
    with closing(connection):
        yield connection


def _load(connection: MySQLConnectionAbstract, path: Path, expected: Contents) -> list[str]:
    """Fill a fresh database from the file; the migrations that it needed."""
    apply_schema(connection)
    cycle_ids_from = 1
    for section in read_sections(path):
        table = _table_of(section.facts)
        prepare_table(connection, table)
        rows = iter(section.rows)
        while page := list(islice(rows, PAGE_ROWS)):
            insert_rows(connection, table, page)
        if table.next_id is not None:
            set_next_id(connection, table.name, table.next_id)
        if table.name == "dca_cycles":
            cycle_ids_from = table.next_id or 1
            set_next_id(connection, table.name, cycle_ids_from + LOST_IDS)
        _compare(connection, table, expected)
    put_meta(connection, RESTORED_FROM, str(expected.head["made_at"]))
    put_meta(connection, CYCLE_IDS_FROM, str(cycle_ids_from))
    # Its version is that of the backup now: what is missing since is done as in any older database.
    return apply_schema(connection)


def _table_of(facts: Mapping[str, Any]) -> TableCopy:
    try:
        columns = tuple((str(name), str(kind)) for name, kind in facts["columns"])
        return TableCopy(name=facts["table"], columns=columns, next_id=facts["next_id"])
    except (KeyError, TypeError, ValueError):
        raise BackupError("the backup describes a table in a way that cannot be read") from None


def _compare(connection: MySQLConnectionAbstract, table: TableCopy, expected: Contents) -> None:
    """What was loaded, read as a backup reads it, must be what is in the file. A column of an older
    version can have another width by now: then the number of its rows is all that can be compared.
    """
    digest = Digest()
    for row in read_table(connection, table):
        digest.add(row)
    rows, sha256 = expected.tables[table.name]
    is_of_today = expected.head["schema_version"] == SCHEMA_VERSION
    if digest.rows != rows or (is_of_today and digest.sha256 != sha256):
        raise DatabaseError(
            f"{table.name} is not in the database as it is in the backup: nothing was changed"
        )


def _event(path: Path, contents: Contents) -> Event:
    reason = f"restored from {path.name}: {contents.rows} rows of {contents.head['made_at']} UTC"
    return Event(kind=EventKind.DATABASE_RESTORED, severity=Severity.INFO, reason=reason)
