"""`scripts/assets` as its user meets it: a process, a terminal, a bot that runs beside it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import time

from config import PROJECT_ROOT
from daemon_process import DaemonProcess, wait_until
from domain.cycle import CycleStatus
from models.asset_config import get_all_assets, get_asset_config
from models.cycle_data import get_cycle, get_latest_cycle
from models.order_journal import get_entries_of_cycle

SCRIPT = str(PROJECT_ROOT / "scripts" / "assets")
SECONDS = 60


def run(environment, *arguments):
    """Run the script from a foreign folder; nobody sits at a terminal."""
    return subprocess.run(
        [SCRIPT, *arguments],
        env={**os.environ, **environment},
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def run_on_terminal(environment, *arguments, answer):
    """Run the script on a terminal of its own and answer its question; code and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [SCRIPT, *arguments],
        env={**os.environ, "TERM": "xterm", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, end = "", time.monotonic() + SECONDS
    answered = False
    while time.monotonic() < end:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part.decode()
        if "[y/N]" in shown and not answered:
            os.write(ours, answer.encode())
            answered = True
    os.close(ours)
    return process.wait(SECONDS), shown


def test_help_teaches_with_examples_and_needs_no_settings():
    said = run({"ENV_FILE": "/nowhere/.env"}, "--help")
    assert said.returncode == 0
    assert "scripts/assets add BTC/USD" in said.stdout
    assert "exit codes: 0 done" in said.stdout


def test_on_a_terminal_it_asks_in_colours_and_a_no_saves_nothing(
    bot_environment, exchange, db_conn
):
    code, shown = run_on_terminal(bot_environment, "add", "BTC/USD", answer="n\n")
    assert code == 1
    assert "Add BTC/USD and let the bot buy it?" in shown
    assert "assets: nothing was changed" in shown
    assert "\x1b[1m" in shown
    assert "safety 5" in shown
    assert get_all_assets(db_conn) == []
    plain_environment = bot_environment | {"NO_COLOR": "1"}
    code, shown = run_on_terminal(
        plain_environment, "add", "BTC/USD", "--take-profit", "0.3", answer="y\n"
    )
    assert code == 0
    assert "BTC/USD is added" in shown
    assert "WARNING" in shown
    assert "\x1b[33m" not in shown, "no colours where NO_COLOR is set"
    assert get_asset_config(db_conn, "BTC/USD") is not None


def test_it_answers_a_machine_and_refuses_a_person_in_one_line(bot_environment, exchange, db_conn):
    said = run(bot_environment, "add", "btcusd", "--yes", "--json")
    assert (said.returncode, said.stderr) == (0, "")
    assert json.loads(said.stdout)["asset"]["asset_symbol"] == "BTC/USD"
    said = run(bot_environment, "add", "BTC/USD", "--base", "ten")
    assert said.returncode == 2
    assert said.stdout == ""
    assert said.stderr.count("\n") == 1
    said = run(bot_environment | {"DB_SOCKET": "", "DB_PORT": "9"}, "list")
    assert said.returncode == 1
    assert said.stderr.count("\n") == 1
    assert "Traceback" not in said.stderr


def test_a_running_bot_trades_what_is_added_and_sells_what_is_disabled(
    bot_environment, exchange, db_conn
):
    def quote_until(condition, price):
        def quoted():
            exchange.push_quote("BTC/USD", price, price)
            return condition()

        wait_until(quoted)

    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_for_line("recovery.finished")
        assert run(bot_environment, "add", "BTC/USD", "--yes").returncode == 0
        asset = get_asset_config(db_conn, "BTC/USD")
        cycle = get_latest_cycle(db_conn, asset.id)
        quote_until(lambda: get_cycle(db_conn, cycle.id).quantity > 0, 60000)
        quote_until(lambda: get_cycle(db_conn, cycle.id).safety_orders == 1, 59000)

        assert run(bot_environment, "disable", "BTC/USD").returncode == 0
        below = time.monotonic() + 1.0  # three refreshes of this daemon
        quote_until(lambda: time.monotonic() > below, 57000)
        quote_until(lambda: get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE, 61000)
        assert daemon.stop() == 0
    purposes = [entry.purpose for entry in get_entries_of_cycle(db_conn, cycle.id)]
    assert purposes == ["base", "safety", "take_profit"]
