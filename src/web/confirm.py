"""The proof that what is to be done is what was shown: the key of the second of two steps.

Signs the facts on which the question was based. A key is good once, for two minutes, while they are
so, and in the process that made it: another one may have other settings (another account, even)
than those that were shown.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from collections.abc import Mapping
from typing import Any

from utils.formatting import plain
from web.access import is_same

GOOD_SECONDS = 120
_GONE = "that is no longer as it was shown: look at it again"


class Gone(Exception):
    """What was shown is no longer so: show it again."""


class Keys:
    """Of one process. Thread-safe: a double click comes in two threads at once."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._used: dict[str, float] = {}  # until when each would be good; monotonic seconds

    def make(self, action: str, facts: Mapping[str, Any]) -> str:
        """For the answer to the first step."""
        head = f"{int(time.monotonic())}.{secrets.token_hex(8)}"
        return self._sign(head, action, facts)

    def use(self, key: str, action: str, facts: Mapping[str, Any]) -> None:
        """Return where `key` was made for this action on these facts, a moment ago, and not used.

        Raises:
            Gone: show it again.
        """
        head = key.rpartition(".")[0]
        if not is_same(key, self._sign(head, action, facts)):
            raise Gone(_GONE)
        now, good_until = time.monotonic(), int(head.partition(".")[0]) + GOOD_SECONDS
        with self._lock:
            self._used = {one: until for one, until in self._used.items() if until >= now}
            if now > good_until or key in self._used:
                raise Gone(_GONE)
            self._used[key] = good_until

    def _sign(self, head: str, action: str, facts: Mapping[str, Any]) -> str:
        known = sorted((name, str(plain(value))) for name, value in facts.items())
        text = repr((head, action, known)).encode("utf-8")
        return f"{head}.{hmac.new(self._secret, text, hashlib.sha256).hexdigest()}"
