"""The watchdog with real daemons: killed, suspended, blocked, silent, crashing, asked to stop."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from caretakers.plans.watchdog import Memory
from caretakers.watchdog import MEMORY_NAME, load_memory
from config import PROJECT_ROOT, get_settings, reset_settings
from daemon_process import DaemonProcess, wait_until, wait_until_it_buys
from mail_server import MailServer, mail_environment
from models.cycle_data import create_cycle
from ping_server import ping_server
from runtime.daemon_process import (
    bound_output,
    find_daemon,
    is_gone,
    last_line,
    load_beat_of,
    start_on_purpose,
    stop_on_purpose,
)
from runtime.heartbeat import load_heartbeat
from runtime.operator_flags import STOPPED, set_flag
from runtime.pid_file import PidFile, PidRecord, read_pid_file
from utils.state_file import read_boot_id

Environment = dict[str, str]
WATCHDOG = PROJECT_ROOT / "scripts" / "watchdog.py"
# The real daemon, found as such, whose event loop blocks for good a while after the start.
BLOCKING_LAUNCHER = """
import asyncio, runpy, sys, threading, time
sys.path.insert(0, {src!r})
import main_app
def block_when_it_trades(loop):
    while main_app._bot is None or not main_app._bot.streams.trade_health.is_connected:
        time.sleep(0.05)
    loop.call_soon_threadsafe(time.sleep, 3600)
new_event_loop = asyncio.new_event_loop
def with_a_block():
    loop = new_event_loop()
    threading.Thread(target=block_when_it_trades, args=(loop,), daemon=True).start()
    return loop
asyncio.new_event_loop = with_a_block
main_app._leave(main_app.main())
"""


def daemons(environment: Environment) -> list[psutil.Process]:
    """Every living daemon of this test."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if (
                any(Path(part).name == "main_app.py" for part in process.cmdline())
                and process.environ().get("PID_FILE") == environment["PID_FILE"]
                and process.status() != psutil.STATUS_ZOMBIE
            ):
                found.append(process)
    return found


@pytest.fixture
def environment(bot_environment, exchange, db_conn, monkeypatch) -> Iterator[Environment]:
    """A bot's environment; no daemon of it is left at the end."""
    bot_environment["HEARTBEAT_MAX_AGE_SECONDS"] = "3"
    monkeypatch.setenv("HEARTBEAT_MAX_AGE_SECONDS", "3")
    reset_settings()
    yield bot_environment
    for process in daemons(bot_environment):
        process.kill()
        wait_until(lambda process=process: is_gone(process))


@pytest.fixture
def cycle(db_conn, environment, make_asset):
    return create_cycle(db_conn, make_asset().id, "watching")


def command(*arguments: str) -> list[str]:
    return [sys.executable, str(WATCHDOG), *arguments]


def watchdog(environment: Environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the script to its end, as cron would."""
    return subprocess.run(
        command(*arguments),
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


def log_of(environment: Environment, name: str = "watchdog.log") -> str:
    path = Path(environment["LOG_DIR"]) / name
    return path.read_text("utf-8") if path.exists() else ""


def is_trading() -> bool:
    beat = load_heartbeat(get_settings().run_dir)
    return (
        beat is not None
        and beat.state == "trading"
        and beat.trade_stream_connected
        and beat.data_stream_connected
        and beat.age_seconds() < 2
    )


def test_it_starts_a_daemon_on_its_own_feet_and_then_leaves_it_alone(
    environment, exchange, db_conn, cycle
):
    done = watchdog(environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("watchdog: done: start: it does not run (PID ")
    [process] = daemons(environment)
    assert os.getsid(process.pid) == process.pid, "a session of its own"
    assert process.cwd() == str(PROJECT_ROOT)
    files = [os.readlink(f"/proc/{process.pid}/fd/{number}") for number in range(3)]
    assert files == ["/dev/null", *[str(Path(environment["LOG_DIR"]) / "main_app.out")] * 2]
    wait_until(is_trading)
    wait_until_it_buys(exchange, db_conn, cycle)

    done = watchdog(environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "watchdog: nothing to do\n", "")
    assert "daemon.running" in log_of(environment)
    assert daemons(environment) == [process]


def test_a_killed_daemon_is_replaced_by_one(environment, exchange, db_conn, cycle):
    watchdog(environment)
    [first] = daemons(environment)
    first.kill()
    wait_until(lambda: not daemons(environment))
    assert read_pid_file(get_settings().pid_file) is not None, "it had no time to clean up"
    assert watchdog(environment).returncode == 0
    [second] = daemons(environment)
    assert second.pid != first.pid
    wait_until_it_buys(exchange, db_conn, cycle)


def test_a_suspended_daemon_is_ended_and_replaced(environment, exchange, db_conn, cycle):
    watchdog(environment)
    wait_until(is_trading)
    [first] = daemons(environment)
    first.suspend()
    wait_until(lambda: first.status() == psutil.STATUS_STOPPED)
    done = watchdog(environment)
    assert (done.returncode, "its process is suspended" in done.stdout) == (0, True), done.stdout
    [second] = daemons(environment)
    assert second.pid != first.pid
    wait_until_it_buys(exchange, db_conn, cycle)


def test_a_daemon_whose_loop_is_blocked_is_killed_and_replaced(
    environment, exchange, db_conn, cycle, tmp_path
):
    launcher = tmp_path / "main_app.py"
    launcher.write_text(BLOCKING_LAUNCHER.format(src=str(PROJECT_ROOT / "src")))
    with DaemonProcess(environment, launcher) as blocked:
        blocked.wait_for_line("stream.connected stream=trade")
        assert find_daemon(get_settings()).pid == blocked.process.pid

        def has_stopped_beating() -> bool:
            beat = load_heartbeat(get_settings().run_dir)
            return beat is not None and beat.age_seconds() > 3

        wait_until(has_stopped_beating)
        assert blocked.process.poll() is None, "alive, and no use to anybody"
        done = watchdog(environment)
        assert (done.returncode, "hung: last heartbeat" in done.stdout) == (0, True), done.stdout
        assert blocked.wait_for_exit() == -signal.SIGKILL
    assert "how=killed" in log_of(environment)
    assert len(daemons(environment)) == 1
    wait_until_it_buys(exchange, db_conn, cycle)


def test_a_daemon_that_only_paused_is_not_ended(environment, cycle):
    """As after the sleep of a laptop: the old heartbeat is seen before the daemon could beat."""
    watchdog(environment)
    wait_until(is_trading)
    [process] = daemons(environment)
    process.suspend()
    with subprocess.Popen(
        command(), env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True
    ) as run:
        wait_until(lambda: Path(environment["PID_FILE"]).parent.joinpath("watchdog.lock").exists())
        threading.Timer(0.9, process.resume).start()
        assert run.wait(30) == 0
    assert daemons(environment) == [process]


def test_a_lost_stream_is_given_time_and_then_restarted_but_only_while_the_exchange_answers(
    environment, exchange, cycle
):
    environment = environment | {"STREAM_LOST_SECONDS": "5"}
    watchdog(environment)
    wait_until(is_trading)
    [first] = daemons(environment)
    exchange.arm("refuse_handshake")
    exchange.arm("cut_stream", match={"stream": "trading"})
    wait_until(lambda: not load_heartbeat(get_settings().run_dir).trade_stream_connected)
    assert watchdog(environment).returncode == 0
    assert daemons(environment) == [first], "it may come back by itself"
    assert "daemon.unwell" in log_of(environment)

    def lost_for() -> float:
        beat = load_heartbeat(get_settings().run_dir)
        return beat.beat_at - (beat.trade_stream_lost_at or beat.beat_at)

    wait_until(lambda: lost_for() > 5)
    done = watchdog(environment)
    assert "its trade stream is lost for" in done.stdout
    assert [process.pid for process in daemons(environment)] != [first.pid]
    assert len(daemons(environment)) == 1


def test_a_daemon_that_cannot_start_is_one_alert_and_tried_less_and_less(environment, cycle):
    with MailServer("plain") as server:
        mail = {
            name: value
            for name, value in mail_environment(Path(environment["LOG_DIR"]), server.port).items()
            if name.startswith(("SMTP", "ALERT"))
        }
        broken = environment | mail | {"ALPACA_SECRET_KEY": "wrong-secret-value"}
        runs = [watchdog(broken) for _ in range(5)]
        assert [run.returncode for run in runs] == [1] * 5
        assert "it ended at once with code 1" in runs[0].stderr
        assert "Alpaca refused the keys" in runs[0].stderr
        assert "3 starts did not last: next try in" in runs[3].stderr
        log = log_of(environment)
        assert log.count("daemon.start_failed") == 3
        assert len([line for line in log.splitlines() if line.split()[2] == "ERROR"]) == 1, log
        assert len([body for body in server.bodies if "daemon.start_failed" in body]) == 1
        assert len(server.mails) == 2, "and the daemon's own reason, also once"

        assert watchdog(broken, "--dry-run").stdout.startswith("watchdog: would wait: 3 starts")
        memory_path = get_settings().run_dir / "watchdog.json"
        memory = json.loads(memory_path.read_text())
        memory_path.write_text(json.dumps(memory | {"last_start_at": time.monotonic() - 61}))
        assert watchdog(environment | mail).returncode == 0, "the keys are right now"
        wait_until(is_trading)
        memory = json.loads(memory_path.read_text())
        assert memory["alerted_at"] is not None, "not over before it has lived for a while"
    assert len(daemons(environment)) == 1
    for text in (log_of(environment), log_of(environment, "main_app.out"), *server.bodies):
        assert "wrong-secret-value" not in text


def test_a_deliberate_stop_is_respected_until_it_is_taken_back(environment, cycle):
    run_dir = get_settings().run_dir
    set_flag(run_dir, STOPPED, wanted=True)
    done = watchdog(environment)
    assert (done.returncode, done.stdout) == (0, "watchdog: nothing to do\n")
    assert daemons(environment) == []
    assert "stopped on purpose" in log_of(environment)
    with DaemonProcess(environment) as by_hand:
        by_hand.wait_until_trading()
        by_hand.process.send_signal(signal.SIGSTOP)
        assert watchdog(environment).returncode == 0
        by_hand.process.send_signal(signal.SIGCONT)
        assert by_hand.stop() == 0, "left alone, whatever it does"
    set_flag(run_dir, STOPPED, wanted=False)
    assert watchdog(environment).returncode == 0
    assert len(daemons(environment)) == 1


def test_a_stop_by_command_outlives_a_watchdog_that_is_starting_one(environment, exchange, cycle):
    settings = get_settings()
    assert stop_on_purpose(settings) == "did not run"
    first = start_on_purpose(settings)
    assert start_on_purpose(settings) == first, "it runs already"
    assert stop_on_purpose(settings) == "terminated"
    assert (watchdog(environment).returncode, daemons(environment)) == (0, [])

    set_flag(settings.run_dir, STOPPED, wanted=False)
    exchange.arm("http_slow", seconds=2, match={"path": "/v2/account"})
    with subprocess.Popen(command(), env={**os.environ, **environment}) as starting:
        wait_until(lambda: daemons(environment))
        assert stop_on_purpose(settings) == "terminated"
        assert starting.wait(30) == 0
    assert daemons(environment) == []


def test_watchdogs_at_once_start_one_daemon(environment, cycle):
    runs = [
        subprocess.Popen(
            command(), env={**os.environ, **environment}, stderr=subprocess.PIPE, text=True
        )
        for _ in range(3)
    ]
    said = [run.communicate(timeout=60)[1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sum("another run is under way" in text for text in said) == 2
    assert len(daemons(environment)) == 1
    assert log_of(environment, "app.log").count("app.started") == 1


def test_a_daemon_that_is_just_starting_is_not_disturbed(environment, exchange, cycle):
    exchange.arm("http_slow", seconds=3, match={"path": "/v2/account"})
    with DaemonProcess(environment) as slow:
        wait_until(lambda: find_daemon(get_settings()))
        done = watchdog(environment)
        assert (done.returncode, done.stdout) == (0, "watchdog: nothing to do\n")
        assert "daemon.starting" in log_of(environment)
        slow.wait_until_trading()
        assert slow.stop() == 0


def test_a_daemon_of_another_host_on_the_same_database_is_said_in_one_line(
    environment, cycle, tmp_path
):
    elsewhere = {"PID_FILE": str(tmp_path / "another-host" / "main_app.pid")}
    with DaemonProcess(environment | elsewhere) as other:
        other.wait_until_trading()
        done = watchdog(environment)
        assert done.returncode == 1
        assert "another daemon trades this account, on this or another host" in done.stderr
        assert other.process.poll() is None
        assert other.stop() == 0


def test_the_outside_watcher_is_pinged_while_all_is_well_and_never_otherwise(
    environment, exchange, cycle
):
    codes = [200]
    with ping_server(lambda: codes[0]) as (url, asked):
        environment = environment | {"HEARTBEAT_URL": url}
        set_flag(get_settings().run_dir, STOPPED, wanted=True)
        watchdog(environment)
        set_flag(get_settings().run_dir, STOPPED, wanted=False)
        watchdog(environment)
        wait_until(is_trading)
        assert asked == [], "neither while stopped nor while it starts"
        watchdog(environment)
        assert asked == ["/ping/secret-token"]
        [process] = daemons(environment)
        process.suspend()
        watchdog(environment, "--dry-run")
        process.resume()
        exchange.arm("refuse_handshake")
        exchange.arm("cut_stream")
        wait_until(lambda: not load_heartbeat(get_settings().run_dir).trade_stream_connected)
        watchdog(environment)
        assert len(asked) == 1
        exchange.clear_faults()
        wait_until(is_trading)
        for codes[0] in (500, 500, 200):
            assert watchdog(environment).returncode == 0
        assert len(asked) == 4
    began_at = time.monotonic()
    assert watchdog(environment | {"HEARTBEAT_URL": url}).returncode == 0
    assert time.monotonic() - began_at < 20
    log = log_of(environment)
    assert (log.count("ping.failed"), log.count("ping.answered")) == (2, 1), "edges only"
    assert "secret-token" not in log


def test_a_dry_run_says_what_it_would_do_and_does_nothing(environment):
    done = watchdog(environment, "--dry-run", "--json")
    assert done.returncode == 0
    shown = json.loads(done.stdout)
    assert shown["plan"] == [{"action": "start", "reason": "it does not run"}]
    assert shown["done"] == shown["failed"] == []
    assert daemons(environment) == []
    assert not (get_settings().run_dir / "watchdog.json").exists()


def test_wrong_settings_are_one_line_each_and_exit_code_2(environment):
    done = watchdog(environment | {"HEARTBEAT_MAX_AGE_SECONDS": "2", "HEARTBEAT_SECONDS": "1"})
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("watchdog: HEARTBEAT_MAX_AGE_SECONDS must be at least three")
    assert watchdog(environment | {"HEARTBEAT_URL": "ftp://x"}).returncode == 2


def test_it_survives_what_a_dead_machine_leaves_behind(environment, cycle):
    run_dir = get_settings().run_dir
    run_dir.mkdir(parents=True, exist_ok=True)
    for garbage in ("", "garbage", f"{os.getpid()}\n1.0\n"):
        (run_dir / "main_app.pid").write_text(garbage)
        (run_dir / "heartbeat.json").write_text(garbage)
        (run_dir / "watchdog.json").write_text(garbage)
        assert watchdog(environment, "--dry-run").stdout == (
            "watchdog: would start: it does not run\n"
        )
    assert watchdog(environment).returncode == 0
    [process] = daemons(environment)
    assert load_beat_of(process, get_settings()) is not None


def test_the_memory_of_another_version_is_read_as_far_as_it_is_known(environment):
    settings = get_settings()
    state = {"boot_id": read_boot_id(), "starts": 2, "told_at": 12.5, "unknown_field": 1}
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    (settings.run_dir / MEMORY_NAME).write_text(json.dumps(state))
    assert load_memory(settings) == Memory(starts=2, alerted_at=12.5)


def test_the_identity_of_a_process_survives_a_change_of_the_wall_clock(tmp_path, monkeypatch):
    program = Path(psutil.Process().cmdline()[0]).name
    with PidFile(tmp_path / "pid"):
        record = read_pid_file(tmp_path / "pid")
    assert record.is_running(program)
    assert not PidRecord(record.pid, record.started_at + 5).is_running(program)
    real_boot, real_create = psutil.boot_time, psutil.Process.create_time
    monkeypatch.setattr(psutil, "boot_time", lambda: real_boot() + 86400)
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: real_create(self) + 86400)
    assert record.is_running(program)


def test_its_output_has_a_bound_and_keeps_its_end(tmp_path):
    path = tmp_path / "main_app.out"
    with open(path, "ab", buffering=0) as daemon:
        daemon.write(
            b"x" * 1_500_000 + b"\n2026-01-01 00:00:00,000 INFO    some.module order.sent qty=1\n"
        )
        bound_output(path, max_bytes=2_000_000)
        assert path.stat().st_size > 1_000_000
        bound_output(path, max_bytes=1_000_000)
        assert path.stat().st_size == 0
        daemon.write(b"goes on\n")
    assert path.read_bytes() == b"goes on\n"
    assert (tmp_path / "main_app.out.1").stat().st_size == 1_000_000
    assert last_line(tmp_path / "main_app.out.1") == "order.sent qty=1"
    bound_output(tmp_path / "nothing", max_bytes=1)
