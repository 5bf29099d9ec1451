"""Records and their queries on a real database, and the rules that the database itself holds."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from builders import NOW, build_entry, build_order
from config import PROJECT_ROOT
from domain.cycle import CycleStatus, DcaCycle
from domain.events import Event, EventKind, Severity
from domain.journal import Purpose
from domain.orders import Side
from models import cycle_data
from models.asset_config import (
    create_asset,
    get_all_assets,
    get_all_enabled_assets,
    get_asset_by_id,
    get_asset_config,
    update_asset_config,
)
from models.cycle_data import (
    create_cycle,
    get_cycle,
    get_cycle_by_latest_order,
    get_cycles_by_status,
    get_latest_cycle,
    lock_cycle,
    update_cycle,
)
from models.events import append_event, end_alerts, get_error_events, get_events, was_written
from models.meta import (
    ForeignDatabase,
    apply_schema,
    check_schema,
    claim_account,
    get_meta,
    put_meta,
)
from models.order_journal import (
    append_journal_entry,
    get_bought_usd_since,
    get_entries_ended_since,
    get_entries_of_cycle,
    get_entries_of_order,
)
from models.trading_state import (
    load_all_trading_states,
    load_trading_state,
    load_trading_state_of_cycle,
)
from utils.db_utils import (
    DatabaseError,
    DuplicateRow,
    execute_query,
    get_db_connection,
    transaction,
)

TINY, HUGE = Decimal("0.000000000000000001"), Decimal("999999999999999999.999999999999999999")


def sql(db_conn, statement, params=None, **how):
    return execute_query(statement, params, db_conn=db_conn, **how)


# Assets.


def test_get_asset_config(db_conn, make_asset):
    made = make_asset(base_order_amount=Decimal("100.25"))
    found = get_asset_config(db_conn, "BTC/USD")
    assert found == made == get_asset_by_id(db_conn, made.id)
    assert (found.base_order_amount, found.is_enabled) == (Decimal("100.25"), True)
    assert get_asset_config(db_conn, "ETH/USD") is None
    assert get_asset_by_id(db_conn, made.id + 1) is None


def test_a_row_of_plain_sql_with_the_plans_columns_works(db_conn):
    sql(
        db_conn,
        "INSERT INTO dca_assets (asset_symbol, is_enabled, base_order_amount, safety_order_amount,"
        " max_safety_orders, safety_order_deviation, take_profit_percent, cooldown_period,"
        " last_sell_price) VALUES ('BTC/USD', 1, 100, 50, 3, 1.0, 2.0, 60, NULL)",
    )
    asset = get_asset_config(db_conn, "BTC/USD")
    assert (asset.take_profit_percent, asset.cooldown_period) == (Decimal(2), 60)
    assert asset.buy_order_price_deviation_percent is None
    assert asset.take_profit_fee_percent is None
    sql(
        db_conn,
        "INSERT INTO dca_cycles (asset_id, status, quantity, average_purchase_price, safety_orders,"
        " latest_order_id, last_order_fill_price, completed_at)"
        " VALUES (%s, 'watching', 0.5, 50000, 1, NULL, 49000, NULL)",
        (asset.id,),
    )
    cycle = get_latest_cycle(db_conn, asset.id)
    assert (cycle.status, cycle.quantity, cycle.order_seq) == ("watching", Decimal("0.5"), 0)
    assert re.fullmatch("[0-9a-zA-Z]{8}", cycle.order_key)
    assert datetime.now(UTC) - cycle.created_at < timedelta(minutes=1)
    assert load_trading_state(db_conn, "BTC/USD").cycle == cycle


def test_enabled_assets_are_a_part_of_all_by_symbol(db_conn, make_asset):
    for symbol, enabled in [("SOL/USD", True), ("BTC/USD", False), ("ETH/USD", True)]:
        make_asset(symbol, is_enabled=enabled)
    names = [asset.asset_symbol for asset in get_all_enabled_assets(db_conn)]
    assert names == ["ETH/USD", "SOL/USD"]
    assert len(get_all_assets(db_conn)) == 3


def test_updating_an_asset_says_whether_it_exists(db_conn, make_asset):
    asset = make_asset()
    assert update_asset_config(db_conn, asset.id, {"last_sell_price": Decimal("50000.5")})
    assert update_asset_config(db_conn, asset.id, {"last_sell_price": Decimal("50000.5")})
    assert not update_asset_config(db_conn, asset.id + 1, {"is_enabled": False})
    found = get_asset_by_id(db_conn, asset.id)
    assert found == replace(asset, last_sell_price=Decimal("50000.5"), updated_at=found.updated_at)


@pytest.mark.parametrize(
    "columns", [{}, {"id": 1}, {"created_at": NOW}, {"nothing": 1}, {"is_enabled = 0; --": 1}]
)
def test_unknown_or_read_only_columns_of_an_asset_are_refused(db_conn, make_asset, columns):
    asset = make_asset()
    with pytest.raises(ValueError, match="column"):
        update_asset_config(db_conn, asset.id, columns)
    with pytest.raises(ValueError, match="column"):
        create_asset(db_conn, columns)
    assert get_all_assets(db_conn) == [asset]


def test_a_symbol_exists_once(db_conn, make_asset):
    make_asset()
    with pytest.raises(DuplicateRow):
        make_asset()


@pytest.mark.parametrize("amount", [TINY, Decimal("0.00000001"), HUGE, Decimal("1e-7")])
def test_amounts_come_back_exactly_however_small_or_large(db_conn, make_asset, amount):
    asset = make_asset(base_order_amount=amount)
    assert asset.base_order_amount == amount
    cycle = create_cycle(db_conn, asset.id, "watching", quantity=amount)
    assert cycle.quantity == amount


# Cycles.


def test_create_and_get_cycle(db_conn, make_asset):
    asset = make_asset()
    made = create_cycle(
        db_conn,
        asset.id,
        "buying",
        quantity=Decimal("0.123456789"),
        average_purchase_price=Decimal("50000.01"),
        safety_orders=2,
        latest_order_id="an-order",
        last_order_fill_price=Decimal("49000.5"),
    )
    assert made.id > 0
    assert made.created_at.tzinfo is UTC
    assert get_latest_cycle(db_conn, asset.id) == made == get_cycle(db_conn, made.id)
    assert made == DcaCycle(
        id=made.id,
        asset_id=asset.id,
        status=CycleStatus.BUYING,
        quantity=Decimal("0.123456789"),
        average_purchase_price=Decimal("50000.01"),
        safety_orders=2,
        latest_order_id="an-order",
        last_order_fill_price=Decimal("49000.5"),
        created_at=made.created_at,
        updated_at=made.updated_at,
        order_seq=0,
        order_key=made.order_key,
    )


def test_what_is_not_there_is_none(db_conn):
    assert get_latest_cycle(db_conn, 1) is None
    assert get_cycle(db_conn, 1) is None
    assert lock_cycle(db_conn, 1) is None
    assert get_cycle_by_latest_order(db_conn, "x") is None
    assert load_trading_state(db_conn, "BTC/USD") is None


def test_an_update_writes_its_columns_and_no_others(db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    ended_at = datetime(2024, 1, 2, 3, 4, 5, 678901, UTC)
    updates = {"status": CycleStatus.COMPLETE, "completed_at": ended_at, "order_seq": 4}
    assert update_cycle(db_conn, cycle.id, updates)
    found = get_cycle(db_conn, cycle.id)
    assert found == replace(cycle, **updates, updated_at=found.updated_at)
    assert update_cycle(db_conn, cycle.id, {"status": "complete"}), "the same value again"
    assert not update_cycle(db_conn, cycle.id + 1, {"status": "watching"})


READ_ONLY = {"id": 9, "asset_id": 9, "created_at": NOW, "order_key": "x", "updated_at": NOW}


@pytest.mark.parametrize(
    "columns",
    [
        {},
        *({name: value} for name, value in READ_ONLY.items()),
        {"open_asset_id": 1},
        {"nothing": 1},
        {"status": "watching", "quantity = 1 -- ": 1},
    ],
    ids=lambda columns: ",".join(columns) or "none",
)
def test_an_update_refuses_what_identifies_a_cycle_and_what_is_unknown(
    db_conn, make_asset, columns
):
    cycle = create_cycle(db_conn, make_asset().id, "buying")
    with pytest.raises(ValueError, match="column"):
        update_cycle(db_conn, cycle.id, columns)
    assert get_cycle(db_conn, cycle.id) == cycle


@pytest.mark.parametrize("how", ["through the model", "by plain SQL"])
def test_a_status_that_does_not_exist_is_refused(db_conn, make_asset, how):
    asset = make_asset()
    if how == "through the model":
        with pytest.raises(ValueError, match="dreaming"):
            create_cycle(db_conn, asset.id, "dreaming")
    else:
        with pytest.raises(DatabaseError):
            sql(
                db_conn,
                "INSERT INTO dca_cycles (asset_id, status) VALUES (%s, 'dreaming')",
                (asset.id,),
            )
    assert get_latest_cycle(db_conn, asset.id) is None


OPEN = ["watching", "buying", "selling", "cooldown"]
CLOSED = ["complete", "error"]


@pytest.mark.parametrize("first", OPEN)
def test_the_database_refuses_a_second_open_cycle(db_conn, make_asset, first):
    for number, second in enumerate(OPEN):
        asset = make_asset(f"C{number}/USD")
        _refuse_second(db_conn, asset, first, second)


def _refuse_second(db_conn, asset, first, second):
    insert = "INSERT INTO dca_cycles (asset_id, status) VALUES (%s, %s)"
    cycle = create_cycle(db_conn, asset.id, first)
    with pytest.raises(DuplicateRow):
        create_cycle(db_conn, asset.id, second)
    with pytest.raises(DuplicateRow):
        sql(db_conn, insert, (asset.id, second))
    for closed in CLOSED:
        other = create_cycle(db_conn, asset.id, closed)
        with pytest.raises(DuplicateRow):
            update_cycle(db_conn, other.id, {"status": second})
    update_cycle(db_conn, cycle.id, {"status": "complete"})
    assert create_cycle(db_conn, asset.id, second).is_open


def test_two_daemons_that_open_a_cycle_at_once_open_one(db_conn, make_asset):
    asset = make_asset()
    with closing(get_db_connection()) as other:
        other.start_transaction()
        sql(other, "INSERT INTO dca_cycles (asset_id) VALUES (%s)", (asset.id,))
        sql(db_conn, "SET innodb_lock_wait_timeout = 1")
        with pytest.raises(DatabaseError):
            create_cycle(db_conn, asset.id, "watching")
        other.commit()
    with pytest.raises(DuplicateRow):
        create_cycle(db_conn, asset.id, "watching")


def test_each_cycle_has_a_token_of_its_own(db_conn, make_asset):
    asset = make_asset()
    keys = {create_cycle(db_conn, asset.id, "complete").order_key for _ in range(50)}
    assert len(keys) == 50


def test_the_cycle_of_an_open_order_is_found_and_an_ended_one_is_not(db_conn, make_asset):
    asset = make_asset()
    create_cycle(db_conn, asset.id, "complete", latest_order_id="x")
    assert get_cycle_by_latest_order(db_conn, "x") is None
    cycle = create_cycle(db_conn, asset.id, "buying", latest_order_id="x")
    assert get_cycle_by_latest_order(db_conn, "x") == cycle
    assert get_cycle_by_latest_order(db_conn, "y") is None


def test_cycles_are_found_by_status_oldest_first(db_conn, make_asset):
    first = create_cycle(db_conn, make_asset().id, "selling")
    second = create_cycle(db_conn, make_asset("ETH/USD").id, "buying")
    create_cycle(db_conn, make_asset("SOL/USD").id, "watching")
    found = get_cycles_by_status(db_conn, CycleStatus.BUYING, CycleStatus.SELLING)
    assert found == [first, second]


def test_the_cooldown_counts_from_the_last_end_before_the_cycle_also_within_one_instant(
    db_conn, make_asset
):
    asset = make_asset()
    ends = [None, NOW - timedelta(hours=2), NOW - timedelta(hours=1)]
    for end in ends:
        create_cycle(db_conn, asset.id, "complete", completed_at=end)
    create_cycle(db_conn, asset.id, "cooldown")
    sql(db_conn, "UPDATE dca_cycles SET created_at = '2024-03-01 10:00:00'")
    state = load_trading_state(db_conn, "BTC/USD")
    assert state.previous_completed_at == ends[2]
    assert state.previous_status is CycleStatus.COMPLETE
    assert state.cooldown_until == ends[2] + timedelta(seconds=60)


def test_a_locked_cycle_waits_for_the_end_of_the_transaction(db_conn, make_asset):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    seen = []

    def work(connection):
        assert lock_cycle(connection, cycle.id) == cycle
        with closing(get_db_connection()) as other:
            sql(other, "SET innodb_lock_wait_timeout = 1")
            with pytest.raises(DatabaseError):
                update_cycle(other, cycle.id, {"safety_orders": 1})
        seen.append("still ours")

    transaction(work, db_conn)
    assert seen == ["still ours"]
    assert get_cycle(db_conn, cycle.id) == cycle


def test_the_models_are_part_of_the_transaction_they_are_called_in(db_conn, make_asset):
    asset = make_asset()
    cycle = create_cycle(db_conn, asset.id, "watching")

    def work(connection):
        update_cycle(connection, cycle.id, {"status": "complete"})
        update_asset_config(connection, asset.id, {"last_sell_price": Decimal(1)})
        append_journal_entry(connection, build_entry())
        append_event(connection, Event(kind="x", severity=Severity.INFO, reason="y"))
        put_meta(connection, "name", "value")
        create_cycle(connection, asset.id, "cooldown")
        raise RuntimeError("the last part failed")

    with pytest.raises(RuntimeError):
        transaction(work, db_conn)
    assert get_latest_cycle(db_conn, asset.id) == cycle
    assert get_asset_by_id(db_conn, asset.id).last_sell_price is None
    assert get_entries_of_cycle(db_conn, 42) == []
    assert get_events(db_conn) == []
    assert get_meta(db_conn, "name") is None


# The journal.


def test_a_journal_entry_comes_back_as_it_was_written(db_conn):
    entry = build_entry(
        build_order(status="canceled", filled_qty="0.001", filled_avg_price="50000.5"),
        purpose=Purpose.SAFETY,
        side=Side.BUY,
        fee_qty=TINY,
        fee_usd=Decimal("0.01"),
        fee_is_estimated=False,
        note="a note",
    )
    append_journal_entry(db_conn, entry)
    assert get_entries_of_order(db_conn, entry.alpaca_order_id) == [entry]
    assert get_entries_of_cycle(db_conn, entry.cycle_id) == [entry]
    with pytest.raises(DuplicateRow):
        append_journal_entry(db_conn, entry)
    correction = replace(entry, client_order_id=f"{entry.client_order_id}/c1")
    append_journal_entry(db_conn, correction)
    assert get_entries_of_order(db_conn, entry.alpaca_order_id) == [entry, correction]


def test_the_journal_outlives_the_rows_it_speaks_of(db_conn, make_asset):
    asset = make_asset()
    cycle = create_cycle(db_conn, asset.id, "complete")
    entry = build_entry(asset_id=asset.id, cycle_id=cycle.id)
    append_journal_entry(db_conn, entry)
    sql(db_conn, "DELETE FROM dca_cycles")
    sql(db_conn, "DELETE FROM dca_assets")
    assert get_entries_of_cycle(db_conn, cycle.id) == [entry]


def test_sums_and_windows_of_the_journal(db_conn):
    for number, (side, minutes_ago) in enumerate([("buy", 90), ("buy", 30), ("sell", 10)]):
        order = build_order(
            side=side, status="filled", filled_qty="0.002", filled_avg_price="50000"
        )
        moment = NOW - timedelta(minutes=minutes_ago)
        entry = build_entry(order, client_order_id=f"o{number}", ended_at=moment)
        append_journal_entry(db_conn, entry)
    hour_ago = NOW - timedelta(hours=1)
    ids = [entry.client_order_id for entry in get_entries_ended_since(db_conn, hour_ago)]
    assert ids == ["o1", "o2"]
    assert get_bought_usd_since(db_conn, hour_ago) == 100
    assert get_bought_usd_since(db_conn, NOW) == 0


def test_a_trading_state_sums_what_the_cycle_itself_bought(db_conn, make_asset):
    asset = make_asset()
    old = create_cycle(db_conn, asset.id, "complete", completed_at=NOW)
    cycle = create_cycle(db_conn, asset.id, "watching")
    for number, (cycle_id, side) in enumerate(
        [(old.id, "buy"), (cycle.id, "buy"), (cycle.id, "buy"), (cycle.id, "sell")]
    ):
        order = build_order(
            side=side, status="filled", filled_qty="0.002", filled_avg_price="50000"
        )
        append_journal_entry(
            db_conn,
            build_entry(
                order,
                asset_id=asset.id,
                cycle_id=cycle_id,
                client_order_id=f"o{number}",
                fee_qty=Decimal("0.000005") if side == "buy" else Decimal(0),
            ),
        )
    state = load_trading_state(db_conn, "BTC/USD")
    assert (state.cycle, state.bought_usd) == (cycle, Decimal(200))
    assert state.coin_fees == Decimal("0.00001")
    assert load_all_trading_states(db_conn) == [state]
    assert load_trading_state_of_cycle(db_conn, cycle) == state
    assert load_trading_state_of_cycle(db_conn, old) is None, "a newer cycle took its place"


def test_disabled_assets_have_a_state_and_assets_without_a_cycle_do_not(db_conn, make_asset):
    create_cycle(db_conn, make_asset("ETH/USD", is_enabled=False).id, "watching")
    make_asset("BTC/USD")
    states = load_all_trading_states(db_conn)
    assert [state.asset.asset_symbol for state in states] == ["ETH/USD"]


# Events and meta.


def test_events_come_back_newest_first_and_a_reason_that_is_too_long_is_cut(db_conn):
    for kind in (EventKind.ORDER_MISSING, EventKind.POSITION_GONE):
        append_event(db_conn, Event(kind=kind, severity=Severity.ERROR, reason="r" * 600))
    rows = get_events(db_conn)
    assert [row["kind"] for row in rows] == ["position_gone", "order_missing"]
    assert rows[0]["reason"] == "r" * 500


ALERT = Event(
    kind=EventKind.ORDER_LONG_OPEN,
    severity=Severity.ERROR,
    reason="it is open for long",
    asset_id=1,
    symbol="BTC/USD",
    cycle_id=7,
    order_id="4f1c",
    dedupe_key="new",
)
MARKS = {
    "kind": EventKind.ORDER_UNREADABLE,
    "symbol": "ETH/USD",
    "cycle_id": 8,
    "order_id": "4f1d",
    "dedupe_key": "held",
}


def test_in_other_words_it_is_the_same_alert(db_conn):
    append_event(db_conn, ALERT)
    assert was_written(db_conn, replace(ALERT, reason="nobody takes it", asset_id=None))
    append_event(db_conn, replace(ALERT, reason="nobody takes it"))
    assert [row.reason for row in get_error_events(db_conn, 60, 9)] == ["nobody takes it"]
    now = datetime.now(UTC)
    assert was_written(db_conn, ALERT, since=now - timedelta(minutes=1))
    assert not was_written(db_conn, ALERT, since=now + timedelta(minutes=1))


@pytest.mark.parametrize("column", MARKS)
@pytest.mark.parametrize("is_null", [False, True])
def test_with_another_value_in_one_column_it_is_another_alert(db_conn, column, is_null):
    other = replace(ALERT, **{column: None if is_null and column != "kind" else MARKS[column]})
    append_event(db_conn, ALERT)
    assert not was_written(db_conn, other)
    append_event(db_conn, other)
    assert was_written(db_conn, other)
    assert len(get_error_events(db_conn, 60, 9)) == 2


def test_identities_are_exact_and_what_is_longer_than_a_column_is_found_again(db_conn):
    for event in (ALERT, replace(ALERT, dedupe_key="9" * 300)):
        append_event(db_conn, event)
        assert was_written(db_conn, event)
    for changes in ({"order_id": "4F1C"}, {"dedupe_key": "NEW"}):
        assert not was_written(db_conn, replace(ALERT, **changes))


def test_an_alert_that_is_over_is_sent_anew_when_it_comes_back(db_conn):
    other = replace(ALERT, order_id="another")
    for event in (ALERT, other):
        append_event(db_conn, event)
    end_alerts(db_conn, "4f1c", (EventKind.ORDER_UNCLAIMED,), "of another kind")
    assert len(get_events(db_conn)) == 2
    for _ in range(2):
        end_alerts(db_conn, "4f1c", (ALERT.kind,), "the order is booked")
    [end, _, _] = get_events(db_conn)
    assert (end["severity"], end["reason"]) == ("info", "over: the order is booked")
    assert not was_written(db_conn, ALERT)
    assert was_written(db_conn, other)
    assert len(get_error_events(db_conn, 60, 9)) == 1
    append_event(db_conn, ALERT)
    assert was_written(db_conn, ALERT)
    assert len(get_error_events(db_conn, 60, 9)) == 2


def test_nothing_compares_or_takes_apart_a_reason():
    """What a program must know stands in columns: the words are for a person."""
    compares = re.compile(
        r"\breason (=|<=>|!=|LIKE|IN|REGEXP) \(?(%s|')|GROUP BY[^\"]*\breason\b"
        r"|\breason\.(partition|rpartition|split|startswith|endswith|find|index|removeprefix)\("
        r"|\.(search|match|fullmatch|findall|split|sub)\([^)]*\breason\b"
        r"|\bin [a-z_.]*\.reason\b|\.reason\s*(==|!=)|\breason\s*==\s*[\"']"
    )
    files = list((PROJECT_ROOT / "src").rglob("*.py"))
    found = {path.name: compares.findall(path.read_text("utf-8")) for path in files}
    assert len(found) > 100
    assert {name: hits for name, hits in found.items() if hits} == {}
    assert compares.search("WHERE kind = %s AND reason = %s")
    assert compares.search("_ORDER_IN_REASON.search(event.reason)")


def test_the_schema_can_be_applied_again_and_keeps_what_is_there(db_conn, make_asset):
    asset = make_asset()
    apply_schema(db_conn)
    assert get_all_assets(db_conn) == [asset]
    check_schema(db_conn)


def test_a_database_without_our_tables_or_of_another_version_is_refused(bot_environment):
    with closing(get_db_connection()) as connection:
        with pytest.raises(ForeignDatabase, match="scripts/setup"):
            check_schema(connection)
        apply_schema(connection)
        put_meta(connection, "schema_version", "999")
        with pytest.raises(ForeignDatabase, match="999"):
            check_schema(connection)


def test_a_database_belongs_to_the_first_account_that_used_it(db_conn):
    claim_account(db_conn, "account-one")
    claim_account(db_conn, "account-one")
    with pytest.raises(ForeignDatabase, match=r"account-one.*account-two"):
        claim_account(db_conn, "account-two")
    assert get_meta(db_conn, "alpaca_account_id") == "account-one"


def test_the_record_has_exactly_the_columns_of_the_table(db_conn):
    rows = sql(db_conn, "SHOW COLUMNS FROM dca_cycles", fetch_all=True)
    generated = {"open_asset_id"}
    assert {row["Field"] for row in rows} - generated == set(cycle_data.COLUMNS)
