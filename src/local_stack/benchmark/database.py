"""The benchmark's database: one private server, a database for each client, and the watch that
says when a row became visible.

The server itself waits (a stored procedure that looks every 0.1 ms), so that the benchmark neither
asks in a tight loop nor touches the daemon's connection.
"""

from __future__ import annotations

import asyncio
import contextlib
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

from mysql.connector.abstracts import MySQLConnectionAbstract

from local_stack.benchmark.accounts import now
from mariadb_server.server import PrivateMariaDB
from utils.db_utils import close_quietly

STEP_SECONDS, MAX_STEPS = 0.0001, 50_000
_WATCH = f"""
CREATE PROCEDURE await_{{what}}(IN wanted VARCHAR(64) CHARACTER SET utf8mb4 COLLATE {{collation}})
BEGIN
  DECLARE steps INT DEFAULT 0;
  WHILE steps < {MAX_STEPS} AND NOT EXISTS (SELECT 1 FROM {{table}} WHERE {{column}} = wanted) DO
    DO SLEEP({STEP_SECONDS});
    SET steps = steps + 1;
  END WHILE;
  SELECT steps < {MAX_STEPS} AS is_there;
END"""
BOOKED, LINKED = "booking", "link"
_WATCHED = {
    BOOKED: {"table": "dca_orders", "column": "alpaca_order_id", "collation": "utf8mb4_bin"},
    LINKED: {
        "table": "dca_cycles",
        "column": "latest_order_id",
        "collation": "utf8mb4_unicode_ci",
    },
}


class ClientDatabase:
    """The database of one client, seen from outside."""

    def __init__(self, server: PrivateMariaDB, name: str) -> None:
        self._server, self.name = server, name
        self._connection: MySQLConnectionAbstract | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"watch-{name}")

    def open(self) -> None:
        """After its tables are there."""
        self._connection = self._server.connect(self.name)
        self._connection.autocommit = True
        for what, where in _WATCHED.items():
            self._execute(_WATCH.format(what=what, **where))

    def copy_tables(self, other: ClientDatabase) -> None:
        """The tables of `other` as they are there, empty but for the version of them."""
        connection = self._server.connect(self.name)
        with contextlib.closing(connection), connection.cursor() as cursor:
            cursor.execute("SET foreign_key_checks = 0")
            cursor.execute(f"SHOW TABLES FROM {other.name}")
            for table in [str(next(iter(row))) for row in cursor.fetchall() if row]:
                cursor.execute(f"SHOW CREATE TABLE {other.name}.{table}")
                [row] = cursor.fetchall()
                cursor.execute(str(tuple(row or ())[1]))
            cursor.execute(
                f"INSERT INTO dca_meta SELECT * FROM {other.name}.dca_meta"
                " WHERE name = 'schema_version'"
            )

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)
        if self._connection is not None:
            close_quietly(self._connection)

    def add_asset(
        self,
        symbol: str,
        *,
        quantity: Decimal = Decimal(0),
        price: Decimal | None = None,
        max_safety_orders: int = 100,
    ) -> None:
        """An asset and its open cycle, which holds `quantity` bought at `price`. Every step is one
        percent away; after a sale the next cycle buys one percent lower, long before its cooldown
        ends.
        """
        self._execute(
            "INSERT INTO dca_assets (asset_symbol, base_order_amount, safety_order_amount,"
            " max_safety_orders, safety_order_deviation, take_profit_percent, cooldown_period,"
            " buy_order_price_deviation_percent) VALUES (%s, 100, 100, %s, 1, 1, 86400, 1)",
            symbol,
            max_safety_orders,
        )
        self._execute(
            "INSERT INTO dca_cycles (asset_id, status, quantity, average_purchase_price,"
            " last_order_fill_price)"
            " SELECT id, 'watching', %s, %s, %s FROM dca_assets WHERE asset_symbol = %s",
            quantity,
            price or 0,
            price,
            symbol,
        )

    async def await_row(self, what: str, order_id: str) -> float | None:
        """When the row of this order was visible; None: not within seconds."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._wait_for, what, order_id)

    def _wait_for(self, what: str, order_id: str) -> float | None:
        assert self._connection is not None, "open() comes first"
        with self._connection.cursor() as cursor:
            cursor.execute(f"CALL await_{what}(%s)", (order_id,))
            at = now()
            [row] = cursor.fetchall()
            while cursor.nextset():
                cursor.fetchall()
        return at if row and next(iter(row)) else None

    def _execute(self, statement: str, *values: Any) -> None:
        assert self._connection is not None, "open() comes first"
        with self._connection.cursor() as cursor:
            cursor.execute(statement, values)


def start_server(folder: Path) -> PrivateMariaDB:
    """Raises MariaDBError with one line."""
    server = PrivateMariaDB(folder / "mariadb")
    server.start()
    with contextlib.closing(server.connect()) as connection, connection.cursor() as cursor:
        cursor.execute("SET GLOBAL max_connections = 1000")  # many bots use it at once
    return server
