"""The means of the chaos run that have a life of their own: the line that dies, the clock of a
later day, the busy processes.
"""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import mysql.connector
import psutil
import pytest

from config import PROJECT_ROOT, reset_settings
from local_stack.chaos import undo as chaos_undo
from local_stack.chaos.database_line import DatabaseLine
from local_stack.chaos.load import busy_processes
from local_stack.chaos.lock_watch import LockWatch
from local_stack.chaos.undo import Moments
from mariadb_server.server import PrivateMariaDB
from runtime.account_lock import AccountLock, find_lock_holder
from runtime.process_table import processes_of_stack
from utils.db_utils import close_quietly, execute_query, get_db_connection

ACCOUNT = "a-line-that-dies"
REFUSED = "ERROR   main_app app.refused reason=another daemon trades this account, on this host"


@pytest.fixture
def line(mariadb_server: PrivateMariaDB):
    line = DatabaseLine(lambda: int(mariadb_server.db_env()["DB_PORT"]))
    line.start()
    yield line
    line.stop()


@pytest.fixture
def bot_on_the_line(line, bot_environment, monkeypatch):
    """The bot's own connections come through the line."""
    for name, value in line.settings().items():
        monkeypatch.setenv(name, value)
    reset_settings()
    yield line
    reset_settings()


def direct(mariadb_server: PrivateMariaDB):
    return mariadb_server.connect()


def port_of(holder: str | None) -> int:
    assert holder is not None
    return int(holder.rpartition(":")[2])


def test_a_line_that_lives_carries_both_ways_and_passes_on_ends(bot_on_the_line):
    connection = get_db_connection()
    text = "x" * 200_000
    row = execute_query("SELECT %s AS said", (text,), fetch_one=True, db_conn=connection)
    assert row["said"] == text
    [row] = execute_query("SELECT CONNECTION_ID() AS id", fetch_all=True, db_conn=connection)
    other = get_db_connection()
    execute_query(f"KILL CONNECTION {row['id']}", db_conn=other)
    with pytest.raises(mysql.connector.Error):
        connection.cmd_query("SELECT 1")
    close_quietly(other)
    assert not bot_on_the_line.has_died


def test_what_was_connected_when_the_line_died_stays_dead_and_its_session_keeps_the_lock(
    bot_on_the_line, mariadb_server
):
    lock, line = AccountLock(ACCOUNT), bot_on_the_line
    assert lock.hold()
    line.cut()
    line.mend()
    dead = lock._connection
    dead._read_timeout = 0.2  # as the driver does after STATEMENT_TIMEOUT_SECONDS
    with pytest.raises(mysql.connector.Error):
        dead.cmd_query("SELECT 1")
    close_quietly(dead)

    beside = direct(mariadb_server)
    holder = find_lock_holder(beside, ACCOUNT)
    assert line.is_dead_port(port_of(holder)), "the server never heard that its client has gone"
    fresh = get_db_connection()
    row = execute_query("SELECT CONNECTION_ID() AS id", fetch_one=True, db_conn=fresh)
    assert row["id"] > 0, "new connections get through"
    for connection in (fresh, beside):
        close_quietly(connection)


def test_who_connects_while_the_line_is_dead_waits_until_it_gives_up(line, mariadb_server):
    line.cut()
    settings = mariadb_server.db_env()
    with pytest.raises(mysql.connector.Error):
        mysql.connector.connect(
            host=line.settings()["DB_HOST"],
            port=line.port,
            user=settings["DB_USER"],
            password=settings["DB_PASSWORD"],
            connection_timeout=1,
            use_pure=True,
        )


def test_a_daemon_that_gives_way_to_a_dead_connection_is_found(tmp_path):
    watch = LockWatch(_Stack(tmp_path), line=None, account_id=ACCOUNT)
    at = datetime(2024, 3, 1, 12, 0, 10, 500_000, tzinfo=UTC)
    (tmp_path / "app.log").write_text(f"{at:%Y-%m-%d %H:%M:%S},500 {REFUSED}\n", "utf-8")
    assert list(watch.find_refusals()) == [], "a living one held it"
    watch._held.append((at.timestamp() - 3, at.timestamp() + 2))
    [found] = watch.find_refusals()
    assert found.rule == "line: no other daemon"
    watch._second_daemons.append(at.timestamp() - 2)
    assert list(watch.find_refusals()) == [], "a second daemon is rightly refused"


class _Stack:
    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir


def test_a_script_can_run_as_if_it_were_days_later(tmp_path):
    script = tmp_path / "tells_time.py"
    script.write_text(
        "import sys\n"
        "def load():\n"  # as the scripts do
        "    from caretakers import fee_settlement\n"
        "    from utils import request_pace\n"
        "    return fee_settlement, request_pace\n"
        "fee_settlement, request_pace = load()\n"
        "now = fee_settlement.datetime.now(fee_settlement.UTC)\n"
        "print(now.isoformat(), request_pace.time.time(), *sys.argv[1:])\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "local_stack.chaos.later", "172800", str(script), "--once"],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown, epoch, argument = run.stdout.split()
    ahead = datetime.fromisoformat(shown) - datetime.now(UTC)
    assert abs(ahead - timedelta(days=2)) < timedelta(minutes=1)
    assert abs(float(epoch) - datetime.fromisoformat(shown).timestamp()) < 60
    assert argument == "--once"


def test_a_fault_waits_for_its_moment_takes_effect_once_and_gives_up_after_its_time(monkeypatch):
    now = 100.0
    monkeypatch.setattr(chaos_undo.time, "monotonic", lambda: now)
    moments, answers, asked = Moments(), [False, True], list[str]()

    def has_come():
        asked.append("first")
        return answers.pop(0)

    def in_vain():
        asked.append("in vain")
        return False

    moments.wait(5.0, has_come)
    moments.wait(1.0, in_vain)
    moments.tick()
    moments.tick()
    assert asked == ["first", "in vain"], "asked now and then, not at every tick"
    now += 0.5
    moments.tick()
    now += 0.6
    moments.tick()
    assert asked == ["first", "in vain"] * 2, "one had its moment, the other's time is over"


def test_busy_processes_run_beside_the_block_and_end_with_it(tmp_path):
    with busy_processes(2, tmp_path):
        found = list(processes_of_stack(tmp_path))
        assert len(found) == 2
        assert {one.nice() for one in found} == {psutil.Process().nice()}
    assert list(processes_of_stack(tmp_path)) == []
