"""What of an update is a message, and what of a message is a command for this bot."""

from __future__ import annotations

import pytest

from telegram.messages import Command, read_chat_id, read_command, read_message
from utils.telegram_client import MAX_MESSAGE_UNITS, split_message

MESSAGE = {
    "from": {"id": 7, "is_bot": False, "username": "owner"},
    "chat": {"id": 7, "type": "private"},
    "date": 1_700_000_000,
    "text": "/status",
}


def update(**changes):
    return {"update_id": 5, "message": MESSAGE | changes}


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        ("/status", "status", ""),
        ("/Status@My_Dca_Bot", "status", ""),
        ("/close BTC/USD", "close", "BTC/USD"),
        ("/close@my_dca_bot btc/usd ", "close", "btc/usd"),
        ("/close_BTC_USD", "close", "BTC_USD"),
        ("/confirm_BTC_USD@my_dca_bot", "confirm", "BTC_USD"),
        ("/report  7d", "report", "7d"),
    ],
)
def test_a_command_is_read_however_telegram_writes_it(text, name, argument):
    assert read_command(text, "my_dca_bot") == Command(name, argument)


@pytest.mark.parametrize(
    "text", ["status", "/status@other_bot", "/", "a /close BTC/USD", "/close\x00", "/st-atus", ""]
)
def test_what_is_no_command_of_ours_is_none(text):
    assert read_command(text, "my_dca_bot") is None


def test_a_message_says_who_asks_by_the_unique_name():
    assert read_message(update()).origin == "Telegram chat 7 (@owner)"
    unnamed = {"id": 7, "is_bot": False, "first_name": "DROP TABLE", "username": "a b\n"}
    assert read_message(update(**{"from": unnamed})).origin == "Telegram chat 7 (user 7)"


@pytest.mark.parametrize(
    "raw",
    [
        None,
        [],
        {"update_id": 5},
        {"update_id": "5", "message": MESSAGE},
        {"update_id": True, "message": MESSAGE},
        {"update_id": 5, "edited_message": MESSAGE},
        {"update_id": 5, "channel_post": MESSAGE},
        update(text=None),
        update(date="now"),
        update(chat=None),
        update(**{"from": None}),
        update(**{"from": {"id": 7, "is_bot": True}}),
        update(**{"from": {"id": 7}}),
        update(forward_origin={"type": "user"}),
        update(via_bot={"id": 9}),
    ],
)
def test_what_nobody_wrote_to_us_just_now_is_no_message(raw):
    assert read_message(raw) is None


def test_the_chat_of_an_update_is_found_whatever_it_brings():
    assert read_chat_id({"update_id": 5, "edited_message": MESSAGE}) == 7
    assert read_chat_id({"update_id": 5}) is None


@pytest.mark.parametrize("line", ["a" * 50, "\N{MONEY BAG}" * 50, "x" * 9000, "\N{BANK}" * 9000])
def test_a_long_answer_is_cut_between_lines_into_what_telegram_takes(line):
    text = "\n".join([line] * 200)
    parts = split_message(text)
    assert all(len(part.encode("utf-16-le")) // 2 <= MAX_MESSAGE_UNITS for part in parts)
    if len(line) < 100:
        assert "\n".join(parts) == text
    assert "".join(parts).replace("\n", "") == text.replace("\n", "")
    assert split_message("") == []
