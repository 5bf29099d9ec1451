"""The proof that what is to be done is what was shown: the key of the second of two steps.

Signs the facts on which the question was based, so that nothing needs to be remembered: a key is
good for as long as they are so, and for two minutes at most. What was done changes the facts, so
that no key does anything twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from utils.formatting import plain
from web.access import Access, is_same
from web.site import Gone

GOOD_SECONDS = 120
_GONE = "that is no longer as it was shown: look at it again"


def make_key(access: Access, action: str, facts: Mapping[str, Any]) -> str:
    """For the answer to the first step."""
    return _key(access, int(time.time()), action, facts)


def check_key(access: Access, key: str, action: str, facts: Mapping[str, Any]) -> None:
    """Return where `key` was made for this action on these facts, a moment ago.

    Raises:
        Gone: show it again.
    """
    at_text = key.partition(".")[0]
    at = int(at_text) if at_text.isascii() and at_text.isdigit() and len(at_text) < 12 else 0
    is_ours = is_same(key, _key(access, at, action, facts))
    if not (is_ours and 0 <= time.time() - at <= GOOD_SECONDS):
        raise Gone(_GONE)


def _key(access: Access, at: int, action: str, facts: Mapping[str, Any]) -> str:
    known = sorted((name, str(plain(value))) for name, value in facts.items())
    return f"{at}.{access.sign(repr((at, action, known)))}"
