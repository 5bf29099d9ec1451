"""A MariaDB server of our own in one folder, with its data, socket, password and log.

Whether it runs, the process table says: a server is found by its --datadir, never by a file that a
killed run could have left. Never touches a system service, never listens beyond 127.0.0.1.

    <folder>/data          the database files
    <folder>/tmp           its temporary tables
    <folder>/mariadb.sock  the socket (elsewhere when this path is too long for one)
    <folder>/mariadb.log   what the server says
    <folder>/password      of the account `dca`, 0600
    <folder>/server.json   the port and the program used last
    <folder>/lock          held by the program that starts or stops it
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import mysql.connector
import psutil
from mysql.connector.abstracts import MySQLConnectionAbstract
from mysql.connector.connection import MySQLConnection

from mariadb_server.binaries import ServerBinaries, candidates
from mariadb_server.data_folder import (
    MARIADB_OPTIONS,
    MYSQL_OPTIONS,
    create_data_folder,
    temporary_folder_option,
    user_option,
)
from mariadb_server.debian_packages import exclusive_lock
from mariadb_server.endpoint import HOST, free_port, is_free, prepare_socket_folder
from mariadb_server.errors import MariaDBError, PortTaken
from runtime.process_table import end_process, servers_below
from utils.private_database import load_server_facts, socket_path_for

USER = "dca"
START_SECONDS = 60
POLL_SECONDS = 0.02
SERVER_OPTIONS = [
    f"--bind-address={HOST}",
    "--character-set-server=utf8mb4",
    "--collation-server=utf8mb4_unicode_ci",
    "--innodb-buffer-pool-size=64M",
    "--innodb-flush-log-at-trx-commit=1",
    "--performance-schema=OFF",
    "--skip-log-bin",
    "--max-connections=150",
]


class PrivateMariaDB:
    """The server of one folder. Two objects of the same folder are the same server."""

    def __init__(
        self, data_dir: Path | str, report: Callable[[str], None] = lambda line: None
    ) -> None:
        self.folder = Path(data_dir).absolute()
        self.log_file = self.folder / "mariadb.log"
        self._data = self.folder / "data"
        self._report = report
        self._child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Run the server of this folder, unless it runs, and return when it answers.

        Raises:
            MariaDBError: with the reason in one line.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        with exclusive_lock(self.folder / "lock"):
            if self._find_process() is None:
                self._launch(self._binaries())
            try:
                self._wait_until_ready()
            except PortTaken:  # since we found it free
                self._launch(self._binaries())
                self._wait_until_ready()

    def stop(self) -> None:
        """Shut the server down, by force if it must be: no process is left when this returns."""
        self._end(lambda process: process.terminate())

    def kill(self) -> None:
        """SIGKILL, as a power cut would: for fault tests."""
        self._end(lambda process: process.kill())

    def restart(self) -> None:
        self.stop()
        self.start()

    def is_running(self) -> bool:
        return self._find_process() is not None

    def db_env(self, database: str | None = None) -> dict[str, str]:
        """The DB_* settings of this server; DB_NAME only when a database is named."""
        port = load_server_facts(self.folder).get("port")
        if port is None:
            raise MariaDBError(f"There is no server in {self.folder} yet: start it first")
        settings = {
            "DB_HOST": HOST,
            "DB_PORT": str(port),
            "DB_USER": USER,
            "DB_PASSWORD": self._password(),
            "DB_SOCKET": str(self.socket_path),
        }
        return settings | ({"DB_NAME": database} if database else {})

    def connect(self, database: str | None = None) -> MySQLConnectionAbstract:
        """A new autocommit connection over the socket; the account may do everything here."""
        return MySQLConnection(
            unix_socket=str(self.socket_path),
            user=USER,
            password=self._password(),
            database=database,
            charset="utf8mb4",
            collation="utf8mb4_unicode_ci",
            autocommit=True,
            connection_timeout=10,
        )

    def create_database(self, name: str) -> None:
        """Raises ValueError for a name that none can have."""
        if not re.fullmatch(r"\w{1,64}", name, re.ASCII):
            raise ValueError(f"{name!r} is not a database name: use letters, digits and _")
        with contextlib.closing(self.connect()) as connection:
            connection.cmd_query(
                f"CREATE DATABASE IF NOT EXISTS `{name}` "
                "CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci"
            )

    @property
    def socket_path(self) -> Path:
        return socket_path_for(self.folder)

    def _binaries(self) -> ServerBinaries:
        """The program to start: for a new folder one that can create it, later the same one."""
        if not self._data.exists():
            return create_data_folder(self._data, candidates(self._report), self.log_file)
        known = ServerBinaries(
            *map(Path, load_server_facts(self.folder).get("binaries", ["mariadbd"]))
        )
        # Uninstalled or upgraded since: any usable one will do.
        return known if known.version() else next(candidates(self._report))

    def _launch(self, binaries: ServerBinaries) -> None:
        port = load_server_facts(self.folder).get("port")
        if port is None or not is_free(port):
            port = free_port()
        facts = {"port": port, "binaries": binaries.parts()}
        _write_private(self.folder / "server.json", json.dumps(facts))
        prepare_socket_folder(self.socket_path)
        command = [
            str(binaries.server),
            "--no-defaults",
            *binaries.options(),
            *SERVER_OPTIONS,
            *user_option(),
            f"--datadir={self._data}",
            temporary_folder_option(self.folder),
            f"--socket={self.socket_path}",
            f"--port={port}",
            f"--pid-file={self.folder / 'mariadb.pid'}",
            f"--init-file={self._accounts_file()}",
            *(MARIADB_OPTIONS if binaries.system_tables() else MYSQL_OPTIONS),
        ]
        with open(self.log_file, "ab") as log:
            # Its own session: Ctrl-C reaches the program that owns the server, not the server.
            self._child = subprocess.Popen(
                command,
                env=binaries.environment(),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                self.connect().close()
                return
            except mysql.connector.Error as error:
                if not self._is_alive():
                    reason = self._last_error()
                    kind = PortTaken if "already in use" in reason else MariaDBError
                    raise kind(
                        f"MariaDB ended while starting: {reason} (see {self.log_file})"
                    ) from error
            time.sleep(POLL_SECONDS)
        raise MariaDBError(f"MariaDB did not answer within {START_SECONDS} s, see {self.log_file}")

    def _is_alive(self) -> bool:
        if self._child is not None:
            return self._child.poll() is None
        return self._find_process() is not None

    def _end(self, signal: Callable[[psutil.Process], None]) -> None:
        if not self.folder.exists():
            return
        with exclusive_lock(self.folder / "lock"):
            process = self._find_process()
            if process is not None:
                end_process(process, signal)
            if self._child is not None:
                self._child.wait()
                self._child = None
            if self.socket_path.parent != self.folder:
                shutil.rmtree(self.socket_path.parent, ignore_errors=True)

    def _find_process(self) -> psutil.Process | None:
        return next(servers_below(self._data), None)

    def _accounts_file(self) -> Path:
        """SQL that the server runs before its first connection: our account and its password."""
        lines = []
        for host in ("localhost", HOST):
            account = f"'{USER}'@'{host}'"
            lines += [
                f"CREATE USER IF NOT EXISTS {account};",
                f"ALTER USER {account} IDENTIFIED BY '{self._password()}';",
                f"GRANT ALL PRIVILEGES ON *.* TO {account} WITH GRANT OPTION;",
            ]
        path = self.folder / "accounts.sql"
        _write_private(path, "\n".join(lines) + "\n")
        return path

    def _password(self) -> str:
        path = self.folder / "password"
        if not path.exists():
            _write_private(path, secrets.token_urlsafe(24))
        return path.read_text().strip()

    def _last_error(self) -> str:
        lines = self.log_file.read_text(errors="replace").splitlines()
        errors = [line for line in lines[-50:] if "[ERROR]" in line and "Aborting" not in line]
        return errors[0].split("[ERROR]", 1)[1].strip() if errors else "it gave no reason"


def _write_private(path: Path, text: str) -> None:
    """Replace the file in one step; no other user can read it at any moment."""
    arriving = path.with_name(path.name + ".new")
    arriving.unlink(missing_ok=True)
    with open(os.open(arriving, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    arriving.rename(path)
