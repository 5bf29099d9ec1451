"""What keeps an asset from trading stands in its row, in the doctor with the cure, in the exit code
and in the watchdog's silence: each with the real daemon on the local exchange.
"""

from __future__ import annotations

import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from builders import build_entry, build_order
from caretaker_runs import note_runs
from cli import assets as assets_command
from cli import status as status_command
from config import PROJECT_ROOT, get_settings
from daemon_process import DaemonProcess, wait_until
from mail_server import MailServer, mail_environment
from models.asset_config import get_asset_config, update_asset_config
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.order_journal import append_journal_entry
from monitoring.status import held_back
from ping_server import ping_server
from runtime.heartbeat import HeldBack, load_heartbeat
from runtime.operator_flags import set_flag
from utils.db_utils import execute_query

BTC = "BTC/USD"
ADOPT = "scripts/assets adopt BTC/USD makes a cycle of them; or sell them on Alpaca's page"


def all_held() -> tuple[HeldBack, ...]:
    """What the daemon says is held back, the longest first."""
    beat = load_heartbeat(get_settings().run_dir)
    return beat.held_back if beat else ()


def held() -> HeldBack | None:
    return next(iter(all_held()), None)


def beats_trading() -> bool:
    """Trading can begin, and a base order be filled, between two heartbeats."""
    beat = load_heartbeat(get_settings().run_dir)
    return beat is not None and beat.state == "trading"


def quote_until(exchange, condition, bid=50000, ask=50001, seconds=60.0):
    def quoted() -> bool:
        exchange.push_quote(BTC, bid, ask)
        return bool(condition())

    wait_until(quoted, seconds)


def watchdog(environment) -> str:
    """Run the script as cron would; its log."""
    subprocess.run(
        [sys.executable, str(PROJECT_ROOT / "scripts" / "watchdog.py")],
        env={**os.environ, **environment},
        timeout=90,
        check=True,
        capture_output=True,
    )
    return (Path(environment["LOG_DIR"]) / "watchdog.log").read_text("utf-8")


@pytest.fixture
def screen(capsys, monkeypatch):
    """Status as a person reads it on 80 columns."""

    def show() -> str:
        monkeypatch.setenv("COLUMNS", "80")
        capsys.readouterr()
        status_command.main([])
        return capsys.readouterr().out

    return show


def test_coins_that_were_kept_are_said_with_their_cure_and_adopting_them_cures_it(
    status, doctor, cycle, caretakers_ran, exchange, db_conn, bot_environment, capsys, screen
):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        quote_until(exchange, lambda: get_cycle(db_conn, cycle.id).quantity > 0)
        assert assets_command.main(["remove", BTC, "--keep-coins", "--yes"]) == 0
        assert assets_command.main(["add", BTC, "--yes"]) == 0
        quote_until(exchange, lambda: held() is not None)
        seen = status()
        [asset] = seen.json["assets"]
        assert "existing position found on Alpaca" in asset["held"]["reason"]
        assert asset["held"]["cure"] == ADOPT
        shown = screen()
        assert "held " in shown.partition("open order")[2], "in its row"
        assert "held back" in shown
        assert "at once" not in shown
        # What lasts is wrong.
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(held_back, "SHORT_SECONDS", 0.0)
            seen, examined = status(), doctor()
        assert seen.code == 1
        assert "BTC/USD is held back: Base order for BTC/USD skipped" in seen.problems
        assert seen.problems.endswith(ADOPT)
        assert examined.failed == {BTC}
        assert ADOPT in "".join(text for _, text in examined.found(BTC))

        assert assets_command.main(["adopt", BTC, "--yes"]) == 0
        quote_until(exchange, lambda: held() is None)
        seen = status()
        assert (seen.code, seen.json["problems"]) == (0, [])
        assert doctor().failed == set()


def test_coins_of_somebody_else_are_said_while_no_daemon_runs(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment, monkeypatch, screen
):
    monkeypatch.setattr(held_back, "RECHECK_SECONDS", 0.1)
    set_flag(get_settings().run_dir, "stopped", wanted=True)
    assert status().code == 0
    exchange.set_balance(BTC, "0.5", "50000")
    seen = status()
    assert seen.code == 1
    line = "the account holds 0.5 coins that no cycle bought: no base order is placed while they"
    assert seen.problems == f"BTC/USD is held back: {line} are there: {ADOPT}"
    assert "held back" in screen()
    assert doctor().failed == {BTC}
    exchange.set_balance(BTC, "0.00000001", "50000")
    assert status().code == 0, "dust is in nobody's way"


def test_coins_of_somebody_else_are_said_although_another_reason_holds_the_asset_back(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment, monkeypatch
):
    monkeypatch.setattr(held_back, "RECHECK_SECONDS", 0.1)
    exchange.set_balance(BTC, "0.5", "50000")
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        quote_until(exchange, lambda: held() is not None, bid=48000)
        assert "the spread is wider" in held().reason
        assert ADOPT in status().problems
        assert doctor().failed == {BTC}


def test_what_earlier_cycles_could_not_sell_is_ours_and_keeps_nobody_back(
    status, doctor, cycle, caretakers_ran, exchange, db_conn, make_asset, monkeypatch
):
    monkeypatch.setattr(held_back, "RECHECK_SECONDS", 0.1)
    set_flag(get_settings().run_dir, "stopped", wanted=True)
    bought = build_order(status="filled", filled_qty="0.0005", filled_avg_price=50000)
    entry = build_entry(bought, asset_id=cycle.asset_id, cycle_id=cycle.id)
    append_journal_entry(db_conn, entry)
    exchange.set_balance(BTC, "0.0005", "50000")
    assert status().code == 1, "of a cycle that is open, and holds nothing"
    update_cycle(db_conn, cycle.id, {"status": "complete"})
    create_cycle(db_conn, cycle.asset_id, "watching")
    assert status().json["problems"] == []
    assert doctor().failed == set()
    exchange.set_balance(BTC, "0.5005", "50000")
    assert "the account holds 0.5 coins that no cycle bought" in status().problems


def test_coins_of_a_fill_that_is_being_booked_are_nobodys_trouble(
    status, cycle, caretakers_ran, exchange, db_conn, monkeypatch
):
    set_flag(get_settings().run_dir, "stopped", wanted=True)
    exchange.set_balance(BTC, "0.002", "50000")

    def book(seconds):
        bought = {"quantity": Decimal("0.002"), "average_purchase_price": Decimal(50000)}
        columns = ", ".join(f"{name} = %s" for name in bought)
        execute_query(f"UPDATE dca_cycles SET {columns}", tuple(bought.values()), commit=True)

    monkeypatch.setattr(held_back.time, "sleep", book)
    assert status().json["problems"] == []


def test_a_stall_is_mailed_once_stops_the_ping_and_restarts_nothing(
    status, doctor, cycle, caretakers_ran, exchange, db_conn, bot_environment, set_env, tmp_path
):
    set_env(STALLED_ALERT_SECONDS="5", HEARTBEAT_SECONDS="0.5")
    asset_id = get_asset_config(db_conn, BTC).id
    with MailServer("plain") as mail, ping_server(lambda: 200) as (url, asked):
        mailing = {
            name: value
            for name, value in mail_environment(tmp_path, mail.port).items()
            if name.startswith(("SMTP", "ALERT"))
        }
        environment = bot_environment | mailing | {"HEARTBEAT_URL": url}
        with DaemonProcess(environment) as daemon:
            daemon.wait_until_trading()
            quote_until(exchange, lambda: get_cycle(db_conn, cycle.id).quantity > 0)
            wait_until(beats_trading)
            watchdog(environment)
            assert len(asked) == 1
            update_asset_config(db_conn, asset_id, {"safety_order_amount": Decimal(5)})
            quote_until(exchange, lambda: "trading.stalled" in daemon.output, 49000, 49001)
            wait_until(lambda: held().is_stalled)
            log = watchdog(environment)
            assert len(asked) == 1, "the uptime monitor hears nothing"
            assert "daemon.stalled" in log
            assert "BTC/USD is held back for" in log
            assert "ERROR" not in log, "the daemon reported it"
            seen = status()
            assert (seen.code, seen.json["daemon"]["verdict"]) == (1, "stalled")
            [problem] = seen.json["problems"]
            assert problem.startswith("BTC/USD is held back: safety order cannot be placed: cost ")
            assert problem.endswith(": scripts/assets edit BTC/USD --safety USD")
            examined = doctor()
            assert examined.failed == {BTC}
            assert "held back: safety order cannot be placed" in examined.found(BTC)[-1][1]

            update_asset_config(db_conn, asset_id, {"safety_order_amount": Decimal(50)})
            quote_until(exchange, lambda: "stall.ended" in daemon.output)
            assert daemon.process.poll() is None, "no restart could heal it"
            wait_until(lambda: held() is None)
            watchdog(environment)
            assert len(asked) == 2
            assert status().code == 0
            lines = daemon.output
            assert daemon.stop() == 0
        assert (lines.count("trading.stalled"), lines.count("stall.ended")) == (1, 1)
        text = "\n".join(one.get_content() for one in mail.mails)
    assert text.count("trading.stalled symbol=BTC/USD") == 1
    assert 'cure="scripts/assets edit BTC/USD --safety USD"' in text
    assert text.count("stall.ended symbol=BTC/USD") == 1


def test_a_daemon_that_cannot_compare_with_the_exchange_is_reported_once_and_when_it_can_again(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment, set_env
):
    set_env(STALLED_ALERT_SECONDS="5", RECONCILE_SECONDS="0.5")
    with ping_server(lambda: 200) as (url, asked):
        environment = bot_environment | {"HEARTBEAT_URL": url}
        with DaemonProcess(environment) as daemon:
            daemon.wait_until_trading()
            exchange.push_quote(BTC, 50000, 50001)
            exchange.arm("http_500", match={"path": "/v2/orders"})
            wait_until(lambda: "trading.stalled seconds=" in daemon.output, 90)
            wait_until(lambda: any(one.symbol is None and one.is_stalled for one in all_held()))
            log = watchdog(environment)
            assert asked == []
            assert "the daemon is held back for" in log
            seen = status()
            assert seen.code == 1
            line = "the daemon is held back: it cannot compare with the exchange: "
            assert line in seen.problems
            assert {"daemon"} <= doctor().failed
            exchange.clear_faults()
            quote_until(exchange, lambda: "stall.ended seconds=" in daemon.output)
            quote_until(exchange, lambda: not all_held())
            watchdog(environment)
            assert len(asked) == 1
            assert daemon.output.count("trading.stalled seconds=") == 1


@pytest.mark.parametrize(
    ("cron_runs_since_seconds", "missing"),
    [
        (1, []),
        (190, ["watchdog", "order_manager"]),
        (500, ["watchdog", "order_manager", "consistency_checker"]),
    ],
)
def test_each_caretaker_that_never_ran_is_named_although_another_is_fresh(
    status, cycle, cron_runs_since_seconds, missing
):
    settings = get_settings()
    set_flag(settings.run_dir, "stopped", wanted=True)
    note_runs(settings, age_seconds=cron_runs_since_seconds)
    note_runs(settings)
    for script in ("watchdog", "order_manager", "consistency_checker"):
        (settings.run_dir / f"{script}.last_run.json").unlink()
    seen = status()
    line = f"cron has never run {', '.join(missing)}: scripts/install_crontab install"
    assert seen.json["problems"] == ([line] if missing else [])
    assert seen.code == bool(missing)
