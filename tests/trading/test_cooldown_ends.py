"""The end of a cooldown by the daemon: at its second, once, whatever happens at that moment."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest

from config import PROJECT_ROOT
from crash_points import Crash, Effects, end_all_connections, watched
from daemon_process import DaemonProcess, wait_until, wait_until_it_buys
from models.cycle_data import create_cycle, get_cycle, update_cycle
from models.trading_state import load_cooldown
from row_locks import locked_row
from trading.cooldown_ends import end_cooldown
from utils.db_utils import execute_query

SELDOM = {"REFRESH_SECONDS": "60", "RECONCILE_SECONDS": "60"}  # what comes sooner is the timer's
BY_THE_DAEMON = "status=cooldown>watching source=daemon"


def cool(db_conn, asset, seconds_left):
    """A cycle that ended, the one in cooldown after it, and when that is over."""
    until = datetime.now(UTC) + timedelta(seconds=seconds_left)
    ended_at = until - timedelta(seconds=asset.cooldown_period)
    before = create_cycle(db_conn, asset.id, "complete", completed_at=ended_at)
    return before, create_cycle(db_conn, asset.id, "cooldown"), until


def is_watching(db_conn, cycle):
    return get_cycle(db_conn, cycle.id).status == "watching"


def waiting_for_the_row(db_conn):
    query = "SELECT COUNT(*) AS n FROM information_schema.processlist WHERE db = DATABASE()"
    query += " AND info LIKE '%FROM dca_cycles WHERE id = % FOR UPDATE' AND id <> CONNECTION_ID()"
    return execute_query(query, fetch_one=True, db_conn=db_conn)["n"]


def caretaker():
    script = str(PROJECT_ROOT / "scripts" / "cooldown_manager.py")
    return subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)


def test_each_asset_buys_again_from_the_end_of_its_cooldown_and_cooldown_manager_finds_none(
    bot_environment, exchange, db_conn, make_asset
):
    _, later, later_at = cool(db_conn, make_asset("ETH/USD", cooldown_period=30), 22)
    _, sooner, sooner_at = cool(db_conn, make_asset(cooldown_period=30), 20)
    asset = make_asset("SOL/USD", cooldown_period=30, is_enabled=False)
    _, disabled, disabled_at = cool(db_conn, asset, 21)
    with DaemonProcess(bot_environment | SELDOM) as daemon:
        daemon.wait_until_trading()
        assert get_cycle(db_conn, sooner.id) == sooner, "it was not over yet"
        wait_until(lambda: is_watching(db_conn, later))
        ends = [get_cycle(db_conn, one.id).updated_at for one in (sooner, disabled, later)]
        assert ends == sorted(ends)
        assert ends[0] < later_at, "the end of another was not waited for"
        assert all(
            end >= until
            for end, until in zip(ends, (sooner_at, disabled_at, later_at), strict=True)
        )
        wait_until_it_buys(exchange, db_conn, sooner)
        assert get_cycle(db_conn, disabled.id).quantity == 0
        wait_until(lambda: daemon.output.count(BY_THE_DAEMON) == 3)
        out, _ = caretaker().communicate(timeout=60)
        assert out == "cooldown_manager: nothing to do\n"
        assert daemon.stop() == 0


def test_one_that_was_over_while_nothing_ran_ends_at_the_start(
    bot_environment, exchange, db_conn, make_asset
):
    _, cycle, _ = cool(db_conn, make_asset(), -3600)
    with DaemonProcess(bot_environment | SELDOM) as daemon:
        wait_until_it_buys(exchange, db_conn, cycle)
        assert daemon.output.count(BY_THE_DAEMON) == 1


def test_a_period_and_an_end_that_are_changed_meanwhile_count(
    bot_environment, exchange, db_conn, make_asset
):
    """As when a clock is set: what is left of a cooldown is computed anew at each refresh."""
    _, shortened, _ = cool(db_conn, make_asset(cooldown_period=3600), 3600)
    before, moved, _ = cool(db_conn, make_asset("ETH/USD", cooldown_period=3600), 3600)
    before_both, lengthened, _ = cool(db_conn, make_asset("SOL/USD", cooldown_period=60), 3)
    execute_query(
        "UPDATE dca_assets SET cooldown_period = 7200 WHERE id = %s",
        (lengthened.asset_id,),
        db_conn=db_conn,
    )
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        execute_query(
            "UPDATE dca_assets SET cooldown_period = 0 WHERE id = %s",
            (shortened.asset_id,),
            db_conn=db_conn,
        )
        update_cycle(
            db_conn, before.id, {"completed_at": datetime.now(UTC) - timedelta(seconds=3600)}
        )
        wait_until(lambda: is_watching(db_conn, shortened) and is_watching(db_conn, moved))
        assert get_cycle(db_conn, lengthened.id) == lengthened
        assert daemon.stop() == 0
        assert daemon.output.count(BY_THE_DAEMON) == 2
    assert get_cycle(db_conn, before_both.id).status == "complete"


def test_daemon_and_cooldown_manager_at_the_same_moment_end_it_once(
    bot_environment, exchange, db_conn, make_asset
):
    _, cycle, _ = cool(db_conn, make_asset(), -1)
    with DaemonProcess(bot_environment) as daemon:
        with locked_row(cycle):
            wait_until(lambda: waiting_for_the_row(db_conn) == 1)
            script = caretaker()
            wait_until(lambda: waiting_for_the_row(db_conn) == 2)
        out, _ = script.communicate(timeout=60)
        wait_until_it_buys(exchange, db_conn, cycle)
        by_script = out.count("(not needed)") == 0
        assert by_script + daemon.output.count(BY_THE_DAEMON) == 1
        assert get_cycle(db_conn, cycle.id).order_seq == 1
        assert daemon.stop() == 0


def test_killed_while_it_writes_the_end_it_ends_it_at_the_next_start(
    bot_environment, exchange, db_conn, make_asset
):
    _, cycle, _ = cool(db_conn, make_asset(), -1)
    with DaemonProcess(bot_environment) as daemon, locked_row(cycle):
        wait_until(lambda: waiting_for_the_row(db_conn))
        daemon.process.kill()
        daemon.wait_for_exit()
    wait_until(lambda: not waiting_for_the_row(db_conn))
    assert get_cycle(db_conn, cycle.id) == cycle
    with DaemonProcess(bot_environment) as daemon:
        wait_until_it_buys(exchange, db_conn, cycle)
        assert daemon.output.count(BY_THE_DAEMON) == 1


@pytest.mark.parametrize("crash_at", [1, 2])
def test_a_crash_before_or_after_the_commit_leaves_it_whole_and_the_next_ends_it(
    bot_environment, db_conn, make_asset, crash_at
):
    _, cycle, _ = cool(db_conn, make_asset(), -1)
    cooldown = load_cooldown(db_conn, cycle.id)
    effects = Effects(crash_at)
    with watched(effects), pytest.raises(Crash):
        end_cooldown(cooldown, datetime.now(UTC), "test")
    assert effects.names[-1] == ("before commit", "after commit")[crash_at - 1]
    end_all_connections()
    assert is_watching(db_conn, cycle) == (crash_at == 2)
    assert end_cooldown(cooldown, datetime.now(UTC), "test") == (crash_at == 1)
    assert is_watching(db_conn, cycle)


def test_a_row_that_another_holds_is_said_once_and_keeps_no_other_from_its_end(
    bot_environment, exchange, db_conn, make_asset
):
    execute_query("SET GLOBAL innodb_lock_wait_timeout = 1", db_conn=db_conn)
    try:
        _, held, _ = cool(db_conn, make_asset(), -1)
        _, other, _ = cool(db_conn, make_asset("ETH/USD"), -1)
        with DaemonProcess(bot_environment) as daemon:
            with locked_row(held):
                daemon.wait_for_line("cooldown.postponed")
                wait_until(lambda: is_watching(db_conn, other))
            wait_until(lambda: is_watching(db_conn, held))
            assert daemon.output.count("cooldown.postponed") == 1
            assert daemon.output.count("refresh.postponed") == 0
    finally:
        execute_query("SET GLOBAL innodb_lock_wait_timeout = 50", db_conn=db_conn)
