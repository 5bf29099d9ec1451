"""The dump guard: while the market as a whole falls, nothing is bought for DUMP_PAUSE_MINUTES.

Owns: the pause, kept in dca_meta so that a restart does not end it, its alert, and the timer that
samples the newest quotes once a second: a quote itself costs nothing. What a dump is, is decided in
strategy/dump.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from mysql.connector.abstracts import MySQLConnectionAbstract

from config import Settings
from domain.events import Event, EventKind, Severity
from models.events import append_event, end_alert, get_open_alerts, was_written
from models.meta import get_meta, put_meta
from strategy.dump import DumpDetector, Falls, Sample, compute_pause_end
from trading.cycle_changes import announce
from trading.quote_watch import SymbolWatch
from utils.db_utils import DatabaseError, thread_connection, transaction
from utils.formatting import clock
from utils.log_events import LogEvent, log_event

log = logging.getLogger(__name__)

SETTING = "DUMP_PAUSE_PERCENT"
SAMPLE_SECONDS = 1.0
NAMED_ASSETS = 5  # in the alert
_META = "dump_pause_until"


def utc_now() -> datetime:
    return datetime.now(UTC)


def load_pause_end(
    db_conn: MySQLConnectionAbstract, settings: Settings, now: Callable[[], datetime] = utc_now
) -> datetime | None:
    """When the pause ends that the database knows of, or ended; None: none, or the guard is off."""
    text = get_meta(db_conn, _META) if settings.dump_pause_percent is not None else None
    try:
        until = datetime.fromisoformat(text) if text else None
    except ValueError:  # written by hand
        return None
    if until is None or until.tzinfo is None:
        return None
    # A clock that was set, or a shorter pause in .env, makes none longer than it can be.
    return min(until, compute_pause_end(now(), settings.dump_pause_minutes))


class DumpPause:
    """Of one account. Thread-safe: workers ask, the timer begins and ends it."""

    def __init__(self, settings: Settings, now: Callable[[], datetime] = utc_now) -> None:
        self._settings, self.now = settings, now
        self.is_set = settings.dump_pause_percent is not None
        self._lock = threading.Lock()
        self._is_loaded = not self.is_set
        self._until: datetime | None = None
        self._reason = ""
        self._is_saved = True

    @property
    def until(self) -> datetime | None:
        return self._until

    def why_no_buys(self, now: datetime) -> str | None:
        """Why nothing is bought now, as far as is known without asking the database."""
        self._bound(now)
        until = self._until
        if until is None or now >= until:
            return None
        return f"the market fell ({SETTING}): no buys until {clock(until)} UTC; sells go on"

    def _bound(self, now: datetime) -> None:
        """A clock that was set back makes it no longer than it can be."""
        latest = compute_pause_end(now, self._settings.dump_pause_minutes)
        with self._lock:
            if self._until is not None and self._until > latest:
                self._until, self._is_saved = latest, False

    def load(self) -> None:
        """Learn of the pause that a daemon before this one began; once. Blocking.

        Raises:
            DatabaseError: it is not known whether there is one: no buys.
        """
        if self._is_loaded:
            return
        until, now = load_pause_end(thread_connection(), self._settings, self.now), self.now()
        with self._lock:
            if self._is_loaded:
                return
            self._is_loaded = True
            self._is_saved = until is None and self._until is None  # its alert may be open
            known = [one for one in (until, self._until) if one is not None and one > now]
            self._until = max(known, default=None)

    def begin(self, falls: Falls, now: datetime) -> None:
        """No buys from now on; a pause that is under way becomes longer."""
        minutes = self._settings.dump_pause_minutes
        symbols = [f"{one} {falls.percents[one]:.1f} %" for one in falls.fallen[:NAMED_ASSETS]]
        with self._lock:
            self._until = compute_pause_end(now, minutes)
            self._reason = (
                f"{len(falls.fallen)} of {len(falls.percents)} watched assets fell by"
                f" {falls.limit_percent:g} % or more within five minutes ({', '.join(symbols)}):"
                f" no buys for {minutes.normalize():f} minutes; sells go on"
            )
            self._is_saved = False

    def needs_saving(self, now: datetime) -> bool:
        """Whether the database does not know yet that it began, or that it is over."""
        self._bound(now)
        with self._lock:
            if self._until is not None and now >= self._until:
                self._until, self._is_saved = None, False
            return not self._is_saved

    def save(self) -> None:
        """Write its end, and its alert: one row when it begins, one when it is over. Blocking.

        Raises:
            DatabaseError: nothing was written.
        """
        self.load()
        with self._lock:
            if self._is_saved:
                return
            until, reason = self._until, self._reason
        event = Event(
            kind=EventKind.BUYS_STOPPED,
            severity=Severity.ERROR,
            reason=reason or "the market fell before the daemon started; no buys, sells go on",
            dedupe_key=SETTING,
        )

        def work(connection: MySQLConnectionAbstract) -> bool:
            put_meta(connection, _META, until.isoformat() if until else "")
            if until is None:
                end_alerts_of(connection, SETTING, "the pause after the fall of the market is over")
                return False
            if is_new := not was_written(connection, event):
                append_event(connection, event)
            return is_new

        if transaction(work):
            announce((event,))
        with self._lock:
            self._is_saved = self._until == until


def end_alerts_of(connection: MySQLConnectionAbstract, setting: str, reason: str) -> None:
    """The alert of this limit is over, if it is open."""
    for alert in get_open_alerts(connection):
        if alert.kind == EventKind.BUYS_STOPPED and alert.dedupe_key == setting:
            end_alert(connection, alert, reason)


class DumpGuard:
    """Watches the newest quotes of all assets. Used in the event loop.

    `quoted_at`: when the newest quote of a watch came, in seconds of the clock of `sample`.

    Args:
        watches: of every asset, by symbol.
    """

    def __init__(
        self, settings: Settings, pause: DumpPause, watches: Mapping[str, SymbolWatch]
    ) -> None:
        self._pause, self._watches = pause, watches
        self.quoted_at: Callable[[SymbolWatch], float] = lambda watch: watch.received_at
        percent = settings.dump_pause_percent
        self._detector = None if percent is None else DumpDetector(percent)
        self._threads = ThreadPoolExecutor(1, thread_name_prefix="bot-dumps")
        self._saving: asyncio.Future[None] | None = None
        self._is_failing = False

    @property
    def falls(self) -> Falls | None:
        """What the last sample said; None where the guard is off."""
        return None if self._detector is None else self._detector.falls

    def sample(self, now: float) -> None:
        """Look at the newest quotes; `now` is monotonic seconds, but for who plays a recording."""
        if self._detector is None:
            return
        samples = [
            Sample(symbol=watch.symbol, bid=watch.bid, quoted_at=self.quoted_at(watch))
            for watch in self._watches.values()
            if watch.state is not None and watch.newest is not None
        ]
        falls = self._detector.see(samples, now)
        if falls.is_dump:
            self._pause.begin(falls, self._pause.now())
            self._detector.forget()  # each fall counts once

    async def run(self) -> None:
        """Never ends. What is written does not hold up the samples."""
        if self._detector is None:
            await asyncio.Event().wait()
        loop = asyncio.get_running_loop()
        awake_at = loop.time()
        # What a daemon before this one left may be over by now.
        self._saving = loop.run_in_executor(self._threads, self._save)
        while True:
            wall, monotonic = time.time(), time.monotonic()
            self.sample(monotonic)
            is_free = self._saving is None or self._saving.done()
            if is_free and self._pause.needs_saving(self._pause.now()):
                self._saving = loop.run_in_executor(self._threads, self._save)
            awake_at = max(awake_at + SAMPLE_SECONDS, loop.time())
            await asyncio.sleep(awake_at - loop.time())
            # A machine that slept: the monotonic clock stood still meanwhile.
            passed = (time.time() - wall) - (time.monotonic() - monotonic)
            if self._detector is not None and abs(passed) > SAMPLE_SECONDS * 5:
                self._detector.forget()

    def stop(self) -> None:
        """No more is written; the next start finds what the database knows."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _save(self) -> None:
        try:
            self._pause.save()
        except DatabaseError as error:  # the pause is in effect all the same; the next second tries
            if not self._is_failing:
                log_event(log, LogEvent.PAUSE_UNSAVED, reason=error)
            self._is_failing = True
        else:
            self._is_failing = False
