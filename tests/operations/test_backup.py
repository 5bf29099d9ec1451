"""A backup file says itself whether it is whole; a restore changes nothing or everything."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from mysql.connector.abstracts import MySQLConnectionAbstract

from cli import database as database_command
from cli.database import main
from config import Settings, get_settings, reset_settings
from domain.cycle import CycleStatus
from domain.events import Event, EventKind, Severity
from models.asset_config import get_all_assets
from models.cycle_data import create_cycle, get_cycle
from models.events import append_event, get_events
from models.meta import SCHEMA_VERSION, get_meta, load_migrations, put_meta
from models.order_journal import get_entries_of_cycle
from operations import restore as restore_module
from operations.backup import make_backup
from operations.lost_cycles import catch_up
from operations.refused import Refused
from operations.restore import nobody_works, restore
from trading.engine import build_engine
from utils import backup_file, private_database
from utils.alpaca_client_rest import (
    get_trading_client,
    place_limit_buy_order,
    place_market_sell_order,
)
from utils.backup_file import (
    BackupError,
    Section,
    check_backup,
    list_backups,
    read_sections,
    write_backup,
)
from utils.db_utils import DatabaseError, execute_query, get_db_connection
from utils.state_file import locked


@pytest.fixture
def bot(db_conn: MySQLConnectionAbstract, make_asset: Callable[..., Any]) -> Settings:
    """A database with rows of every table, one of them full of what text can hold."""
    asset = make_asset()
    create_cycle(db_conn, asset.id, "complete", Decimal("0.123456789012345678"))
    create_cycle(db_conn, asset.id, "watching")
    reason = 'a "reason", with\ttabs,\nlines, \\ and ünïcødé 🪙'
    kind, severity = EventKind.ORDER_LONG_OPEN, Severity.WARNING
    append_event(db_conn, Event(kind=kind, severity=severity, reason=reason))
    for _ in range(11):  # twice as many each time: more than a page
        copied = "SELECT kind, severity, reason FROM dca_events"
        execute_query(f"INSERT INTO dca_events (kind, severity, reason) {copied}", db_conn=db_conn)
    return get_settings()


def rows_of(connection: MySQLConnectionAbstract, table: str) -> list[dict[str, Any]]:
    return execute_query(f"SELECT * FROM {table} ORDER BY 1", fetch_all=True, db_conn=connection)


def everything(connection: MySQLConnectionAbstract) -> dict[str, list[dict[str, Any]]]:
    return {name: rows_of(connection, f"dca_{name}") for name in ("assets", "cycles", "orders")}


def restored(settings: Settings, path: Path):
    with nobody_works(settings):
        return restore(settings, path, lambda line: None)


def databases_beside(connection: MySQLConnectionAbstract) -> set[str]:
    name = get_settings().db_name
    query = "SELECT schema_name AS s FROM information_schema.schemata WHERE schema_name LIKE %s"
    rows = execute_query(query, (f"{name}\\_%",), fetch_all=True, db_conn=connection)
    return {row["s"] for row in rows}


@pytest.fixture(autouse=True)
def nothing_left(bot_environment):
    yield
    with closing(get_db_connection()) as connection:
        for name in databases_beside(connection):
            execute_query(f"DROP DATABASE `{name}`", db_conn=connection)


def test_what_was_backed_up_comes_back_and_what_was_in_use_is_kept(bot, db_conn, tmp_path):
    before, events = everything(db_conn), rows_of(db_conn, "dca_events")
    path = tmp_path / "new folder" / "b.backup.gz"
    made = make_backup(bot, path)
    assert made.contents == check_backup(path)
    assert path.stat().st_mode & 0o777 == 0o600
    execute_query("DELETE FROM dca_events", db_conn=db_conn)
    execute_query("UPDATE dca_assets SET take_profit_percent = 7", db_conn=db_conn)

    done = restored(bot, path)

    assert everything(db_conn) == before
    assert rows_of(db_conn, "dca_events")[:-1] == events
    assert get_events(db_conn, 1)[0]["kind"] == EventKind.DATABASE_RESTORED
    assert databases_beside(db_conn) == {done.kept_in}
    [kept] = rows_of(db_conn, f"`{done.kept_in}`.dca_assets")
    assert kept["take_profit_percent"] == 7
    # The constraints came along: the cycles refer to the assets that are in use.
    with pytest.raises(DatabaseError, match="foreign key"):
        execute_query("INSERT INTO dca_cycles (asset_id) VALUES (99)", db_conn=db_conn)


def test_ids_of_deleted_rows_are_not_given_again(bot, db_conn, tmp_path):
    [asset] = get_all_assets(db_conn)
    execute_query("DELETE FROM dca_cycles WHERE status = 'watching'", db_conn=db_conn)
    restored(bot, make_backup(bot, tmp_path / "b.gz").path)
    assert create_cycle(db_conn, asset.id, "watching").id >= 3


def test_into_empty_tables_nothing_is_left_beside(bot, db_conn, tmp_path):
    path = make_backup(bot, tmp_path / "b.gz").path
    for table in ("dca_cycles", "dca_assets", "dca_events"):
        execute_query(f"DELETE FROM {table}", db_conn=db_conn)
    assert restored(bot, path).kept_in is None
    assert databases_beside(db_conn) == set()
    for table in ("dca_cycles", "dca_assets", "dca_events", "dca_meta", "dca_orders"):
        execute_query(f"DROP TABLE {table}", db_conn=db_conn)
    assert restored(bot, path).kept_in is None, "and where there were none at all"


def test_a_column_of_the_users_own_comes_back(bot, db_conn, tmp_path):
    execute_query("ALTER TABLE dca_assets ADD COLUMN my_note VARCHAR(20)", db_conn=db_conn)
    execute_query("UPDATE dca_assets SET my_note = 'mine'", db_conn=db_conn)
    restored(bot, make_backup(bot, tmp_path / "b.gz").path)
    assert rows_of(db_conn, "dca_assets")[0]["my_note"] == "mine"


def rewritten(path: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The backup as another program would have made it: every sum is right."""
    head = dict(check_backup(path).head)
    sections = [(dict(one.facts), list(one.rows)) for one in read_sections(path)]
    change(head)
    target = path.with_name("rewritten.backup.gz")
    write_backup(target, head, [Section(facts, rows) for facts, rows in sections])
    return target


def test_a_backup_of_an_older_version_is_migrated(bot, db_conn, tmp_path):
    put_meta(db_conn, "schema_version", "2")
    path = make_backup(bot, tmp_path / "b.gz").path
    put_meta(db_conn, "schema_version", str(SCHEMA_VERSION))
    done = restored(bot, path)
    assert done.migrated == tuple(one.name for one in load_migrations() if one.version > 2)
    assert get_meta(db_conn, "schema_version") == str(SCHEMA_VERSION)


def test_a_backup_of_a_newer_version_or_another_account_is_refused(bot, db_conn, tmp_path):
    path = make_backup(bot, tmp_path / "b.gz").path
    newer = rewritten(path, lambda head: head.update(schema_version=SCHEMA_VERSION + 1))
    with pytest.raises(Refused, match="newer one"):
        restored(bot, newer)
    put_meta(db_conn, "alpaca_account_id", "mine")
    others = rewritten(path, lambda head: head.update(account_id="another"))
    with pytest.raises(Refused, match=r"another.*mine.*DB_NAME"):
        restored(bot, others)
    assert databases_beside(db_conn) == set()


def test_a_damaged_file_is_told_from_a_whole_one_wherever_the_damage_is(bot, tmp_path):
    path = make_backup(bot, tmp_path / "b.gz").path
    whole = path.read_bytes()
    damaged = tmp_path / "damaged.gz"
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        damaged.write_bytes(whole[:place])
        with pytest.raises(BackupError):
            check_backup(damaged)
        if place < 4 or place > 9:  # of a gzip header's time and system nothing depends
            flipped = bytes([whole[place] ^ 0xFF])
            damaged.write_bytes(whole[:place] + flipped + whole[place + 1 :])
            with pytest.raises(BackupError):
                check_backup(damaged)
    lines = gzip.decompress(whole).splitlines(keepends=True)
    for number in range(0, len(lines), max(1, len(lines) // 40)):
        damaged.write_bytes(gzip.compress(b"".join(lines[:number] + lines[number + 1 :])))
        with pytest.raises(BackupError):
            check_backup(damaged)
    damaged.write_bytes(gzip.compress(b"".join(lines) + b"{}\n"))
    with pytest.raises(BackupError):
        check_backup(damaged)


def test_one_changed_figure_is_noticed(bot, tmp_path):
    path = make_backup(bot, tmp_path / "b.gz").path
    text = gzip.decompress(path.read_bytes()).decode()
    changed = text.replace("0.123456789012345678", "0.123456789012345679")
    assert changed != text
    path.write_bytes(gzip.compress(changed.encode()))
    with pytest.raises(BackupError, match="damaged"):
        check_backup(path)


@pytest.mark.parametrize("step", ["insert_rows", "_compare", "append_event", "swap_tables"])
def test_whatever_fails_before_the_swap_changes_nothing(bot, db_conn, tmp_path, monkeypatch, step):
    path = make_backup(bot, tmp_path / "b.gz").path
    execute_query("UPDATE dca_assets SET take_profit_percent = 7", db_conn=db_conn)
    before = everything(db_conn)

    def fails(*_arguments: Any, **_options: Any) -> None:
        raise DatabaseError("the server went away")

    with monkeypatch.context() as patch:
        patch.setattr(restore_module, step, fails)
        with pytest.raises(DatabaseError, match="went away"):
            restored(bot, path)
    assert everything(db_conn) == before
    assert restored(bot, path).kept_in, "the next try is not disturbed by what was left"


def test_a_row_that_the_server_changed_on_its_way_is_noticed(bot, db_conn, tmp_path, monkeypatch):
    path = make_backup(bot, tmp_path / "b.gz").path
    real = restore_module.insert_rows

    def rounding(connection, table, rows):
        real(connection, table, rows)
        if table.name == "dca_cycles":
            execute_query("UPDATE dca_cycles SET quantity = ROUND(quantity, 9)", db_conn=connection)

    monkeypatch.setattr(restore_module, "insert_rows", rounding)
    with pytest.raises(DatabaseError, match="dca_cycles is not in the database as it is"):
        restored(bot, path)


def test_a_user_who_may_make_no_database_is_told_what_to_grant(
    bot, db_conn, tmp_path, monkeypatch, mariadb_server
):
    path = make_backup(bot, tmp_path / "b.gz").path
    name = bot.db_name
    with closing(mariadb_server.connect()) as admin:
        admin.cmd_query("CREATE OR REPLACE USER 'plain'@'localhost' IDENTIFIED BY 'secret'")
        admin.cmd_query(f"GRANT ALL PRIVILEGES ON `{name}`.* TO 'plain'@'localhost'")
        monkeypatch.setenv("DB_USER", "plain")
        monkeypatch.setenv("DB_PASSWORD", "secret")
        reset_settings()
        with pytest.raises(Refused, match="GRANT ALL PRIVILEGES") as refused:
            restored(get_settings(), path)
        grant = str(refused.value).partition("GRANT")[2].replace("'...'", "'localhost'")
        admin.cmd_query(f"GRANT{grant}")
        assert restored(get_settings(), path).kept_in


HOLDER = """
import sys
from pathlib import Path
from runtime.pid_file import PidFile
with PidFile(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def daemon_of(settings: Settings, folder: Path) -> Iterator[None]:
    """A process of the daemon's name that holds its PID file."""
    program = folder / "main_app.py"
    program.write_text(HOLDER)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, str(program), str(settings.pid_file)], **pipes) as held:
        assert held.stdout.readline() == b"held\n"
        yield
        held.stdin.close()


def test_it_is_refused_while_a_daemon_runs_and_lets_none_start(bot, tmp_path):
    refused = pytest.raises(Refused, match="scripts/bot stop")
    with daemon_of(bot, tmp_path), refused, nobody_works(bot):
        pass
    with nobody_works(bot):
        for name in ("watchdog", "order_manager", "cooldown_manager", "consistency_checker"):
            with pytest.raises(TimeoutError), locked(bot.run_dir / f"{name}.lock", 0.0):
                pass


def test_old_backups_go_after_a_new_one_is_there_and_others_files_stay(bot, monkeypatch, tmp_path):
    monkeypatch.setenv("BACKUP_DIR", str(tmp_path / "backups"))
    reset_settings()
    settings, now = get_settings(), datetime.now(UTC)
    folder = settings.backup_dir
    folder.mkdir()
    for days in (1, 13, 15, 400):
        at = now - timedelta(days=days)
        (folder / f"{settings.db_name}-{at:%Y-%m-%dT%H%M%SZ}.backup.gz").touch()
    others = [folder / "holiday.jpg", folder / f"{settings.db_name}-mine.backup.gz"]
    others.append(folder / f"{settings.db_name}-old-2020-01-01T000000Z.backup.gz")
    for one in others:
        one.touch()
    done = make_backup(settings, None, keep_days=14)
    assert len(done.removed) == 2
    ages = [(now - at).days for at, _ in list_backups(folder, settings.db_name)]
    assert [age for age in ages if age >= 0] == [13, 1, 0]
    assert done.path in {path for _, path in list_backups(folder, settings.db_name)}
    assert all(one.exists() for one in others)


def test_a_file_that_is_there_is_not_overwritten(bot, tmp_path, capsys):
    path = tmp_path / "b.gz"
    path.write_text("something dear")
    assert main(["backup", str(path)]) == 2
    assert "is there already" in capsys.readouterr().err
    assert path.read_text() == "something dear"


def test_a_folder_that_cannot_be_written_is_one_line_and_an_alert(bot, capsys):
    assert main(["backup", "/proc/no/such/b.gz"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("database backup: cannot write /proc/no/such/b.gz: ")
    assert error.count("\n") == 1
    assert " ERROR " in (bot.log_dir / "database.log").read_text()


def test_a_disk_that_is_full_leaves_no_half_file(bot, tmp_path, monkeypatch):
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(backup_file.os, "fsync", full)
    with pytest.raises(BackupError, match="No space left on device"):
        make_backup(bot, tmp_path / "folder" / "b.gz")
    assert os.listdir(tmp_path / "folder") == []


def test_restore_asks_and_where_nobody_can_be_asked_does_nothing(bot, db_conn, tmp_path, capsys):
    path = make_backup(bot, tmp_path / "b.gz").path
    before = everything(db_conn)
    assert main(["restore", str(path)]) == 2
    assert "--yes" in capsys.readouterr().err
    assert everything(db_conn) == before


def test_an_exchange_that_is_away_undoes_no_restore(bot, db_conn, tmp_path, capsys):
    path = make_backup(bot, tmp_path / "b.gz").path
    assert main(["restore", str(path), "--yes", "--json"]) == 1
    answer = json.loads(capsys.readouterr().out)
    assert "scripts/database catch-up" in answer["error"]
    assert get_meta(db_conn, "restored_from")
    assert get_cycle(db_conn, 2)


def buy(client, symbol: str, identity: str, price: int) -> None:
    far = {"limit_price": Decimal(price), "qty": Decimal("0.01")}
    place_limit_buy_order(client, symbol, **far, client_order_id=identity)


@pytest.mark.parametrize("starts_too_early", [False, True])
def test_cycles_that_began_after_the_backup_get_their_orders_again(
    exchange, db_conn, make_asset, tmp_path, starts_too_early
):
    settings, client = get_settings(), get_trading_client()
    exchange.push_quote("BTC/USD", 50000, 50001)
    exchange.push_quote("ETH/USD", 3000, 3001)
    asset = make_asset(cooldown_period=0)
    first = create_cycle(db_conn, asset.id, "watching")
    path = make_backup(settings, tmp_path / "b.gz").path
    of_first = f"dca-{first.id}-{first.order_key}"
    buy(client, "BTC/USD", f"{of_first}-0", 50001)
    exchange.finish()
    place_market_sell_order(client, "BTC/USD", Decimal("0.009975"), client_order_id=f"{of_first}-1")
    exchange.finish()
    buy(client, "BTC/USD", f"dca-{first.id + 1}-LOSTKEY0-0", 50001)
    buy(client, "ETH/USD", f"dca-{first.id + 2}-ADDED000-0", 3001)
    exchange.finish()
    exchange.push_quote("BTC/USD", 50000, 50001)

    restored(settings, path)
    if starts_too_early:  # and the asset's fresh cycle gets an id of its own
        reconciler = build_engine(settings).reconciler
        assert reconciler.recover().changed
    done = catch_up(settings)

    assert done.cycles == [first.id + 1]
    assert dict(done.left) == {"ETH/USD": 1}
    second = get_cycle(db_conn, first.id + 1)
    assert get_cycle(db_conn, first.id).status is CycleStatus.COMPLETE
    assert (second.order_key, second.quantity) == ("LOSTKEY0", Decimal("0.01"))
    assert second.status is CycleStatus.WATCHING
    assert len(get_entries_of_cycle(db_conn, second.id)) == 1
    again = catch_up(settings)
    assert (again.orders, again.cycles) == (0, []), "a second run does nothing"

    create_cycle(db_conn, make_asset("ETH/USD").id, "watching")  # as scripts/assets add does
    assert catch_up(settings).cycles == [first.id + 2]
    assert get_cycle(db_conn, first.id + 2).quantity == Decimal("0.01")
    assert create_cycle(db_conn, make_asset("SOL/USD").id, "watching").id < first.id + 10


def test_catch_up_is_for_a_database_that_was_restored(bot, exchange, capsys):
    assert main(["catch-up"]) == 2
    assert "was not restored" in capsys.readouterr().err


def test_stop_is_refused_while_the_bot_trades_with_the_private_database(
    bot, monkeypatch, mariadb_server, tmp_path, capsys
):

    for module in (database_command, private_database):
        monkeypatch.setattr(module, "FOLDER", mariadb_server.folder)
    with daemon_of(bot, tmp_path):
        assert main(["stop"]) == 2
        assert "scripts/bot stop first" in capsys.readouterr().err
        assert mariadb_server.is_running()
