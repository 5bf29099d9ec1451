"""Alerts that wait to be sent, shared by the daemon and the scripts that cron starts.

Owns: what is grouped into one message and what is held back. An alert survives an outage of its
service and the end of the process that raised it. Each service has an outbox of its own, a file:
what one of them has got or refuses concerns no other. Pure but for `changed`; times are seconds
since the epoch.
"""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from utils.state_file import known_fields, load_state, locked, save_state

FILE_NAME = "alerts.json"
HOUR_SECONDS = 3600.0
RETRY_SECONDS = 60.0  # after a failed message; twice as long after each further one
MAX_RETRY_SECONDS = 480.0
LEASE_SECONDS = 90.0  # a process that sends must have ended or died by then
MAX_WAITING = 100
MAX_REMEMBERED = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """What identifies an alert, whatever its words: its name and what it is about.

    The same name for the same `matter` within the hour is the same alert, unless another name of
    that matter came in between (its end, for example).
    """

    name: str
    matter: str

    @property
    def key(self) -> str:
        """`<matter>/<name>`, both as digests."""
        return f"{_digest(self.matter)}/{_digest(self.name)}"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One message: its lines, and how many were held back since the mail before."""

    lines: list[str]
    held_back: int


@dataclass(slots=True, kw_only=True)
class Outbox:
    """Lines that wait, and what decides whether others are held back."""

    waiting: list[str] = field(default_factory=list)
    waiting_since: float = 0.0
    held_back: int = 0  # came within the hour already, or are too many
    told_at: dict[str, float] = field(default_factory=dict)
    mailed_at: list[float] = field(default_factory=list)
    retry_at: float = 0.0  # a message is under way or failed: none is sent before
    retry_from: float = 0.0  # when that was decided
    failures: int = 0  # in a row

    def add(self, alert: Alert, line: str, now: float) -> None:
        """Let `line` wait, unless the same alert came within the hour, in whatever words."""
        self._forget(now)
        key = alert.key
        if key in self.told_at or len(self.waiting) >= MAX_WAITING:
            self.held_back += 1
            return
        matter = key.partition("/")[0]
        self.told_at = {one: at for one, at in self.told_at.items() if one[:16] != matter}
        if len(self.told_at) < MAX_REMEMBERED:
            self.told_at[key] = now
        if not self.waiting:
            self.waiting_since = now
        self.waiting.append(line)

    def seconds_until_due(
        self, now: float, *, mails_per_hour: int, group_seconds: float
    ) -> float | None:
        """When the next mail may go; 0 now, None when nothing waits."""
        self._forget(now)
        if not self.waiting:
            return None
        waits = [self.waiting_since + group_seconds - now, self.retry_at - now]
        if len(self.mailed_at) >= mails_per_hour:
            waits.append(self.mailed_at[-mails_per_hour] + HOUR_SECONDS - now)
        return max(0.0, *waits)

    def lease(self, now: float) -> Batch:
        """What to mail now. It stays until `mailed` is called, so that a crash loses nothing."""
        self.retry_at, self.retry_from = now + LEASE_SECONDS, now
        return Batch(lines=list(self.waiting), held_back=self.held_back)

    def mailed(self, batch: Batch, now: float) -> None:
        """`batch` is with the service."""
        self.waiting = [line for line in self.waiting if line not in batch.lines]
        self.waiting_since = now
        self.held_back = max(0, self.held_back - batch.held_back)
        self.mailed_at.append(now)
        self.retry_at, self.failures = 0.0, 0

    def failed(self, now: float, retry_after_seconds: float = 0.0) -> None:
        """The service did not take it: try again, but not at once, nor before it wants to."""
        wait_seconds = min(RETRY_SECONDS * 2**self.failures, MAX_RETRY_SECONDS)
        asked_seconds = min(retry_after_seconds, HOUR_SECONDS)
        self.retry_at, self.retry_from = now + max(wait_seconds, asked_seconds), now
        self.failures = min(self.failures + 1, 10)

    def _forget(self, now: float) -> None:
        """Drop what is older than an hour, and what a changed clock has put into the future."""
        start = now - HOUR_SECONDS
        self.told_at = {key: at for key, at in self.told_at.items() if start < at <= now}
        self.mailed_at = [at for at in self.mailed_at if start < at <= now]
        self.waiting_since = min(self.waiting_since, now)
        limit_seconds = LEASE_SECONDS if self.retry_from > now else HOUR_SECONDS
        self.retry_at = min(self.retry_at, now + limit_seconds)


def load_outbox(run_dir: Path, name: str = FILE_NAME) -> Outbox:
    """The outbox as it is; an empty one when there is none or it is garbage."""
    try:
        outbox = Outbox(**known_fields(Outbox, load_state(run_dir / name)))
        outbox._forget(time.time())
        return outbox if all(isinstance(line, str) for line in outbox.waiting) else Outbox()
    except (TypeError, AttributeError):
        return Outbox()


@contextlib.contextmanager
def changed(run_dir: Path, name: str = FILE_NAME) -> Iterator[Outbox]:
    """The outbox under its lock; saved at the end of the block.

    Raises:
        OSError: it cannot be locked or written; nothing was changed.
    """
    with locked(run_dir / f"{name}.lock"):
        outbox = load_outbox(run_dir, name)
        yield outbox
        save_state(run_dir / name, asdict(outbox))
