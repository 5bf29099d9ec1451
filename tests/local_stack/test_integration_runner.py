"""integration_test.py itself: what it refuses, what it takes back, and what it says at the end."""

from __future__ import annotations

import importlib.util
import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from decimal import Decimal

import pytest

import config
from config import PROJECT_ROOT, reset_settings
from integration import opening, processes
from integration.opening import Refused, open_rig
from integration.report import CheckFailed, Report
from models.asset_config import get_all_assets
from models.cycle_data import create_cycle
from models.meta import get_meta
from runtime.account_lock import AccountLock
from runtime.pid_file import PidFile
from strategy.order_identity import compute_client_order_id
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_account_id, fetch_open_orders_of, fetch_order, fetch_position

SYMBOL = "BTC/USD"


@pytest.fixture(scope="module")
def runner():
    """integration_test.py as a module; it stands outside every import root."""
    path = PROJECT_ROOT / "integration_test.py"
    spec = importlib.util.spec_from_file_location("integration_test", path)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def report():
    return Report(lambda text: None)


@pytest.fixture
def account(settings, exchange, db_conn, tmp_path, monkeypatch):
    """A paper account as `.env` names it: here the local exchange, its market standing still."""
    monkeypatch.setattr(opening, "KEPT_LOGS", tmp_path / "kept")
    exchange.push_quote(SYMBOL, 50000, 50010)
    return get_trading_client()


def refusal(report, **choices):
    with (
        pytest.raises(Refused) as caught,
        open_rig(is_local=False, symbol=SYMBOL, report=report, **choices),
    ):
        pass
    return "; ".join(caught.value.problems)


def run_main(runner, *arguments):
    """Exit code and what was printed."""
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors):
        try:
            code = runner.main(arguments)
        except SystemExit as left:
            code = left.code
    return code, output.getvalue(), errors.getvalue()


def names(runner, *chosen):
    return [test.__name__ for test in runner._parse(chosen).tests]


def test_the_plan_s_thirteen_tests_stand_in_order(runner):
    found = names(runner)
    assert [name.split("_")[1] for name in found] == [f"phase{n}" for n in range(1, 14)]
    assert all(getattr(runner, name).__doc__ for name in found)


def test_a_phase_is_picked_by_number_or_name_and_phase1_does_not_mean_phase10(runner):
    assert names(runner, "phase1") == ["test_phase1_asset_and_cycle_crud"]
    assert names(runner, "test_phase4", "phase1") == [
        "test_phase1_asset_and_cycle_crud",
        "test_phase4_marketdata_places_base_order",
    ]


def test_an_unknown_name_is_said_and_ends_with_2(runner):
    code, _, errors = run_main(runner, "phase99")
    assert code == 2
    assert "there is no test phase99" in errors


def test_the_help_teaches_and_the_list_lists(runner):
    code, shown, _ = run_main(runner, "--help")
    assert code == 0
    assert "--local" in shown
    assert "_test" in shown
    code, listed, _ = run_main(runner, "--list")
    assert (code, len(listed.splitlines())) == (0, 13)


def test_a_live_account_is_refused_before_anything_is_asked(bot_environment, monkeypatch, report):
    for name in list(bot_environment):
        if name.endswith("_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("ALPACA_PAPER", "false")
    monkeypatch.setenv("LIVE_TRADING_CONFIRMED", "true")
    assert "money is real" in refusal(report)


def test_a_database_that_is_not_named_as_a_test_database_is_refused(account, monkeypatch, report):
    with monkeypatch.context() as patch:
        patch.setenv("DB_NAME", "dca_bot")
        assert "ends in _test" in refusal(report)


def test_missing_settings_are_one_line_each_and_end_with_2(runner, bot_environment, monkeypatch):
    with monkeypatch.context() as patch:
        patch.delenv("ALPACA_API_KEY")
        patch.delenv("DB_USER")
        code, _, errors = run_main(runner)
    assert code == 2
    assert len(errors.splitlines()) == 2
    assert "ALPACA_API_KEY" in errors


def test_a_daemon_on_this_host_is_refused(account, settings, monkeypatch, report):
    monkeypatch.setattr(opening, "read_pid_file", lambda path: RunningRecord())
    assert "main_app.py is running (PID 7)" in refusal(report)


class RunningRecord:
    pid = 7

    def is_running(self):
        return True


def test_a_daemon_on_another_host_is_refused(account, report):
    lock = AccountLock(fetch_account_id(account))
    assert lock.hold()
    try:
        assert "a daemon trades this account" in refusal(report)
    finally:
        lock.release()


def test_a_position_or_an_open_order_on_the_test_coin_is_refused(account, exchange, report):
    exchange.set_balance(SYMBOL, "0.5")
    place_limit_buy_order(account, SYMBOL, Decimal("0.02"), Decimal(1000))
    exchange.finish()
    said = refusal(report)
    assert "holds 0.5 BTC/USD" in said
    assert "1 open order(s) on BTC/USD" in said


def test_a_database_with_assets_of_somebody_is_refused(account, make_asset, db_conn, report):
    make_asset("ETH/USD")
    assert "has assets (ETH/USD)" in refusal(report)
    assert len(get_all_assets(db_conn)) == 1, "and it was not touched"


def test_the_environment_is_as_before_after_a_run(account, bot_environment, report):
    with open_rig(is_local=False, symbol=SYMBOL, report=report) as rig:
        assert rig.settings.stale_order_seconds == 15
        assert str(rig.settings.pid_file) != bot_environment["PID_FILE"]
    reset_settings()
    assert str(config.get_settings().pid_file) == bot_environment["PID_FILE"]


def test_a_failed_test_leaves_nothing_and_touches_nothing_of_others(
    runner, account, exchange, db_conn, report
):
    others = []

    def broken_test(rig):
        rig.buy_coins()
        cycle = create_cycle(rig.db, rig.insert_asset().id, "watching")
        identity = compute_client_order_id(cycle)
        rig.place_buy(Decimal(20), Decimal(1000), identity)
        rig.place_resting_buy()
        others.append(place_limit_buy_order(account, "ETH/USD", Decimal("0.1"), Decimal(999)))
        raise CheckFailed("on purpose")

    with open_rig(is_local=False, symbol=SYMBOL, report=report) as rig:
        outcome = runner.run_test(broken_test, rig)

    assert outcome.problem == "on purpose"
    assert outcome.is_clean
    assert fetch_position(account, SYMBOL) is None
    assert fetch_open_orders_of(account, SYMBOL) == []
    [left] = fetch_open_orders_of(account, "ETH/USD")
    assert left.id == str(others[0].id)
    assert get_all_assets(db_conn) == []
    assert get_meta(db_conn, "integration_test") is None


def test_what_a_killed_run_opened_is_taken_back_by_the_next_one(account, exchange, db_conn, report):
    with open_rig(is_local=False, symbol=SYMBOL, report=report) as rig:
        rig.begin()
        rig.buy_coins()
        create_cycle(rig.db, rig.insert_asset().id, "watching")
        left = rig.place_resting_buy()  # and here it is killed

    with open_rig(is_local=False, symbol=SYMBOL, report=report) as rig:
        assert rig.position() is None
        assert fetch_order(account, str(left.id)).status == "canceled"
    assert get_all_assets(db_conn) == []


def test_the_end_counts_and_json_goes_to_standard_output(runner, account, monkeypatch):
    code, shown, errors = run_main(runner, "phase1", "--json")
    answer = json.loads(shown)
    assert (code, answer["passed"], answer["failed"]) == (0, 1, 0)
    assert answer["tests"][0]["name"] == "test_phase1_asset_and_cycle_crud"
    assert errors.splitlines()[-1] == "1 passed, 0 failed"


def test_a_failure_ends_with_1_and_is_named_at_the_end(runner, account, monkeypatch):
    def test_phase1_that_fails(rig):
        """Fails."""
        rig.report.check("one is two", 1 == 2)

    monkeypatch.setattr(runner, "TESTS", (test_phase1_that_fails,))
    code, shown, _ = run_main(runner)
    assert code == 1
    assert shown.splitlines()[-1] == "0 passed, 1 failed"
    assert "FAILED test_phase1_that_fails: one is two" in shown


def test_a_script_that_does_not_exist_is_a_failed_check(report, monkeypatch, tmp_path):
    monkeypatch.setattr(processes, "PROJECT_ROOT", tmp_path)
    with pytest.raises(CheckFailed, match=r"scripts/order_manager\.py does not exist"):
        processes.run_script("order_manager", report)


def test_the_pid_file_of_the_user_is_never_the_one_of_the_tests(account, settings, report):
    settings.pid_file.parent.mkdir(parents=True, exist_ok=True)
    with (
        open_rig(is_local=False, symbol=SYMBOL, report=report) as rig,
        PidFile(rig.settings.pid_file),
    ):
        assert not settings.pid_file.exists()
