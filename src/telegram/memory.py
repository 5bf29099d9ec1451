"""What must outlive the process that answers: which updates it has begun, and who was ignored.

An update is noted as begun before anything is done for it, and begins no second time: not when
Telegram sends it again, and not after a kill in the middle. So it is carried out at most once; who
asked is told when nobody knows whether it was. Identifiers, no order: after a week without updates
Telegram goes on with a random one, which can be lower.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from config import Settings
from telegram.messages import Message
from utils.state_file import known_fields, load_state, save_state

FILE_NAME = "telegram.json"
KEPT_UPDATES = 500  # more than come at once, or wait unconfirmed
KEPT_STRANGERS = 50
MAX_TEXT = 60


@dataclass(slots=True, kw_only=True)
class _Notes:
    begun: list[int] = field(default_factory=list)
    unanswered: dict[str, dict[str, Any]] = field(default_factory=dict)
    strangers: dict[str, int] = field(default_factory=dict)


class Memory:
    """Every method raises OSError where the run folder cannot be written; nothing is noted then."""

    def __init__(self, settings: Settings) -> None:
        self._path = settings.run_dir / FILE_NAME
        try:
            self._notes = _Notes(**known_fields(_Notes, load_state(self._path)))
        except TypeError:
            self._notes = _Notes()

    def has_begun(self, update_id: int) -> bool:
        return update_id in self._notes.begun

    def begin(self, message: Message) -> None:
        """From here on it is not carried out again."""
        self._notes.begun = [*self._notes.begun, message.update_id][-KEPT_UPDATES:]
        self._notes.unanswered[str(message.update_id)] = {
            "chat_id": message.chat_id,
            "text": message.text[:MAX_TEXT],
        }
        self._save()

    def end(self, message: Message) -> None:
        """It was answered."""
        if self._notes.unanswered.pop(str(message.update_id), None) is not None:
            self._save()

    def take_unanswered(self) -> list[tuple[int, str]]:
        """What was begun and not answered when the process ended: chats and texts. Each once."""
        left = self._notes.unanswered
        if left:
            self._notes.unanswered = {}
            self._save()
        return [(one["chat_id"], str(one["text"])) for one in left.values() if "chat_id" in one]

    def count_stranger(self, update_id: int, chat_id: int) -> bool:
        """Whether that chat is a new one; of too many none is."""
        known, key = self._notes.strangers, str(chat_id)
        is_new = key not in known and len(known) < KEPT_STRANGERS
        if is_new or key in known:
            known[key] = known.get(key, 0) + 1
        self._notes.begun = [*self._notes.begun, update_id][-KEPT_UPDATES:]
        self._save()
        return is_new

    @property
    def strangers(self) -> dict[str, int]:
        return dict(self._notes.strangers)

    def forget_strangers(self, chats: tuple[int, ...]) -> None:
        """Those that are known by now: ignored again later, they are told of again."""
        for chat_id in chats:
            self._notes.strangers.pop(str(chat_id), None)

    def _save(self) -> None:
        save_state(self._path, asdict(self._notes))
