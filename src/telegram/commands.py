"""The commands of a chat: each is one of the scripts' own operations, answered in its own words.

Blocking, for a thread each. Owns which commands there are, and which close waits to be confirmed;
decides nothing else. Knows nothing of how messages come and go.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from cli.bot_options import WAIT_SECONDS
from cli.report import load_now
from cli.report_tables import lines_of
from cli.status_lines import plain_text, status_text
from config import Settings
from domain.events import EventKind
from models.asset_config import get_all_assets
from models.cycle_journals import load_cycle_journals
from models.meta import ForeignDatabase, check_schema
from monitoring.status.status import StatusReader
from operations.asset_changes import load_configured
from operations.asset_input import read_symbol
from operations.close_cycle import ClosePlan, prepare_close, request_close
from operations.close_execution import Closer
from operations.close_words import (
    closed_text,
    plan_lines,
    refuse_nothing_to_close,
    unfinished_text,
)
from operations.pause import PAUSED_TEXT, note_pause, pause_buying, resume_buying
from operations.preview import open_account
from operations.refused import Refused
from operations.time_ranges import read_moment
from performance.report import By, compute_report
from runtime.unwritable import describe_unwritable
from telegram.messages import Command, Message
from utils.alpaca_http import ExchangeError
from utils.db_utils import DatabaseError, close_thread_connection, thread_connection
from utils.formatting import describe_account

log = logging.getLogger(__name__)

CONFIRM_SECONDS = 60  # between the two messages, by Telegram's clock
T = TypeVar("T")
Say = Callable[[str], None]
Rest = Callable[[], str]
MENU = {
    "status": "what the bot does now, and what is wrong",
    "report": "what it earned (/report 7d: of late)",
    "pause": "no new buys; what is held is still sold",
    "resume": "buy again",
    "close": "sell all that an asset holds, now (/close BTC/USD)",
    "help": "these commands",
}
HELP = """\
{account}

/status  one screen of what the bot does, and everything that is wrong
/report  what the complete cycles earned; /report 7d or /report 2026-01 since then
/pause  no new buys; what is held is still sold
/resume  buy again
/close BTC/USD  cancel its open buy and sell all it holds, now, at market. It says what that would \
bring, and does nothing before you send /confirm BTC/USD within a minute
/help  this

A command is carried out once, and only while it is fresh: one that is read later than {seconds} \
seconds after you sent it is not. Every change is noted with the number of this chat ({chat_id})."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A close that was shown to somebody, at that time by Telegram's clock."""

    plan: ClosePlan
    at: int


class Commands:
    """One for a process: it remembers what waits to be confirmed, and nothing across its end."""

    def __init__(self, settings: Settings, *, max_age_seconds: float) -> None:
        self._settings = settings
        self._max_age_seconds = max_age_seconds
        self._status = StatusReader(settings)
        self._asked: dict[tuple[int, int], _Asked] = {}  # by chat and sender

    def carry_out(self, message: Message, command: Command, say: Say) -> str | Rest:
        """Do it and return the answer, or what is left to do for it: a wait, for another thread.
        `say` sends what comes before it. One line in the answer when it cannot be done. Raises only
        what is a bug of the program.
        """
        commands: dict[str, Callable[[Message, str, Say], str | Rest]] = {
            "start": self._help,  # what Telegram's own button sends
            "help": self._help,
            "status": self._show_status,
            "report": self._report,
            "pause": self._pause,
            "resume": self._resume,
            "close": self._close,
            "confirm": self._confirm,
        }
        work = commands.get(command.name)

        def do() -> str | Rest:
            if work is None:
                raise Refused(f"there is no /{command.name}: see /help")
            return work(message, command.argument, say)

        return self._guarded(do)

    def _guarded(self, work: Callable[[], T]) -> T | str:
        """Whatever stops it is one line, as in cli/runner.py."""
        try:
            return work()
        except (Refused, DatabaseError, ForeignDatabase) as error:
            return str(error)
        except ExchangeError as error:
            text = str(error)
            return text if text.startswith("Alpaca") else f"Alpaca: {text}"
        except OSError as error:
            return describe_unwritable(error, self._settings)
        finally:
            close_thread_connection()

    def _help(self, message: Message, _argument: str, _say: Say) -> str:
        return HELP.format(
            account=f"DCA bot, {describe_account(self._settings)}",
            seconds=round(self._max_age_seconds),
            chat_id=message.chat_id,
        )

    def _show_status(self, _message: Message, _argument: str, _say: Say) -> str:
        return status_text(self._status.load())

    def _report(self, _message: Message, argument: str, _say: Say) -> str:
        connection, now = thread_connection(), datetime.now(UTC)
        check_schema(connection)
        since = read_moment("/report", argument or None, now, is_end=False)
        cycles = load_cycle_journals(connection)
        report = compute_report(cycles, By.ASSET, now=now, since=since)
        return plain_text(*lines_of(report, None, load_now(connection, None)))

    # Buying

    def _pause(self, message: Message, _argument: str, _say: Say) -> str:
        pause_buying(self._settings, by=message.origin)
        noted = _noted(EventKind.BUYING_PAUSE_REQUESTED, message)
        return f"{PAUSED_TEXT} Again: /resume{noted}"

    def _resume(self, message: Message, _argument: str, _say: Say) -> str:
        text = resume_buying(self._settings, by=message.origin)
        return text + _noted(EventKind.BUYING_RESUME_REQUESTED, message)

    # Selling now

    def _close(self, message: Message, argument: str, _say: Say) -> str:
        connection = thread_connection()
        self._asked.pop(_key(message), None)  # a newer question is the one that is answered
        if not argument:
            check_schema(connection)
            names = [_tapped(asset.asset_symbol) for asset in get_all_assets(connection)]
            listed = "\n".join(f"/close_{name}" for name in names)
            return f"Which one?\n{listed}" if names else "No asset is configured."
        symbol = read_symbol(argument)
        open_account(connection)
        asset = load_configured(connection, symbol)
        plan = prepare_close(self._settings, asset)
        if plan is None:
            refuse_nothing_to_close(asset, disable=False)
            raise AssertionError("it refuses")
        self._asked[_key(message)] = _Asked(plan, message.sent_at)
        question = (
            f"To sell it at market, send /confirm {symbol} within {CONFIRM_SECONDS} seconds, or tap"
            f" /confirm_{_tapped(symbol)}. Anything else, and nothing is sold."
        )
        lines = plan_lines(plan, describe_account(self._settings), disable=False)
        return "\n".join([*lines, "", question])

    def _confirm(self, message: Message, argument: str, say: Say) -> Rest:
        asked = self._asked.pop(_key(message), None)
        if asked is None:
            raise Refused("nothing waits for a /confirm of yours: /close BTC/USD comes first")
        symbol = asked.plan.asset.asset_symbol
        if not argument or read_symbol(argument) != symbol:
            raise Refused(f"nothing was done: what was to be confirmed is {symbol}")
        seconds = message.sent_at - asked.at
        if not 0 <= seconds <= CONFIRM_SECONDS:
            raise Refused(f"nothing was done: that came after {seconds} seconds; /close {symbol}")
        request_close(asked.plan, disable=False, by=message.origin)
        return lambda: self._guarded(lambda: self._sell(asked.plan, say))

    def _sell(self, plan: ClosePlan, say: Say) -> str:
        result = Closer(self._settings, plan, say).carry_out(WAIT_SECONDS)
        if not result.is_closed:
            return unfinished_text(plan.asset.asset_symbol, result)
        return closed_text(plan, result, disable=False)


def _noted(kind: EventKind, message: Message) -> str:
    """Nothing to say when its event is written. A pause counts without: the database may be away
    just when it is needed.
    """
    try:
        note_pause(kind, message.origin)
    except DatabaseError as error:
        return f" (It stands in the log only, the database cannot be used: {error})"
    return ""


def _key(message: Message) -> tuple[int, int]:
    return message.chat_id, message.sender_id


def _tapped(symbol: str) -> str:
    """As it can stand in a command, which Telegram ends at any other character."""
    return symbol.replace("/", "_")
