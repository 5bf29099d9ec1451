"""Creates the data folder of a private server: a complete one or none at all.

In place of mariadb-install-db, which needs programs of other packages, breaks on paths with spaces
and, run as root, changes files of the system.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from mariadb_server.binaries import ServerBinaries
from mariadb_server.errors import MariaDBError

# Loopback needs no encryption, and newer servers spend a second on making a certificate.
MARIADB_OPTIONS = ["--skip-ssl"]
MYSQL_OPTIONS = ["--mysqlx=OFF", "--secure-file-priv=NULL"]


def create_data_folder(
    data: Path, binaries: Iterable[ServerBinaries], log_file: Path
) -> ServerBinaries:
    """Create `data` with the first server program that can, and return that program.

    Raises:
        MariaDBError: none of them could.
    """
    failed: list[str] = []
    for left in data.parent.glob(f"{data.name}.new-*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    for candidate in binaries:
        arriving = data.with_name(f"{data.name}.new-{secrets.token_hex(4)}")
        arriving.mkdir(mode=0o700)
        if _initialise(candidate, arriving, log_file):
            arriving.rename(data)
            return candidate
        # A security profile may confine the machine's server to system folders: try the next.
        failed.append(str(candidate.server))
        shutil.rmtree(arriving, ignore_errors=True)
    raise MariaDBError(f"{' and '.join(failed)} could not create a data folder, see {log_file}")


def temporary_folder_option(folder: Path) -> str:
    """A folder of its own: in a shared one a server that starts removes the others' tables."""
    own = folder / "tmp"
    own.mkdir(mode=0o700, exist_ok=True)
    return f"--tmpdir={own}"


def user_option() -> list[str]:
    """Without it the server refuses to run as root."""
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
        # Only the system's root may log in as root, and only over the socket.
        "SET @auth_root_socket='root';",
    ]
    for file in tables:
        lines += [line for line in file.read_text().splitlines() if "@current_hostname" not in line]
    return ("\n".join(lines) + "\n").encode()
