"""One schedule for cron, systemd's timers and the foreground; and the foreground itself."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from datetime import datetime, timedelta, timezone

import psutil
import pytest

from config import get_settings
from daemon_process import wait_until, wait_until_it_buys
from models.cycle_data import create_cycle
from runtime.daemon_process import find_daemon
from runtime.foreground import is_run_in_foreground
from runtime.job_runs import JobRuns
from runtime.schedule import BACKUP, CARETAKERS, SCHEDULE
from runtime.script_runs import load_script_runs

MIDNIGHT = datetime(2026, 3, 1, tzinfo=timezone(timedelta(hours=-5)))


def matches(field, value):
    """A field of a crontab line, as crontab(5) reads it."""
    if field == "*":
        return True
    return value % int(field[2:]) == 0 if field.startswith("*/") else value == int(field)


@pytest.mark.parametrize("job", SCHEDULE, ids=lambda job: job.name)
def test_the_foreground_runs_a_job_in_the_minutes_that_cron_would(job):
    minute, hour, *rest = job.cron.split()
    assert rest == ["*", "*", "*"]
    before = MIDNIGHT - timedelta(seconds=1)
    for step in range(2 * 86400 // 20):  # two days, seen every 20 seconds
        now = MIDNIGHT + timedelta(seconds=20 * step)
        by_cron = now.second == 0 and matches(minute, now.minute) and matches(hour, now.hour)
        assert job.is_due(before, now) == by_cron, now
        before = now


def test_systemd_reads_the_times_as_cron_does():
    said = subprocess.run(
        ["systemd-analyze", "calendar", *(job.calendar for job in SCHEDULE)],
        capture_output=True, text=True,
    ) if shutil.which("systemd-analyze") else None  # fmt: skip
    assert said is None or said.returncode == 0, said
    assert [job.calendar for job in SCHEDULE] == [
        "*-*-* *:*:00", "*-*-* *:*:00", "*-*-* *:*:00", "*-*-* *:0/5:00", "*-*-* 03:17:00"
    ]  # fmt: skip


def test_what_was_slept_through_is_made_up_for_once_and_a_clock_set_back_stops_nothing():
    night, noon = MIDNIGHT.replace(hour=2), MIDNIGHT.replace(hour=12)
    assert BACKUP.is_due(night, noon)
    assert not BACKUP.is_due(noon, noon + timedelta(minutes=1))
    assert not BACKUP.is_due(noon, night)
    assert all(job.is_due(noon, night) for job in CARETAKERS)


def test_a_program_that_still_runs_is_not_started_again_and_one_that_hangs_is_ended():
    ended = []
    runs = JobRuns(lambda name: subprocess.Popen(["sleep", name]), lambda *end: ended.append(end))
    assert runs.start("60", max_seconds=0)
    assert not runs.start("60")
    runs.check()
    assert ended == [("60", -signal.SIGKILL)]
    assert runs.start("60"), "its next run may begin"
    assert runs.start("0")
    wait_until(lambda: runs.check() or len(runs) == 1)
    assert ended[1:] == [("0", 0)]
    runs.stop(0.0)
    assert (len(runs), ended[2:]) == (0, []), "what we ended ourselves is no failure"


@pytest.fixture
def caretakers(bot_environment, db_conn, tmp_path):
    """A function: the command in the foreground, as a process. What it starts is ended."""
    started = []

    def run(*arguments, **changes):
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "cli.caretakers", "run", *arguments],
            env={**os.environ, **bot_environment, **changes},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()
    # With all that it began: a watchdog left behind would start a daemon that no test ends.
    while left := _processes_of(bot_environment["LOG_DIR"]):
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=10)


def _processes_of(log_dir):
    """Those that log into this folder, but for this one."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            is_ours = process.environ().get("LOG_DIR") == log_dir
            if is_ours and process.pid != os.getpid() and process.status() != "zombie":
                found.append(process)
    return found


def test_in_the_foreground_the_watchdog_starts_a_daemon_that_trades_and_goes_on_when_asked_to_stop(
    caretakers, exchange, db_conn, make_asset
):
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    run_dir = get_settings().run_dir
    assert not is_run_in_foreground(run_dir)
    first = caretakers()
    wait_until(lambda: len(load_script_runs(run_dir)) == len(CARETAKERS))
    assert all(run.exit_code == 0 for run in load_script_runs(run_dir))
    wait_until_it_buys(exchange, db_conn, cycle)
    assert is_run_in_foreground(run_dir)

    second = caretakers()
    _, said = second.communicate(timeout=60)
    assert (second.returncode, said) == (
        1, "caretakers: another scripts/caretakers run is at work\n"
    )  # fmt: skip

    first.send_signal(signal.SIGTERM)
    _, said = first.communicate(timeout=60)
    assert first.returncode == 0
    assert [line.split()[4] for line in said.splitlines()] == [
        "caretakers.started", "caretakers.stopped"
    ]  # fmt: skip
    assert not is_run_in_foreground(run_dir)
    assert psutil.pid_exists(find_daemon(get_settings()).pid), "it outlives the command"


def test_a_job_that_was_due_in_the_minute_before_runs_in_the_next(caretakers, exchange):
    run_dir = get_settings().run_dir
    process = caretakers()

    def last_run():
        runs = {run.script: run.started_at for run in load_script_runs(run_dir)}
        return runs.get("cooldown_manager")

    wait_until(last_run)
    first = last_run()
    wait_until(lambda: last_run() > first, 90)
    assert (first.hour, first.minute) < (last_run().hour, last_run().minute) or first.hour == 23
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0


def test_once_says_each_failure_in_one_line_and_its_code_says_that_there_was_one(
    caretakers, exchange, bot_environment
):
    run = caretakers("--once", DB_NAME="dca_nothing_like_this_test")
    _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    lines = [line for line in said.splitlines() if "caretaker.failed" in line]
    names = sorted(line.split("script=")[1].split()[0] for line in lines)
    assert {"consistency_checker", "cooldown_manager", "order_manager"} <= set(names)
    assert len(names) == len(set(names)) == len(said.splitlines())
    assert all("code=1 reason=" in line for line in lines)
    output = get_settings().log_dir / "cron.out"
    assert "cooldown_manager: could not finish" in output.read_text()


def test_once_runs_each_caretaker_and_ends(caretakers, exchange):
    run = caretakers("--once")
    assert run.communicate(timeout=120) == ("", "")
    assert run.returncode == 0
    assert {run.script for run in load_script_runs(get_settings().run_dir)} == {
        job.name for job in CARETAKERS
    }
    assert find_daemon(get_settings()) is not None


def test_a_bad_setting_is_refused_in_one_line(caretakers):
    run = caretakers(RECONCILE_SECONDS="soon")
    _, said = run.communicate(timeout=60)
    assert (run.returncode, len(said.splitlines())) == (2, 1)
    assert "RECONCILE_SECONDS" in said
