"""The private MariaDB of one test session."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from local_stack.scratch import scratch_folder
from mariadb_server.debian_packages import LOCAL_FOLDER
from mariadb_server.server import PrivateMariaDB

_MEMORY, _ENOUGH_BYTES = Path("/dev/shm"), 4 << 30


def _parent_folder() -> Path:
    """In memory where there is plenty: thousands of tests create and drop their tables, and what
    that writes to a disk, and waits for, nobody reads again. What is killed here are processes.
    """
    if not os.access(_MEMORY, os.W_OK) or shutil.disk_usage(_MEMORY).free < _ENOUGH_BYTES:
        return LOCAL_FOLDER
    folder = _MEMORY / f"dca-tests-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[PrivateMariaDB]:
    """A fresh server, removed at the end; what killed sessions left is removed first."""
    with scratch_folder("test", _parent_folder()) as folder:
        server = PrivateMariaDB(folder / "mariadb")
        server.start()
        yield server
        server.stop()
