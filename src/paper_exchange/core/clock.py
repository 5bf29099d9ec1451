"""The exchange's wall clock, in nanoseconds since the epoch, and its text form on the wire.

Alpaca prints up to nine digits of a second, so nanoseconds are kept as integers. Every reading is
later than the one before by at least a microsecond: clients that cut to microseconds still see
distinct, ordered times.
"""

import re
import time
from datetime import UTC, date, datetime

from paper_exchange.faults.armed import FaultBoard
from paper_exchange.faults.table import Seam

NANOS = 1_000_000_000
_MIN_STEP_NS = 1_000
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?\d*(Z|z|[+-]\d\d:\d\d)?$"
)


class Clock:
    """Wall time, and what the skew_clock fault adds to it."""

    def __init__(self, faults: FaultBoard | None = None) -> None:
        self._faults = faults or FaultBoard()
        self.last_true_ns = 0
        """The newest reading without skew: for the ledger, never for the wire."""

    def now_ns(self) -> int:
        self.last_true_ns = max(time.time_ns(), self.last_true_ns + _MIN_STEP_NS)
        skew_seconds = sum(fault.seconds for fault in self._faults.visit(Seam.CLOCK))
        return self.last_true_ns + round(skew_seconds * NANOS)


def rfc3339(at_ns: int) -> str:
    """As Alpaca writes it, without trailing zeros: 2022-12-16T07:28:51.67621869Z."""
    seconds, nanos = divmod(at_ns, NANOS)
    text = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return f"{text}{fraction}Z"


def parse_time(text: str) -> int:
    """Nanoseconds from RFC 3339 text or a plain date (midnight UTC). Raises ValueError."""
    match = _RFC3339.fullmatch(text.strip())
    if match is None:
        midnight = datetime.combine(date.fromisoformat(text.strip()), datetime.min.time(), UTC)
        return int(midnight.timestamp()) * NANOS
    day, clock, fraction, zone = match.groups()
    offset = "+00:00" if zone is None or zone in "Zz" else zone
    seconds = int(datetime.fromisoformat(f"{day}T{clock}{offset}").timestamp())
    return seconds * NANOS + int((fraction or "0").ljust(9, "0"))


def utc_date(at_ns: int) -> date:
    return datetime.fromtimestamp(at_ns // NANOS, UTC).date()
