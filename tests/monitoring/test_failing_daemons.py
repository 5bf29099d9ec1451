"""A real daemon made sick on purpose: status and doctor say what it is, and that it is over."""

from __future__ import annotations

import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import psutil
import pytest

from config import PROJECT_ROOT, get_settings
from daemon_process import DaemonProcess, wait_until
from monitoring.doctor import doctor as doctor_module
from monitoring.doctor import facts as doctor_facts
from monitoring.status import daemon_status as daemon_status
from monitoring.status import status as status_module
from runtime.heartbeat import load_heartbeat
from runtime.operator_flags import set_flag
from runtime.process_table import servers_below


def quote(exchange, price=50000):
    exchange.push_quote("BTC/USD", price, price + 1)


def run_dir():
    return get_settings().run_dir


def wait_for_beat():
    """A heartbeat written from now on."""
    now = time.monotonic()
    wait_until(lambda: load_heartbeat(run_dir()).beat_at > now)


def has_heard_a_quote():
    """A beat can be written between the quote's way out of the exchange and into the daemon."""
    return load_heartbeat(run_dir()).last_quote_at is not None


@contextmanager
def lively(exchange):
    """A market that quotes ten times a second."""
    ended = threading.Event()

    def work():
        while not ended.wait(0.1):
            quote(exchange)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def test_one_daemon_through_all_that_can_happen_to_its_process(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment
):
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        with lively(exchange):  # connected is not subscribed yet: a single quote may be too early
            wait_until(has_heard_a_quote)
        seen = status()
        assert (seen.code, seen.json["problems"]) == (0, [])
        found = seen.json["daemon"]
        assert (found["pid"], found["state"], found["verdict"]) == (
            daemon.process.pid, "trading", "well",
        )  # fmt: skip
        assert found["quotes"]["is_connected"]
        assert found["trade_updates"]["is_connected"]
        assert 0 <= found["quotes"]["heard_seconds"] < 10
        assert 0 <= found["beat_seconds"] < 5
        assert found["symbols"] == ["BTC/USD"]
        examined = doctor()
        assert examined.failed == set()
        assert "it trades; PID" in examined.found("daemon")[0][1]
        assert "the daemon is connected" in examined.found("trade stream")[0][1]
        assert "our own daemon holds" in examined.found("second daemon")[0][1]
        assert daemon.output.count("stream.disconnected") == 0, "reading disturbs nothing"

        set_flag(run_dir(), "paused", wanted=True)
        seen = status()
        assert (seen.code, seen.json["daemon"]["is_paused"]) == (0, True)
        assert "scripts/bot resume" in doctor().found("pause")[0][1]
        set_flag(run_dir(), "paused", wanted=False)

        set_flag(run_dir(), "stopped", wanted=True)
        assert "it runs although run/stopped says not to" in status().problems
        set_flag(run_dir(), "stopped", wanted=False)

        process = psutil.Process(daemon.process.pid)
        process.suspend()
        wait_until(lambda: process.status() == psutil.STATUS_STOPPED)
        seen = status()
        assert seen.code == 1
        assert "the daemon runs but does not work: its process is suspended" in seen.problems
        assert doctor().failed == {"daemon"}
        process.resume()
        wait_for_beat()
        assert status().code == 0, "well again"

        daemon.process.kill()
        daemon.wait_for_exit()
        seen = status()
        assert seen.code == 1
        assert seen.problems == "the daemon does not run: scripts/bot start"
        examined = doctor()
        assert "it does not run" in examined.found("daemon")[0][1]
        assert "nobody holds this account" in examined.found("second daemon")[0][1]


HANGS_ON_A_SIGNAL = """
import runpy, signal, time
signal.signal(signal.SIGUSR1, lambda *_: time.sleep(60))
runpy.run_path({program!r}, run_name="__main__")
"""


def test_a_daemon_whose_loop_is_blocked_is_known_by_its_heartbeat(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment, set_env, tmp_path, env_file
):
    set_env(HEARTBEAT_MAX_AGE_SECONDS="5")
    env_file.chmod(0o644)
    program = tmp_path / "main_app.py"
    real = str(PROJECT_ROOT / "src" / "main_app.py")
    program.write_text(HANGS_ON_A_SIGNAL.format(program=real))
    with DaemonProcess(bot_environment, program) as daemon:
        daemon.wait_until_trading()
        warning = 'env_file.loose_permissions reason="everybody on this machine can read bot.env'
        assert warning in daemon.output
        quote(exchange)
        wait_for_beat()
        assert status().code == 0
        daemon.process.send_signal(signal.SIGUSR1)
        wait_until(lambda: load_heartbeat(run_dir()).age_seconds() > 5)
        seen = status()
        assert seen.code == 1
        assert "the daemon runs but does not work: hung: last heartbeat" in seen.problems
        assert "hung: last heartbeat" in doctor().found("daemon")[0][1]


def test_a_stalled_stream_is_told_from_a_quiet_market_and_a_lost_one_from_both(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment, set_env, monkeypatch
):
    set_env(MAX_QUOTE_AGE_SECONDS="2")
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        with lively(exchange):
            wait_until(lambda: load_heartbeat(run_dir()).last_quote_at)
        quiet_since = time.monotonic()
        wait_until(lambda: load_heartbeat(run_dir()).beat_at > quiet_since + 3)
        assert status().code == 0, "a quiet market is no fault"

        exchange.arm("stall_stream", match={"stream": "data"})
        with lively(exchange):
            stalled_since = time.monotonic()
            wait_until(lambda: load_heartbeat(run_dir()).beat_at > stalled_since + 3)
            seen = status()
            examined = doctor()
        assert seen.code == 1
        assert seen.problems.startswith("its quote stream is stalled: connected, but no quote for")
        assert seen.json["daemon"]["quotes"]["is_connected"]
        assert examined.failed == {"quote stream"}
        exchange.clear_faults()

        for stream in ("data", "trading"):
            exchange.arm("refuse_handshake", status=503, match={"stream": stream})
            exchange.arm("cut_stream", match={"stream": stream})
        wait_until(lambda: not load_heartbeat(run_dir()).trade_stream_connected)
        wait_until(lambda: not load_heartbeat(run_dir()).data_stream_connected)
        assert status().code == 0, "a stream that is connected anew at once is no trouble"
        monkeypatch.setattr(daemon_status, "SHORT_LOSS_SECONDS", 0.0)
        seen = status()
        assert seen.code == 1
        assert "stream is lost for" in seen.problems
        assert seen.json["daemon"]["trade_updates"]["lost_seconds"] > 0
        examined = doctor()
        assert {"quote stream", "trade stream", "daemon"} <= examined.failed
        assert "it refused the connection (HTTP 503)" in examined.found("trade stream")[0][1]


def test_a_database_that_hangs_holds_nobody_up_and_the_daemon_is_shown(
    status, doctor, cycle, caretakers_ran, exchange, bot_environment, mariadb_server, monkeypatch
):
    monkeypatch.setattr(status_module, "ANSWER_SECONDS", 1.5)
    monkeypatch.setattr(doctor_facts, "ANSWER_SECONDS", 1.5)
    monkeypatch.setattr(doctor_module, "CHECK_SECONDS", 4.0)
    [server] = servers_below(mariadb_server.folder)
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()
        quote(exchange)
        wait_for_beat()
        server.suspend()
        try:
            seen, examined = status(), doctor()
        finally:
            server.resume()
        assert seen.seconds < 6
        assert "the database cannot be used: no answer within 2 s" in seen.problems
        assert seen.json["daemon"]["pid"] == daemon.process.pid
        assert seen.json["assets"] is None
        assert examined.seconds < 8
        assert "database" in examined.failed
        assert examined.found("account")[0][0] == "ok"


def test_on_a_terminal_it_watches_in_colours_until_ctrl_c(
    cycle, caretakers_ran, exchange, bot_environment
):
    set_flag(run_dir(), "stopped", wanted=True)
    code, shown = watch_on_terminal(bot_environment)
    assert code == 0
    assert "stopped on purpose" in shown
    assert "BTC/USD" in shown
    assert "\x1b[1" in shown
    assert "\x1b[?25h" in shown, "the cursor is back"
    assert "Traceback" not in shown


@pytest.mark.parametrize("name", ["status", "doctor"])
def test_the_scripts_teach_and_answer_plainly_where_nobody_watches(
    name, cycle, caretakers_ran, exchange, bot_environment
):
    set_flag(run_dir(), "stopped", wanted=True)
    script = str(PROJECT_ROOT / "scripts" / name)
    plain = {"env": {**os.environ, **bot_environment}, "cwd": "/", "capture_output": True}
    taught = subprocess.run([script, "--help"], text=True, timeout=60, check=False, **plain)
    assert taught.returncode == 0
    assert f"scripts/{name} --json" in taught.stdout
    assert "exit codes: 0" in taught.stdout
    said = subprocess.run([script], text=True, timeout=60, check=False, **plain)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stderr == ""
    assert "\x1b" not in said.stdout
    assert "local-secret" not in said.stdout
    assert "play money" in said.stdout


def watch_on_terminal(environment):
    """`status --watch` on a terminal of its own, ended by Ctrl-C; code and what it showed."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "cli.status", "--watch", "--interval", "1"],
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "40", **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        start_new_session=True,
    )
    os.close(theirs)
    shown, end, is_asked = "", time.monotonic() + 30, False
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.1)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part.decode(errors="replace")
        if shown.count("DCA bot") >= 2 and not is_asked:
            process.send_signal(signal.SIGINT)
            is_asked = True
    os.close(ours)
    return process.wait(10), shown
