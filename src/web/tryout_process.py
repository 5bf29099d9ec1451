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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, BinaryIO

from operations.refused import Refused
from research.errors import HistoryError
from web.past_candles import MAX_CANDLES, newest_candles
from web.tryout import Range, TrySettings, Tryouts, read_range

TRY, DESCRIBE, CANDLES, DROP = "try", "describe", "candles", "drop"
OK, REFUSED, SUPERSEDED, FAILED = 200, 400, 409, 500
NICENESS = 10
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

    @property
    def slot(self) -> tuple[Any, Any]:
        """Two of one slot: the newer one counts. (What is no try has one of its own.)"""
        what = self.request["what"]
        return what, self.request.get("viewer") if what == TRY else self.number


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
                while not self._waiting:
                    self._changed.wait()
                job = self._waiting.popleft()
            self._answer(job)
            gc.collect()  # never within a try

    # The thread that reads

    def _read(self) -> None:
        for line in self._requests:
            job = _Job(json.loads(line))
            with self._changed:
                if job.request["what"] == DROP:
                    self._drop(lambda other, wanted=job.request["which"]: other.number == wanted)
                    continue
                self._drop(lambda other, slot=job.slot: other.slot == slot)
                self._waiting.append(job)
                self._changed.notify()
        os._exit(0)  # whoever asked is gone

    def _drop(self, is_meant: Callable[[_Job], bool]) -> None:
        for job in self._waiting:
            job.is_dropped = job.is_dropped or is_meant(job)
        current = self._current
        if current is not None and is_meant(current):
            current.is_dropped = True
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
        except Exception as error:  # the next request is another one
            return FAILED, f"{type(error).__name__}: {error}".encode()
        found["milliseconds"] = round((time.perf_counter() - begun) * 1e3, 1)
        return OK, json.dumps(found, separators=(",", ":")).encode()

    def _find(self, request: Mapping[str, Any]) -> dict[str, Any]:
        match request["what"]:
            case "try":
                where = read_range(request["symbol"], request["since"], request["until"])
                return self._tryouts.try_settings(where, request["today"], request["settings"])
            case "describe":
                where = Range(symbol=request["symbol"])
                return self._tryouts.describe(where, request["today"])
            case "candles":
                return self._candles(request["symbol"], **request["wanted"])
        raise Refused(f"{request['what']} is nothing that can be asked")

    def _candles(self, symbol: str, seconds: int, first: int, last: int) -> dict[str, Any]:
        """Those of the history; `begins` and `ends`: of all that there is of it, None: nothing."""
        span = self._tryouts.span_of_bars(symbol)
        since = max(first, last - seconds * (MAX_CANDLES + 1))
        bars = None
        if span is not None and since < span[1]:
            bounds = (datetime.fromtimestamp(one, UTC) for one in (since, last))
            bars = self._tryouts.load_bars(symbol, *bounds)
        found = newest_candles(bars, seconds=seconds, first=first, last=last)
        begins, ends = span or (None, None)
        return {"candles": found, "begins": begins, "ends": ends}


def settings_text(settings: Any) -> str:
    """What of the settings the process needs, for its command line."""
    return json.dumps({one.name: str(getattr(settings, one.name)) for one in fields(TrySettings)})


def _read_settings(text: str) -> TrySettings:
    found = json.loads(text)
    kinds = {"history_dir": Path}
    return TrySettings(**{name: kinds.get(name, Decimal)(each) for name, each in found.items()})


def _stand_back() -> None:
    """Nothing here may slow down the daemon, or outlive it where memory is short."""
    os.nice(NICENESS)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(EASILY_KILLED), "ascii")


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's, which the page ends by
    _stand_back()
    gc.disable()  # see Worker.run
    tryouts = Tryouts(_read_settings(sys.argv[1]))
    Worker(tryouts, sys.stdin.buffer, sys.stdout.buffer).run()


if __name__ == "__main__":
    main()
