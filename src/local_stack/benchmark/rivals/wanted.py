"""What the rivals without a strategy share: which order a quote asks for, and how one is booked."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from alpaca.trading.client import TradingClient
from mysql.connector.abstracts import MySQLConnectionAbstract

SYMBOLS = os.environ.get("BENCHMARK_SYMBOLS", "").split(",")
BASE, SAFETY, TAKE_PROFIT = 1.0, 2.0, 3.0  # the bid's size of a quote; 0: nothing is wanted
BOOKING_COLUMNS = (
    "asset_id, symbol, cycle_id, order_seq, purpose, side, alpaca_order_id, client_order_id,"
    " requested_qty, limit_price, filled_qty, filled_avg_price, final_status, ended_at"
)


def post(client: TradingClient, symbol: str, side: str, qty: str, **more: str) -> None:
    """Submit an order under an id of its own."""
    order = {"symbol": symbol, "side": side, "qty": qty, "time_in_force": "gtc", **more}
    client.post("/orders", {**order, "client_order_id": str(uuid.uuid4())})


def post_buy(client: TradingClient, quote: Any) -> None:
    post(client, quote["S"], "buy", "1", type="limit", limit_price=f"{quote['ap']:.4f}")


class Bookings:
    """The least that a booking is, as one transaction on a connection: lock and read the state, see
    that the journal has not got the order, change the cycle, journal the order; after a sale the
    asset's price and the next cycle as well.
    """

    def __init__(self, connection: MySQLConnectionAbstract) -> None:
        self._connection = connection
        self._cursor = connection.cursor(dictionary=True)

    def _run(self, statement: str, values: Sequence[Any]) -> Any:
        self._cursor.execute(statement, tuple(values))
        return self._cursor.fetchall() if statement.startswith("SELECT") else None

    def book(self, order: Any) -> None:
        symbol, is_sale = order["symbol"], order["side"] == "sell"
        price, qty = order["filled_avg_price"], order["filled_qty"]
        ended_at = datetime.fromisoformat(order["filled_at"]).replace(tzinfo=None)
        self._connection.start_transaction()
        [cycle] = self._run(
            "SELECT c.*, a.asset_symbol, a.cooldown_period FROM dca_cycles c"
            " JOIN dca_assets a ON a.id = c.asset_id"
            " WHERE a.asset_symbol = %s AND c.status NOT IN ('complete', 'error') FOR UPDATE",
            (symbol,),
        )
        self._run("SELECT * FROM dca_orders WHERE alpaca_order_id = %s", (order["id"],))
        self._run(
            "UPDATE dca_cycles SET status = %s, quantity = %s, average_purchase_price = %s,"
            " safety_orders = safety_orders + 1, latest_order_id = NULL,"
            " last_order_fill_price = %s, order_seq = order_seq + 1, completed_at = %s"
            " WHERE id = %s",
            ("complete" if is_sale else "watching", qty, price, price, ended_at, cycle["id"]),
        )
        facts = (cycle["asset_id"], symbol, cycle["id"], cycle["order_seq"])
        purpose = "take_profit" if is_sale else "safety"
        asked = (order["qty"], order["limit_price"], qty, price, "filled", ended_at)
        identity = (order["side"], order["id"], order["client_order_id"])
        values = (*facts, purpose, *identity, *asked)
        marks = ", ".join(["%s"] * len(values))
        self._run(f"INSERT INTO dca_orders ({BOOKING_COLUMNS}) VALUES ({marks})", values)
        if is_sale:
            asset = cycle["asset_id"]
            self._run("UPDATE dca_assets SET last_sell_price = %s WHERE id = %s", (price, asset))
            self._run("INSERT INTO dca_cycles (asset_id, status) VALUES (%s, 'cooldown')", (asset,))
        self._connection.commit()
