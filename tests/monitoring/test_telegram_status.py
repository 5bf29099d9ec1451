"""What status and doctor say of Telegram: off, on and well, on and dead, shared, refused."""

from __future__ import annotations

import signal
import time
from dataclasses import replace

import pytest

from config import get_settings
from daemon_process import wait_until
from monitoring.doctor import doctor as doctor_module
from monitoring.doctor.doctor import Check
from monitoring.doctor.findings import Level
from monitoring.doctor.telegram_checks import check_telegram
from monitoring.status.telegram_status import load_telegram_status
from runtime.telegram_poller import load_beat, save_beat
from telegram_process import TelegramProcess
from telegram_server import FOREIGN, NAME, TOKEN, TelegramServer

OK, WARN, FAIL = Level.OK, Level.WARN, Level.FAIL


@pytest.fixture
def telegram():
    with TelegramServer() as server:
        yield server


@pytest.fixture
def only_telegram(monkeypatch):
    checks = (Check("telegram", check_telegram),)
    monkeypatch.setattr(doctor_module, "CHECKS", checks)


def lines(said) -> list[tuple[Level, str]]:
    """What the doctor says of Telegram, without the cures."""
    return [(level, text.partition(" -> ")[0]) for level, text in said.found("telegram")]


def test_off_it_is_no_line_of_the_status_and_well_for_the_doctor(status, doctor, only_telegram):
    assert load_telegram_status(get_settings()) is None
    assert status().json["telegram"] is None
    assert lines(doctor()) == [(OK, "off: TELEGRAM_TOKEN is not set")]


def test_on_and_dead_status_says_so_and_the_doctor_the_cure(
    status, doctor, only_telegram, telegram, set_env, db_conn, exchange
):
    set_env(**telegram.environment())
    assert "nothing answers on Telegram, though TELEGRAM_TOKEN is set" in status().problems
    token, chats, poller = lines(doctor())
    assert token == (OK, f"the token is @{NAME}'s")
    assert chats == (OK, "1 chat may command")
    assert poller[0] is FAIL
    assert poller[1].startswith("nothing answers there")


def test_on_and_well_both_say_who_reads_and_who_wrote_in_vain(
    status, doctor, only_telegram, telegram, set_env, bot_environment, db_conn, exchange
):
    set_env(**telegram.environment() | {"TELEGRAM_CHATS": ""})
    telegram.write("hello", chat=FOREIGN)
    environment = bot_environment | telegram.environment() | {"TELEGRAM_CHATS": ""}
    with TelegramProcess(environment) as process:
        wait_until(lambda: (beat := load_beat(get_settings())) and beat.strangers, 180)
        assert f"@{NAME} answers 0 chats" in status().json["telegram"]["words"]
        _, empty, stranger, poller = lines(doctor())
        assert empty == (WARN, "TELEGRAM_CHATS is empty: nobody is answered")
        assert stranger == (WARN, f"chat {FOREIGN} wrote 1 message and was ignored")
        assert poller[0] is OK
        assert poller[1].startswith(f"PID {process.process.pid} reads its messages")

        telegram.faults["getUpdates"] = ["429"]
        telegram.retry_after = 3600
        telegram.write("hello", chat=FOREIGN)
        wait_until(lambda: load_beat(get_settings()).trouble, 180)
        assert load_telegram_status(get_settings()).problem is None, "it may be over at once"
        beat = load_beat(get_settings())
        lasting = replace(beat, trouble_at=time.monotonic() - 120)

        def is_told(saved, words):
            """The process itself writes every half a minute while it waits."""
            save_beat(get_settings(), saved)
            return words in status().problems

        wait_until(lambda: is_told(lasting, "Too Many Requests: retry after 3600, for 2 min"))
        shared = replace(beat, is_shared=True)
        wait_until(lambda: is_told(shared, "another program reads the messages of your Telegram"))
        process.process.send_signal(signal.SIGSTOP)
        assert "does not work (its process is suspended)" in status().problems
        assert lines(doctor())[-1][0] is FAIL


def test_a_refused_token_fails_without_being_shown(
    doctor, only_telegram, telegram, set_env, bot_environment
):
    set_env(**telegram.environment() | {"TELEGRAM_TOKEN": f"{TOKEN}x"})
    said = doctor()
    assert lines(said)[0] == (FAIL, "Telegram answers 401: Unauthorized")
    assert TOKEN not in str(said.json)
    set_env(TELEGRAM_API_URL="http://127.0.0.1:9")
    level, words = lines(doctor())[0]
    assert level is FAIL
    assert words.startswith("Telegram cannot be reached: ")
    assert TOKEN not in words
