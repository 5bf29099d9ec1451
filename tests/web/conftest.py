"""One page for all tests of a module, beside a bot's own database and local exchange."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from config import get_settings
from fixtures_bot import environment_of_bot, exchange_of_bot
from mariadb_server.server import PrivateMariaDB
from models.meta import apply_schema
from page_server import Browser, PageServer
from running_exchange import RunningExchange
from utils.db_utils import close_quietly, get_db_connection


@pytest.fixture(scope="module")
def bot_environment(
    mariadb_server: PrivateMariaDB, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, str]]:
    with (
        pytest.MonkeyPatch.context() as patch,
        environment_of_bot(mariadb_server, Path(tmp_path_factory.mktemp("bot")), patch) as found,
    ):
        yield found


@pytest.fixture(scope="module")
def db_conn(bot_environment: dict[str, str]) -> Iterator[MySQLConnectionAbstract]:
    connection = get_db_connection()
    apply_schema(connection)
    yield connection
    close_quietly(connection)


@pytest.fixture(scope="module")
def exchange(bot_environment: dict[str, str]) -> Iterator[RunningExchange]:
    with (
        pytest.MonkeyPatch.context() as patch,
        exchange_of_bot(bot_environment, patch) as running,
    ):
        yield running


@pytest.fixture(scope="module")
def page(exchange: RunningExchange, db_conn: MySQLConnectionAbstract) -> Iterator[PageServer]:
    with PageServer(get_settings(), idle_seconds=1.0, body_seconds=1.0) as running:
        yield running


@pytest.fixture
def browser(page: PageServer) -> Browser:
    """Signed in."""
    return page.browser()
