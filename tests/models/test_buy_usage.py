"""What the buy limits count of the database, against the tables' own modules."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from builders import NOW, build_entry, build_order
from domain.journal import ADOPTED
from domain.orders import Side
from models.buy_usage import load_buy_records
from models.cycle_data import create_cycle, update_cycle
from models.order_journal import append_journal_entry, get_bought_usd_since
from utils.db_utils import execute_query


def book(db_conn, cycle, seq, side=Side.BUY, *, status="filled", ended_at=NOW):
    order = build_order(
        cycle, client_order_id=f"own-{cycle.id}-{seq}", id=f"{cycle.id}-{seq}", side=side,
        filled_qty="0.5", filled_avg_price="200", status=status,
    )  # fmt: skip
    known = {"asset_id": cycle.asset_id, "cycle_id": cycle.id, "order_seq": seq}
    entry = build_entry(order, **known, ended_at=ended_at, final_status=status)
    append_journal_entry(db_conn, entry)


def test_one_statement_brings_what_the_limits_count(db_conn, make_asset):
    held, buying, bought_out, sold, fresh = (
        make_asset(f"{name}/USD") for name in ("AAA", "BBB", "CCC", "DDD", "EEE")
    )
    coins = {"quantity": Decimal("0.3"), "average_purchase_price": Decimal(10)}
    old = create_cycle(db_conn, held.id, "complete", **coins)
    create_cycle(db_conn, held.id, "watching", **coins)
    create_cycle(db_conn, buying.id, "buying")
    create_cycle(db_conn, bought_out.id, "selling", **coins)
    create_cycle(db_conn, sold.id, "complete", **coins)
    create_cycle(db_conn, sold.id, "cooldown")
    book(db_conn, old, 0)
    book(db_conn, old, 1, Side.SELL)
    book(db_conn, old, 2, ended_at=NOW - timedelta(days=2))
    book(db_conn, old, 3, status=ADOPTED)
    since = NOW - timedelta(hours=1)
    records = load_buy_records(
        db_conn, since, {"AAA/USD", "DDD/USD", "EEE/USD", "ZZZ/USD"}, {"own-1-0", "own-1-9"}
    )
    assert records.bought_usd == get_bought_usd_since(db_conn, since) == 100
    qty = Decimal("0.3")
    assert records.in_cycles == {"AAA/USD": qty, "BBB/USD": None, "CCC/USD": qty}
    assert fresh.asset_symbol == "EEE/USD"
    assert records.configured == {"AAA/USD", "DDD/USD"}, "an asset without a cycle buys nothing"
    assert records.journaled == {"own-1-0"}


def test_only_the_latest_cycle_of_an_asset_counts(db_conn, make_asset):
    asset = make_asset("AAA/USD")
    cycle = create_cycle(db_conn, asset.id, "watching", quantity="1", average_purchase_price="1")
    assert set(load_buy_records(db_conn, NOW, (), ()).in_cycles) == {"AAA/USD"}
    create_cycle(db_conn, asset.id, "complete")  # by hand: the open one is not the latest
    assert load_buy_records(db_conn, NOW, (), ()).in_cycles == {}
    execute_query("DELETE FROM dca_cycles WHERE status = 'complete'", db_conn=db_conn)
    update_cycle(db_conn, cycle.id, {"status": "error", "completed_at": NOW})
    assert load_buy_records(db_conn, NOW, (), ()).in_cycles == {}
