"""What an update of Telegram's says: who wrote what, when, where. Pure.

Only new messages count (https://core.telegram.org/bots/api#message): an edited one was written
before, a forwarded one by somebody else. Whatever is malformed is no message.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, TypeGuard

_FORWARDED = ("forward_origin", "forward_date", "via_bot")
# /close BTC/USD, /close@this_bot BTC/USD, and /close_BTC_USD, which can be tapped.
_COMMAND = re.compile(r"/([A-Za-z]{1,32})(?:_([A-Za-z0-9_]{1,32}))?(?:@(\w{1,64}))?(?:\s+(.*))?")
_ARGUMENT_CHARACTERS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """`sent_at`: epoch seconds by Telegram's clock. `sender`: in words, for an event."""

    update_id: int
    chat_id: int
    is_private: bool
    sender_id: int
    sender: str
    sent_at: int
    text: str

    @property
    def origin(self) -> str:
        """Who asks, for the log and the events."""
        return f"Telegram chat {self.chat_id} ({self.sender})"


@dataclass(frozen=True, slots=True)
class Command:
    """`/name argument`; the name in lower case."""

    name: str
    argument: str = ""


def read_update_id(raw: object) -> int | None:
    found = raw.get("update_id") if isinstance(raw, dict) else None
    return found if _is_number(found) else None


def read_message(raw: object) -> Message | None:
    """The message that the update brings; None: nothing that anybody wrote to us just now."""
    update_id = read_update_id(raw)
    message = raw.get("message") if isinstance(raw, dict) else None
    if update_id is None or not isinstance(message, dict):
        return None
    chat, sender = message.get("chat"), message.get("from")
    if not isinstance(chat, dict) or not isinstance(sender, dict):
        return None
    chat_id, sender_id, sent_at = chat.get("id"), sender.get("id"), message.get("date")
    text = message.get("text")
    if not (_is_number(chat_id) and _is_number(sender_id) and _is_number(sent_at)):
        return None
    if not isinstance(text, str):
        return None
    if sender.get("is_bot") is not False or any(name in message for name in _FORWARDED):
        return None
    return Message(
        update_id=update_id,
        chat_id=chat_id,
        is_private=chat.get("type") == "private",
        sender_id=sender_id,
        sender=_name_of(sender),
        sent_at=sent_at,
        text=text,
    )


def read_chat_id(raw: object) -> int | None:
    """The chat that an update is from, whatever it brings; None: not known."""
    for part in raw.values() if isinstance(raw, dict) else ():
        chat = part.get("chat") if isinstance(part, dict) else None
        found = chat.get("id") if isinstance(chat, dict) else None
        if _is_number(found):
            return found
    return None


def read_command(text: str, bot_name: str) -> Command | None:
    """The command that `text` is, if it is one for this bot."""
    match = _COMMAND.fullmatch(text.strip())
    if match is None:
        return None
    name, tapped, addressed, argument = match.groups()
    if addressed is not None and addressed.lower() != bot_name.lower():
        return None
    words = (tapped or "", (argument or "").strip())
    return Command(name.lower(), " ".join(filter(None, words))[:_ARGUMENT_CHARACTERS])


def _is_number(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _name_of(sender: dict[str, Any]) -> str:
    """The unique name if there is one: the others can be anything, and everybody's."""
    name = sender.get("username")
    if isinstance(name, str) and re.fullmatch(r"[A-Za-z0-9_]{1,32}", name):
        return f"@{name}"
    return f"user {sender['id']}"
