"""The real process against a real server: who is heard, what comes once, and what the net does."""

from __future__ import annotations

from pathlib import Path

import pytest

from config import get_settings
from daemon_process import wait_until
from models.events import get_events
from runtime.operator_flags import is_paused
from runtime.telegram_poller import find_poller, load_beat
from telegram_process import TelegramProcess
from telegram_server import FOREIGN, GROUP, NAME, OWNER, TOKEN, TelegramServer


@pytest.fixture
def poller(environment, telegram):
    with TelegramProcess(environment) as process:
        process.wait_until_it_polls(telegram)
        yield process


def answer_to(telegram: TelegramServer, text: str, **how) -> str:
    """Write it, and wait for what is answered in that chat."""
    chat = how.get("chat", OWNER)
    before = len(telegram.answers(chat))
    telegram.write(text, **how)
    wait_until(lambda: len(telegram.answers(chat)) > before, 180, text)
    return telegram.answers(chat)[before]


def logged(environment: dict[str, str], name: str = "telegram.log") -> str:
    path = Path(environment["LOG_DIR"]) / name
    return path.read_text("utf-8") if path.exists() else ""


def paused() -> bool:
    return is_paused(get_settings().run_dir)


# What it is asked.


def test_help_and_the_menu_name_the_same_commands(poller, telegram):
    said = answer_to(telegram, "/help")
    [menu] = [asked["commands"] for method, asked in telegram.asked if method == "setMyCommands"]
    assert all(f"\n/{one['command']}" in said for one in menu)
    assert str(OWNER) in said
    assert answer_to(telegram, "/start") == said, "the button of a new chat"
    assert telegram.malformed == []


def test_status_and_report_say_what_the_scripts_say(poller, telegram, make_asset):
    make_asset()
    said = answer_to(telegram, "/status")
    assert "DCA bot  " in said
    assert "daemon: not running" in said
    assert "BTC/USD: no cycle" in said
    assert f"telegram: @{NAME} answers 2 chats" in said
    assert answer_to(telegram, "/report").startswith("Complete cycles  ")
    assert "None in this span." in answer_to(telegram, "/report 7d")
    assert "/report 'soon': expected 2026-01-31" in answer_to(telegram, "/report soon")


def test_pause_and_resume_are_those_of_the_bot_and_each_is_an_event(poller, telegram, db_conn):
    assert answer_to(telegram, "/pause").startswith("No new buys from now on; what is held is")
    assert paused()
    assert answer_to(telegram, "/resume", chat=GROUP, sender=8).startswith("It buys again.")
    assert not paused()
    rows = [(row["kind"], row["severity"], row["reason"]) for row in get_events(db_conn)]
    assert rows == [
        ("buying_resume_requested", "info", f"Telegram chat {GROUP} (@owner) resumed buying"),
        ("buying_pause_requested", "info", f"Telegram chat {OWNER} (@owner) paused buying"),
    ]


def test_commands_of_one_batch_are_carried_out_in_their_order(environment, telegram):
    for text in ("/pause", "/resume", "/pause", "/help"):
        telegram.write(text)
    with TelegramProcess(environment):
        wait_until(lambda: len(telegram.answers()) == 4, 180)
        said = telegram.answers()
    assert [one.split(" ")[0] for one in said[:3]] == ["No", "It", "No"]
    assert paused()


def test_what_cannot_be_done_is_one_line(poller, telegram, exchange):
    assert answer_to(telegram, "/buy") == "there is no /buy: see /help"
    assert answer_to(telegram, "hello") == "I know commands only: /help"
    assert answer_to(telegram, "/close AAPL!") == (
        "'AAPL!' is no trading pair: write one like BTC/USD"
    )
    assert "is not configured" in answer_to(telegram, "/close BTC/USD")
    assert answer_to(telegram, "/close") == "No asset is configured."
    assert answer_to(telegram, "/confirm").startswith("nothing waits for a /confirm of yours")


def test_a_pause_works_without_the_database_and_says_that_only_the_log_has_it(
    environment, telegram
):
    without = environment | {"DB_PORT": "9", "DB_SOCKET": ""}
    with TelegramProcess(without):
        said = answer_to(telegram, "/pause")
        assert "It stands in the log only, the database cannot be used" in said
        assert paused()
        assert "cannot use database" in answer_to(telegram, "/report")
    assert f'by="Telegram chat {OWNER} (@owner)"' in logged(environment)


# Who is heard.


def test_a_foreign_chat_is_ignored_counted_and_told_of_once(poller, telegram, environment, db_conn):
    for text in ("/pause", "/status", "hello"):
        telegram.write(text, chat=FOREIGN)
    telegram.write("/pause", chat=FOREIGN, kind="edited_message")
    answer_to(telegram, "/help")
    assert telegram.answers(FOREIGN) == []
    assert not paused()
    wait_until(lambda: (load_beat(get_settings()) or 0).strangers == {str(FOREIGN): 4}, 180)
    assert logged(environment).count("telegram.stranger") == 1
    assert "/pause" not in logged(environment), "what strangers write stands nowhere"
    assert get_events(db_conn) == []


def test_in_a_group_only_what_is_meant_for_this_bot_is_answered(poller, telegram):
    for text in ("/status@other_bot", "good morning", f"@{NAME} hello"):
        telegram.write(text, chat=GROUP)
    assert answer_to(telegram, f"/help@{NAME.upper()}", chat=GROUP).startswith("DCA bot")
    assert len(telegram.answers(GROUP)) == 1


def test_edited_forwarded_and_senseless_updates_do_nothing(poller, telegram, environment):
    telegram.write("/pause", kind="edited_message")
    telegram.write("/pause", forward_origin={"type": "user"})
    telegram.write("/pause", **{"from": {"id": OWNER, "is_bot": True}})
    for senseless in (None, 7, [], {}, {"update_id": None}, {"update_id": 1.5, "message": []}):
        telegram.put(senseless)
    assert answer_to(telegram, "/help").startswith("DCA bot")
    assert not paused()
    assert "telegram.failed" not in logged(environment)


# Once, and only while it is fresh.


def test_an_old_command_is_not_carried_out_and_its_chat_is_told(environment, telegram):
    telegram.write("/pause", age_seconds=120)
    with TelegramProcess(environment):
        wait_until(telegram.answers, 180)
    assert telegram.answers()[0].startswith("Your '/pause' was read 1")
    assert "seconds after you sent it: it was not carried out" in telegram.answers()[0]
    assert not paused()


def test_an_update_that_comes_again_and_again_is_carried_out_once(poller, telegram, db_conn):
    telegram.forgets_confirmations = True
    assert answer_to(telegram, "/pause")
    before = telegram.count("getUpdates")
    wait_until(lambda: telegram.count("getUpdates") > before + 5, 180)
    assert len(telegram.answers()) == len(get_events(db_conn)) == 1


def test_a_lower_number_after_a_week_of_silence_is_heard(poller, telegram):
    """Then Telegram goes on with a random one: the offset of before must not be asked for still."""
    answer_to(telegram, "/help")
    wait_until(lambda: telegram.waiting == 0, 180)
    assert answer_to(telegram, "/help", update_id=17).startswith("DCA bot")


def test_killed_before_it_could_answer_it_does_not_act_again(environment, telegram, db_conn):
    telegram.faults["sendMessage"] = ["hang"]
    with TelegramProcess(environment) as first:
        telegram.write("/pause")
        wait_until(paused, 180)
        wait_until(lambda: telegram.count("sendMessage") == 1, 180)
        first.kill()
    assert telegram.waiting == 1, "Telegram was not told that it was read"
    (get_settings().run_dir / "paused").unlink()
    with TelegramProcess(environment):
        wait_until(telegram.answers, 180)
        [said] = telegram.answers()
        assert said.startswith("I was interrupted at your '/pause'")
        assert answer_to(telegram, "/help").startswith("DCA bot")
        wait_until(lambda: telegram.waiting == 0, 180)
    assert not paused()
    assert len(get_events(db_conn)) == 1
    with TelegramProcess(environment) as third:
        third.wait_until_it_polls(telegram)
        answer_to(telegram, "/help")
    assert len(telegram.answers()) == 3, "told of once"


def test_where_nothing_can_be_noted_nothing_is_done(environment, telegram):
    run_dir = get_settings().run_dir
    with TelegramProcess(environment) as process:
        process.wait_until_it_polls(telegram)
        (run_dir / f".telegram.json.{process.process.pid}").mkdir()  # even for root unwritable
        assert answer_to(telegram, "/pause").startswith("nothing was done: ")
        assert not paused()


# What the net and Telegram do.


def test_it_goes_on_after_any_trouble_and_the_token_stands_nowhere(environment, telegram):
    telegram.faults["getMe"] = ["drop", "500"]
    telegram.faults["setMyCommands"] = ["garbage"]
    telegram.faults["getUpdates"] = ["slow", "drop", "429"]
    telegram.faults["sendMessage"] = ["500", "429", "slow", *["drop", "garbage"] * 2]
    with TelegramProcess(environment | {"LOG_LEVEL": "DEBUG"}) as process:
        assert answer_to(telegram, "/help").startswith("DCA bot")
        telegram.write("/help")
        wait_until(lambda: "telegram.unanswered" in logged(environment), 180)
        process.stop()
        said = all_that_is_written(environment, process)
    assert len(telegram.answers()) == 1
    assert "telegram.lost" in said
    assert TOKEN.partition(":")[2] not in said
    assert "/bot" not in said


def all_that_is_written(environment: dict[str, str], process: TelegramProcess) -> str:
    files = [path.read_text("utf-8") for path in get_settings().run_dir.iterdir()]
    return logged(environment) + process.said + "".join(files)


def test_an_outage_is_said_once_and_its_end(environment, telegram):
    telegram.faults["getUpdates"] = ["drop", "500", "garbage"]
    with TelegramProcess(environment):
        answer_to(telegram, "/help")
        log = logged(environment)
        assert log.count("telegram.lost") == log.count("telegram.found") == 1


def test_it_waits_as_long_as_telegram_says(environment, telegram):
    telegram.retry_after = 3600
    telegram.faults["getUpdates"] = ["429"]
    with TelegramProcess(environment) as process:
        wait_until(lambda: (beat := load_beat(get_settings())) and beat.trouble, 180)
        assert "retry after 3600" in load_beat(get_settings()).trouble
        assert telegram.count("getUpdates") == 1
        assert process.stop() == 0, "it hears that it is to end all the same"


def test_another_program_with_the_token_is_told_of_in_one_line(environment, telegram):
    telegram.faults["getUpdates"] = ["409", "409", "409"]
    with TelegramProcess(environment):
        answer_to(telegram, "/help")
        log = logged(environment)
        [line] = [line for line in log.splitlines() if "telegram.shared" in line]
        assert "ERROR" in line
        assert "terminated by other getUpdates request" in line
        assert load_beat(get_settings()).is_shared


def test_one_conflict_is_its_own_request_from_before_a_kill(environment, telegram):
    with TelegramProcess(environment) as first:
        first.wait_until_it_polls(telegram)
        first.kill()
    telegram.faults["getUpdates"] = ["409"]
    with TelegramProcess(environment):
        answer_to(telegram, "/help")
    assert "telegram.shared" not in logged(environment)


def test_a_refused_token_is_said_once_and_stands_nowhere(environment, telegram):
    wrong = "123456789:AAwrong-token_of_nobody-0123456789"
    with TelegramProcess(environment | {"TELEGRAM_TOKEN": wrong}) as process:
        wait_until(lambda: "telegram.refused" in logged(environment), 180)
        assert process.stop() == 0
        log = logged(environment) + process.said
    assert log.count("telegram.refused") == 2, "in the log and on the terminal"
    assert wrong.partition(":")[2] not in log


def test_a_telegram_that_is_gone_is_named_without_the_token(environment, telegram):
    with TelegramProcess(environment | {"TELEGRAM_API_URL": "http://127.0.0.1:9"}) as process:
        wait_until(lambda: "telegram.lost" in logged(environment), 180)
        process.stop()
        said = all_that_is_written(environment, process)
    assert 'reason="Telegram cannot be reached: ' in said
    assert TOKEN.partition(":")[2] not in said
    assert "/bot" not in said


# One process.


def test_a_second_one_refuses_to_start(poller, environment, telegram):
    pid = find_poller(get_settings()).pid
    assert pid == poller.process.pid
    with TelegramProcess(environment) as second:
        assert second.process.wait(180) == 1
        assert second.said == f"telegram: another one answers already (PID {pid})\n"
    assert answer_to(telegram, "/help").startswith("DCA bot")


def test_it_ends_at_once_while_it_waits_for_telegram(poller, telegram, environment):
    assert poller.stop() == 0
    assert find_poller(get_settings()) is None
    assert "telegram.stopped" in logged(environment)
    assert "never retrieved" not in poller.said + logged(environment)


def test_without_a_token_it_refuses_in_one_line(environment):
    with TelegramProcess(environment | {"TELEGRAM_TOKEN": ""}) as process:
        assert process.process.wait(180) == 2
        assert process.said.startswith("telegram: TELEGRAM_TOKEN is not set in .env")
