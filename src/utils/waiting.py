"""Waiting in the event loop for a condition, within a bound."""

from __future__ import annotations

import asyncio
import contextlib


async def wait_for_event(event: asyncio.Event, seconds: float) -> None:
    """Return when `event` is set or `seconds` have passed."""
    # Not wait_for: in Python 3.11 it swallows a cancellation that comes as the event is set, and
    # the task that was to end goes on for ever.
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
