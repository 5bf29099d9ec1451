"""The private MariaDB of scripts/database: where it is, and whether the settings mean it.

Knows its files only; mariadb_server makes, starts and stops it.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

from config import PROJECT_ROOT, Settings, is_loopback
from utils.state_file import load_state

FOLDER = PROJECT_ROOT / ".local" / "mariadb" / "main"
SOCKET_PATH_BYTES = 107  # what the kernel allows for the path of a unix socket


def is_private_database(settings: Settings) -> bool:
    """Whether DB_* lead to the server in FOLDER, be it running or not."""
    if settings.db_socket:
        return settings.db_socket == str(socket_path_for(FOLDER))
    return settings.db_port == load_server_facts(FOLDER).get("port") and is_loopback(
        settings.db_host
    )


def load_server_facts(folder: Path) -> dict[str, Any]:
    """The port and the program noted in a server's folder; empty when there is no note."""
    return load_state(folder / "server.json")


def socket_path_for(folder: Path) -> Path:
    """In the folder itself, or in a private temporary one if that path is too long."""
    inside = folder / "mariadb.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES:
        return inside
    # Named after the folder, so that every program finds it.
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / f"dca-{os.getuid()}-{name}" / "mariadb.sock"
