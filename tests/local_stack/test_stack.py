"""The local stack: what its programs may see, that it trades, that it leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from local_stack.exchange_process import StackError
from local_stack.scratch import remove_abandoned, scratch_folder
from local_stack.stack import LocalStack
from paper_exchange.core.assets import more_assets
from runtime.process_table import processes_of_stack, servers_below
from utils.state_file import load_state

ASSET = {
    "base_order_amount": 100,
    "safety_order_amount": 100,
    "max_safety_orders": 2,
    "safety_order_deviation": 1,
    "take_profit_percent": 1,
}


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[LocalStack]:
    with scratch_folder("demo", tmp_path) as folder:
        stack = LocalStack(folder, settings={"HEARTBEAT_SECONDS": "0.2"})
        yield stack
        stack.stop()


def wait_until(condition, seconds: float = 60.0):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)
    return found


def test_no_setting_of_the_user_reaches_a_program_of_the_stack(stack, monkeypatch):
    monkeypatch.setenv("APCA_API_KEY_ID", "the-users-real-key")
    monkeypatch.setenv("ALPACA_PAPER", "false")
    monkeypatch.setenv("SMTP_HOST", "mail.example")
    stack.server.folder.mkdir()
    (stack.server.folder / "server.json").write_text('{"port": 1}')

    environment = stack.environment()

    assert "the-users-real-key" not in environment.values()
    assert not {"ALPACA_PAPER", "SMTP_HOST"} & environment.keys()
    assert not Path(environment["ENV_FILE"]).exists()
    assert all("127.0.0.1" in url for name, url in environment.items() if name.endswith("_URL"))


def test_an_exchange_that_cannot_start_says_why(stack):
    with pytest.raises(StackError, match=r"nowhere\.csv"):
        stack.start_exchange("--replay", "/nowhere.csv")


def test_the_whole_stack_trades_and_leaves_nothing_behind(stack):
    stack.start_database()
    stack.start_exchange("--manual", "--partial-probability", "0")
    stack.add_asset("BTC/USD", **ASSET)
    stack.start_daemon()

    stack.exchange.control("quote", symbol="BTC/USD", bid=50_000, ask=50_001)
    [order] = wait_until(stack.exchange.orders)
    assert order["client_order_id"].startswith("dca-")
    wait_until(lambda: stack.exchange.activities("FILL"))
    started = time.monotonic()
    stack.stop()

    assert time.monotonic() - started < 30
    assert not list(processes_of_stack(stack.folder))
    assert not list(servers_below(stack.folder))
    assert not zombies_of_ours()


def zombies_of_ours() -> list[psutil.Process]:
    """Zombies too: a child that nobody waited for."""
    return [
        child for child in psutil.Process().children() if child.status() == psutil.STATUS_ZOMBIE
    ]


def is_alive(process: psutil.Process) -> bool:
    """A zombie is not: it waits for init, which has become its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_daemon_can_run_with_a_watch_on_its_loop_and_trades_coins_that_do_not_exist(stack):
    stack.start_database()
    stack.start_exchange("--manual", "--partial-probability", "0", "--more-coins", "500")
    last = [one.symbol for one in more_assets(500)][-1]
    stack.add_asset(last, **ASSET)
    out = stack.folder / "loop.json"
    stack.start_daemon(launcher=("-m", "local_stack.loop_monitor", "--out", str(out)))
    assert [one.pid for one in stack.daemon_processes()] == [stack.heartbeat().pid]

    def has_bought():
        stack.exchange.control("quote", symbol=last, bid="9.99", ask="10")
        return stack.exchange.state()["orders"]["total"]

    wait_until(has_bought)
    wait_until(lambda: out.exists() and load_state(out).get("run", {}).get("ticks"))
    stack.stop_daemon()
    seen = load_state(out)
    assert seen["start"]["longest_ms"] > 0
    assert len(seen["run"]["longest"]) <= 20
    assert {"rss_kb", "threads", "handles", "connections"} <= seen["process"].keys()
    assert "app.stopped code=0" in (stack.log_dir / "app.log").read_text("utf-8")
    assert "Traceback" not in (stack.log_dir / "main_app.out").read_text("utf-8")


KILLED_OWNER = """\
import sys, time
from pathlib import Path
from local_stack.scratch import scratch_folder
from local_stack.stack import LocalStack
with scratch_folder("demo", Path(sys.argv[1])) as folder:
    stack = LocalStack(folder)
    stack.start_database()
    stack.start_exchange("--manual")
    stack.start_daemon()
    print(folder, flush=True)
    time.sleep(600)
"""


def test_what_a_killed_owner_left_is_found_and_ended_by_the_next_one(tmp_path):
    owner = subprocess.Popen(
        [sys.executable, "-c", KILLED_OWNER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    folder = Path(owner.stdout.readline().strip())
    left = [*processes_of_stack(folder), *servers_below(folder)]
    assert len(left) == 3, "exchange, daemon and database"
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()

    remove_abandoned("demo", tmp_path)

    assert not any(is_alive(process) for process in left)
    assert not folder.exists()


def test_what_is_kept_of_a_run_is_nothing_abandoned(tmp_path):
    kept = tmp_path / "demo-failed-7" / "logs"
    kept.mkdir(parents=True)
    remove_abandoned("demo", tmp_path)
    assert kept.exists()
