"""The private MariaDB of one test session."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from local_stack.scratch import scratch_folder
from mariadb_server.server import PrivateMariaDB


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[PrivateMariaDB]:
    """A fresh server, removed at the end; what killed sessions left is removed first."""
    with scratch_folder("test") as folder:
        server = PrivateMariaDB(folder / "mariadb")
        server.start()
        yield server
        server.stop()
