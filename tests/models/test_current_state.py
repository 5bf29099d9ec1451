"""Whether a state that was read is still current, as one statement says it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from builders import NOW, build_entry, build_order
from domain.asset import DcaAsset
from domain.orders import Side
from models.current_state import is_current
from models.cycle_data import create_cycle
from models.order_journal import append_journal_entry, settle_fee
from models.trading_state import load_all_trading_states, load_trading_state
from strategy.order_identity import compute_client_order_id
from utils.db_utils import execute_query

BTC = "BTC/USD"


@pytest.fixture
def bought(db_conn: MySQLConnectionAbstract, make_asset: Callable[..., DcaAsset]) -> str:
    """An asset whose open cycle bought once, after one that is complete; its client_order_id."""
    make_asset("ETH/USD")
    asset = make_asset(BTC)
    create_cycle(db_conn, asset.id, "complete")
    cycle = create_cycle(
        db_conn, asset.id, "watching", quantity="0.002", average_purchase_price="50000"
    )
    identity = compute_client_order_id(cycle)
    order = build_order(
        cycle, client_order_id=identity, side=Side.BUY, filled_qty="0.002",
        filled_avg_price="50000", status="filled",
    )  # fmt: skip
    known = {"asset_id": asset.id, "cycle_id": cycle.id, "order_seq": 0}
    append_journal_entry(db_conn, build_entry(order, **known))
    return identity


def read(db_conn):
    state = load_trading_state(db_conn, BTC)
    assert state is not None
    return state


def test_what_nobody_touched_is_current_however_it_was_read(db_conn, bought):
    assert is_current(db_conn, read(db_conn))
    [state] = load_all_trading_states(db_conn)
    assert is_current(db_conn, state)
    assert is_current(db_conn, replace(state, leftover=Decimal(1))), "that is no part of the row"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE dca_cycles SET status = 'buying' WHERE quantity > 0",
        "UPDATE dca_cycles SET status = 'buying', updated_at = updated_at WHERE quantity > 0",
        "UPDATE dca_cycles SET close_requested = TRUE, updated_at = updated_at",
        "UPDATE dca_cycles SET quantity = quantity + 0.000000000000000001, updated_at = updated_at",
        "UPDATE dca_cycles SET order_seq = 1, updated_at = updated_at",
        "UPDATE dca_cycles SET order_key = 'bbbbbbbb', updated_at = updated_at",
        "UPDATE dca_cycles SET last_order_fill_price = 0.000000000000000001",
        "UPDATE dca_cycles SET safety_orders = 1",
        "UPDATE dca_cycles SET latest_order_id = 'x'",
        "UPDATE dca_assets SET is_enabled = FALSE, updated_at = updated_at",
        "UPDATE dca_assets SET take_profit_percent = 3",
        "UPDATE dca_assets SET safety_order_amount = safety_order_amount + 0.000000000000000001",
        "UPDATE dca_assets SET asset_symbol = 'LTC/USD' WHERE asset_symbol = 'BTC/USD'",
        "UPDATE dca_assets SET take_profit_fee_percent = 0.1",
        "UPDATE dca_orders SET filled_qty = filled_qty * 2",
        "DELETE FROM dca_cycles WHERE status = 'watching'",
    ],
)
def test_any_change_of_what_decides_is_noticed(db_conn, bought, change):
    state = read(db_conn)
    execute_query(change, db_conn=db_conn)
    assert not is_current(db_conn, state)


def test_a_posted_fee_is_noticed_although_its_cycle_stays_as_it_is(db_conn, bought):
    state = read(db_conn)
    settle_fee(db_conn, bought, Decimal("0.000003"), Decimal(0))
    assert not is_current(db_conn, state)
    assert is_current(db_conn, read(db_conn))


def test_a_newer_cycle_and_an_asset_that_is_gone_are_noticed(db_conn, bought):
    state = read(db_conn)
    create_cycle(db_conn, state.asset.id, "complete")
    assert not is_current(db_conn, state)
    execute_query("DELETE FROM dca_cycles", db_conn=db_conn)
    execute_query("DELETE FROM dca_assets", db_conn=db_conn)
    assert not is_current(db_conn, state)


def test_a_change_of_another_asset_is_none(db_conn, bought):
    state = read(db_conn)
    execute_query(
        "UPDATE dca_assets SET is_enabled = FALSE WHERE asset_symbol = 'ETH/USD'", db_conn=db_conn
    )
    assert is_current(db_conn, state)


@pytest.mark.parametrize(
    "change", ["dca_assets SET is_enabled = 2", "dca_cycles SET close_requested = 2"]
)
def test_a_flag_that_was_set_by_hand_to_another_number_is_as_true_as_any(db_conn, bought, change):
    execute_query(f"UPDATE {change}", db_conn=db_conn)
    assert is_current(db_conn, read(db_conn)), "or its asset would never trade again, and silently"


@pytest.mark.parametrize(
    ("qty", "price"),
    [
        ("0.123456789012345678", "98765.432109876543210987"),
        ("123456789012345678.123456789012345678", "123456789012345678.123456789012345678"),
        ("0.000000000000000001", "0.000000000000000001"),
    ],
)
def test_sums_are_compared_as_they_were_read_however_long(db_conn, bought, qty, price):
    change = "UPDATE dca_orders SET filled_qty = %s, filled_avg_price = %s, fee_qty = %s"
    execute_query(change, (qty, price, qty), db_conn=db_conn)
    assert is_current(db_conn, read(db_conn))


def test_after_an_error_the_end_of_its_cooldown_can_be_moved_and_that_is_noticed(
    db_conn, make_asset
):
    asset = make_asset(BTC)
    create_cycle(db_conn, asset.id, "error", completed_at=NOW)
    create_cycle(db_conn, asset.id, "watching")
    state = read(db_conn)
    assert is_current(db_conn, replace(state, leftover=Decimal(1)))
    later = "UPDATE dca_cycles SET completed_at = UTC_TIMESTAMP(6) WHERE status = 'error'"
    execute_query(later, db_conn=db_conn)
    assert not is_current(db_conn, state)
