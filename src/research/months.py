"""Months in UTC, the pieces in which history is kept, and times as nanoseconds. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

SECOND_NS = 1_000_000_000
MINUTE_NS = 60 * SECOND_NS
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])", re.ASCII)
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?)?"
    r" ?(Z|UTC|[+-]\d\d:?\d\d)?",
    re.ASCII,
)
_EPOCH_TEXT = re.compile(r"(\d+)(?:\.0*)?", re.ASCII)
# How many digits a time of today has, and what one of them is worth.
_EPOCH_UNITS = {10: SECOND_NS, 13: 1_000_000, 16: 1_000, 19: 1}
FIRST_YEAR, LAST_YEAR = 2009, 2200  # no coin is older; int64 ends in 2262


@dataclass(frozen=True, slots=True, order=True)
class Month:
    """One calendar month: [begin_ns, end_ns)."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Month:
        """Raises ValueError for what is not like `2023-01`."""
        found = _MONTH.fullmatch(text)
        if found is None or not FIRST_YEAR <= int(found[1]) <= LAST_YEAR:
            raise ValueError(f"{text[:20]!r} is no month like 2023-01")
        return cls(int(found[1]), int(found[2]))

    @classmethod
    def at(cls, at_ns: int) -> Month:
        """The month of that moment."""
        moment = to_datetime(at_ns)
        return cls(moment.year, moment.month)

    def __str__(self) -> str:
        return f"{self.year:04}-{self.number:02}"

    @property
    def begin_ns(self) -> int:
        return to_ns(datetime(self.year, self.number, 1, tzinfo=UTC))

    @property
    def end_ns(self) -> int:
        return self.following().begin_ns

    def following(self) -> Month:
        years, number = divmod(self.number, 12)
        return Month(self.year + years, number + 1)

    def until(self, last: Month) -> Iterator[Month]:
        """This month and those that follow, `last` included."""
        month = self
        while month <= last:
            yield month
            month = month.following()


def to_ns(moment: datetime) -> int:
    """Nanoseconds since 1970 of an aware time."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1_000


def to_datetime(at_ns: int) -> datetime:
    """In UTC, to the microsecond."""
    return _EPOCH + timedelta(microseconds=at_ns // 1_000)


def time_text(at_ns: int) -> str:
    """RFC 3339 in UTC, with as many digits as it needs (none, 6 or 9)."""
    seconds, rest = divmod(at_ns, SECOND_NS)
    text = to_datetime(seconds * SECOND_NS).strftime("%Y-%m-%dT%H:%M:%S")
    if not rest:
        return f"{text}Z"
    return f"{text}.{rest:09}Z" if rest % 1_000 else f"{text}.{rest // 1_000:06}Z"


def read_time(text: str) -> int:
    """Nanoseconds since 1970 of ISO 8601 text (UTC where it names no zone) or of seconds,
    milliseconds, microseconds or nanoseconds since 1970.

    Raises:
        ValueError: it is neither, or no time of a market of coins.
    """
    plain = text.strip()
    if found := _ISO.fullmatch(plain):
        date, clock, fraction, zone = found.groups()
        zone = "+00:00" if zone in (None, "Z", "UTC") else zone
        at_ns = to_ns(datetime.fromisoformat(f"{date}T{clock or '00:00'}{zone}"))
        at_ns += int((fraction or "").ljust(9, "0"))
    else:
        digits = _EPOCH_TEXT.fullmatch(plain)
        unit = _EPOCH_UNITS.get(len(digits[1])) if digits else None
        if digits is None or unit is None:
            raise ValueError(f"{text[:40]!r} is no time")
        at_ns = int(digits[1]) * unit
    if not FIRST_YEAR <= to_datetime(at_ns).year <= LAST_YEAR:
        raise ValueError(f"{text[:40]!r} is a time of no market of coins")
    return at_ns
