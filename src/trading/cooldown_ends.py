"""The end of a cooldown: written once, whoever finds that it is over first.

Owns: the one change that the daemon and cooldown_manager make, and the daemon's timer for it. The
timer waits for the earliest end that the refresh has read: it reads nothing, and asks nobody.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from mysql.connector.abstracts import MySQLConnectionAbstract

from domain.trading_state import TradingState
from models.cycle_data import lock_cycle
from models.trading_state import load_cooldown
from strategy.cooldown import cooldown_left, is_cooldown_over
from strategy.repairs import compute_cooldown_over_change
from trading.cycle_changes import write_change
from utils.db_utils import DatabaseError, DatabaseUnavailable, transaction
from utils.log_events import LogEvent, log_event
from utils.waiting import wait_for_event

log = logging.getLogger(__name__)

RETRY_SECONDS = 5.0
MAX_WAIT_SECONDS = 3600.0  # each refresh wakes the timer anyway


def end_cooldown(cooldown: TradingState, now: datetime, source: str) -> bool:
    """Put the cycle back to `watching` if its row is as it was read and its cooldown still is over.

    Raises:
        DatabaseError: nothing was written.
    """

    def work(connection: MySQLConnectionAbstract) -> bool:
        if lock_cycle(connection, cooldown.cycle.id) != cooldown.cycle:
            return False
        fresh = load_cooldown(connection, cooldown.cycle.id)
        if fresh is None or not is_cooldown_over(fresh, now):
            return False
        write_change(connection, fresh.cycle, compute_cooldown_over_change(fresh.cycle))
        return True

    ended = transaction(work)
    if ended:
        log_event(
            log,
            LogEvent.CYCLE_CHANGED,
            symbol=cooldown.asset.asset_symbol,
            cycle=cooldown.cycle.id,
            status="cooldown>watching",
            source=source,
        )
    return ended


class CooldownTimer:
    """Ends each cooldown at the second it is over. Used in the event loop.

    Args:
        cooldowns: what the refresh read last of the assets that cool down, by symbol.
        on_end: called with a symbol whose state in `cooldowns` is old now.
    """

    def __init__(
        self, cooldowns: Mapping[str, TradingState], on_end: Callable[[str], None]
    ) -> None:
        self._cooldowns, self._on_end = cooldowns, on_end
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bot-cooldowns")
        self._is_failing = False
        self.states_read = asyncio.Event()  # set it when `cooldowns` may have changed

    async def run(self) -> None:
        """Never ends. The clock may be set: each refresh, every few seconds, asks it anew."""
        while True:
            self.states_read.clear()
            now = datetime.now(UTC)
            over = [one for one in self._cooldowns.values() if is_cooldown_over(one, now)]
            if not await self._end(over):
                await asyncio.sleep(RETRY_SECONDS)
                continue
            # One that is over and still there is read again: that wakes us.
            left = [cooldown_left(one, now) for one in self._cooldowns.values() if one not in over]
            seconds = min((one.total_seconds() for one in left if one), default=MAX_WAIT_SECONDS)
            await wait_for_event(self.states_read, min(max(seconds, 0.0), MAX_WAIT_SECONDS))

    async def _end(self, over: Iterable[TradingState]) -> bool:
        """Whether the database could be asked about all of them. One whose row is held by another
        keeps no other waiting for the next try.
        """
        trouble: DatabaseError | None = None
        loop = asyncio.get_running_loop()
        for cooldown in over:
            try:
                await loop.run_in_executor(
                    self._thread, end_cooldown, cooldown, datetime.now(UTC), "daemon"
                )
            except DatabaseError as error:
                trouble = error
                if isinstance(error, DatabaseUnavailable):
                    break
            else:
                self._on_end(cooldown.asset.asset_symbol)
        if trouble is not None and not self._is_failing:
            log_event(log, LogEvent.COOLDOWN_POSTPONED, reason=trouble)
        self._is_failing = trouble is not None
        return trouble is None
