"""/close and /confirm on the real exchange: what was agreed to is sold once, and nothing else."""

from __future__ import annotations

import pytest

from bot_parts import BotParts
from config import get_settings
from daemon_process import DaemonProcess, wait_until, wait_until_it_buys
from domain.cycle import CycleStatus, DcaCycle
from models.cycle_data import create_cycle, get_cycle
from models.events import get_events
from telegram.commands import Commands
from telegram.messages import Message, read_command
from telegram_process import TelegramProcess
from telegram_server import GROUP, NAME, OWNER, TelegramServer
from utils.alpaca_client_rest import get_trading_client
from utils.alpaca_queries import fetch_orders


def sells() -> int:
    orders = fetch_orders(get_trading_client(), status="all")
    return sum(order.side == "sell" for order in orders)


# The rules, in this process.


@pytest.fixture
async def bought(environment, settings, exchange, db_conn, make_asset) -> DcaCycle:
    """A cycle that bought for 100 USD at 50,001; no daemon runs."""
    parts = BotParts(settings, exchange)
    cycle = create_cycle(db_conn, make_asset().id, "watching")
    await parts.see(parts.quote_both(50000, 50001))
    parts.sweep()
    await parts.market.stop()
    cycle = get_cycle(db_conn, cycle.id)
    assert cycle.quantity > 0
    return cycle


class Chat:
    """The commands without Telegram: what somebody says, and when by its clock."""

    def __init__(self) -> None:
        self._commands = Commands(get_settings(), max_age_seconds=90)
        self.heard: list[str] = []

    def say(self, text: str, *, at: int = 1000, chat: int = OWNER, sender: int = 7) -> str:
        message = Message(
            update_id=1,
            chat_id=chat,
            is_private=True,
            sender_id=sender,
            sender="@owner",
            sent_at=at,
            text=text,
        )
        command = read_command(text, NAME)
        answer = self._commands.carry_out(message, command, self.heard.append)
        return answer if isinstance(answer, str) else answer()


def test_a_close_shows_what_it_would_bring_and_does_nothing(bought, exchange, db_conn):
    exchange.push_quote("BTC/USD", 40000, 40001)
    said = Chat().say("/close btcusd")
    assert said.startswith(f"Close BTC/USD (local exchange: play money), cycle {bought.id}:")
    assert "LOSS of ~" in said
    assert "send /confirm BTC/USD within 60 seconds, or tap /confirm_BTC_USD" in said
    assert not get_cycle(db_conn, bought.id).close_requested
    assert sells() == 0
    assert get_events(db_conn) == []


@pytest.mark.parametrize(
    ("then", "how", "reason"),
    [
        ("/confirm ETH/USD", {}, "nothing was done: what was to be confirmed is BTC/USD"),
        ("/confirm", {}, "nothing was done: what was to be confirmed is BTC/USD"),
        ("/confirm BTC/USD", {"at": 1061}, "nothing was done: that came after 61 seconds"),
        ("/confirm BTC/USD", {"at": 999}, "nothing was done: that came after -1 seconds"),
        ("/confirm BTC/USD", {"sender": 8}, "nothing waits for a /confirm of yours"),
        ("/confirm BTC/USD", {"chat": GROUP}, "nothing waits for a /confirm of yours"),
    ],
)
def test_what_is_not_confirmed_so_sells_nothing(bought, db_conn, then, how, reason):
    chat = Chat()
    chat.say("/close BTC/USD")
    assert chat.say(then, **how).startswith(reason)
    if not {"sender", "chat"} & how.keys():
        assert chat.say("/confirm BTC/USD").startswith("nothing waits"), "one answer, not two"
    assert not get_cycle(db_conn, bought.id).close_requested
    assert sells() == 0


def test_a_confirmed_close_is_sold_once_and_names_the_chat(bought, exchange, db_conn):
    chat = Chat()
    listed = chat.say("/close")
    assert listed == "Which one?\n/close_BTC_USD"
    chat.say("/close_BTC_USD")
    said = chat.say("/confirm_BTC_USD", at=1060)
    assert said.startswith("BTC/USD is closed: ")
    assert "cools down for 60 s, then buys again" in said
    assert chat.heard == ["The daemon does not run: selling from here."]
    assert get_cycle(db_conn, bought.id).status is CycleStatus.COMPLETE
    [row] = get_events(db_conn)
    assert (row["kind"], row["cycle_id"]) == ("close_requested", bought.id)
    assert row["reason"] == f"Telegram chat {OWNER} (@owner) wants it sold now"
    assert chat.say("/confirm BTC/USD", at=1061).startswith("nothing waits")
    assert "BTC/USD holds nothing to sell" in chat.say("/close BTC/USD")
    assert sells() == 1


def test_what_was_shown_is_not_the_next_cycle(bought, db_conn):
    """Sold meanwhile by somebody else: the answer was to another cycle."""
    first, second = Chat(), Chat()
    first.say("/close BTC/USD")
    second.say("/close BTC/USD")
    assert second.say("/confirm BTC/USD").startswith("BTC/USD is closed")
    said = first.say("/confirm BTC/USD")
    assert said == "the cycle of BTC/USD has just ended: nothing to close"
    assert sells() == 1


# The real processes.


def confirm(telegram: TelegramServer, shown: int = 1) -> None:
    telegram.write("/close BTC/USD")
    wait_until(lambda: len(telegram.answers()) >= shown, 180)
    assert "send /confirm BTC/USD within 60" in telegram.answers()[shown - 1]
    telegram.write("/confirm BTC/USD")


def test_beside_the_daemon_it_is_sold_once_also_when_killed_in_the_middle(
    environment, telegram, exchange, db_conn, make_asset
):
    telegram.forgets_confirmations = True
    cycle = create_cycle(db_conn, make_asset(cooldown_period=1).id, "watching")
    with DaemonProcess(environment) as daemon:
        daemon.wait_until_trading()
        wait_until_it_buys(exchange, db_conn, cycle)
        with TelegramProcess(environment) as process:
            confirm(telegram)
            wait_until(lambda: get_events(db_conn), 180, "the request")
            process.kill()

        def is_sold() -> bool:
            exchange.push_quote("BTC/USD", 50000, 50001)
            return get_cycle(db_conn, cycle.id).status is CycleStatus.COMPLETE

        wait_until(is_sold, 180)
        with TelegramProcess(environment) as process:
            wait_until(lambda: "I was interrupted" in telegram.answers()[-1], 180)
            asked = telegram.count("getUpdates")
            wait_until(lambda: telegram.count("getUpdates") > asked + 3, 180)
            assert [row["kind"] for row in get_events(db_conn)] == ["close_requested"]
            assert "I was interrupted at your '/confirm BTC/USD'" in telegram.answers()[-1]
            # The one that was killed may have answered before.
            assert len(telegram.answers()) in (2, 3)
            assert daemon.process.poll() is None
    assert sells() == 1


def test_without_a_daemon_it_sells_itself_and_not_again_after_a_kill_before_the_answer(
    environment, telegram, exchange, bought, db_conn
):
    exchange.push_quote("BTC/USD", 50000, 50001)
    with TelegramProcess(environment) as process:
        telegram.forgets_confirmations = True
        telegram.write("/close BTC/USD")
        wait_until(telegram.answers, 180)
        telegram.faults["sendMessage"] = ["hang"] * 2
        telegram.write("/confirm BTC/USD")
        wait_until(lambda: get_cycle(db_conn, bought.id).status is CycleStatus.COMPLETE, 180)
        process.kill()
    telegram.faults["sendMessage"] = []
    with TelegramProcess(environment):
        wait_until(lambda: len(telegram.answers()) >= 2, 180)
        asked = telegram.count("getUpdates")
        wait_until(lambda: telegram.count("getUpdates") > asked + 3, 180)
    assert "I was interrupted at your '/confirm BTC/USD'" in telegram.answers()[1]
    assert len(telegram.answers()) == 2
    assert sells() == 1
