"""The three scripts as cron runs them: processes with nothing but an environment."""

import json
import random
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from caretaker_process import run_script, start_script
from config import PROJECT_ROOT, get_settings
from daemon_process import wait_until
from models.cycle_data import create_cycle, get_cycle, get_latest_cycle
from models.meta import get_meta
from row_locks import locked_row
from runtime.script_runs import load_script_runs
from utils.alpaca_client_rest import get_trading_client, place_limit_buy_order
from utils.alpaca_queries import fetch_orders
from utils.db_utils import execute_query

SCRIPTS = ("order_manager", "cooldown_manager", "consistency_checker")


@pytest.fixture
def read_records(bot_environment, exchange, db_conn, make_asset):
    """One thing to do for each script: a stale order, a cooldown that is over, a stuck cycle."""
    exchange.push_quote("BTC/USD", 50000, 50001)
    place_limit_buy_order(get_trading_client(), "BTC/USD", Decimal("0.02"), 1000)
    exchange.finish()
    exchange.arm("skew_clock", seconds=3600)
    cooling = make_asset(cooldown_period=60)
    ended_at = datetime.now(UTC) - timedelta(seconds=70)
    create_cycle(db_conn, cooling.id, "complete", completed_at=ended_at)
    cycles = {
        "cooldown_manager": create_cycle(db_conn, cooling.id, "cooldown"),
        "consistency_checker": create_cycle(
            db_conn, make_asset("ETH/USD").id, "buying", latest_order_id="fake_id"
        ),
    }

    def state():
        """What a script can change: the rows and the exchange's orders."""
        orders = fetch_orders(get_trading_client(), status="all")
        rows = [get_cycle(db_conn, cycle.id) for cycle in cycles.values()]
        return [(order.id, order.status) for order in orders], rows

    return state


def what_is_planned(shown):
    """Without the ages, which grow from run to run."""
    return [
        {key: step.get(key) for key in ("action", "symbol", "order", "cycle")}
        for step in shown["plan"]
    ]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_plans_does_and_then_has_nothing_left_to_do(
    script, read_records, bot_environment, exchange, db_conn
):
    before = read_records()
    planned = run_script(script, "--dry-run", "--json", environment=bot_environment)
    assert (planned.code, planned.errors) == (0, "")
    assert read_records() == before, "a dry run changes nothing"
    assert get_meta(db_conn, "alpaca_account_id") is None
    assert execute_query("SELECT COUNT(*) n FROM dca_events", fetch_one=True, db_conn=db_conn) == {
        "n": 0
    }

    done = run_script(script, "--json", environment=bot_environment)
    exchange.finish()
    assert (done.code, done.errors) == (0, "")
    shown = done.json
    assert list(shown) == ["script", "plan", "done", "failed"]
    assert shown["script"] == script
    assert what_is_planned(shown) == what_is_planned(planned.json)
    assert (len(shown["plan"]), len(shown["done"]), shown["failed"]) == (1, 1, [])
    after = read_records()
    assert after != before

    again = run_script(script, environment=bot_environment)
    assert (again.code, again.output) == (0, f"{script}: nothing to do\n")
    assert read_records() == after
    [record] = load_script_runs(get_settings().run_dir)
    assert (record.script, record.exit_code, record.done) == (script, 0, 0)
    log = (get_settings().log_dir / f"{script}.log").read_text()
    assert "local-secret" not in log
    assert "checked" in log


@pytest.mark.parametrize("script", SCRIPTS)
def test_wrong_settings_are_one_line_each_and_exit_code_2(script, tmp_path):
    nowhere = {"ENV_FILE": str(tmp_path / "none"), "ALPACA_API_KEY": "k", "DB_PORT": "x"}
    outcome = run_script(script, environment=nowhere | {"DB_NAME": "a", "DB_USER": ""})
    assert (outcome.code, outcome.output) == (2, "")
    assert [line.split(":")[0] for line in outcome.errors.splitlines()] == [script] * 3


def run_together(scripts, environment):
    """Each started before the first is waited for: most of their time is waiting."""
    processes = {name: start_script(name, environment=environment) for name in scripts}
    outcomes = {}
    for name, process in processes.items():
        with process:
            output, errors = process.communicate(timeout=60)
        outcomes[name] = (process.returncode, output, errors)
    return outcomes


def test_a_database_that_is_away_is_one_clear_line_and_exit_code_1(bot_environment, exchange):
    away = bot_environment | {"DB_HOST": "127.0.0.1", "DB_PORT": "9", "DB_SOCKET": ""}
    for script, (code, output, errors) in run_together(SCRIPTS, away).items():
        assert (code, output) == (1, "")
        [line] = errors.splitlines()
        assert line.startswith(f"{script}: could not finish: cannot use database")
        assert "secret" not in line


def test_an_exchange_that_is_away_is_one_clear_line_and_changes_nothing(
    read_records, bot_environment, db_conn
):
    before = read_records()
    away = bot_environment | {"ALPACA_TRADING_URL": "http://127.0.0.1:9"}
    outcomes = run_together(("order_manager", "consistency_checker"), away)
    for script, outcome in outcomes.items():
        line = f"{script}: could not finish: no answer: ConnectionError\n"
        assert outcome == (1, "", line)
    assert read_records() == before


def test_wrong_keys_are_said_plainly(bot_environment, exchange, db_conn):
    wrong = bot_environment | {"ALPACA_SECRET_KEY": "something-else"}
    outcome = run_script("order_manager", "--json", environment=wrong)
    assert outcome.code == 1
    assert "check ALPACA_API_KEY" in outcome.errors
    assert json.loads(outcome.output)["failed"][0]["action"] == "finish"
    assert "something-else" not in outcome.errors + outcome.output


def test_the_cooldown_manager_needs_no_exchange_and_does_not_load_its_sdk(
    read_records, bot_environment, db_conn
):
    away = bot_environment | {"ALPACA_TRADING_URL": "http://127.0.0.1:9"}
    outcome = run_script("cooldown_manager", environment=away)
    assert (outcome.code, "done: end cooldown BTC/USD" in outcome.output) == (0, True)
    program = str(PROJECT_ROOT / "scripts" / "cooldown_manager.py")
    probe = f"import runpy, sys; runpy.run_path({program!r}); sys.exit('alpaca' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", probe]).returncode == 0


def test_two_runs_at_once_are_one(read_records, bot_environment, db_conn):
    """The second says so and leaves; the work is done once."""
    _, (_, stuck) = read_records()
    log = get_settings().log_dir / "consistency_checker.log"
    with start_script("consistency_checker", environment=bot_environment) as first:
        with locked_row(stuck):  # which the first is to reset
            wait_until(lambda: log.exists() and "consistency.checked" in log.read_text())
            second = run_script("consistency_checker", environment=bot_environment)
        assert second.code == 0
        assert second.errors == "consistency_checker: another run is under way: nothing done\n"
        output, errors = first.communicate(timeout=60)
    assert (first.returncode, errors) == (0, "")
    assert "done: reset cycle ETH/USD" in output


@pytest.mark.parametrize("seed", [1, 2])
def test_a_killed_run_leaves_what_the_next_one_completes(
    seed, read_records, bot_environment, exchange, db_conn
):
    chance = random.Random(seed)
    scripts = ("consistency_checker", "order_manager")
    processes = [start_script(script, environment=bot_environment) for script in scripts]
    for process in processes:
        with process:
            time.sleep(chance.uniform(0.2, 1.5))  # the moment of the kill is what varies
            process.send_signal(signal.SIGKILL)
    for script, (code, _, errors) in run_together(scripts, bot_environment).items():
        assert (script, code, errors) == (script, 0, "")
    exchange.finish()
    orders, rows = read_records()
    assert [status for _, status in orders] == ["canceled"]
    assert rows[1].status == "watching"
    assert get_latest_cycle(db_conn, rows[1].asset_id) == rows[1], "no second new cycle"
