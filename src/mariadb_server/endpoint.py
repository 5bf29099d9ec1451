"""Where a private server can be reached: a folder for its socket, and a free port."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from mariadb_server.errors import MariaDBError

HOST = "127.0.0.1"


def prepare_socket_folder(socket_path: Path) -> None:
    """Make the folder if it is missing, and remove a dead server's socket.

    Raises:
        MariaDBError: others can write to the folder.
    """
    folder = socket_path.parent
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.getuid() or found.st_mode & 0o022:
        raise MariaDBError(f"{folder} must be a folder that only you can write to")
    for left in (socket_path, socket_path.with_name(f"{socket_path.name}.lock")):
        left.unlink(missing_ok=True)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the server does: a connection that has just ended does not hold the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
