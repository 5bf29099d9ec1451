"""Reads the moments of a report as a user types them: a day, a month, a time, `7d` ago. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from operations.refused import Refused

_AGO = re.compile(r"([1-9][0-9]{0,4})([hdw])", re.ASCII)
_HOURS = {"h": 1, "d": 24, "w": 168}
_EXPECTED = "expected 2026-01-31, 2026-01, 2026-01-31T18:00, today, or 24h, 7d, 4w (ago)"


def read_moment(option: str, text: str | None, now: datetime, *, is_end: bool) -> datetime | None:
    """The moment in UTC; None for None. A day or month given as an end is included whole.

    Raises:
        Refused: for a text that is none.
    """
    if text is None:
        return None
    plain = text.strip()
    if match := _AGO.fullmatch(plain):
        return now - timedelta(hours=int(match[1]) * _HOURS[match[2]])
    if plain == "today":
        plain = f"{now.astimezone(UTC):%Y-%m-%d}"
    try:
        if re.fullmatch(r"\d{4}-\d{2}", plain, re.ASCII):
            first = datetime.fromisoformat(f"{plain}-01").replace(tzinfo=UTC)
            return (first + timedelta(days=32)).replace(day=1) if is_end else first
        if re.fullmatch(r"\d{4}-\d{2}-\d{2}", plain, re.ASCII):
            day = datetime.fromisoformat(plain).replace(tzinfo=UTC)
            return day + timedelta(days=1) if is_end else day
        moment = datetime.fromisoformat(plain)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{option} {text[:40]!r}: {_EXPECTED}") from None
