"""A booking whose connection breaks at any of its statements is whole in the end, and single."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal

import pytest

from builders import FEE_RATE, NOW, build_order, build_rules
from config import reset_settings
from cutting_line import Cut, CuttingLine, cutting_line
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle, update_cycle
from models.order_journal import get_entries_of_cycle
from trading.cycle_changes import Applied, apply_order
from utils import db_utils
from utils.db_utils import close_thread_connection, execute_query

BOUGHT = {"status": "filled", "filled_qty": "0.002", "filled_avg_price": "50000"}
SOLD = {"side": "sell", "status": "filled", "filled_qty": "0.002", "filled_avg_price": "51000"}
HELD = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
BUY_STATEMENTS = [
    "START TRANSACTION",
    "SELECT",  # the cycle's row, locked
    "SELECT",  # all else that the booking depends on
    "UPDATE dca_cycles",
    "INSERT INTO dca_orders",
    "COMMIT",
]
SELL_STATEMENTS = [
    *BUY_STATEMENTS[:4],
    "UPDATE dca_assets",
    "INSERT INTO dca_orders",
    "INSERT INTO dca_cycles",
    "COMMIT",
]


@pytest.fixture
def line(db_conn, bot_environment, monkeypatch) -> Iterator[CuttingLine]:
    """The bot's line to the database; the test's own connection goes another way."""
    with monkeypatch.context() as patched:
        # A line that died silently leaves its locks behind: they go before the replays end.
        patched.setattr(
            db_utils, "_SESSION", db_utils._SESSION.replace("timeout = 10", "timeout = 1")
        )
        patched.setitem(db_utils.get_db_connection.__kwdefaults__, "statement_seconds", 3)
        with cutting_line(int(bot_environment["DB_PORT"])) as line:
            patched.setenv("DB_SOCKET", "")
            patched.setenv("DB_PORT", str(line.port))
            reset_settings()
            yield line
            close_thread_connection()
    reset_settings()


def book(order):
    return apply_order(order, build_rules(), FEE_RATE, NOW, source="test").applied


@pytest.fixture
def order_on(db_conn, make_asset):
    """An order that just ended, and the linked cycle that waits for it."""

    def make(side: str):
        status, held = ("buying", {}) if side == "buy" else ("selling", HELD)
        cycle = create_cycle(db_conn, make_asset().id, status, **held)
        order = build_order(cycle, **(BOUGHT if side == "buy" else SOLD))
        update_cycle(db_conn, cycle.id, {"latest_order_id": order.id})
        return cycle, order

    return make


@pytest.mark.parametrize(
    ("side", "expected"), [("buy", BUY_STATEMENTS), ("sell", SELL_STATEMENTS)], ids=["buy", "sell"]
)
def test_a_fill_is_booked_with_so_many_statements_and_no_other_question(
    line, order_on, side, expected
):
    """Each is a round trip; a ping would be a packet of its own."""
    _, order = order_on(side)
    execute_query("SELECT 1", fetch_one=True)
    line.statements.clear()
    packets = line.packets
    assert book(order) is Applied.CHANGED
    assert [
        statement[: len(begin)] for statement, begin in zip(line.statements, expected, strict=True)
    ] == expected
    assert line.packets - packets == len(expected)


def is_booked_once(db_conn, cycle, side):
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    found, latest = get_cycle(db_conn, cycle.id), get_latest_cycle(db_conn, cycle.asset_id)
    assert (entry.filled_qty, found.order_seq, found.latest_order_id) == (Decimal("0.002"), 1, None)
    count = "SELECT COUNT(*) AS n FROM dca_cycles WHERE asset_id = %s"
    [row] = execute_query(count, (cycle.asset_id,), fetch_all=True, db_conn=db_conn)
    if side == "buy":
        assert (found.status, found.quantity, row["n"]) == ("watching", Decimal("0.002"), 1)
    else:
        assert (found.status, latest.status, row["n"]) == ("complete", "cooldown", 2)
    return True


@pytest.mark.parametrize("cut", [Cut.UNSENT, Cut.UNANSWERED, Cut.HALF_ANSWERED], ids=str)
@pytest.mark.parametrize("place", range(len(SELL_STATEMENTS)))
def test_a_booking_whose_connection_is_lost_at_any_statement_is_done_again_as_a_whole(
    line, db_conn, order_on, place, cut
):
    cycle, order = order_on("sell")
    execute_query("SELECT 1", fetch_one=True)
    line.cut_at("", cut, nth=place + 1)
    is_done = place == len(SELL_STATEMENTS) - 1 and cut is not Cut.UNSENT
    assert book(order) is (Applied.NOTHING_NEW if is_done else Applied.CHANGED)
    assert is_booked_once(db_conn, cycle, "sell")
    assert book(order) is Applied.NOTHING_NEW


@pytest.mark.parametrize(
    ("place", "cut"),
    [
        (1, Cut.SILENT),
        (2, Cut.SILENT_HALFWAY),
        (4, Cut.SILENT),
        (6, Cut.SILENT),
        (6, Cut.SILENT_HALFWAY),
    ],
    ids=str,
)
def test_a_booking_whose_line_falls_silent_is_done_again_on_a_new_one(
    line, db_conn, order_on, place, cut
):
    """The read time-out closes the line: the rest of an answer would be taken for the next one."""
    cycle, order = order_on("buy")
    execute_query("SELECT 1", fetch_one=True)
    line.cut_at("", cut, nth=place)
    is_done = place == len(BUY_STATEMENTS) and cut is Cut.SILENT_HALFWAY
    assert book(order) is (Applied.NOTHING_NEW if is_done else Applied.CHANGED)
    assert is_booked_once(db_conn, cycle, "buy")
    assert execute_query("SELECT 7 AS n", fetch_one=True) == {"n": 7}
