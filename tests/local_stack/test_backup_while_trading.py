"""The whole promise of a backup: made while the bot trades, and nothing is lost with the data
folder but what the user changed since.
"""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from domain.cycle import CycleStatus
from domain.events import EventKind
from local_stack.audit.holdings import find_unreported
from local_stack.audit.invariants import find_unresolved, find_violations
from local_stack.caretaker_schedule import CaretakerSchedule, ScheduledScript
from local_stack.chaos.plan import asset_columns
from local_stack.chaos.records import ChaosRecords, read_records
from local_stack.exchange_process import fetch_rules
from local_stack.scratch import scratch_folder
from local_stack.stack import LocalStack
from models.cycle_data import get_cycles_by_status
from models.events import get_events
from utils.backup_file import read_sections

SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    """A lively market of three coins and a bot on it."""
    with scratch_folder("demo", tmp_path) as folder:
        fast = {"RECONCILE_SECONDS": "1", "REFRESH_SECONDS": "0.3", "UNKNOWN_OUTCOME_SECONDS": "1"}
        stack = LocalStack(folder, settings=fast)
        stack.start_database()
        arguments = ("--seed", "5", "--speed", "1.5", "--symbols", ",".join(SYMBOLS))
        stack.start_exchange(*arguments, "--rate-limit", "100000", "--paused")
        chance = random.Random("assets")
        for symbol in SYMBOLS:
            stack.add_asset(symbol, **asset_columns(chance))
        stack.exchange.control("market", paused=False)
        stack.start_daemon()
        yield stack
        stack.stop()


def wait_until(condition: Callable[[], Any], seconds: float = 90.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.1)
    return found


def database(stack: LocalStack, *arguments: str) -> str:
    done = stack.run_python("database", ["-m", "cli.database", *arguments])
    assert done.returncode == 0, done.stderr
    return done.stdout


def records_of(stack: LocalStack) -> ChaosRecords:
    rules = {symbol: fetch_rules(stack.exchange, symbol) for symbol in SYMBOLS}
    return read_records(stack, rules, set(), [])


def count_complete(stack: LocalStack) -> int:
    with stack.connection() as connection:
        return len(get_cycles_by_status(connection, CycleStatus.COMPLETE))


def trade_until_complete(stack: LocalStack, cycles: int) -> None:
    """With cooldown_manager beside it, as cron would run it."""
    schedule = CaretakerSchedule(stack, [ScheduledScript("cooldown_manager", 2.0)])

    def are_complete() -> bool:
        schedule.tick(time.monotonic())
        return count_complete(stack) >= cycles

    wait_until(are_complete)
    schedule.stop()


def test_the_data_folder_is_destroyed_while_it_trades_and_everything_is_booked_again(stack):
    backup = stack.folder / "bot.backup.gz"
    trade_until_complete(stack, 3)
    made = json.loads(database(stack, "backup", str(backup), "--json"))
    assert backup.stat().st_mode & 0o777 == 0o600
    in_backup = count_complete(stack)
    trade_until_complete(stack, in_backup + 6)  # the backup never saw those

    stack.server.kill()  # in the middle of trading
    shutil.rmtree(stack.server.folder / "data")
    last = {order["client_order_id"] for order in stack.exchange.orders()}
    stack.stop_daemon()
    stack.start_database()  # as scripts/database start does: empty tables
    restored = json.loads(database(stack, "restore", str(backup), "--yes", "--json"))

    assert restored["rows"] == sum(made["tables"].values())
    assert (restored["done"], restored["left"]) == (True, {})
    in_file = {row["id"] for row in tables_of(backup)["dca_cycles"]}
    began_since = {int(name.split("-")[1]) for name in last} - in_file
    assert len(began_since) >= 3
    assert set(restored["cycles"]) == began_since
    assert not find_strays(records_of(stack))
    stack.start_daemon()
    wait_until(lambda: len({o["client_order_id"] for o in stack.exchange.orders()} - last) >= 3)
    stack.exchange.control("market", paused=True)
    stack.exchange.control("finish")

    wait_until(lambda: not find_unresolved(records_of(stack).evidence))
    records = records_of(stack)
    assert find_violations(records.evidence) == []
    assert find_unreported(records.evidence, records.coins, records.events) == []
    stops = (EventKind.STOP_LOSS_FIRED, EventKind.ASSET_STOPPED)  # told as they are without one
    errors = [event for event in records.events if event["severity"] == "error"]
    errors = [event for event in errors if event["kind"] not in stops]
    assert not errors, "a restore is no reason to wake anybody"


def find_strays(records: ChaosRecords) -> list[str]:
    """Orders of the exchange that no row of the database claims."""
    keys = {(row.id, row.order_key) for row in records.evidence.rows}
    names = [order.client_order_id for order in records.evidence.orders]
    return [name for name in names if (int(name.split("-")[1]), name.split("-")[2]) not in keys]


def test_backups_made_while_it_trades_are_each_of_one_moment(stack):
    """A cycle that is complete and the one that follows it are written in one transaction, and so
    are an order's row in the journal and the count in its cycle's.
    """
    trade_until_complete(stack, 1)
    for number in range(3):
        path = stack.folder / f"{number}.backup.gz"
        database(stack, "backup", str(path))
        tables = tables_of(path)
        journal = [(row["cycle_id"], row["order_seq"]) for row in tables["dca_orders"]]
        cycles = tables["dca_cycles"]
        open_assets = [row["asset_id"] for row in cycles if row["status"] not in ("complete",)]
        assert sorted(open_assets) == sorted(row["id"] for row in tables["dca_assets"])
        for row in cycles:
            booked = {seq for cycle_id, seq in journal if cycle_id == row["id"]}
            assert booked == set(range(row["order_seq"]))


def tables_of(path: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        one.facts["table"]: [
            dict(zip((name for name, _ in one.facts["columns"]), row, strict=True))
            for row in one.rows
        ]
        for one in read_sections(path)
    }


def test_restore_is_refused_while_the_bot_runs_and_nothing_is_changed(stack):
    backup = stack.folder / "bot.backup.gz"
    database(stack, "backup", str(backup))
    done = stack.run_python("database", ["-m", "cli.database", "restore", str(backup), "--yes"])
    assert done.returncode == 2
    assert "scripts/bot stop" in done.stderr
    with stack.connection() as connection:
        assert "database_restored" not in {one["kind"] for one in get_events(connection)}
    assert stack.is_trading(max_age_seconds=10)
