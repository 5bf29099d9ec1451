"""A backup of the bot's tables while it trades: one moment of them, in one checked file.

Owns: what is in it, where it goes, and which old ones are removed. Changes nothing in the database.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config import Settings
from models.meta import get_meta, schema_lock
from models.statements import read_row
from models.table_copies import describe_tables, read_table, snapshot
from operations.refused import Refused
from utils.backup_file import Contents, Section, backup_name, list_backups, write_backup
from utils.db_utils import get_db_connection


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """What was written, and which older files were removed."""

    path: Path
    contents: Contents
    removed: tuple[Path, ...] = ()


def make_backup(settings: Settings, path: Path | None, *, keep_days: int | None = None) -> Backup:
    """Write a backup to `path`, or under the name of database and time into BACKUP_DIR.

    Args:
        keep_days: afterwards remove what is older from BACKUP_DIR; None: remove nothing.

    Raises:
        Refused: `path` is there already, or the database has no tables of the bot.
        BackupError, DatabaseError: nothing was written, and nothing removed.
    """
    now = datetime.now(UTC)
    target = path or settings.backup_dir / backup_name(settings.db_name, now)
    if target.exists():
        raise Refused(f"{target} is there already: name another file")
    with closing(get_db_connection()) as connection, schema_lock(connection), snapshot(connection):
        tables = describe_tables(connection)
        version = None
        if any(one.name == "dca_meta" for one in tables):
            version = get_meta(connection, "schema_version")
        if version is None:
            raise Refused(f"database {settings.db_name} has no tables of the bot yet")
        row = read_row(connection, "SELECT UTC_TIMESTAMP(6) AS now")
        head = {
            "schema_version": int(version),
            "made_at": str(row["now"]) if row else None,
            "database": settings.db_name,
            "account_id": get_meta(connection, "alpaca_account_id"),
        }
        sections = (
            Section(
                {"table": one.name, "columns": one.columns, "next_id": one.next_id},
                read_table(connection, one),
            )
            for one in tables
        )
        contents = write_backup(target, head, sections)
    removed = () if keep_days is None else _remove_old(settings, now, keep_days, target)
    return Backup(path=target, contents=contents, removed=removed)


def _remove_old(settings: Settings, now: datetime, days: int, kept: Path) -> tuple[Path, ...]:
    """Only after a new one is there: the newest is never removed."""
    removed = []
    for made_at, path in list_backups(settings.backup_dir, settings.db_name):
        if now - made_at > timedelta(days=days) and path != kept:
            path.unlink(missing_ok=True)
            removed.append(path)
    return tuple(removed)
