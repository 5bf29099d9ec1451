"""Finds or fetches the MariaDB server program that a private server runs with.

The machine's own mariadbd or mysqld comes first; otherwise Debian's package is unpacked inside the
project. Installs nothing and starts no server.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from mariadb_server.debian_packages import (
    LOCAL_FOLDER,
    PackagesUnavailable,
    exclusive_lock,
    fetch_and_unpack,
)
from mariadb_server.errors import MariaDBError

PACKAGE = "mariadb-server-core"
FETCHED_FOLDER = LOCAL_FOLDER / "mariadb-binaries"
# Server programs are often outside the PATH of a plain user.
SYSTEM_FOLDERS = (
    "/usr/sbin",
    "/usr/libexec",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/usr/local/mysql/bin",
    "/opt/homebrew/bin",
)
# The SQL for a new data folder, in this order; in older releases mysql_ stands for mariadb_.
SYSTEM_TABLES = (
    "{}_system_tables.sql",
    "{}_performance_tables.sql",
    "{}_system_tables_data.sql",
    "maria_add_gis_sp_bootstrap.sql",
)


@dataclass(frozen=True, slots=True)
class ServerBinaries:
    server: Path
    unpacked_in: Path | None = None  # set when fetched into the project

    def parts(self) -> list[str]:
        """For a note, from which `ServerBinaries(*map(Path, parts))` makes the same again."""
        return [str(part) for part in (self.server, self.unpacked_in) if part]

    def system_tables(self) -> list[Path]:
        """MariaDB's SQL files for a new data folder; none for MySQL, which brings its own."""
        prefix = self.server.parent.parent
        for share in (prefix / "share/mariadb", prefix / "share/mysql", prefix / "share"):
            for brand in ("mariadb", "mysql"):
                files = [share / name.format(brand) for name in SYSTEM_TABLES]
                if files[0].exists():
                    return [file for file in files if file.exists()]
        return []

    def options(self) -> list[str]:
        if self.unpacked_in is None:
            return []
        share = self.system_tables()[0].parent
        return [
            f"--basedir={self.unpacked_in / 'usr'}",
            f"--lc-messages-dir={share}",
            f"--character-sets-dir={share / 'charsets'}",
        ]

    def environment(self) -> dict[str, str]:
        if self.unpacked_in is None:
            return dict(os.environ)
        libraries = ("usr/lib/*-linux-*", "lib/*-linux-*")
        folders = [folder for place in libraries for folder in self.unpacked_in.glob(place)]
        return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, folders))}

    def version(self) -> str | None:
        """The program's own version line, or None when it cannot run here."""
        try:
            done = subprocess.run(
                [str(self.server), "--no-defaults", "--version"],
                env=self.environment(),
                capture_output=True,
                text=True,
                timeout=30,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None


def candidates(report: Callable[[str], None] = lambda line: None) -> Iterator[ServerBinaries]:
    """Every usable server program, the machine's own first; fetches one only when these end.

    Raises:
        MariaDBError: none could be fetched; it says what the user can do.
    """
    yield from _machine_binaries()
    with exclusive_lock(LOCAL_FOLDER / "mariadb-binaries.lock"):
        found = _unpacked(FETCHED_FOLDER)
        if found.version() is None:
            report("getting a private copy of MariaDB")
            _fetch(report)
    yield found


def _machine_binaries() -> Iterator[ServerBinaries]:
    places = os.pathsep.join([os.environ.get("PATH", ""), *SYSTEM_FOLDERS])
    seen: set[Path] = set()
    for name in ("mariadbd", "mysqld"):
        path = shutil.which(name, path=places)
        if path and (real := Path(path).resolve()) not in seen:
            seen.add(real)
            found = ServerBinaries(real)
            version = found.version()
            if version and ("MariaDB" not in version or found.system_tables()):
                yield found


def _fetch(report: Callable[[str], None]) -> None:
    arriving = FETCHED_FOLDER.with_name("mariadb-binaries.new")
    for folder in (arriving, FETCHED_FOLDER):
        shutil.rmtree(folder, ignore_errors=True)
    try:
        fetch_and_unpack([PACKAGE], arriving, with_libraries_of=PACKAGE, report=report)
        if _unpacked(arriving).version() is None:
            raise PackagesUnavailable("the fetched server does not run here")
    except PackagesUnavailable as error:
        raise MariaDBError(
            f"No MariaDB or MySQL server found, and {PACKAGE} could not be fetched ({error}). "
            "Check the network, or install MariaDB yourself, or set DB_HOST, DB_USER, DB_PASSWORD "
            "and DB_NAME in .env to a server you have."
        ) from error
    arriving.rename(FETCHED_FOLDER)


def _unpacked(folder: Path) -> ServerBinaries:
    return ServerBinaries(folder / "usr/sbin/mariadbd", folder)


def main() -> int:
    """Make sure that there is a server program, and say in one line which."""
    try:
        found = next(candidates(lambda line: print(f"    {line}", file=sys.stderr)))
    except MariaDBError as error:
        print(f"ERROR: {error}", file=sys.stderr)
        return 1
    whose = "of this machine" if found.unpacked_in is None else "private copy in .local"
    print(f"{found.server.name} ({whose})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
