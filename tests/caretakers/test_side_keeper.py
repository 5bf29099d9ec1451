"""The watchdog keeps what answers on Telegram: started, restarted, ended, and else left alone."""

from __future__ import annotations

import signal
from dataclasses import replace

import psutil
import pytest

from caretaker_process import run_script
from caretakers.plans.side_keeper import MAX_BEAT_SECONDS, SideSnapshot, Step, plan_side
from caretakers.side_keeper import take_side_snapshot
from config import get_settings, reset_settings
from daemon_process import wait_until
from runtime.daemon_process import is_gone
from runtime.operator_flags import STOPPED, set_flag
from runtime.telegram_poller import find_poller, load_beat_of
from runtime.web_page import PAGE, PageBeat
from telegram_server import TelegramServer

RUNS = SideSnapshot(is_wanted=True, process_age_seconds=300.0, beat_age_seconds=1.0)


@pytest.mark.parametrize(
    ("snapshot", "step"),
    [
        (RUNS, None),
        (replace(RUNS, is_wanted=False), Step.END),
        (replace(RUNS, is_wanted=False, is_by_hand=True), None),
        (SideSnapshot(is_wanted=False), None),
        (SideSnapshot(is_wanted=True), Step.START),
        (replace(RUNS, beat_age_seconds=MAX_BEAT_SECONDS), None),
        (replace(RUNS, beat_age_seconds=MAX_BEAT_SECONDS + 1), Step.RESTART),
        (replace(RUNS, beat_age_seconds=None), Step.RESTART),
        (replace(RUNS, beat_age_seconds=None, process_age_seconds=5.0), None),
        (replace(RUNS, is_suspended=True), Step.RESTART),
        (replace(RUNS, has_these_settings=False), Step.RESTART),
    ],
)
def test_the_plan_follows_from_the_token_the_process_and_its_last_beat(snapshot, step):
    plan = plan_side(snapshot, "TELEGRAM_TOKEN")
    assert (plan and plan[0]) == step


@pytest.mark.parametrize("moment", ["soon", None, [], float("nan"), float("inf")])
def test_a_sign_of_life_that_is_garbage_is_none_and_ends_no_run(bot_environment, moment):
    settings, process = get_settings(), psutil.Process()
    beat = PAGE.first_beat(settings, PageBeat)
    PAGE.save_beat(settings, beat)
    assert take_side_snapshot(PAGE, process, settings).beat_age_seconds < 60
    PAGE.save_beat(settings, replace(beat, beat_at=moment))
    assert take_side_snapshot(PAGE, process, settings).beat_age_seconds is None


def running():
    return find_poller(get_settings())


def beating():
    """The process that answers, as soon as it gives a sign of life."""

    def is_alive() -> bool:
        process = running()
        return process is not None and load_beat_of(process, get_settings()) is not None

    wait_until(is_alive, 120)
    return running()


@pytest.fixture
def environment(bot_environment, exchange, db_conn, monkeypatch):
    """A bot that was stopped on purpose: the watchdog has nothing to do but Telegram."""
    with TelegramServer() as telegram:
        ours = telegram.environment()
        bot_environment.update(ours)
        for name, value in ours.items():
            monkeypatch.setenv(name, value)
        reset_settings()
        set_flag(get_settings().run_dir, STOPPED, wanted=True)
        yield bot_environment
        if (process := running()) is not None:
            process.send_signal(signal.SIGCONT)
            process.kill()
            wait_until(lambda: is_gone(process))


def test_it_is_started_kept_restarted_and_ended(environment, tmp_path):
    outcome = run_script("watchdog", "--dry-run", environment=environment)
    assert "TELEGRAM_TOKEN is set and nothing answers there" in outcome.output
    assert running() is None, "a dry run starts nothing"

    outcome = run_script("watchdog", environment=environment)
    assert (outcome.code, outcome.errors) == (0, "")
    assert "start telegram: TELEGRAM_TOKEN is set and nothing answers there (PID " in outcome.output
    first = beating()
    assert run_script("watchdog", environment=environment).output == "watchdog: nothing to do\n"
    assert running() == first

    log_file = get_settings().log_dir / "watchdog.log"
    assert "side.missed" not in log_file.read_text(), "nothing was there to be missed"
    first.kill()
    wait_until(lambda: is_gone(first))
    run_script("watchdog", environment=environment)
    assert "side.missed" in log_file.read_text()
    second = beating()
    second.suspend()
    outcome = run_script("watchdog", environment=environment)
    assert "its process is suspended" in outcome.output
    third = beating()
    assert third != second
    assert is_gone(second)

    changed = environment | {"TELEGRAM_CHATS": "1"}
    assert "the settings have changed" in run_script("watchdog", environment=changed).output
    fourth = beating()
    assert fourth != third

    off = environment | {"TELEGRAM_TOKEN": ""}
    outcome = run_script("watchdog", environment=off)
    assert "TELEGRAM_TOKEN is not set any more" in outcome.output
    assert running() is None
    assert is_gone(fourth)
    assert run_script("watchdog", environment=off).output == "watchdog: nothing to do\n"


def test_one_that_cannot_start_is_a_failed_step_and_disturbs_nothing_else(environment):
    (get_settings().run_dir / "telegram.pid").mkdir(parents=True)
    outcome = run_script("watchdog", environment=environment)
    assert outcome.code == 1
    assert "Telegram: it ended at once with code 1: telegram: " in outcome.output + outcome.errors
