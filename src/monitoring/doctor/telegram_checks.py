"""The doctor's checks of Telegram: the token, who may command, who reads the messages."""

from __future__ import annotations

from monitoring.doctor.facts import Facts
from monitoring.doctor.findings import Finding, fail, ok, warn
from monitoring.status.caretaker_status import is_watched
from monitoring.status.telegram_status import load_telegram_status
from runtime.telegram_poller import load_beat
from utils.formatting import counted, span
from utils.telegram_client import TelegramError, TokenRefused, ask_name


def check_telegram(facts: Facts) -> list[Finding]:
    settings = facts.settings
    if any(problem.startswith("TELEGRAM_") for problem in facts.problems):
        return [warn("telegram", "not checked: its settings are wrong (see settings)")]
    if not facts.are_settings_known or settings.telegram_token is None:
        return [ok("telegram", "off: TELEGRAM_TOKEN is not set")]
    return [_check_token(facts), *_check_chats(facts), _check_poller(facts)]


def _check_token(facts: Facts) -> Finding:
    try:
        name = ask_name(facts.settings)
    except TokenRefused as error:
        return fail("telegram", str(error), "get TELEGRAM_TOKEN from @BotFather again")
    except TelegramError as error:
        return fail("telegram", str(error), "check the network; it is asked again and again")
    return ok("telegram", f"the token is @{name}'s")


def _check_chats(facts: Facts) -> list[Finding]:
    """Those that are set, and those that wrote in vain: the way to learn the number of a chat."""
    allowed = facts.settings.telegram_chats
    beat = load_beat(facts.settings)
    found = []
    if allowed:
        found.append(ok("telegram", f"{counted(len(allowed), 'chat')} may command"))
    else:
        cure = "write anything to the bot; its chat is named here then"
        found.append(warn("telegram", "TELEGRAM_CHATS is empty: nobody is answered", cure))
    for chat, times in beat.strangers.items() if beat is not None else ():
        if chat not in map(str, allowed):
            text = f"chat {chat} wrote {counted(times, 'message')} and was ignored"
            found.append(warn("telegram", text, f"if it is yours: add {chat} to TELEGRAM_CHATS"))
    return found


def _check_poller(facts: Facts) -> Finding:
    status = load_telegram_status(facts.settings)
    assert status is not None, "there is a token"
    if status.pid is None:
        if is_watched(facts.settings):
            cure = "wait a minute: the watchdog starts what answers (logs/watchdog.log)"
        else:
            cure = "let the watchdog run (see crontab); or, in the foreground: scripts/telegram"
        return fail("telegram", "nothing answers there", cure)
    if status.problem is not None:
        return fail("telegram", status.problem, "see logs/telegram.log")
    heard = "not heard from Telegram yet"
    if status.answered_seconds is not None:
        heard = f"Telegram answered {span(status.answered_seconds)} ago"
    return ok("telegram", f"PID {status.pid} reads its messages, and no other program; {heard}")
