"""The daemon as its user meets it: a process with settings, streams, signals and exit codes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from config import PROJECT_ROOT
from daemon_process import DaemonProcess, wait_until
from domain.cycle import CycleStatus
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle
from models.meta import put_meta
from models.order_journal import get_entries_of_cycle
from runtime.heartbeat import load_heartbeat
from runtime.process_table import servers_below
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_orders


def push(exchange, bid=50000, ask=50001, symbol="BTC/USD"):
    exchange.push_quote(symbol, bid, ask)


def quote_until(exchange, condition, bid=50000, ask=50001, seconds=60.0):
    """Keep the market alive until `condition` holds: the daemon acts on quotes only."""

    def quoted() -> bool:
        push(exchange, bid, ask)
        return bool(condition())

    wait_until(quoted, seconds)


@pytest.fixture
def cycle(db_conn, exchange, make_asset):
    return create_cycle(db_conn, make_asset().id, "watching")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_trades_and_ends_within_seconds_when_asked(
    bot_environment, exchange, db_conn, cycle, number
):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        quote_until(exchange, lambda: get_cycle(db_conn, cycle.id).quantity > 0)
        limits = Path(f"/proc/{daemon.process.pid}/limits").read_text("ascii")
        assert re.search(r"Max core file size\s+0\s+0\s", limits), "a core file would hold the keys"
        asked_at = time.monotonic()
        assert daemon.stop(number) == 0
        assert time.monotonic() - asked_at < 20
        assert "app.stopped code=0" in daemon.output
        assert "Traceback" not in daemon.output


def test_it_ends_at_once_when_asked_while_the_exchange_is_slow_to_answer(
    bot_environment, exchange, db_conn, cycle
):
    exchange.arm("http_hang", seconds=60, match={"path": "/v2/account"})
    with DaemonProcess(bot_environment) as daemon:
        wait_until(lambda: exchange.times_applied("http_hang"))
        asked_at = time.monotonic()
        assert daemon.stop() == 0
        assert time.monotonic() - asked_at < 20
        assert "app.stopping because=stop" in daemon.output
        assert "Traceback" not in daemon.output
        assert "destroyed" not in daemon.output


def test_killed_between_post_and_first_event_it_links_the_one_order_and_applies_the_fill_once(
    bot_environment, exchange, db_conn, cycle
):
    exchange.arm("drop_update")
    with DaemonProcess(bot_environment | {"RECONCILE_SECONDS": "60"}) as daemon:
        daemon.wait_until_trading()
        quote_until(exchange, lambda: "order.submitted" in daemon.output)
        daemon.process.kill()
        daemon.wait_for_exit()
    assert get_cycle(db_conn, cycle.id).latest_order_id is None, "killed before the link"
    exchange.clear_faults()
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        quote_until(exchange, lambda: get_cycle(db_conn, cycle.id).quantity > 0)
        assert daemon.stop() == 0
    [order] = fetch_orders(get_trading_client(), status="all")
    [entry] = get_entries_of_cycle(db_conn, cycle.id)
    held = get_cycle(db_conn, cycle.id)
    assert entry.alpaca_order_id == order.id
    assert held.quantity == order.filled_qty == entry.filled_qty


@pytest.mark.parametrize(
    "fault",
    [
        ("drop_update", {}),
        ("duplicate_update", {"seconds": 0.2}),
        ("reorder_update", {}),
        ("delay_update", {"seconds": 1.5}),
        ("cut_stream", {"match": {"stream": "trading"}, "probability": 0.5}),
        ("stall_stream", {"match": {"stream": "trading"}}),
    ],
    ids=lambda fault: fault[0],
)
def test_whatever_happens_to_trade_updates_no_fill_is_lost_or_applied_twice(
    bot_environment, exchange, db_conn, cycle, fault
):
    name, fields = fault
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        exchange.arm(name, **fields)
        quote_until(exchange, lambda: get_cycle(db_conn, cycle.id).quantity > 0)
        quote_until(
            exchange, lambda: get_cycle(db_conn, cycle.id).safety_orders == 1, bid=49000, ask=49001
        )
        quote_until(
            exchange, lambda: not get_cycle(db_conn, cycle.id).is_open, bid=51000, ask=51001
        )
        assert exchange.faults()["applied"].get(name, 0) > 0, "the fault was never applied"
        assert daemon.stop() == 0
    orders = fetch_orders(get_trading_client(), status="all")
    bought = [order for order in orders if order.side == "buy"]
    assert len(orders) == 3
    assert get_cycle(db_conn, cycle.id).quantity == sum(order.filled_qty for order in bought)
    assert get_latest_cycle(db_conn, cycle.asset_id).status is CycleStatus.COOLDOWN


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"ALPACA_API_KEY": ""}, 2, ["ALPACA_API_KEY is missing"]),
        ({"ALPACA_DATA_URL": ""}, 2, ["all four ALPACA_*_URL"]),
        ({"RECONCILE_SECONDS": "soon", "DB_PORT": "x"}, 2, ["RECONCILE_SECONDS", "DB_PORT"]),
        (
            {
                "ALPACA_TRADING_URL": "https://api.alpaca.markets",
                "ALPACA_DATA_URL": "https://data.alpaca.markets",
                "ALPACA_DATA_STREAM_URL": "wss://stream.data.alpaca.markets/v1beta3/crypto/us",
                "ALPACA_TRADING_STREAM_URL": "wss://api.alpaca.markets/stream",
            },
            2,
            ["LIVE_TRADING_CONFIRMED"],
        ),
        ({"ALPACA_SECRET_KEY": "wrong-secret-value"}, 1, ["Alpaca refused the keys"]),
        ({"DB_SOCKET": "", "DB_HOST": "127.0.0.1", "DB_PORT": "9"}, 1, ["cannot use database"]),
        ({"DB_NAME": "nowhere_test"}, 1, ["cannot use database"]),
    ],
    ids=["no key", "half-set URLs", "malformed", "live", "wrong key", "no server", "no database"],
)
def test_what_is_wrong_is_said_in_one_line_without_secrets(
    bot_environment, exchange, db_conn, changes, code, words
):
    with DaemonProcess(bot_environment | changes) as daemon:
        assert daemon.wait_for_exit() == code
        output = daemon.output
    assert all(word in output for word in words), output
    assert "Traceback" not in output
    complaints = [line for line in output.splitlines() if "app.started" not in line]
    assert len(complaints) == len(words)
    for secret in ("local-secret", "wrong-secret-value", bot_environment.get("DB_PASSWORD") or "-"):
        assert secret == "-" or secret not in output


def test_a_database_of_another_account_is_refused(bot_environment, exchange, db_conn):
    put_meta(db_conn, "alpaca_account_id", "another-account")
    with DaemonProcess(bot_environment) as daemon:
        assert daemon.wait_for_exit() == 1
        assert "belongs to Alpaca account another-account" in daemon.output


def test_an_asset_added_while_it_runs_is_traded(bot_environment, exchange, db_conn, make_asset):
    make_asset(symbol="ETH/USD")
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_for_line("recovery.finished")
        cycle = create_cycle(db_conn, make_asset().id, "watching")
        quote_until(exchange, lambda: get_cycle(db_conn, cycle.id).quantity > 0)
        assert daemon.stop() == 0


def test_a_second_daemon_on_the_same_database_refuses_to_start(
    bot_environment, exchange, db_conn, cycle, tmp_path
):
    elsewhere = {"PID_FILE": str(tmp_path / "another-host" / "main_app.pid")}
    with DaemonProcess(bot_environment) as first:
        first.wait_until_trading()
        with DaemonProcess(bot_environment | elsewhere) as second:
            assert second.wait_for_exit() == 3
            assert "another daemon trades this account, on this or another host" in second.output
            assert "Traceback" not in second.output
        with DaemonProcess(bot_environment) as third:
            assert third.wait_for_exit() == 3
            assert f"another daemon is running (PID {first.process.pid}" in third.output
        assert first.process.poll() is None, "the first one trades on"
        assert first.stop() == 0
    with DaemonProcess(bot_environment | elsewhere) as second:
        second.wait_until_trading()
        assert second.stop() == 0


def test_it_beats_while_the_database_hangs(
    bot_environment, exchange, db_conn, cycle, mariadb_server
):
    [server] = servers_below(mariadb_server.folder)
    run_dir = Path(bot_environment["PID_FILE"]).parent
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        server.suspend()
        try:
            stopped_at = time.monotonic()
            wait_until(lambda: load_heartbeat(run_dir).beat_at > stopped_at + 2)
        finally:
            server.resume()
        wait_until(lambda: load_heartbeat(run_dir).age_seconds() < 3)
        assert daemon.stop() == 0


def test_started_with_a_python_without_the_packages_it_goes_on_in_the_projects_own(
    bot_environment, exchange, db_conn
):
    """A bare interpreter stands for the system's: -S hides every installed package."""
    environment = {**os.environ, **bot_environment, "ALPACA_API_KEY": ""}
    program = PROJECT_ROOT / "src" / "main_app.py"
    ended = subprocess.run(
        [sys.executable, "-S", str(program)], env=environment, capture_output=True, text=True
    )
    own = PROJECT_ROOT / ".venv" / "bin" / "python"
    expected = "ALPACA_API_KEY is missing" if own.exists() else "run scripts/setup first"
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    "program",
    [
        "integration_test.py",
        "scripts/order_manager.py",
        "scripts/cooldown_manager.py",
        "scripts/consistency_checker.py",
        "scripts/watchdog.py",
        "scripts/install_crontab",
    ],
)
def test_every_program_that_is_typed_with_a_python_does(program):
    ended = subprocess.run(
        [sys.executable, "-S", str(PROJECT_ROOT / program), "--help"],
        cwd="/",
        capture_output=True,
        text=True,
    )
    has_own = (PROJECT_ROOT / ".venv" / "bin" / "python").exists()
    assert "Traceback" not in ended.stderr
    assert ended.returncode == (0 if has_own else 1)
    assert ("usage: " in ended.stdout) if has_own else ("run scripts/setup first" in ended.stderr)
