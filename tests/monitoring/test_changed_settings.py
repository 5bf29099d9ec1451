"""A limit that was written into `.env` is not in force before the daemon was started again."""

from __future__ import annotations

import pytest

from config import get_settings
from daemon_process import wait_until
from monitoring.doctor.findings import Level
from monitoring.status.daemon_status import load_daemon_status
from runtime.daemon_process import restart_on_purpose, start_on_purpose, stop_on_purpose
from runtime.env_of_daemon import find_changed_settings, read_daemon_settings


def test_what_the_daemon_does_not_go_by_is_no_change_and_no_secret_is_kept(env_file):
    before = read_daemon_settings()
    assert "local-secret" not in before.values()
    text = env_file.read_text()
    env_file.write_text(f"{text}# a remark\nHISTORY_DIR=/elsewhere\nMAX_OPEN_CYCLES=\n")
    assert find_changed_settings(before) == ()

    env_file.write_text(text.replace("local-secret", "another-secret") + "MAX_OPEN_CYCLES=2\n")
    assert find_changed_settings(before) == ("ALPACA_SECRET_KEY", "MAX_OPEN_CYCLES")
    assert find_changed_settings(None) == ()  # of a daemon of an older version


@pytest.fixture
def daemon(env_file, cycle, caretakers_ran):
    settings = get_settings()
    start_on_purpose(settings)
    wait_until(lambda: load_daemon_status(settings).state == "trading")
    yield settings
    stop_on_purpose(settings)


def test_a_limit_that_a_running_daemon_has_not_read_is_wrong_until_it_is_started_again(
    daemon, env_file, status, doctor
):
    assert ".env has changed" not in status().problems
    with env_file.open("a") as file:
        file.write("MAX_LOSS_USD_PER_DAY=50\n")
    assert status().problems.splitlines() == [
        ".env has changed since the daemon started, which goes on without it:"
        " MAX_LOSS_USD_PER_DAY: scripts/bot restart"
    ]
    assert [level for level, _ in doctor().found("daemon settings")] == [Level.FAIL]

    restart_on_purpose(daemon)
    wait_until(lambda: load_daemon_status(daemon).state == "trading")
    assert ".env has changed" not in status().problems
    assert not doctor().found("daemon settings")
