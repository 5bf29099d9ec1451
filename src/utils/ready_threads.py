"""Threads that are ready: the one that worked last works next.

Owns: a few threads for blocking work of the event loop, each prepared (its own database connection
open) before it is needed and again while it idles. An executor's threads take turns, so that each
of them meets a cold connection; here the same warm one does nearly everything. Knows no work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TypeVar

from utils.db_utils import close_thread_connection, execute_query
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)
T = TypeVar("T")

# MySQL ends our idle sessions after 60 s (db_utils), some routers forget a line within minutes.
IDLE_SECONDS = 20.0
MAX_IDLE_ROUNDS = 15  # after five minutes a thread that only a burst needed ends
# One works, one is ready meanwhile: were it started only then, it would slow the work beside it.
KEPT = 2


def keep_connection_open() -> None:
    """This thread's database connection, open and answering.

    Raises:
        DatabaseError: the database is away.
    """
    execute_query("DO 0")


@dataclass(slots=True, eq=False)
class _Job:
    work: Callable[[], Any]
    done: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class _ReadyThread:
    jobs: SimpleQueue[_Job | None] = field(default_factory=SimpleQueue)
    is_preparing: bool = False
    idle_rounds: int = 0


class ReadyThreads:
    """At most `most` threads; one more than are busy is kept ready.

    Everything but the work itself happens in the event loop that first asks, so nothing is locked
    and the loop never waits.

    Args:
        name: of the threads. The daemon leaves at once while a thread `bot...` hangs.
        prepare: run by each thread at its start and every IDLE_SECONDS while it has nothing to do.
            What it raises is left to the work, which meets the same trouble and reports it.
        leave: run by each thread at its end. Must not raise.
    """

    def __init__(
        self,
        name: str,
        most: int,
        *,
        prepare: Callable[[], None] = keep_connection_open,
        leave: Callable[[], None] = close_thread_connection,
    ) -> None:
        self._name, self._most = name, most
        self._prepare, self._leave = prepare, leave
        self._loop: asyncio.AbstractEventLoop | None = None
        self._idle: list[_ReadyThread] = []  # the one that worked last is the last
        self._waiting: deque[_Job] = deque()
        self._threads = 0
        self._starting = 0
        self._is_stopped = False

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises, from a thread. Who no longer waits (is canceled) does not
        end work that has begun.

        Raises:
            CancelledError: stopped before it began.
            RuntimeError: no thread can be started, and there is none.
        """
        job = _Job(work, self._bind().create_future())
        if self._is_stopped:
            job.done.cancel()
        elif (thread := self._take_idle()) is not None:
            thread.jobs.put(job)
        else:
            self._waiting.append(job)
        try:
            self.make_ready()
        except RuntimeError:
            job.done.cancel()  # or it would be done later, and nobody would know
            raise
        result: T = await job.done
        return result

    async def rehearse(self, work: Callable[[], object]) -> None:
        """Have `work` done before any is needed: what a process does for the first time takes it
        longer. Nothing of it is used. What it raises is left to the work that is needed, which
        meets the same trouble and reports it.
        """
        try:
            await self.run(work)
        except Exception as error:  # noqa: BLE001 - whoever asked for it waits for nothing of it
            log_event(log, LogEvent.THREAD_UNPREPARED, reason=error)

    def make_ready(self) -> None:
        """Start what is missing of the threads that work waits for, and of the one kept ready.

        Raises:
            RuntimeError: no thread can be started, and there is none.
        """
        loop = self._bind()
        while (
            not self._is_stopped
            and self._threads < self._most
            and self._count_ready() + self._starting <= len(self._waiting)
        ):
            name, thread = f"{self._name}-{self._threads}", _ReadyThread()
            try:
                Thread(target=self._serve, args=(thread, loop), name=name, daemon=True).start()
            except RuntimeError:  # the system has no more: those that there are do it
                if self._threads:
                    return
                raise
            self._threads += 1
            self._starting += 1

    def stop(self) -> None:
        """End the idle threads now, each other one after its work. What waits is canceled."""
        self._is_stopped = True
        for job in self._waiting:
            job.done.cancel()
        self._waiting.clear()
        for thread in self._idle:
            thread.jobs.put(None)
        self._idle.clear()

    def _bind(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _count_ready(self) -> int:
        """Those that prepare themselves again are not: their lines may have died silently, and to
        notice that takes as long as a statement may.
        """
        return sum(not thread.is_preparing for thread in self._idle)

    def _take_idle(self) -> _ReadyThread | None:
        """The one that worked last; one that prepares itself again just now may take long."""
        for place in reversed(range(len(self._idle))):
            if not self._idle[place].is_preparing:
                return self._idle.pop(place)
        return None

    def _started(self, thread: _ReadyThread) -> None:
        self._starting -= 1
        self._free(thread, has_worked=False)

    def _ended(
        self, thread: _ReadyThread, job: _Job, result: Any, error: BaseException | None
    ) -> None:
        thread.idle_rounds = 0
        self._free(thread)
        if job.done.done():
            return
        if error is None:
            job.done.set_result(result)
        else:
            job.done.set_exception(error)

    def _free(self, thread: _ReadyThread, *, has_worked: bool = True) -> None:
        while self._waiting:
            if not (job := self._waiting.popleft()).done.done():
                thread.jobs.put(job)
                return
        if self._is_stopped:
            thread.jobs.put(None)
        else:
            self._idle.insert(len(self._idle) if has_worked else 0, thread)

    def _idles(self, thread: _ReadyThread) -> None:
        thread.is_preparing = False
        thread.idle_rounds += 1
        if thread not in self._idle:
            return  # it was given work, or its end, meanwhile
        if self._waiting:  # for this one, too
            self._idle.remove(thread)
            self._free(thread)
        elif len(self._idle) > KEPT and thread.idle_rounds > MAX_IDLE_ROUNDS:
            self._idle.remove(thread)
            self._threads -= 1
            thread.jobs.put(None)

    def _serve(self, thread: _ReadyThread, loop: asyncio.AbstractEventLoop) -> None:
        """A thread's whole life."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._prepare_quietly()
            loop.call_soon_threadsafe(self._started, thread)
            while True:
                try:
                    job = thread.jobs.get(timeout=IDLE_SECONDS)
                except Empty:
                    if loop.is_closed():
                        break
                    thread.is_preparing = True
                    self._prepare_quietly()
                    loop.call_soon_threadsafe(self._idles, thread)
                    continue
                if job is None:
                    break
                result, error = _do(job.work)
                loop.call_soon_threadsafe(self._ended, thread, job, result, error)
                del job, result, error  # an idle thread keeps nothing alive
        self._leave()

    def _prepare_quietly(self) -> None:
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - a thread that died would leave its work undone
            log_event(log, LogEvent.THREAD_UNPREPARED, reason=error)


def _do(work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    try:
        return work(), None
    except StopIteration as error:  # a future refuses it
        return None, RuntimeError(f"StopIteration: {error}")
    except BaseException as error:  # noqa: BLE001 - handed to the task that waits
        return None, error
