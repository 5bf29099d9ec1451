"""What all requests share: settings, access, the threads that may wait, the viewers.

Owns that blocking work (database, exchange) never runs in the event loop, and that so much of it
at most waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, TypeVar

from aiohttp import web

from config import Settings
from utils.ready_threads import ReadyThreads
from web.confirm import Keys
from web.journals import Journals
from web.kept import KeptAnswers

if TYPE_CHECKING:
    from web.access import Access
    from web.live import Live
    from web.status_source import StatusSource

T = TypeVar("T")

MAX_THREADS = 4
MAX_WAITING = 40  # requests, more are told to come back
ANSWER_SECONDS = 30.0
BODY_SECONDS = 10.0
COMMENT_SECONDS = 10.0  # in a stream that has no news: it is there, and so is its viewer


class Busy(Exception):
    """Too much waits already, or it took too long."""


@dataclass(slots=True, kw_only=True)
class Site:
    """Of one process that serves the page."""

    settings: Settings
    access: Access
    live: Live
    source: StatusSource
    hosts: frozenset[str]
    origins: frozenset[str]
    served_since: datetime
    version: str
    keys: Keys = field(default_factory=Keys)
    journals: Journals = field(default_factory=Journals)
    kept: KeptAnswers = field(default_factory=KeptAnswers)
    body_seconds: float = BODY_SECONDS
    comment_seconds: float = COMMENT_SECONDS
    closing: set[str] = field(default_factory=set)  # symbols that are being sold from here
    threads: ReadyThreads = field(default_factory=lambda: ReadyThreads("web", MAX_THREADS))
    _waiting: int = 0

    async def run(self, work: Callable[[], T], *, seconds: float = ANSWER_SECONDS) -> T:
        """What `work` returns or raises, from a thread with a database connection of its own.

        Raises:
            Busy: it was not begun, or is not done yet.
        """
        if self._waiting >= MAX_WAITING:
            raise Busy("the page is busy: try again in a moment")
        self._waiting += 1
        try:
            async with asyncio.timeout(seconds):
                return await self.threads.run(work)
        except TimeoutError:
            raise Busy(f"no answer within {seconds:.0f} s") from None
        finally:
            self._waiting -= 1


SITE: web.AppKey[Site] = web.AppKey("site", Site)
