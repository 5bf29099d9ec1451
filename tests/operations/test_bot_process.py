"""`scripts/bot` and the life of the real daemon, beside the real watchdog."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from caretaker_process import run_script, start_script
from caretaker_runs import note_runs
from cli import assets as assets_command
from cli import bot as bot_command
from cli import report as report_command
from config import PROJECT_ROOT, Settings, reset_settings
from daemon_process import DaemonProcess, wait_until
from models.cycle_data import create_cycle, get_cycle
from models.meta import put_meta
from runtime import daemon_process as processes
from runtime.crontab import Installation, compute_block
from runtime.daemon_process import find_daemon, is_gone
from runtime.operator_flags import PAUSED, STOPPED, set_flag
from said import Said, runner

Environment = dict[str, str]


@pytest.fixture
def bot(settings, db_conn, capsys) -> Iterator[Callable[..., Said]]:
    """Run `scripts/bot` in this process; no daemon of it is left at the end."""
    yield runner(bot_command.main, capsys)
    while (process := find_daemon(settings)) is not None:
        process.kill()
        process.resume()
        wait_until(lambda process=process: is_gone(process))


def pid_of(settings: Settings) -> int | None:
    process = find_daemon(settings)
    return process.pid if process else None


def test_start_and_stop_from_nothing_to_trading_to_left_alone(
    bot, bot_environment, settings, exchange, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    said = bot("start")
    assert (said.code, said.errors) == (0, "")
    pid = pid_of(settings)
    assert said.output.startswith(f"The daemon runs (PID {pid}): it trades.\n")
    assert os.getsid(pid) == pid, "it outlives this terminal"

    def bought() -> bool:
        exchange.push_quote("BTC/USD", 50000, 50001)
        return get_cycle(db_conn, cycle.id).quantity > 0

    wait_until(bought)
    again = bot("start", "--json")
    assert again.json["ran_already"] is True
    assert again.json["pid"] == pid, "a second start starts nothing"

    wait_until(lambda: "BTC/USD | last quote" in bot("status-line").output)
    line = bot("status-line")
    assert line.code == 0
    assert line.output.startswith(f"trading | PID {pid} for ")

    said = bot("stop")
    assert said.output == "The daemon has ended; the watchdog leaves it stopped.\n"
    assert is_gone(psutil.Process(pid)) if psutil.pid_exists(pid) else True
    outcome = run_script("watchdog", environment=bot_environment)
    assert (outcome.code, pid_of(settings)) == (0, None)
    assert bot("stop").output.startswith("The daemon does not run")
    line = bot("status-line", "--json")
    assert line.code == 1
    assert line.json["line"] == "stopped on purpose"


def test_start_warns_of_what_is_missing_and_of_nothing_else(
    bot, settings, exchange, db_conn, make_asset, monkeypatch, tmp_path
):
    crontab = tmp_path / "bin" / "crontab"
    crontab.parent.mkdir()
    crontab.write_text(f"#!/bin/sh\ncat {tmp_path}/lines\n")
    crontab.chmod(0o755)
    monkeypatch.setenv("PATH", f"{crontab.parent}:{os.environ['PATH']}")
    (tmp_path / "lines").write_text("# nothing of ours\n")
    said = bot("start")
    state, no_asset, no_cron = said.output.splitlines()
    assert (said.code, said.errors) == (0, "")
    assert state.endswith("it trades.")
    assert no_asset.startswith("WARNING: no asset is configured")
    assert no_asset.endswith(": scripts/assets add BTC/USD")
    assert no_cron.startswith("WARNING: nobody restarts the daemon when it fails")
    assert no_cron.endswith(": scripts/install_crontab install")

    make_asset()
    installation = Installation(root=PROJECT_ROOT, python="python", log_dir=tmp_path)
    (tmp_path / "lines").write_text(compute_block(installation))
    [never] = bot("start", "--json").json["warnings"]
    assert "cron has not run any of its jobs yet" in never
    note_runs(settings)
    assert bot("start", "--json").json["warnings"] == []
    assert bot("start").output.count("\n") == 1

    (tmp_path / "bot.env").write_text("MAX_OPEN_LOS_USD=3\n")
    monkeypatch.setenv("ENV_FILE", str(tmp_path / "bot.env"))
    [misspelt] = bot("start", "--json").json["warnings"]
    assert "MAX_OPEN_LOS_USD is no setting of this bot" in misspelt
    assert misspelt.endswith("did you mean MAX_OPEN_LOSS_USD?")


def test_restart_replaces_the_daemon_and_takes_a_stop_back(bot, settings, exchange, db_conn):
    set_flag(settings.run_dir, STOPPED, wanted=True)
    said = bot("restart")
    assert said.code == 0
    assert said.output.startswith("It did not run; a new one runs")
    first = find_daemon(settings)
    said = bot("restart")
    assert said.output.startswith("The old daemon has ended; a new one runs")
    assert is_gone(first)
    assert pid_of(settings) not in (None, first.pid)
    assert not (settings.run_dir / STOPPED).exists()


def test_a_daemon_that_does_not_listen_is_killed_with_a_word(
    bot, settings, exchange, db_conn, monkeypatch, tmp_path
):
    monkeypatch.setattr(processes, "TERM_SECONDS", 0.5)
    deaf = tmp_path / "main_app.py"
    deaf.write_text(
        "import signal, sys, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"sys.path.insert(0, {str(PROJECT_ROOT / 'src')!r})\n"
        "from config import get_settings\n"
        "from runtime.pid_file import PidFile\n"
        "with PidFile(get_settings().pid_file):\n"
        "    time.sleep(600)\n"
    )
    child = subprocess.Popen([sys.executable, str(deaf)])
    wait_until(lambda: pid_of(settings) == child.pid)
    assert bot("status-line").output.startswith("no heartbeat yet")
    said = bot("stop")
    assert said.code == 0
    assert "was killed; its open orders are found again" in said.output
    assert child.wait(5) == -signal.SIGKILL


def test_a_suspended_daemon_is_seen_and_ended(bot, settings, exchange, db_conn):
    assert bot("start").code == 0
    os.kill(pid_of(settings), signal.SIGSTOP)
    wait_until(lambda: bot("status-line").output.startswith("SUSPENDED"))
    assert bot("status-line").code == 1
    assert bot("stop").code == 0
    assert pid_of(settings) is None


@pytest.mark.parametrize(
    ("break_it", "says"),
    [
        (lambda db_conn: put_meta(db_conn, "schema_version", "1"), "run scripts/setup"),
        (lambda db_conn: put_meta(db_conn, "alpaca_account_id", "other"), "belongs to Alpaca"),
    ],
)
def test_start_says_why_it_does_not(bot, settings, exchange, db_conn, break_it, says):
    break_it(db_conn)
    said = bot("start")
    assert said.code == 1
    assert says in said.complaint
    assert said.complaint.startswith("bot: it ended at once with code 1")


def test_starts_at_once_from_everywhere_make_one_daemon(
    bot, bot_environment, settings, exchange, db_conn
):
    command = [sys.executable, "-m", "cli.bot", "start"]
    environment = {**os.environ, **bot_environment}
    starters = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    watchdog = start_script("watchdog", environment=bot_environment)
    outputs = [starter.communicate(timeout=60)[0] for starter in starters]
    watchdog.communicate(timeout=60)
    assert [starter.returncode for starter in starters] == [0, 0]
    pids = {output.split("PID ")[1].split(")")[0] for output in outputs}
    assert pids == {str(pid_of(settings))}


def test_a_stop_beats_a_watchdog_that_is_just_starting_it(
    bot, bot_environment, settings, exchange, db_conn
):
    watchdog = start_script("watchdog", environment=bot_environment)
    lock = settings.run_dir / processes.WATCHDOG_LOCK
    wait_until(lock.exists)
    said = bot("stop")
    watchdog.communicate(timeout=60)
    assert said.code == 0
    assert pid_of(settings) is None
    run_script("watchdog", environment=bot_environment)
    assert pid_of(settings) is None


def test_the_watchdog_waits_during_a_restart(bot, bot_environment, settings, exchange, db_conn):
    assert bot("start").code == 0
    stop = threading.Event()
    outputs = []

    def keep_watching() -> None:
        while not stop.is_set():
            outputs.append(run_script("watchdog", environment=bot_environment))

    thread = threading.Thread(target=keep_watching)
    thread.start()
    try:
        assert bot("restart").code == 0
    finally:
        stop.set()
        thread.join(60)
    assert {outcome.code for outcome in outputs} <= {0}
    log = Path(bot_environment["LOG_DIR"], "watchdog.log").read_text("utf-8")
    assert "daemon.started" not in log


def test_pause_and_resume_hold_for_the_running_daemon(
    bot, bot_environment, settings, exchange, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    assert "still sold" in bot("pause").output
    with DaemonProcess(bot_environment) as daemon:
        daemon.wait_until_trading()

        def refused() -> bool:
            exchange.push_quote("BTC/USD", 50000, 50001)
            return "buying is paused" in daemon.output

        wait_until(refused)
        assert "buying is paused" in bot("status-line").output
        assert get_cycle(db_conn, cycle.id).quantity == 0
        assert bot("resume").output == "It buys again.\n"
        assert bot("resume").output == "Buying was not paused.\n"

        def bought() -> bool:
            exchange.push_quote("BTC/USD", 50000, 50001)
            return get_cycle(db_conn, cycle.id).quantity > 0

        wait_until(bought)
    assert not (settings.run_dir / PAUSED).exists()


def test_the_words_without_settings_or_a_folder_are_one_line(bot, settings, monkeypatch, tmp_path):
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("DB_PORT", "x")
        reset_settings()
        assert "DB_PORT" in bot("start").complaint
    with pytest.MonkeyPatch.context() as changed:
        (tmp_path / "file").touch()
        changed.setenv("PID_FILE", str(tmp_path / "file" / "main_app.pid"))
        reset_settings()
        said = bot("pause")
        assert said.code == 1
        assert "cannot write" in said.complaint
    reset_settings()
    assert "invalid choice: 'halt'" in bot("halt").complaint
    assert bot("halt").code == 2


@pytest.mark.parametrize("tool", [bot_command, assets_command, report_command])
def test_each_wrong_setting_is_a_line_of_its_own(bot_environment, capsys, tool):
    arguments = {bot_command: ["start"], assets_command: ["list"]}.get(tool, [])
    with pytest.MonkeyPatch.context() as changed:
        changed.setenv("DB_PORT", "x")
        changed.setenv("RECONCILE_SECONDS", "soon")
        reset_settings()
        said = runner(tool.main, capsys)(*arguments)
    reset_settings()
    wrong = [line.split(": ")[1] for line in said.errors.splitlines()]
    assert (said.code, wrong) == (2, ["DB_PORT", "RECONCILE_SECONDS"])


def test_the_script_itself_answers(bot_environment, db_conn, exchange):
    done = subprocess.run(
        [PROJECT_ROOT / "scripts" / "bot", "status-line"],
        env={**os.environ, **bot_environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "NOT RUNNING\n", "")
