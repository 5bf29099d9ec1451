"""Creates the data folder of a private server: a complete one or none at all.

Does by itself what mariadb-install-db does, because that script needs programs of other packages,
breaks on paths with spaces and, run as root, changes files of the system.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mariadb_server.binaries import ServerBinaries

# Nobody listens in on loopback, and newer servers spend a second on making a certificate.
MARIADB_OPTIONS = ["--skip-ssl"]
MYSQL_OPTIONS = ["--mysqlx=OFF", "--secure-file-priv=NULL"]


class DataFolderError(Exception):
    """No server program managed to create the data folder; the text is for a person."""


def create_data_folder(
    data: Path, binaries: Iterable[ServerBinaries], log_file: Path
) -> ServerBinaries:
    """Create `data` with the first server program that manages to, and say which one it was."""
    failed: list[str] = []
    for left in data.parent.glob(f"{data.name}.new-*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    for candidate in binaries:
        arriving = data.with_name(f"{data.name}.new-{secrets.token_hex(4)}")
        arriving.mkdir(mode=0o700)
        if _initialise(candidate, arriving, log_file):
            arriving.rename(data)
            return candidate
        # A security profile may confine the machine's server to the system's folders: try the next.
        failed.append(str(candidate.server))
        shutil.rmtree(arriving, ignore_errors=True)
    raise DataFolderError(f"{' and '.join(failed)} could not create a data folder, see {log_file}")


def temporary_folder_option(folder: Path) -> str:
    """A temporary folder of the server's own, made if missing.

    In a shared one each server that starts removes the others' temporary tables.
    """
    own = folder / "tmp"
    own.mkdir(mode=0o700, exist_ok=True)
    return f"--tmpdir={own}"


def user_option() -> list[str]:
    """The server refuses to run as root unless it is told so."""
    return ["--user=root"] if os.getuid() == 0 else []


def _initialise(binaries: ServerBinaries, folder: Path, log_file: Path) -> bool:
    common = ["--no-defaults", *binaries.options(), *user_option(), f"--datadir={folder}"]
    common.append(temporary_folder_option(folder.parent))
    tables = binaries.system_tables()
    if tables:
        mode = ["--bootstrap", "--log-warnings=0", "--enforce-storage-engine="]
        sql = _bootstrap_sql(tables)
    else:
        mode, sql = ["--initialize", *MYSQL_OPTIONS], b""
    with open(log_file, "ab") as log:
        done = subprocess.run(
            [str(binaries.server), *common, *mode],
            input=sql,
            cwd=folder.parent,
            check=False,
            env=binaries.environment(),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return done.returncode == 0


def _bootstrap_sql(tables: list[Path]) -> bytes:
    lines = [
        "create database if not exists mysql;",
        "use mysql;",
        # Root is let in only over the socket and only when it is the system's root.
        "SET @auth_root_socket='root';",
    ]
    for file in tables:
        lines += [line for line in file.read_text().splitlines() if "@current_hostname" not in line]
    return ("\n".join(lines) + "\n").encode()
