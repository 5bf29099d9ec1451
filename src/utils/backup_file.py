"""The file of a backup: compressed lines of JSON that say themselves whether they are whole.

    {"backup": "dca-bot", "format": 1, "schema_version": 4, "made_at": ..., "account_id": ...}
    {"table": "dca_assets", "columns": [["id", "int(11)"], ...], "next_id": 3}
    [1, "BTC/USD", ...]                                   one line for each row
    {"end_of": "dca_assets", "rows": 2, "sha256": ...}    of those lines
    {"end": "dca-bot", "rows": 812, "sha256": ...}        of every line before it

Owns: that form, its checks, and that a file appears whole or not at all, for its owner only. Knows
no database. `zcat FILE` shows everything in it; no key and no password is.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FORMAT = 1
_TIMES = "%Y-%m-%dT%H%M%SZ"
_FILE_NAME = re.compile(r".+-(\d{4}-\d\d-\d\dT\d{6}Z)\.backup\.gz")
_NAME = "dca-bot"


class BackupError(Exception):
    """The file cannot be written or is no whole backup; one line for a person."""


@dataclass(frozen=True, slots=True)
class Section:
    """One table: what is said of it, and its rows, to be read once and in order."""

    facts: Mapping[str, Any]
    rows: Iterable[list[Any]]


@dataclass(slots=True)
class Digest:
    """Of the rows of one table, as their lines are."""

    rows: int = 0
    _sha: Any = field(default_factory=hashlib.sha256)

    def add(self, row: list[Any]) -> bytes:
        """Count `row`; its line."""
        line = _line(row)
        self.rows += 1
        self._sha.update(line)
        return line

    @property
    def sha256(self) -> str:
        return str(self._sha.hexdigest())


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a whole backup holds. `tables`: by name, how many rows and their checksum."""

    head: Mapping[str, Any]
    tables: Mapping[str, tuple[int, str]]

    @property
    def rows(self) -> int:
        return sum(rows for rows, _ in self.tables.values())


def _line(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"


def backup_name(database: str, made_at: datetime) -> str:
    """How a file in BACKUP_DIR is named."""
    return f"{database}-{made_at:{_TIMES}}.backup.gz"


def list_backups(folder: Path, database: str) -> list[tuple[datetime, Path]]:
    """Those of `database` in `folder` that bear a name of ours, oldest first."""
    found = []
    for path in folder.glob(f"{database}-*.backup.gz"):
        match = _FILE_NAME.fullmatch(path.name)
        if match and path.name.startswith(f"{database}-{match[1]}"):
            found.append((datetime.strptime(match[1], _TIMES).replace(tzinfo=UTC), path))
    return sorted(found)


def write_backup(path: Path, head: Mapping[str, Any], sections: Iterable[Section]) -> Contents:
    """Write the file, read it back, and only then give it its name. What was read back.

    Raises:
        BackupError: it could not be written, or is not what was written; nothing has that name
            that had not before.
    """
    arriving = path.with_name(f".{path.name}.{os.getpid()}.arriving")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        arriving.unlink(missing_ok=True)
        try:
            written = _write(arriving, head, sections)
            if check_backup(arriving) != written:
                raise BackupError(f"{path} is not what was written: is the disk sound?")
            arriving.replace(path)
            _sync_folder(path.parent)
        finally:
            arriving.unlink(missing_ok=True)
    except OSError as error:
        raise BackupError(f"cannot write {path}: {error.strerror or error}") from error
    return written


def _write(path: Path, head: Mapping[str, Any], sections: Iterable[Section]) -> Contents:
    whole, tables = hashlib.sha256(), dict[str, tuple[int, str]]()
    full_head = {"backup": _NAME, "format": FORMAT, **head}
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6) as file:

            def put(line: bytes) -> None:
                whole.update(line)
                file.write(line)

            put(_line(full_head))
            for section in sections:
                put(_line(section.facts))
                digest = Digest()
                for row in section.rows:
                    put(digest.add(row))
                name = section.facts["table"]
                put(_line({"end_of": name, "rows": digest.rows, "sha256": digest.sha256}))
                tables[name] = digest.rows, digest.sha256
            contents = Contents(head=full_head, tables=tables)
            put(_line({"end": _NAME, "rows": contents.rows, "sha256": whole.hexdigest()}))
        raw.flush()
        os.fsync(raw.fileno())
    return contents


def _sync_folder(folder: Path) -> None:
    """The name must survive a power cut as well."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check_backup(path: Path) -> Contents:
    """Read all of a backup and check each sum in it.

    Raises:
        BackupError: it is none, it is damaged, or its end is missing.
    """
    whole = _Checked(path)
    for section in whole.sections():
        for _ in section.rows:
            pass
    return whole.contents()


def read_sections(path: Path) -> Iterator[Section]:
    """Each table of a backup with its rows; the rows of one are read before the next.

    Raises:
        BackupError: as `check_backup`, when that place is reached.
    """
    whole = _Checked(path)
    yield from whole.sections()
    whole.contents()


class _Checked:
    """The lines of one file, each checked as it passes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines = self._read()
        self._sha = hashlib.sha256()
        self._tables: dict[str, tuple[int, str]] = {}
        self._head: dict[str, Any] = {}
        self._ended = False

    def _read(self) -> Iterator[bytes]:
        try:
            with gzip.open(self._path, "rb") as file:
                yield from file
        except (EOFError, zlib.error, gzip.BadGzipFile):
            raise BackupError(f"{self._path} is no backup, or is damaged") from None
        except OSError as error:
            raise BackupError(f"cannot read {self._path}: {error.strerror or error}") from error

    def sections(self) -> Iterator[Section]:
        self._head = self._next_object()
        if self._head.get("backup") != _NAME:
            raise BackupError(f"{self._path} is no backup of this bot")
        if self._head.get("format") != FORMAT:
            raise BackupError(f"{self._path} was made by a newer program: use that")
        while True:
            before = self._sha.hexdigest()
            facts = self._next_object()
            if "table" not in facts:
                break
            yield Section(facts, self._rows(facts["table"]))
            if facts["table"] not in self._tables:
                raise BackupError("the rows of a table were not read")
        if facts.get("end") != _NAME or facts.get("sha256") != before:
            raise self._damaged()
        if next(self._lines, None) is not None:
            raise self._damaged()
        self._ended = True

    def _rows(self, table: str) -> Iterator[list[Any]]:
        digest = Digest()
        while isinstance(row := self._next(), list):
            digest.add(row)
            yield row
        said = {"end_of": table, "rows": digest.rows, "sha256": digest.sha256}
        if row != said:
            raise self._damaged()
        self._tables[table] = digest.rows, digest.sha256

    def contents(self) -> Contents:
        if not self._ended:
            raise self._damaged()
        return Contents(head=self._head, tables=self._tables)

    def _next_object(self) -> dict[str, Any]:
        found = self._next()
        if not isinstance(found, dict):
            raise self._damaged()
        return found

    def _next(self) -> Any:
        line = next(self._lines, b"")
        self._sha.update(line)
        try:
            return json.loads(line)
        except ValueError:
            raise self._damaged() from None

    def _damaged(self) -> BackupError:
        return BackupError(f"{self._path} is damaged or not whole: use another backup")
