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
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import main_app

TICK_SECONDS = 0.002
REPORT_SECONDS = 1.0
BUCKET_MS = 0.1
BUCKETS = 5000  # up to half a second; what is longer counts in the last one
MAX_LONGEST = 20
SAMPLE_SECONDS = 0.001


class Pauses:
    """How late the ticks of one phase came, in constant memory."""

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS
        self._ticks = 0
        self._began_at = time.monotonic()
        self.longest: list[dict[str, Any]] = []

    def add(self, late_seconds: float, core_wait_ms: float, doing: str) -> None:
        """Count one tick."""
        late_ms = late_seconds * 1000
        self._counts[min(BUCKETS - 1, int(late_ms / BUCKET_MS))] += 1
        self._ticks += 1
        if len(self.longest) == MAX_LONGEST and late_ms <= self.longest[-1]["ms"]:
            return
        self.longest.append(
            {
                "ms": round(late_ms, 2),
                "core_wait_ms": round(core_wait_ms, 2),
                "at_seconds": round(time.monotonic() - self._began_at, 2),
                "doing": doing,
            }
        )
        self.longest.sort(key=lambda pause: pause["ms"], reverse=True)
        del self.longest[MAX_LONGEST:]

    def as_json(self) -> dict[str, Any]:
        """Percentiles in milliseconds (of a tick's lateness), and the longest pauses."""
        own = [pause["ms"] - pause["core_wait_ms"] for pause in self.longest]
        return {
            "seconds": round(time.monotonic() - self._began_at, 1),
            "ticks": self._ticks,
            "longest_ms": self.longest[0]["ms"] if self.longest else 0.0,
            "longest_without_core_wait_ms": round(max(own, default=0.0), 2),
            **{f"p{share:g}_ms": self._percentile(share) for share in (50, 99, 99.9, 99.99)},
            "over_5_ms": sum(self._counts[int(5 / BUCKET_MS) :]),
            "over_10_ms": sum(self._counts[int(10 / BUCKET_MS) :]),
            "longest": self.longest,
        }

    def _percentile(self, share: float) -> float:
        wanted, seen = self._ticks * share / 100, 0
        for number, count in enumerate(self._counts):
            seen += count
            if count and seen >= wanted:
                return round((number + 1) * BUCKET_MS, 1)
        return 0.0


class LoopMonitor:
    """Ticks in the running loop. `stack_ms`: a loop that is later than that has its stack noted."""

    def __init__(self, out: Path, stack_ms: float | None) -> None:
        self._out = out
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY)
        self._phases = {"start": Pauses()}
        self._phase = self._phases["start"]
        self._due = self._loop.time() + TICK_SECONDS
        self._core_wait_ms = self._read_core_wait_ms()
        self._doing = ""
        self._loop.call_at(self._due, self._tick)
        if stack_ms is not None:
            threading.Thread(
                target=self._sample, args=(stack_ms / 1000,), name="loop-monitor", daemon=True
            ).start()

    def _tick(self) -> None:
        now, core_wait_ms = self._loop.time(), self._read_core_wait_ms()
        self._phase.add(now - self._due, core_wait_ms - self._core_wait_ms, self._doing)
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

    async def report(self) -> None:
        """Write the file every second, until canceled."""
        while True:
            await asyncio.sleep(REPORT_SECONDS)
            if "run" not in self._phases and _is_trading():
                self._phase = self._phases["run"] = Pauses()
            # In a thread: a slow disk is no pause of the loop.
            found = {name: phase.as_json() for name, phase in self._phases.items()}
            await asyncio.to_thread(self._write, found)

    def _write(self, found: dict[str, Any]) -> None:
        half = self._out.with_name(f"{self._out.name}.part")
        half.write_text(json.dumps({**found, "process": read_process()}), "utf-8")
        half.replace(self._out)


def _is_trading() -> bool:
    bot = main_app._bot
    if bot is None or bot._why_no_orders() is not None:
        return False
    return bot.streams.data_health.is_connected and bot.streams.trade_health.is_connected


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the daemon to its end; its exit code."""
    parser = argparse.ArgumentParser(prog="python -m local_stack.loop_monitor", description=__doc__)
    add = parser.add_argument
    add("--out", type=Path, required=True, help="the JSON file")
    add("--stack-ms", type=float, help="note what ran when a tick is later than this")
    add("program", nargs="?", help="src/main_app.py, by which the watchdog knows a daemon")
    options = parser.parse_args(arguments)
    run_websockets = main_app.run_websockets

    async def run_watched() -> int:
        monitor = LoopMonitor(options.out, options.stack_ms)
        reporting = asyncio.create_task(monitor.report())
        try:
            return await run_websockets()
        finally:
            reporting.cancel()

    main_app.run_websockets = run_watched
    return main_app.main()


if __name__ == "__main__":
    main_app._leave(main())
