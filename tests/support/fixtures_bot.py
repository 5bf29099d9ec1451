"""A database and a local exchange of its own for each test that asks, and the settings for both."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings, get_settings, reset_settings, setting_names
from domain.asset import DcaAsset
from mariadb_server.server import PrivateMariaDB
from models.asset_config import create_asset
from models.meta import apply_schema
from running_exchange import RunningExchange
from utils.db_utils import (
    DatabaseError,
    close_quietly,
    close_thread_connection,
    execute_query,
    get_db_connection,
)

SYMBOL = "BTC/USD"


@pytest.fixture
def bot_environment(
    mariadb_server: PrivateMariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The environment of a bot with an empty database; no exchange yet (the URLs lead nowhere)."""
    with environment_of_bot(mariadb_server, tmp_path, monkeypatch) as environment:
        yield environment


@contextmanager
def environment_of_bot(
    mariadb_server: PrivateMariaDB, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, str]]:
    """The same for a fixture of another scope."""
    name = f"dca_{secrets.token_hex(4)}_test"
    mariadb_server.create_database(name)
    environment = {
        **mariadb_server.db_env(),
        "DB_NAME": name,
        "ENV_FILE": str(tmp_path / "none.env"),
        "ALPACA_API_KEY": "local-key",
        "ALPACA_SECRET_KEY": "local-secret",
        "ALPACA_TRADING_URL": "http://127.0.0.1:9",
        "ALPACA_DATA_URL": "http://127.0.0.1:9",
        "ALPACA_DATA_STREAM_URL": "ws://127.0.0.1:9/data",
        "ALPACA_TRADING_STREAM_URL": "ws://127.0.0.1:9/stream",
        "PID_FILE": str(tmp_path / "run" / "main_app.pid"),
        "LOG_DIR": str(tmp_path / "logs"),
        "UNKNOWN_OUTCOME_SECONDS": "1",
        "RECONCILE_SECONDS": "1",
        "REFRESH_SECONDS": "0.3",
        "HEARTBEAT_SECONDS": "0.5",
    }
    for key in setting_names():
        monkeypatch.delenv(key, raising=False)
    for key, value in environment.items():
        monkeypatch.setenv(key, value)
    reset_settings()
    yield environment
    close_thread_connection()
    drop_database_with_its_sessions(name)
    reset_settings()


def drop_database_with_its_sessions(name: str) -> None:
    """What a test left running cannot come back without its database, so nothing that it holds on
    the server (the lock of the account, which all tests share) outlives the test.
    """
    connection = get_db_connection()
    try:
        left = execute_query(
            "SELECT id FROM information_schema.processlist WHERE db = %s AND id <> CONNECTION_ID()",
            (name,),
            fetch_all=True,
            db_conn=connection,
        )
        execute_query(f"DROP DATABASE `{name}`", db_conn=connection)
        for session in left:
            with suppress(DatabaseError):  # it has ended by itself
                execute_query(f"KILL {int(session['id'])}", db_conn=connection)
    finally:
        close_quietly(connection)


@pytest.fixture
def db_conn(bot_environment: dict[str, str]) -> Iterator[MySQLConnectionAbstract]:
    """A connection to a database with the bot's tables."""
    connection = get_db_connection()
    apply_schema(connection)
    yield connection
    close_quietly(connection)


@pytest.fixture
def exchange(
    bot_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[RunningExchange]:
    """A still local exchange: quotes only when pushed, no partial fills, no random numbers."""
    with exchange_of_bot(bot_environment, monkeypatch) as running:
        yield running


@contextmanager
def exchange_of_bot(
    bot_environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> Iterator[RunningExchange]:
    """A local exchange with these settings, which the bot's environment names while it runs."""
    with RunningExchange(partial_fill_probability=0, **settings) as running:
        urls = running.urls
        for name, url in {
            "ALPACA_TRADING_URL": urls.trading_url,
            "ALPACA_DATA_URL": urls.data_url,
            "ALPACA_DATA_STREAM_URL": urls.data_stream_url,
            "ALPACA_TRADING_STREAM_URL": urls.trading_stream_url,
        }.items():
            monkeypatch.setenv(name, url)
            bot_environment[name] = url
        reset_settings()
        yield running
    reset_settings()


@pytest.fixture
def settings(exchange: RunningExchange) -> Settings:
    """The settings of a bot on the local exchange."""
    return get_settings()


@pytest.fixture
def make_asset(db_conn: MySQLConnectionAbstract) -> Callable[..., DcaAsset]:
    """Insert an asset; keyword arguments replace single columns."""

    def make(symbol: str = SYMBOL, **columns: Any) -> DcaAsset:
        values = {
            "asset_symbol": symbol,
            "base_order_amount": Decimal(100),
            "safety_order_amount": Decimal(50),
            "max_safety_orders": 3,
            "safety_order_deviation": Decimal("1.0"),
            "take_profit_percent": Decimal("2.0"),
            "cooldown_period": 60,
        }
        return create_asset(db_conn, values | columns)

    return make
