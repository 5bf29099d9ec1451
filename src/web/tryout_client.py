"""Asks the process that holds the history (web.tryout_process): starts it when it is needed, again
when it was killed, and lets it go when nobody asks any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from config import PROJECT_ROOT, Settings
from utils.log_events import LogEvent, log_event
from web.tryout_input import DROP, settings_text

log = logging.getLogger(__name__)
PROGRAM = "web.tryout_process"
IDLE_SECONDS = 600.0  # then its memory is given back
ANSWER_SECONDS = 20.0
END_SECONDS = 2.0
MAX_WAITING = 20
PIPE_BYTES = 1 << 20  # an answer is read in one go
TRIES = 2  # of a request whose process was killed meanwhile


class TryoutEnded(Exception):
    """The process ended, and so did the next one."""


class TryoutBusy(Exception):
    """Too much waits already, or it took too long."""


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` as of HTTP; `body`: JSON where it is 200, else words."""

    status: int
    body: bytes


@dataclass(slots=True, eq=False)
class TryoutClient:
    """Of one event loop."""

    settings: Settings
    idle_seconds: float = IDLE_SECONDS
    answer_seconds: float = ANSWER_SECONDS
    _process: asyncio.subprocess.Process | None = None
    _reading: asyncio.Task[None] | None = None
    _waiting: dict[int, asyncio.Future[Answer]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _starting: asyncio.Lock = field(default_factory=asyncio.Lock)
    _idle: asyncio.TimerHandle | None = None

    @property
    def pid(self) -> int | None:
        """Of the process, if one runs."""
        return None if self._process is None else self._process.pid

    async def ask(self, request: Mapping[str, Any]) -> Answer:
        """Its answer; when nobody waits for it any more (cancelled), it is not computed.

        Raises:
            TryoutBusy, TryoutEnded: there is none.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise TryoutBusy("too many tries at once: try again in a moment")
        for _ in range(TRIES):
            with contextlib.suppress(TryoutEnded):
                return await self._ask(request)
        raise TryoutEnded("the replay ended before it was done: is there enough memory?")

    async def _ask(self, request: Mapping[str, Any]) -> Answer:
        async with self._starting:
            process = self._process or await self._start()
        number = next(self._numbers)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        try:
            await self._send(process, {**request, "number": number})
            async with asyncio.timeout(self.answer_seconds):
                return await future
        except TimeoutError:
            raise TryoutBusy(
                f"no result within {self.answer_seconds:.0f} s: try a shorter range"
            ) from None
        finally:
            del self._waiting[number]
            if not future.done() or future.cancelled():
                with contextlib.suppress(TryoutEnded):
                    await self._send(process, {"what": DROP, "which": number, "number": -1})
            self._watch_idleness()

    async def _send(self, process: asyncio.subprocess.Process, request: Mapping[str, Any]) -> None:
        assert process.stdin is not None, "it was started with a pipe"
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            await process.stdin.drain()
        except (ConnectionError, RuntimeError):  # it ended; the pipe is closed
            raise TryoutEnded from None

    async def _start(self) -> asyncio.subprocess.Process:
        command = sys.executable, "-P", "-m", PROGRAM, settings_text(self.settings)
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                cwd=PROJECT_ROOT,
                limit=PIPE_BYTES,
            )
        except OSError:  # no memory, or no more processes
            raise TryoutEnded from None
        self._process = process
        self._reading = asyncio.create_task(self._read(process))
        return process

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        """Its answers, until it ends."""
        assert process.stdout is not None, "it was started with a pipe"
        with contextlib.suppress(asyncio.IncompleteReadError, ValueError):
            while line := await process.stdout.readline():
                head = json.loads(line)
                body = await process.stdout.readexactly(head["size"])
                future = self._waiting.get(head["number"])
                if future is not None and not future.done():
                    future.set_result(Answer(head["status"], body))
        is_expected = self._process is not process
        if not is_expected:
            self._process = None
        try:
            async with asyncio.timeout(END_SECONDS):
                code = await process.wait()
        except TimeoutError:  # it closed its output, or wrote nonsense
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            code = await process.wait()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(TryoutEnded())
        if not is_expected:
            log_event(log, LogEvent.TRYOUT_ENDED, code=code)

    def _watch_idleness(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
        loop = asyncio.get_running_loop()
        self._idle = loop.call_later(self.idle_seconds, self._let_go)

    def _let_go(self) -> None:
        if not self._waiting and (process := self._process) is not None:
            self._process = None
            if process.stdin is not None:
                process.stdin.close()  # it ends by that

    async def stop(self) -> None:
        """End it; whoever waits is told."""
        if self._idle is not None:
            self._idle.cancel()
        self._let_go()
        if (process := self._process) is not None:
            self._process = None
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        if self._reading is not None:
            await self._reading
