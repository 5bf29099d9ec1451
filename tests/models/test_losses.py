"""What the limits on losses count of the database, against the tables' own modules."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

from builders import NOW, build_entry, build_order
from domain.holding import HeldCoins
from domain.orders import Side
from models.cycle_data import create_cycle
from models.losses import load_loss_records
from models.order_journal import append_journal_entry
from models.realised_profit import get_realised_profits
from utils.db_utils import execute_query

DAY = timedelta(days=1)


def book(db_conn, cycle, seq, side, price, *, at=NOW, symbol="AAA/USD"):
    order = build_order(
        cycle, client_order_id=f"own-{cycle.id}-{seq}", id=f"{cycle.id}-{seq}", side=side,
        symbol=symbol, filled_qty="0.5", filled_avg_price=price, status="filled",
    )  # fmt: skip
    known = {"asset_id": cycle.asset_id, "cycle_id": cycle.id, "order_seq": seq}
    fees = {"fee_qty": Decimal("0.001")} if side is Side.BUY else {"fee_usd": Decimal(1)}
    append_journal_entry(db_conn, build_entry(order, **known, ended_at=at, **fees))


def cycle_of(db_conn, asset, status, bought, sold, *, sold_at=NOW, **columns):
    cycle = create_cycle(db_conn, asset.id, status, **columns)
    book(db_conn, cycle, 0, Side.BUY, bought, at=sold_at - DAY, symbol=asset.asset_symbol)
    if sold is not None:
        book(db_conn, cycle, 1, Side.SELL, sold, at=sold_at, symbol=asset.asset_symbol)
    return cycle


def test_one_statement_brings_the_result_of_the_day_and_what_is_held(db_conn, make_asset):
    first, second, gone = (make_asset(f"{name}/USD") for name in ("AAA", "BBB", "CCC"))
    cycle_of(db_conn, first, "complete", "200", "180")  # -11
    cycle_of(db_conn, first, "complete", "200", "100", sold_at=NOW - DAY)  # of the day before
    cycle_of(db_conn, second, "complete", "200", "208")  # +3
    cycle_of(db_conn, second, "error", "200", "100", completed_at=NOW)
    cycle_of(db_conn, gone, "complete", "200", "190")  # -6
    execute_query("DELETE FROM dca_cycles WHERE asset_id = %s", (gone.id,), db_conn=db_conn)
    coins = {"quantity": Decimal("0.5"), "average_purchase_price": Decimal(200)}
    cycle_of(db_conn, first, "selling", "200", "100", **coins)  # sold in part, and goes on
    create_cycle(db_conn, second.id, "watching")
    since = NOW - timedelta(hours=1)
    records = load_loss_records(db_conn, since)
    assert records.realised_usd == Decimal(-14)
    profits = get_realised_profits(db_conn, since).values()
    assert records.realised_usd == sum(one.recent_profit_usd for one in profits)
    assert records.held == (
        HeldCoins(
            symbol="AAA/USD",
            quantity=Decimal("0.5"),
            coin_fees=Decimal("0.001"),
            average_price=Decimal(200),
        ),
    )


def test_an_empty_database_lost_nothing(db_conn):
    records = load_loss_records(db_conn, NOW)
    assert (records.realised_usd, records.held) == (0, ())


def test_what_a_renamed_asset_holds_is_what_it_bought(db_conn, make_asset):
    asset = make_asset("AAA/USD")
    coins = {"quantity": Decimal("0.5"), "average_purchase_price": Decimal(200)}
    cycle_of(db_conn, asset, "watching", "200", None, **coins)
    execute_query("UPDATE dca_assets SET asset_symbol = 'BBB/USD'", db_conn=db_conn)
    [held] = load_loss_records(db_conn, NOW).held
    assert held.symbol == "AAA/USD"
