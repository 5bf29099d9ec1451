"""The process that holds the history for the page: `python -P -m web.tryout_process`.

Reads one JSON request a line from standard input, answers each on standard output: a line with its
number, its status and the length of what follows. Of one viewer only the newest try counts: an
older one is left at once, wherever it is. It ends with the program that started it, and lets
everything else of this machine go first.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from operations.refused import Refused
from research.errors import HistoryError
from web.candle_rows import MAX_CANDLES
from web.past_candles import newest_candles
from web.tryout import Tryouts
from web.tryout_input import (
    CANDLES,
    DESCRIBE,
    DROP,
    FAILED,
    OK,
    REFUSED,
    SUPERSEDED,
    TRY,
    Range,
    read_range,
    read_settings,
)

NICENESS = 10
REST_SECONDS = 1.0  # without a request: time to tidy up
EASILY_KILLED = 500  # of 1000: before the daemon, where memory runs out
_DROP_SIGNAL = signal.SIGUSR1


class _Dropped(Exception):
    """Nobody waits for this answer any more."""


@dataclass(slots=True, eq=False)
class _Job:
    request: Mapping[str, Any]
    is_dropped: bool = False

    @property
    def number(self) -> int:
        return int(self.request["number"])

    def replaces(self, other: _Job) -> bool:
        """Whether nobody waits for the other one any more."""
        asked, before = self.request, other.request
        if asked["what"] == DROP:
            return bool(asked["which"] == other.number)
        is_try = asked["what"] == before["what"] == TRY
        return is_try and bool(asked["viewer"] == before["viewer"])


class Worker:
    """Answers one request after another; another thread reads what comes meanwhile."""

    def __init__(self, tryouts: Tryouts, requests: BinaryIO, answers: BinaryIO) -> None:
        self._tryouts, self._requests, self._answers = tryouts, requests, answers
        self._waiting: deque[_Job] = deque()
        self._current: _Job | None = None
        self._changed = threading.Condition()

    def run(self) -> None:
        """For as long as somebody may ask. In the main thread: that is where signals arrive."""
        signal.signal(_DROP_SIGNAL, self._on_drop)
        threading.Thread(target=self._read, name="requests", daemon=True).start()
        while True:
            with self._changed:
                if not self._changed.wait_for(lambda: self._waiting, REST_SECONDS):
                    gc.collect()  # neither within a try nor while the next one waits
                    self._changed.wait_for(lambda: self._waiting)
                job = self._waiting.popleft()
            self._answer(job)

    # The thread that reads

    def _read(self) -> None:
        for line in self._requests:
            job = _Job(json.loads(line))
            with self._changed:
                for other in (*self._waiting, self._current):
                    if other is not None and job.replaces(other):
                        self._drop(other)
                if job.request["what"] != DROP:
                    self._waiting.append(job)
                    self._changed.notify()
        os._exit(0)  # whoever asked is gone

    def _drop(self, job: _Job) -> None:
        job.is_dropped = True
        if job is self._current:
            _thread.interrupt_main(_DROP_SIGNAL)

    # The main thread

    def _on_drop(self, *_: object) -> None:
        if self._current is not None and self._current.is_dropped:
            raise _Dropped

    def _answer(self, job: _Job) -> None:
        status, found = SUPERSEDED, b""
        try:
            with contextlib.suppress(_Dropped):
                self._current = job
                if not job.is_dropped:
                    status, found = self._work(job.request)
                self._current = None
        finally:
            self._current = None
        if job.is_dropped:
            status, found = SUPERSEDED, b""
        head = {"number": job.number, "status": status, "size": len(found)}
        self._answers.write(json.dumps(head).encode() + b"\n" + found)
        self._answers.flush()

    def _work(self, request: Mapping[str, Any]) -> tuple[int, bytes]:
        begun = time.perf_counter()
        try:
            found = self._find(request)
        except (Refused, HistoryError) as error:
            return REFUSED, str(error).encode()
        except _Dropped:
            raise
        except Exception as error:  # noqa: BLE001 - the next request is another one
            return FAILED, f"{type(error).__name__}: {error}".encode()
        found["milliseconds"] = round((time.perf_counter() - begun) * 1e3, 1)
        return OK, json.dumps(found, separators=(",", ":")).encode()

    def _find(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request["what"]:
            case _ if request["what"] == TRY:
                where = read_range(request["symbol"], request["since"], request["until"])
                return self._tryouts.try_settings(where, request["today"], request["settings"])
            case _ if request["what"] == DESCRIBE:
                where = Range(symbol=request["symbol"])
                return self._tryouts.describe(where, request["today"])
            case _ if request["what"] == CANDLES:
                return self._candles(request["symbol"], **request["wanted"])
        raise Refused(f"{request['what']} is nothing that can be asked")

    def _candles(self, symbol: str, seconds: int, first: int, last: int) -> dict[str, Any]:
        """Those of the history; `begins` and `ends`: of all that there is of it, None: nothing. A
        damaged file is no reason for a chart without prices: they come from the exchange.
        """
        found: dict[str, Any] = {"candles": [], "begins": None, "ends": None, "trouble": None}
        try:
            if (span := self._tryouts.past.span_of_bars(symbol)) is None:
                return found
            bars, since = None, max(first, last - seconds * (MAX_CANDLES + 1))
            if since < span[1]:
                bounds = (datetime.fromtimestamp(one, UTC) for one in (since, last))
                bars = self._tryouts.past.load_bars(symbol, *bounds)
        except HistoryError as error:
            return found | {"trouble": str(error)}
        candles = newest_candles(bars, seconds=seconds, first=first, last=last)
        return found | {"candles": candles, "begins": span[0], "ends": span[1]}


def _stand_back() -> None:
    """Nothing here may slow down the daemon, or outlive it where memory is short."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(EASILY_KILLED), "ascii")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which the page ends by
    _stand_back()
    gc.disable()  # see Worker.run
    tryouts = Tryouts(read_settings(sys.argv[1]))
    Worker(tryouts, sys.stdin.buffer, sys.stdout.buffer).run()


if __name__ == "__main__":
    main()
