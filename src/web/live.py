"""What all viewers see now: one reader for all of them, and the stream of its news (SSE).

Owns when the status is read (never without a viewer or a request), what of it is news, and how many
streams there may be. A viewer that does not read is left: its browser connects again by itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from monitoring.status.status import Status
from utils.formatting import plain
from utils.log_events import LogEvent, log_event
from utils.ready_threads import ReadyThreads

log = logging.getLogger(__name__)

PERIOD_SECONDS = 2.0
AT_LEAST_SECONDS = 10.0  # a status is sent, changed or not: it says of when the figures are
READ_SECONDS = 8.0
MAX_VIEWERS = 50
MAX_BEHIND = 32  # messages


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What was read at one moment: `text` is the body of GET status as JSON, `key` differs when it
    says something else. `rows`: the assets of it, by symbol. `gone`: what cannot be seen now.
    `records`: what was written since the picture before. `month_usd`: realised since the first.
    """

    status: Status
    month_usd: Decimal | None
    text: str
    key: object
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    gone: dict[str, tuple[str, str | None]] = field(default_factory=dict)
    records: list[dict[str, Any]] = field(default_factory=list)


_SILENT = "the database does not answer"
Load = Callable[[], Picture]


class Viewer:
    """One open stream."""

    def __init__(self) -> None:
        self.messages: asyncio.Queue[str] = asyncio.Queue(MAX_BEHIND)
        self.is_left = False

    def put(self, message: str) -> None:
        try:
            self.messages.put_nowait(message)
        except asyncio.QueueFull:
            self.is_left = True


class Live:
    """`load` is blocking, and called by one thread at a time."""

    def __init__(
        self,
        load: Load,
        *,
        period_seconds: float = PERIOD_SECONDS,
        read_seconds: float = READ_SECONDS,
    ) -> None:
        self._load = load
        self._read_seconds = read_seconds
        self._period_seconds = period_seconds
        self._threads = ReadyThreads("web-live", 1)
        self._viewers: set[Viewer] = set()
        self._reader: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[Picture] | None = None
        self._picture: Picture | None = None
        self._read_at = float("-inf")
        self._gone: dict[str, dict[str, Any]] = {}
        self._is_news = asyncio.Event()
        self._sent_at = float("-inf")

    @property
    def viewers(self) -> int:
        return len(self._viewers)

    @property
    def is_full(self) -> bool:
        return len(self._viewers) >= MAX_VIEWERS

    async def picture(self, *, max_age_seconds: float = 0.0) -> Picture:
        """Not older than a period, or than so long.

        Raises:
            TimeoutError: it takes too long now.
        """
        max_age = max(max_age_seconds, self._period_seconds)
        if self._picture is not None and time.monotonic() - self._read_at < max_age:
            return self._picture
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="web-read")
        try:
            async with asyncio.timeout(self._read_seconds):
                return await asyncio.shield(self._reading)  # it goes on, for whoever waits next
        except TimeoutError:  # all but the database is asked within bounds of its own
            self._tell_gone({"database": (_SILENT, "scripts/doctor")})
            raise

    async def _read(self) -> Picture:
        picture = await self._threads.run(self._load)
        self._take(picture)
        return picture

    @property
    def last(self) -> Picture | None:
        """However old it is."""
        return self._picture

    def forget(self) -> None:
        """Something was changed: the next picture is read anew, and at once."""
        self._read_at = float("-inf")
        self._is_news.set()

    def join(self) -> Viewer:
        """A new viewer, who is told first of what is gone."""
        viewer = Viewer()
        for one in self._gone.values():
            viewer.put(message("gone", one))
        self._viewers.add(viewer)
        if self._reader is None or self._reader.done():
            self._reader = asyncio.create_task(self._read_while_viewed(), name="web-live")
        return viewer

    def leave(self, viewer: Viewer) -> None:
        self._viewers.discard(viewer)

    async def stop(self) -> None:
        """Every stream ends, and no more is read."""
        for viewer in self._viewers:
            viewer.put(": the page ends\n\n")
            viewer.is_left = True
        self._threads.stop()
        for task in (self._reader, self._reading):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _read_while_viewed(self) -> None:
        has_failed = False
        while self._viewers:
            try:
                await self.picture()
                has_failed = False
            except TimeoutError:
                pass  # its viewers know
            except Exception:  # noqa: BLE001 - a bug of one look must not end the others
                if not has_failed:
                    log_event(log, LogEvent.PAGE_FAILED, path="live", traceback=True)
                has_failed = True
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._is_news.wait(), self._period_seconds)
            self._is_news.clear()

    def _take(self, picture: Picture) -> None:
        now, before = time.monotonic(), self._picture
        is_late = now - self._sent_at >= AT_LEAST_SECONDS
        self._picture, self._read_at = picture, now
        self._tell_gone(picture.gone)
        if before is None or before.key != picture.key or is_late:
            self._sent_at = now
            self._tell(f"event: status\ndata: {picture.text}\n\n")
        for record in picture.records:
            self._tell(message("record", record))

    def _tell_gone(self, gone: dict[str, tuple[str, str | None]]) -> None:
        for what in [what for what in self._gone if what not in gone]:
            del self._gone[what]
            self._tell(message("back", {"what": what}))
        for what, (words, cure) in gone.items():
            known = self._gone.get(what)
            since = known["since"] if known else plain(datetime.now(UTC))
            one = {"what": what, "since": since, "words": words, "cure": cure}
            self._gone[what] = one
            if known is None:
                self._tell(message("gone", one))

    def _tell(self, text: str) -> None:
        for viewer in self._viewers:
            viewer.put(text)


def message(event: str, body: Any) -> str:
    """One message of the stream. JSON has no line breaks of its own."""
    return f"event: {event}\ndata: {json.dumps(body)}\n\n"
