"""Whether somebody answers on Telegram, from that process' PID file and sign of life alone.

The verdict is the watchdog's own, so that both say the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from caretakers.plans.side_keeper import plan_side
from caretakers.side_keeper import take_side_snapshot
from config import Settings
from runtime.telegram_poller import TELEGRAM, find_poller, load_beat_of
from utils.formatting import counted, span

SHORT_TROUBLE_SECONDS = 60.0  # an outage of Telegram's that is over within this is no problem


@dataclass(frozen=True, slots=True, kw_only=True)
class TelegramStatus:
    """`problem`: what is wrong, in one line with the cure. `name`: the bot's, None: not known."""

    words: str
    problem: str | None
    pid: int | None = None
    name: str | None = None
    answered_seconds: float | None = None
    is_shared: bool = False
    strangers: int = 0


def load_telegram_status(settings: Settings) -> TelegramStatus | None:
    """None: it is off. Reads files and the process table only."""
    if settings.telegram_token is None:
        return None
    process = find_poller(settings)
    snapshot = take_side_snapshot(TELEGRAM, process, settings)
    if process is None:
        problem = (
            "nothing answers on Telegram, though TELEGRAM_TOKEN is set: does the watchdog run?"
        )
        return TelegramStatus(words="not running", problem=f"{problem} (scripts/doctor)")
    beat, now, problem_found = load_beat_of(process, settings), time.monotonic(), None
    plan = plan_side(snapshot, TELEGRAM.setting)
    if plan is not None and snapshot.has_these_settings:
        problem_found = f"what answers on Telegram does not work ({plan[1]}): see logs/telegram.log"
    if beat is None:
        return TelegramStatus(words="starting", problem=problem_found, pid=process.pid)
    trouble_seconds = 0.0 if beat.trouble_at is None else now - beat.trouble_at
    if beat.is_shared:
        problem_found = problem_found or (
            "another program reads the messages of your Telegram bot: end it, or get a token for"
            " this one alone"
        )
    elif beat.trouble is not None and trouble_seconds > SHORT_TROUBLE_SECONDS:
        problem_found = problem_found or f"{beat.trouble}, for {span(trouble_seconds)}"
    answered = None if beat.answered_at is None else now - beat.answered_at
    who = f"@{beat.name}" if beat.name else "it"
    chats = counted(len(settings.telegram_chats), "chat")
    heard = "has not heard from Telegram yet" if answered is None else f"answers {chats}"
    words = f"{who} {heard}" if beat.trouble is None else f"{who}: {beat.trouble}"
    return TelegramStatus(
        words=words,
        problem=problem_found,
        pid=process.pid,
        name=beat.name,
        answered_seconds=answered,
        is_shared=beat.is_shared,
        strangers=sum(beat.strangers.values()),
    )
