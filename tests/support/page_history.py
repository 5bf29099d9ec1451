"""Cycles that a page can show: one that earned, one that is open."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal

from mysql.connector.abstracts import MySQLConnectionAbstract

from builders import build_entry, build_order
from domain.asset import DcaAsset
from models.cycle_data import create_cycle
from models.order_journal import append_journal_entry
from operations.asset_changes import save_new_asset
from operations.asset_input import build_asset, read_defaults
from utils.db_utils import execute_query

SCRIPT = "<script>alert(1)</script>"


def make_history(db_conn: MySQLConnectionAbstract, at: datetime) -> DcaAsset:
    """BTC/USD: 20 USD earned from `at` on, 0.02 coins held at 60,000 USD. Order ids are nasty."""
    amounts = {"base_order_amount": Decimal(600), "safety_order_amount": Decimal(600)}
    values = read_defaults(Decimal("0.25")) | amounts
    saved = save_new_asset(build_asset("BTC/USD", values))
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    done = create_cycle(db_conn, saved.id, "complete", completed_at=at)
    held = create_cycle(
        db_conn,
        saved.id,
        "watching",
        quantity=Decimal("0.02"),
        average_purchase_price=Decimal(60000),
        safety_orders=1,
        last_order_fill_price=Decimal(59000),
    )
    fills = [
        (done, 0, "base", "buy", "0.01", "50000"),
        (done, 1, "take_profit", "sell", "0.01", "52000"),
        (held, 0, "base", "buy", "0.01", "61000"),
        (held, 1, "safety", "buy", "0.01", "59000"),
    ]
    for number, (cycle, seq, purpose, side, qty, price) in enumerate(fills):
        order = build_order(
            cycle,
            id=f"order-{number}{SCRIPT}",
            client_order_id=f"dca-{number}",
            side=side,
            filled_qty=qty,
            filled_avg_price=price,
            status="filled",
        )
        known = {"asset_id": saved.id, "cycle_id": cycle.id, "order_seq": seq, "purpose": purpose}
        entry = build_entry(order, **known, ended_at=at + timedelta(seconds=number))
        append_journal_entry(db_conn, entry)
    return saved
