"""The peaks of take profits that trail and are not saved yet, and how they are saved.

The bot saves what has risen once a second: a kill loses a second of a peak at most, and no quote
waits for the database. The statement never lowers a peak, and writes nothing where the row moved
on: what a peak is of, the row decides.
"""

from __future__ import annotations

import asyncio
from decimal import Decimal

from domain.cycle import DcaCycle
from models.cycle_data import forget_trailing_peak, save_trailing_peak
from trading.exit_watch import ExitWatch
from utils.db_utils import DatabaseError, thread_connection

SAVE_SECONDS = 1.0  # between two
# By the cycle's id. None: the peak that its row has is none any more.
Peaks = dict[int, tuple[DcaCycle, Decimal | None]]


class RisenPeaks:
    """Of all symbols; used in the event loop only."""

    def __init__(self) -> None:
        self._peaks: Peaks = {}
        self.waits = asyncio.Event()  # one to be saved

    def note(self, watch: ExitWatch) -> None:
        """Its peak has risen."""
        if (peak := watch.track.peak) is not None:
            cycle = watch.state.cycle
            self._peaks[cycle.id] = cycle, peak
            self.waits.set()

    def forget(self, cycle: DcaCycle) -> None:
        """Its peak is none any more, neither the one that its row has nor a higher one."""
        self._peaks[cycle.id] = cycle, None
        self.waits.set()

    def take(self) -> Peaks:
        """All of them, to be saved now."""
        peaks, self._peaks = self._peaks, {}
        self.waits.clear()
        return peaks

    def put_back(self, peaks: Peaks) -> None:
        """They could not be saved; what has risen meanwhile counts before them."""
        self._peaks = peaks | self._peaks
        self.waits.set()


def save_peaks(peaks: Peaks) -> None:
    """Blocking.

    Raises:
        DatabaseError: some were not saved; saving them again changes nothing.
    """
    connection, failure = thread_connection(), None
    for cycle, peak in peaks.values():
        try:
            if peak is None:
                forget_trailing_peak(connection, cycle)
            else:
                save_trailing_peak(connection, cycle, peak)
        except DatabaseError as error:  # a row that somebody locks keeps no other from being saved
            failure = error
    if failure is not None:
        raise failure
