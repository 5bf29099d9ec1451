"""Older databases become what a fresh one is, with every row, whatever interrupts it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from caretaker_process import real_run
from caretakers.fee_settlement import build_fee_event
from caretakers.order_manager import manage_orders
from caretakers.plans.fee_settlement import FeeSettlement
from cli.database_upgrade import main
from config import PROJECT_ROOT, get_settings, reset_settings
from daemon_process import DaemonProcess, wait_until
from domain.cycle import CycleStatus
from domain.events import Event, EventKind, Severity
from domain.orders import Side
from models.cycle_data import get_cycle
from models.events import get_events, was_written
from models.meta import (
    SCHEMA_VERSION,
    ForeignDatabase,
    Migration,
    MigrationFailed,
    apply_schema,
    check_schema,
    get_meta,
    load_migrations,
    put_meta,
)
from models.order_journal import get_entries_of_cycle
from utils.alpaca_client_rest import cancel_order, get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_orders
from utils.db_utils import execute_query, get_db_connection

OLD_SCHEMAS = Path(__file__).parents[1] / "support" / "old_schemas"
STEPS = [one.name for one in load_migrations()]
FIRST = (OLD_SCHEMAS / "version_1.sql").read_text("utf-8")
WITH_INDEX = FIRST.replace(
    "    KEY ix_created (created_at),\n",
    "    KEY ix_kind (kind, created_at),\n    KEY ix_created (created_at),\n",
)
OLD_KEY, NEW_KEY = (
    "SUBSTRING(MD5(CONCAT(UUID(), RAND())), 1, 8)",
    "LPAD(HEX(CRC32(CONCAT(UUID(), RAND()))), 8, '0')",
)
# Version 1 was made in three shapes before there were migrations.
VERSION_1 = {
    "first": FIRST,
    "with ix_kind": WITH_INDEX,
    "last": WITH_INDEX.replace(OLD_KEY, NEW_KEY),
}


@pytest.fixture
def connection(bot_environment: dict[str, str]) -> Iterator[MySQLConnectionAbstract]:
    """A connection to a database without any table."""
    with closing(get_db_connection()) as connection:
        yield connection


def statements_of(text: str) -> list[str]:
    plain = "\n".join(line.split("--")[0] for line in text.splitlines())
    return [part.strip() for part in plain.split(";") if part.strip()]


def run_sql(connection: MySQLConnectionAbstract, text: str) -> None:
    if "MariaDB" not in connection.server_info:  # MySQL never took the first key
        text = text.replace(OLD_KEY, NEW_KEY)
    for statement in statements_of(text):
        execute_query(statement, db_conn=connection)


def test_a_database_made_by_hand_from_the_schema_file_is_accepted(connection):
    run_sql(connection, (PROJECT_ROOT / "src" / "schema.sql").read_text("utf-8"))
    check_schema(connection)
    assert apply_schema(connection) == []


def test_the_schema_file_run_by_hand_does_not_call_older_tables_new(connection):
    make_version_1(connection)
    run_sql(connection, (PROJECT_ROOT / "src" / "schema.sql").read_text("utf-8"))
    with pytest.raises(ForeignDatabase, match="schema version 1"):
        check_schema(connection)
    assert apply_schema(connection) == STEPS


def make_version_1(connection: MySQLConnectionAbstract, shape: str = "first") -> None:
    run_sql(connection, VERSION_1[shape])
    put_meta(connection, "schema_version", "1")


def described(connection: MySQLConnectionAbstract) -> dict[str, list[dict[str, Any]]]:
    """Everything information_schema knows of the tables, but what only the rows decide."""
    queries = {
        "tables": "SELECT table_name, engine, table_collation, row_format, create_options,"
        " table_comment FROM information_schema.tables WHERE table_schema = DATABASE()",
        "columns": "SELECT table_name, column_name, ordinal_position, column_default, is_nullable,"
        " column_type, character_set_name, collation_name, extra, generation_expression"
        " FROM information_schema.columns WHERE table_schema = DATABASE()",
        "indexes": "SELECT table_name, index_name, non_unique, seq_in_index, column_name, sub_part"
        " FROM information_schema.statistics WHERE table_schema = DATABASE()",
        "constraints": "SELECT table_name, constraint_name, constraint_type"
        " FROM information_schema.table_constraints WHERE table_schema = DATABASE()",
        "references": "SELECT table_name, constraint_name, referenced_table_name, update_rule,"
        " delete_rule FROM information_schema.referential_constraints"
        " WHERE constraint_schema = DATABASE()",
    }
    found = {}
    for name, query in queries.items():
        rows = execute_query(query, fetch_all=True, db_conn=connection)
        found[name] = sorted(rows, key=str)
    return found


def clear(connection: MySQLConnectionAbstract) -> None:
    for table in ("dca_cycles", "dca_assets", "dca_orders", "dca_events", "dca_meta"):
        execute_query(f"DROP TABLE IF EXISTS {table}", db_conn=connection)


def test_the_files_are_numbered_without_a_gap_up_to_the_version_of_the_program():
    assert [one.version for one in load_migrations()] == list(range(2, SCHEMA_VERSION + 1))


@pytest.mark.parametrize("shape", VERSION_1)
def test_a_migrated_database_is_what_a_fresh_one_is(connection, shape):
    assert apply_schema(connection) == ["schema"]
    fresh = described(connection)
    assert len(fresh["columns"]) > 60, "the comparison must not be empty"
    clear(connection)
    make_version_1(connection, shape)
    assert described(connection) != fresh
    with pytest.raises(ForeignDatabase, match=r"version 1.*scripts/setup"):
        check_schema(connection)
    assert apply_schema(connection) == STEPS
    assert described(connection) == fresh
    check_schema(connection)
    assert apply_schema(connection) == [], "the second time there is nothing to do"


def test_a_migration_keeps_every_row(connection):
    make_version_1(connection)
    run_sql(
        connection,
        """INSERT INTO dca_assets (asset_symbol, base_order_amount, safety_order_amount,
             safety_order_deviation, take_profit_percent) VALUES ('BTC/USD', 100, 50, 1, 2);
           INSERT INTO dca_cycles (asset_id, status, quantity) VALUES (1, 'complete', 0.5);
           INSERT INTO dca_cycles (asset_id, status, latest_order_id) VALUES (1, 'buying', 'abc');
           INSERT INTO dca_events (kind, severity, reason) VALUES ('k', 'info', 'r')""",
    )
    before = execute_query("SELECT * FROM dca_cycles", fetch_all=True, db_conn=connection)
    apply_schema(connection)
    after = execute_query("SELECT * FROM dca_cycles", fetch_all=True, db_conn=connection)
    added = [{name: row.pop(name) for name in row.keys() - before[0].keys()} for row in after]
    plain = {"close_requested": 0, "open_requested": 0, "stop_loss_fired": 0}
    assert added == [plain | {"base_order_price": None, "trailing_peak": None}] * 2
    assert after == before, "updated_at and order_key, too"
    assert execute_query("SELECT kind FROM dca_events", fetch_all=True, db_conn=connection)


def test_an_open_cycle_of_an_older_database_gets_the_price_of_its_base_order(connection):
    """From the journal: as it would have been booked. What is over or made by hand gets none."""
    make_version_1(connection)
    run_sql(
        connection,
        """INSERT INTO dca_assets (asset_symbol, base_order_amount, safety_order_amount,
             safety_order_deviation, take_profit_percent)
           VALUES ('A/USD', 100, 50, 1, 2), ('B/USD', 100, 50, 1, 2), ('C/USD', 100, 50, 1, 2),
             ('D/USD', 100, 50, 1, 2), ('E/USD', 100, 50, 1, 2)""",
    )
    rows = {  # cycle: asset, status, whether a last fill is noted, orders of the journal
        1: (1, "complete", True, [("base", 0, "1", "90")]),
        2: (1, "watching", True, [("base", 0, "2", "100.5"), ("safety", 1, "2", "99")]),
        3: (2, "buying", True, [("base", 0, "0.001", "70"), ("base", 1, "1", "80"),
                                ("safety", 2, "1", "79"), ("base", 1, "2", "77")]),
        4: (3, "watching", False, [("base", 0, "0.001", "60")]),
        5: (4, "selling", True, []),
        6: (5, "cooldown", False, []),
    }  # fmt: skip
    for cycle_id, (asset_id, status, is_noted, orders) in rows.items():
        execute_query(
            "INSERT INTO dca_cycles (id, asset_id, status, quantity, average_purchase_price,"
            " last_order_fill_price, updated_at) VALUES (%s, %s, %s, 1, 50, %s, '2024-01-01')",
            (cycle_id, asset_id, status, 50 if is_noted else None),
            db_conn=connection,
        )
        for number, (purpose, seq, qty, price) in enumerate(orders):
            execute_query(
                "INSERT INTO dca_orders (asset_id, symbol, cycle_id, order_seq, purpose, side,"
                " alpaca_order_id, client_order_id, filled_qty, filled_avg_price, final_status)"
                " VALUES (%s, 'A/USD', %s, %s, %s, 'buy', %s, %s, %s, %s, 'filled')",
                (asset_id, cycle_id, seq, purpose, f"{cycle_id}-{seq}", f"{cycle_id}-{number}",
                 qty, price),
                db_conn=connection,
            )  # fmt: skip
    assert apply_schema(connection) == STEPS
    found = {cycle_id: get_cycle(connection, cycle_id) for cycle_id in rows}
    assert {cycle_id: cycle.base_order_price for cycle_id, cycle in found.items()} == {
        1: None,
        2: Decimal("100.5"),
        3: Decimal(78),
        4: None,
        5: None,
        6: None,
    }
    assert {cycle.updated_at.year for cycle in found.values()} == {2024}


def test_each_interruption_is_gone_on_from(connection):
    """After every single statement: an older program, a new one, or this one was killed there."""
    parts = [one for step in load_migrations() for one in statements_of(step.path.read_text())]
    apply_schema(connection)
    fresh = described(connection)
    for count in range(len(parts) + 1):
        clear(connection)
        make_version_1(connection)
        run_sql(connection, ";".join(parts[:count]))
        assert apply_schema(connection) == STEPS
        assert described(connection) == fresh


@pytest.mark.parametrize("text", [FIRST, (PROJECT_ROOT / "src/schema.sql").read_text("utf-8")])
def test_tables_whose_version_was_never_written_are_brought_up_to_date(connection, text):
    """The very first run was killed before its end, in this version or in an older one."""
    apply_schema(connection)
    fresh = described(connection)
    statements = statements_of(text)
    for count in range(len(statements) + 1):
        clear(connection)
        run_sql(connection, ";".join(statements[:count]))
        apply_schema(connection)
        assert described(connection) == fresh
        check_schema(connection)


def test_a_step_that_fails_says_so_in_one_line_and_the_next_run_goes_on(connection, tmp_path):
    make_version_1(connection)
    (tmp_path / "002_good.sql").write_text("ALTER TABLE dca_meta ADD COLUMN good INT;")
    bad = tmp_path / "003_bad.sql"
    bad.write_text(
        "ALTER TABLE dca_meta ADD COLUMN better INT;\nALTER TABLE nowhere ADD COLUMN x INT;"
    )
    steps = load_migrations(tmp_path)
    with pytest.raises(
        MigrationFailed, match=r"003_bad, statement 2 of 2, failed: .*nowhere"
    ) as caught:
        apply_schema(connection, steps)
    assert "\n" not in str(caught.value)
    assert get_meta(connection, "schema_version") == "2", "what was done is recorded"
    bad.write_text("ALTER TABLE dca_meta ADD COLUMN better INT;")
    assert apply_schema(connection, steps) == ["003_bad"]
    assert get_meta(connection, "schema_version") == "3"


def test_several_at_once_do_the_work_once(bot_environment, connection):
    make_version_1(connection)
    start = threading.Barrier(6)
    done: list[list[str]] = []

    def run() -> None:
        with closing(get_db_connection()) as own:
            start.wait(10)
            done.append(apply_schema(own))

    threads = [threading.Thread(target=run) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(done) == [[]] * 5 + [STEPS]


def test_one_that_never_ends_is_not_waited_for_for_ever(connection, monkeypatch):
    monkeypatch.setattr("models.meta.LOCK_SECONDS", 0)
    with closing(get_db_connection()) as other:
        execute_query(
            "SELECT GET_LOCK(CONCAT('dca-schema-', LEFT(SHA2(DATABASE(), 256), 16)), 0)",
            fetch_one=True,
            db_conn=other,
        )
        with pytest.raises(MigrationFailed, match="another program is changing the tables"):
            apply_schema(connection)


@pytest.mark.parametrize(
    ("version", "says"), [("999", "newer than this program"), ("x", "none of ours")]
)
def test_a_database_of_the_future_is_left_alone(connection, version, says):
    apply_schema(connection)
    put_meta(connection, "schema_version", version)
    before = described(connection)
    with pytest.raises(ForeignDatabase, match=says):
        apply_schema(connection)
    assert described(connection) == before


def test_the_daemon_refuses_an_old_database_and_goes_on_with_the_open_order_after_its_migration(
    bot_environment, exchange, connection, monkeypatch
):
    make_version_1(connection)
    run_sql(
        connection,
        """INSERT INTO dca_assets (asset_symbol, base_order_amount, safety_order_amount,
             safety_order_deviation, take_profit_percent, max_safety_orders)
           VALUES ('BTC/USD', 100, 50, 1, 2, 3);
           INSERT INTO dca_cycles (asset_id, status) VALUES (1, 'buying')""",
    )
    [row] = execute_query("SELECT * FROM dca_cycles", fetch_all=True, db_conn=connection)
    exchange.push_quote("BTC/USD", 50000, 50001)
    order = place_limit_buy_order(
        get_trading_client(), "BTC/USD", Decimal("0.002"), Decimal(49000),
        client_order_id=f"dca-{row['id']}-{row['order_key']}-0",
    )  # fmt: skip
    execute_query("UPDATE dca_cycles SET latest_order_id = %s", (order.id,), db_conn=connection)

    with DaemonProcess(bot_environment) as daemon:
        assert daemon.wait_for_exit() == 1
        [line] = [line for line in daemon.output.splitlines() if "ERROR" in line]
        assert "version 1, this program needs" in line
        assert "scripts/setup" in line

    assert main([]) == 0
    reset_settings()  # it may use settings without keys
    assert get_cycle(connection, row["id"]).latest_order_id == str(order.id)
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()

        def bought() -> bool:
            exchange.push_quote("BTC/USD", 48900, 48901)
            return get_cycle(connection, row["id"]).quantity > 0

        wait_until(bought)
        cycle = get_cycle(connection, row["id"])
        assert (cycle.status, cycle.quantity) == (CycleStatus.WATCHING, Decimal("0.002"))
        assert not cycle.close_requested
        assert [entry.order_seq for entry in get_entries_of_cycle(connection, cycle.id)] == [0]
        assert daemon.stop() == 0
    assert len(fetch_orders(get_trading_client(), status="all")) == 1


# The command.


@pytest.fixture
def migrate(connection, capsys) -> Callable[..., tuple[int, str, str]]:
    def run(*arguments: str) -> tuple[int, str, str]:
        reset_settings()
        code = main(arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def test_the_command_says_what_it_did(migrate, connection):
    assert migrate()[:2] == (
        0,
        f"database {connection.database}: version {SCHEMA_VERSION}, done: schema\n",
    )
    assert migrate()[:2] == (
        0,
        f"database {connection.database}: version {SCHEMA_VERSION}, nothing to do\n",
    )
    code, output, _ = migrate("--json")
    assert (code, json.loads(output)) == (0, {"done": True, "version": SCHEMA_VERSION, "steps": []})
    put_meta(connection, "schema_version", "9")
    code, output, errors = migrate()
    assert (code, output, errors.count("\n")) == (1, "", 1)
    assert errors.startswith("database migrate: the database has schema version 9, newer")


def test_the_command_needs_the_database_only_and_says_when_there_is_none(migrate):
    with pytest.MonkeyPatch.context() as monkeypatch:  # undone before the database is dropped
        monkeypatch.delenv("ALPACA_API_KEY")
        monkeypatch.delenv("ALPACA_SECRET_KEY")
        _try_broken_settings(migrate, monkeypatch)
    reset_settings()


def _try_broken_settings(migrate, monkeypatch):
    assert migrate()[0] == 0
    for name, value, code, says in (
        ("DB_PORT", "many", 2, "DB_PORT: expected a port number"),
        ("DB_SOCKET", "/nowhere.sock", 1, "cannot use database"),
    ):
        with monkeypatch.context() as changed:
            changed.setenv(name, value)
            found, output, errors = migrate("--if-configured")
            assert (found, output, errors.count("\n")) == (code, "", 1)
            assert says in errors
    monkeypatch.delenv("DB_NAME")
    code, output, errors = migrate("--if-configured")
    assert (code, errors) == (0, "")
    assert output.startswith("no database in .env yet")
    assert migrate()[0] == 2
    assert migrate("--what")[0] == 2


def test_setup_makes_the_tables_of_the_database_in_env(bot_environment, connection):
    """scripts/setup in this very clone, as it stands: everything else is there already."""
    make_version_1(connection)
    done = subprocess.run(
        [PROJECT_ROOT / "scripts" / "setup", "--no-database"],
        env={
            **os.environ,
            **bot_environment,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "tables: database" in done.stdout
    assert f"done: {', '.join(STEPS)}" in done.stdout
    check_schema(connection)


def test_a_migration_knows_its_name(tmp_path):
    assert Migration(7, tmp_path / "007_more_columns.sql").name == "007_more_columns"


# Old alerts.


def upgrade_from_3(connection: MySQLConnectionAbstract) -> None:
    """The first half of an upgrade that began at version 1: the tables are those of version 3."""
    make_version_1(connection)
    apply_schema(connection, [step for step in load_migrations() if step.version <= 3])
    assert get_meta(connection, "schema_version") == "3"


def write_old_event(
    connection: MySQLConnectionAbstract, event: Event, reason: str, *, minutes_ago: int = 20
) -> None:
    """The row that version 3 wrote of it: it knew neither an order's id nor a key."""
    execute_query(
        "INSERT INTO dca_events (kind, severity, symbol, cycle_id, reason, created_at)"
        " VALUES (%s, %s, %s, %s, %s, UTC_TIMESTAMP(6) - INTERVAL %s MINUTE)",
        (event.kind, event.severity, event.symbol, event.cycle_id, reason, minutes_ago),
        commit=True,
        db_conn=connection,
    )


def fees(
    symbol: str | None, side: Side, last_day: date, total: str, *, is_late: bool = False
) -> Event:
    settlement = FeeSettlement(
        symbol=symbol, side=side, first_day=date(2026, 1, 30), last_day=last_day,
        total=Decimal(total), problem="more than TAKER_FEE_PERCENT explains", is_late=is_late,
    )  # fmt: skip
    return build_fee_event(settlement)


def error(kind: EventKind, **identity: Any) -> Event:
    return Event(kind=kind, severity=Severity.ERROR, reason="in new words", **identity)


ID = "61e69015-8549-4bfd-b9c3-01e75843f47d"
BTC = {"symbol": "BTC/USD"}
K = EventKind
OLD_ALERTS = [
    (
        error(K.ORDER_UNCLAIMED, order_id=ID, **BTC),
        f"order dca-9-a1b2c3d4-0 ({ID}) on BTC/USD belongs to no cycle: buys wait",
    ),
    (
        error(K.ORDER_UNREADABLE, order_id=ID, symbol=""),
        f"order mine (1) ({ID}) cannot be read: a fill (0.5) without a price: buys wait",
    ),
    (
        error(K.ORDER_UNWRITABLE, order_id=ID, **BTC),
        f"order dca-1-a1b2c3d4-0 ({ID}) cannot be written: database: 1062 (23000): Duplicate entry"
        " 'x' for key 'uq_client_order_id': buys wait",
    ),
    (
        error(K.ORDER_LONG_OPEN, order_id=ID, dedupe_key="partially_filled", **BTC),
        "order dca-1-A1B2C3D4-3 is partially_filled for more than 15 minutes",
    ),
    (
        error(K.ASSET_RENAMED, cycle_id=1, dedupe_key="ETH/USD", **BTC),
        "order dca-1-A1B2C3D4-3 of cycle 1 is on BTC/USD, its asset is ETH/USD: if asset_symbol was"
        " changed, change it back",
    ),
    (
        error(
            K.TRANSITION_FORBIDDEN,
            cycle_id=1,
            dedupe_key="dca-1-A1B2C3D4-3 sell_opened",
            **BTC,
        ),
        "order dca-1-A1B2C3D4-3: a cycle in cooldown cannot have sell_opened",
    ),
    (
        fees("BTC/USD", Side.BUY, date(2026, 1, 31), "0.000012500", is_late=True),
        "BTC/USD: 0.0000125 coins were posted for the buys of 2026-01-30 to 2026-01-31, beside"
        " others that fit no execution: the estimates stay, more is looked for until 2026-02-09",
    ),
    (
        fees("BTC/USD", Side.BUY, date(2026, 1, 30), "3"),
        "BTC/USD: 3 coins were posted for the buys of 2026-01-30, more than TAKER_FEE_PERCENT"
        " explains",
    ),
    (
        fees(None, Side.SELL, date(2026, 1, 30), "2.40"),
        "all symbols: 2.4 USD were posted for the sells of 2026-01-30, more than TAKER_FEE_PERCENT"
        " explains",
    ),
]  # fmt: skip


@pytest.fixture
def old_alerts(connection: MySQLConnectionAbstract) -> MySQLConnectionAbstract:
    """A database of version 3 that has sent all of them, of a cycle that waits for order `ID`."""
    upgrade_from_3(connection)
    run_sql(
        connection,
        f"""INSERT INTO dca_assets (asset_symbol, base_order_amount, safety_order_amount,
              safety_order_deviation, take_profit_percent) VALUES ('BTC/USD', 100, 50, 1, 2);
            INSERT INTO dca_cycles (asset_id, status, latest_order_id, order_key, order_seq)
            VALUES (1, 'buying', '{ID}', 'A1B2C3D4', 3)""",
    )
    for event, reason in OLD_ALERTS:
        write_old_event(connection, event, reason)
    return connection


@pytest.mark.parametrize(("event", "_"), OLD_ALERTS, ids=[one.kind for one, _ in OLD_ALERTS])
def test_an_alert_of_an_older_version_is_not_sent_again_in_new_words(old_alerts, event, _):
    apply_schema(old_alerts)
    assert was_written(old_alerts, event)
    key = event.dedupe_key or ""
    assert not was_written(old_alerts, replace(event, dedupe_key=f"{key}0"))


def test_old_alerts_survive_an_interruption_after_each_statement(old_alerts):
    before = execute_query("SELECT * FROM dca_events", fetch_all=True, db_conn=old_alerts)
    [step] = [step for step in load_migrations() if step.version == 4]
    statements = statements_of(step.path.read_text("utf-8"))
    for count in range(len(statements) + 1):
        run_sql(old_alerts, ";".join(statements[:count]))
        assert apply_schema(old_alerts) == [one for one in STEPS if one >= step.name]
        assert [one for one, _ in OLD_ALERTS if not was_written(old_alerts, one)] == []
        after = execute_query("SELECT * FROM dca_events", fetch_all=True, db_conn=old_alerts)
        assert [{name: row[name] for name in before[0]} for row in after] == before
        put_meta(old_alerts, "schema_version", "3")
        run_sql(
            old_alerts,
            "ALTER TABLE dca_events DROP KEY ix_identity;"
            "ALTER TABLE dca_events DROP COLUMN order_id;"
            "ALTER TABLE dca_events DROP COLUMN dedupe_key",
        )


def test_a_sentence_that_no_version_wrote_breaks_no_upgrade(connection):
    upgrade_from_3(connection)
    words = [
        "",
        "(order",
        "(order )",
        "x" * 500,
        "(order " + "y" * 400 + ")",
        "order ( ) on : , of",
    ]
    for kind in EventKind:
        for reason in words:
            write_old_event(connection, error(kind), reason)
    assert apply_schema(connection) == [one for one in STEPS if one >= "004"]
    rows = execute_query("SELECT * FROM dca_events", fetch_all=True, db_conn=connection)
    assert len(rows) == len(EventKind) * len(words)


@pytest.mark.parametrize("is_reported", [False, True])
def test_after_an_upgrade_no_cancellation_is_asked_for_again_and_none_is_reported_again(
    bot_environment, exchange, connection, is_reported
):
    """The exchange took the request of the old version and does not come to its end."""
    upgrade_from_3(connection)
    run_sql(
        connection,
        """INSERT INTO dca_assets (asset_symbol, base_order_amount, safety_order_amount,
             safety_order_deviation, take_profit_percent) VALUES ('BTC/USD', 100, 50, 1, 2)""",
    )
    exchange.push_quote("BTC/USD", 50000, 50001)
    client = get_trading_client()
    exchange.arm("stick_cancel")
    order = place_limit_buy_order(client, "BTC/USD", Decimal("0.02"), Decimal(1000))
    exchange.finish()
    exchange.arm("skew_clock", seconds=3600)
    assert cancel_order(client, str(order.id))
    old = f"orphan: buy {order.client_order_id} is new for 3600 s (order {order.id})"
    asked = Event(kind=K.ORDER_CANCEL_REQUESTED, severity=Severity.INFO, reason="", **BTC)
    write_old_event(connection, asked, old)
    if is_reported:
        write_old_event(connection, error(K.ORDER_CANCEL_LASTING, **BTC), old, minutes_ago=5)
    apply_schema(connection)
    requests = exchange.state()["requests"]["by_route"]["DELETE /v2/orders/{order_id}"]
    for _ in range(2):
        run = real_run(get_settings())
        manage_orders(run)
        assert not run.failed
    kinds = [row["kind"] for row in get_events(connection)]
    assert kinds == ["order_cancel_lasting", "order_cancel_requested"]
    by_route = exchange.state()["requests"]["by_route"]
    assert by_route["DELETE /v2/orders/{order_id}"] == requests == 1
