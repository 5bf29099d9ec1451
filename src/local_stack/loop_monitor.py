"""Runs the daemon with a watch on its event loop, and writes what it saw as JSON: for benchmarks.

    python -m local_stack.loop_monitor --out FILE src/main_app.py

The daemon itself knows nothing of it. A timer of the loop is due every few milliseconds; how late
it comes is how long the loop was held up, by its own callbacks, by the GIL, or by a machine that
gave the core to others (`core_wait_ms`, the kernel's own count for the loop's thread). FILE is
replaced every second: `start` counts until the daemon trades and both streams are connected, `run`
from then on.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import runpy
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from config import get_settings
from runtime.heartbeat import load_heartbeat

TICK_SECONDS = 0.002
REPORT_SECONDS = 1.0
BUCKET_MS = 0.1
BUCKETS = 5000  # up to half a second; what is longer counts in the last one
MAX_LONGEST = 20
SAMPLE_SECONDS = 0.001


class Pauses:
    """How late the ticks of one phase came, in constant memory."""

    def __init__(self) -> None:
        self._counts, self._own_counts = [0] * BUCKETS, [0] * BUCKETS
        self._began_at = time.monotonic()
        self._longest: list[tuple[float, float, float, str]] = []
        self._longest_own_ms = 0.0

    def add(self, late_ms: float, core_wait_ms: float, doing: str) -> None:
        """Count one tick."""
        own_ms = max(0.0, late_ms - core_wait_ms)
        self._counts[min(BUCKETS - 1, int(late_ms / BUCKET_MS))] += 1
        self._own_counts[min(BUCKETS - 1, int(own_ms / BUCKET_MS))] += 1
        self._longest_own_ms = max(self._longest_own_ms, own_ms)
        if len(self._longest) < MAX_LONGEST or late_ms > self._longest[-1][0]:
            found = (late_ms, core_wait_ms, time.monotonic() - self._began_at, doing)
            # A new list each time: another thread reads it.
            self._longest = sorted([*self._longest, found], reverse=True)[:MAX_LONGEST]

    def as_json(self) -> dict[str, Any]:
        """Milliseconds. `own_`: without what the thread waited for a core that others had."""
        return {
            "seconds": round(time.monotonic() - self._began_at, 1),
            "ticks": sum(self._counts),
            "longest_ms": round(self._longest[0][0], 2) if self._longest else 0.0,
            "own_longest_ms": round(self._longest_own_ms, 2),
            **_summary(self._counts, ""),
            **_summary(self._own_counts, "own_"),
            "longest": [
                {
                    "ms": round(ms, 2),
                    "core_wait_ms": round(core_wait_ms, 2),
                    "at_seconds": round(at_seconds, 2),
                    "doing": doing,
                }
                for ms, core_wait_ms, at_seconds, doing in self._longest
            ],
        }


def _summary(counts: list[int], prefix: str) -> dict[str, float]:
    """Percentiles of a tick's lateness, and how many were late by more than 5 and 10 ms."""
    found: dict[str, float] = {}
    ticks = sum(counts)
    for share in (50, 99, 99.9, 99.99):
        seen, number = 0, -1
        while seen < ticks * share / 100:
            number += 1
            seen += counts[number]
        found[f"{prefix}p{share:g}_ms"] = round((number + 1) * BUCKET_MS, 1)
    for ms in (5, 10):
        found[f"{prefix}over_{ms}_ms"] = sum(counts[int(ms / BUCKET_MS) :])
    return found


class Collections:
    """How often the garbage collector ran in each generation, and its longest stop."""

    def __init__(self) -> None:
        self._began_at = 0.0
        self.clear()
        gc.callbacks.append(self._note)

    def clear(self) -> None:
        """From here on another phase."""
        self._counts, self._longest = [0, 0, 0], [0.0, 0.0, 0.0]

    def _note(self, phase: str, about: dict[str, int]) -> None:
        if phase == "start":
            self._began_at = time.perf_counter()
            return
        generation, seconds = about["generation"], time.perf_counter() - self._began_at
        self._counts[generation] += 1
        self._longest[generation] = max(self._longest[generation], seconds)

    def as_json(self) -> dict[str, list[float]]:
        """By generation."""
        longest_ms = [round(seconds * 1000, 2) for seconds in self._longest]
        return {"collections": list(self._counts), "longest_ms": longest_ms}


class LoopMonitor:
    """Ticks in the running loop. `stack_ms`: a loop that is later than that has its stack noted."""

    def __init__(self, out: Path, stack_ms: float | None) -> None:
        self._out = out
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._phases = {"start": Pauses()}
        self._collections = Collections()
        self._phase = self._phases["start"]
        self._due = self._loop.time() + TICK_SECONDS
        self._core_wait_ms = self._read_core_wait_ms()
        self._doing = ""
        self._loop.call_at(self._due, self._tick)
        self._start(self._report)
        if stack_ms is not None:
            self._start(self._sample, stack_ms / 1000)

    def _start(self, work: Callable[..., None], *arguments: float) -> None:
        threading.Thread(target=work, args=arguments, name="loop-monitor", daemon=True).start()

    def _tick(self) -> None:
        now, core_wait_ms = self._loop.time(), self._read_core_wait_ms()
        self._phase.add((now - self._due) * 1000, core_wait_ms - self._core_wait_ms, self._doing)
        self._core_wait_ms, self._doing = core_wait_ms, ""
        self._due = now + TICK_SECONDS
        self._loop.call_at(self._due, self._tick)

    def _read_core_wait_ms(self) -> float:
        """How long the loop's thread was ready and had no core, since it began."""
        return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e6

    def _sample(self, stack_seconds: float) -> None:
        while True:
            time.sleep(SAMPLE_SECONDS)  # its only purpose: to look now and then
            if self._loop.time() - self._due > stack_seconds and not self._doing:
                frames = sys._current_frames()
                stacks = [traceback.extract_stack(frames.pop(self._thread_id))[-4:]]
                stacks += [traceback.extract_stack(frame)[-3:] for frame in frames.values()]
                self._doing = " || ".join(
                    " > ".join(f"{Path(at.filename).name}:{at.lineno}:{at.name}" for at in stack)
                    for stack in stacks
                )

    def _report(self) -> None:
        """In a thread of its own: neither the sums nor a slow disk are a pause of the loop."""
        while True:
            time.sleep(REPORT_SECONDS)
            if "run" not in self._phases and _is_trading():
                self._phases["run"] = Pauses()
                self._phase = self._phases["run"]
                self._collections.clear()
            found = {name: phase.as_json() for name, phase in self._phases.items()}
            found |= {"gc": self._collections.as_json(), "process": read_process()}
            half = self._out.with_name(f"{self._out.name}.part")
            half.write_text(json.dumps(found), "utf-8")
            half.replace(self._out)


def _is_trading() -> bool:
    beat = load_heartbeat(get_settings().run_dir)
    return (
        beat is not None
        and (beat.pid, beat.state) == (os.getpid(), "trading")
        and beat.data_stream_connected
        and beat.trade_stream_connected
    )


def read_process() -> dict[str, int]:
    """What this process holds: memory in kB, threads, handles, TCP and UNIX connections."""
    status = Path("/proc/self/status").read_text("ascii")
    values = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    targets = []
    for handle in Path("/proc/self/fd").iterdir():
        try:
            targets.append(os.readlink(handle))
        except OSError:  # closed meanwhile: the folder's own
            continue
    return {
        "rss_kb": int(values["VmRSS"].split()[0]),
        "anonymous_kb": int(values["RssAnon"].split()[0]),
        "threads": int(values["Threads"]),
        "handles": len(targets),
        "connections": sum(target.startswith("socket:") for target in targets),
    }


class WatchedLoops(asyncio.DefaultEventLoopPolicy):
    """Each loop that the program makes is watched from its first turn on."""

    def __init__(self, out: Path, stack_ms: float | None) -> None:
        super().__init__()
        self._out = out
        self._stack_ms = stack_ms

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        loop = super().new_event_loop()
        loop.call_soon(self._watch)
        return loop

    def _watch(self) -> None:
        LoopMonitor(self._out, self._stack_ms)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the daemon to its end, as `python PROGRAM` would."""
    parser = argparse.ArgumentParser(prog="python -m local_stack.loop_monitor", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the JSON file")
    add("--stack-ms", type=float, help="note what ran when a tick is later than this")
    add("program", help="src/main_app.py, by which the watchdog knows a daemon")
    options = parser.parse_args(arguments)
    asyncio.set_event_loop_policy(WatchedLoops(options.out, options.stack_ms))
    sys.argv = [options.program]
    runpy.run_path(options.program, run_name="__main__")


if __name__ == "__main__":
    main()
