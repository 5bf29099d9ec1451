"""Waiting for an event within a bound, and being canceled while waiting."""

from __future__ import annotations

import asyncio

import pytest

from utils.waiting import wait_for_event


async def test_it_returns_when_the_event_is_set_and_when_the_time_is_over():
    event = asyncio.Event()
    await asyncio.wait_for(wait_for_event(event, 0.01), 30)
    event.set()
    await asyncio.wait_for(wait_for_event(event, 60), 30)


@pytest.mark.parametrize("turns", range(5))
async def test_a_cancellation_that_comes_as_the_event_is_set_is_not_lost(turns):
    """Or a task of the daemon would go on for ever, and the daemon would not end."""
    event = asyncio.Event()

    async def work_for_ever() -> None:
        while True:
            event.clear()
            await wait_for_event(event, 60)

    task = asyncio.create_task(work_for_ever())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task], timeout=30)
    is_lost = not task.done()
    task.cancel()
    assert not is_lost
