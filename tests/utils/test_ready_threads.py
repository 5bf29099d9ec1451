"""Threads that are ready: the same one for what comes in turn, more for what comes at once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from utils import ready_threads
from utils.db_utils import execute_query, thread_connection
from utils.ready_threads import ReadyThreads


@pytest.fixture
async def threads() -> AsyncIterator[ReadyThreads]:
    """Three at most, without a database."""
    made = ReadyThreads("ready", 3, prepare=lambda: None, leave=lambda: None)
    yield made
    made.stop()


async def until(condition: Callable[[], object], seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def idents() -> set[int | None]:
    return {one.ident for one in threading.enumerate() if one.name.startswith("ready")}


def alive() -> int:
    return len(idents())


async def test_what_comes_in_turn_is_done_by_the_thread_that_worked_last(threads):
    at_once = threading.Barrier(3)
    await asyncio.gather(*(threads.run(lambda: at_once.wait(10)) for _ in range(3)))
    first = await threads.run(threading.get_ident)
    assert {await threads.run(threading.get_ident) for _ in range(20)} == {first}


async def test_who_is_started_meanwhile_does_not_go_before_the_one_that_worked():
    gate, second = threading.Event(), threading.Event()

    def prepare():
        if gate.is_set():
            second.wait(10)

    threads = ReadyThreads("two", 2, prepare=prepare, leave=lambda: None)
    threads.make_ready()
    await until(lambda: threads._idle)
    gate.set()
    first = await threads.run(threading.get_ident)  # another is started, to be ready meanwhile
    second.set()
    await until(lambda: len(threads._idle) == 2)
    assert await threads.run(threading.get_ident) == first
    threads.stop()


async def test_what_comes_at_once_is_done_at_once_up_to_the_bound_and_the_rest_as_it_came(threads):
    gate, begun = threading.Event(), []

    def work(number):
        begun.append(number)
        gate.wait(10)
        return number

    running = [asyncio.create_task(threads.run(lambda n=n: work(n))) for n in range(6)]
    await until(lambda: len(begun) == 3)
    assert alive() == 3
    gate.set()
    assert await asyncio.gather(*running) == list(range(6))
    assert sorted(begun[:3]) == [0, 1, 2]
    assert sorted(begun[3:]) == [3, 4, 5]


async def test_one_is_ready_before_it_is_asked_for_and_another_while_it_works():
    prepared = []
    threads = ReadyThreads(
        "ready", 3, prepare=lambda: prepared.append(threading.get_ident()), leave=lambda: None
    )
    threads.make_ready()
    await until(lambda: len(prepared) == 1)
    gate = threading.Event()
    slow = asyncio.create_task(threads.run(lambda: (gate.wait(10), threading.get_ident())))
    await until(lambda: len(prepared) == 2)
    assert await threads.run(threading.get_ident) == prepared[1]
    gate.set()
    assert (await slow)[1] == prepared[0]
    threads.stop()


async def test_an_error_reaches_who_waits_and_the_thread_goes_on(threads):
    def fail():
        raise KeyError("this one")

    for _ in range(3):
        with pytest.raises(KeyError, match="this one"):
            await threads.run(fail)
    with pytest.raises(RuntimeError, match="StopIteration"):
        await threads.run(lambda: next(iter(())))
    assert await threads.run(lambda: 5) == 5


async def test_a_thread_that_cannot_prepare_itself_works_all_the_same():
    def fail():
        raise OSError("the database is away")

    threads = ReadyThreads("ready", 1, prepare=fail, leave=lambda: None)
    assert await threads.run(lambda: 5) == 5
    threads.stop()


async def test_a_rehearsal_is_done_like_work_and_its_trouble_is_left_to_that():
    threads, seen = ReadyThreads("one", 1, prepare=lambda: None, leave=lambda: None), []

    def fail():
        seen.append(threading.get_ident())
        raise OSError("the exchange is away")

    await threads.rehearse(fail)
    assert seen == [await threads.run(threading.get_ident)]
    threads.stop()


async def test_who_is_canceled_ends_no_work_that_has_begun(threads):
    begun, gate, ended = threading.Event(), threading.Event(), threading.Event()

    def work():
        begun.set()
        gate.wait(10)
        ended.set()
        raise ValueError("nobody waits for this any more")

    task = asyncio.create_task(threads.run(work))
    await until(begun.is_set)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    gate.set()
    await until(ended.is_set)
    assert await asyncio.gather(*(threads.run(lambda: 1) for _ in range(9))) == [1] * 9


async def test_who_is_canceled_before_its_turn_begins_nothing(threads):
    gate, begun = threading.Event(), []
    busy = [asyncio.create_task(threads.run(lambda: gate.wait(10))) for _ in range(3)]
    waits = asyncio.create_task(threads.run(lambda: begun.append("canceled")))
    await asyncio.sleep(0)
    waits.cancel()
    later = asyncio.create_task(threads.run(lambda: begun.append("later")))
    gate.set()
    await asyncio.gather(*busy, later)
    assert begun == ["later"]


async def test_a_stop_ends_idle_threads_at_once_and_busy_ones_after_their_work():
    left, gate, done = [], threading.Event(), threading.Event()
    threads = ReadyThreads(
        "ready", 2, prepare=lambda: None, leave=lambda: left.append(threading.get_ident())
    )
    begun = threading.Barrier(3)
    slow = asyncio.create_task(threads.run(lambda: (begun.wait(10), gate.wait(10), done.set())))
    waits = asyncio.create_task(threads.run(lambda: (begun.wait(10), gate.wait(10))))
    await asyncio.to_thread(begun.wait, 10)
    never = asyncio.create_task(threads.run(lambda: left.append("never")))
    await asyncio.sleep(0)
    threads.stop()
    for task in (never, asyncio.create_task(threads.run(lambda: left.append("never")))):
        with pytest.raises(asyncio.CancelledError):
            await task
    assert not done.is_set()
    gate.set()
    await asyncio.gather(slow, waits)
    await until(lambda: len(left) == 2)
    await until(lambda: alive() == 0)
    assert "never" not in left


async def test_threads_that_only_a_burst_needed_end_again_but_for_one_and_its_next(
    threads, monkeypatch
):
    monkeypatch.setattr(ready_threads, "IDLE_SECONDS", 0.01)
    monkeypatch.setattr(ready_threads, "MAX_IDLE_ROUNDS", 2)
    at_once = threading.Barrier(3)
    await asyncio.gather(*(threads.run(lambda: at_once.wait(10)) for _ in range(3)))
    await until(lambda: [one.idle_rounds > 9 for one in threads._idle] == [True, True])
    await until(lambda: alive() == 2)
    kept = idents()
    assert await threads.run(threading.get_ident) in kept
    assert idents() == kept, "none is started beside work"
    at_once.reset()
    await asyncio.gather(*(threads.run(lambda: at_once.wait(10)) for _ in range(3)))


async def test_work_does_not_wait_for_one_that_prepares_itself_again_nor_is_that_one_forgotten(
    monkeypatch,
):
    monkeypatch.setattr(ready_threads, "IDLE_SECONDS", 0.01)
    is_slow, gate, again = threading.local(), threading.Event(), threading.Event()

    def prepare():
        if getattr(is_slow, "known", False):
            again.set()
            gate.wait(10)
        is_slow.known = True

    threads = ReadyThreads("ready", 2, prepare=prepare, leave=lambda: None)
    threads.make_ready()
    await until(again.is_set)
    assert await threads.run(lambda: 5) == 5, "another one was started"
    at_once = threading.Barrier(2)
    both = [asyncio.create_task(threads.run(lambda: at_once.wait(10))) for _ in range(2)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*both)
    threads.stop()


async def test_work_waits_for_no_line_that_died_silently_however_many_threads_hang_on_theirs(
    monkeypatch,
):
    """A router that forgets one idle line forgets those beside it as well."""
    monkeypatch.setattr(ready_threads, "IDLE_SECONDS", 0.01)
    gate, known, hung = threading.Event(), threading.local(), []

    def prepare():
        if getattr(known, "is_open", False):
            hung.append(1)
            gate.wait(30)
        known.is_open = True

    threads = ReadyThreads("ready", 4, prepare=prepare, leave=lambda: None)
    at_once = threading.Barrier(2)
    await asyncio.gather(*(threads.run(lambda: at_once.wait(10)) for _ in range(2)))
    await until(lambda: len(hung) == alive() > 1)
    assert await asyncio.wait_for(threads.run(lambda: 5), 10) == 5
    gate.set()
    threads.stop()


async def test_a_thread_without_work_keeps_its_connection_open(db_conn, monkeypatch):
    monkeypatch.setattr(ready_threads, "IDLE_SECONDS", 0.05)
    threads = ReadyThreads("ready", 1)

    def session():
        return execute_query("SELECT CONNECTION_ID() AS id", fetch_one=True)["id"]

    def newest():
        query = (
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE()"
            " AND id <> CONNECTION_ID() ORDER BY id DESC LIMIT 1"
        )
        row = execute_query(query, fetch_one=True, db_conn=db_conn)
        return row["id"] if row else None

    first = await threads.run(session)
    execute_query(f"KILL {first}", db_conn=db_conn)
    await until(lambda: newest() not in (first, None))
    assert newest() == await threads.run(session), "opened again before it was needed"
    assert await threads.run(lambda: thread_connection().is_connected())
    threads.stop()
    await until(lambda: newest() is None)
