"""The sections `many` and `memory`: a daemon with many assets on a lively market.

Quotes come one in a frame at a steady pace, and one asset trades cycle after cycle. Pauses of the
event loop are seen from inside (local_stack.loop_monitor, which the daemon knows nothing of), the
memory from outside.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import random
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from config import PROJECT_ROOT
from local_stack.benchmark.accounts import now
from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.clients import Client
from local_stack.benchmark.figures import Series
from local_stack.benchmark.frames import Quote
from local_stack.benchmark.lab import Lab
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.results import Bar, Group, Section
from local_stack.benchmark.trades import PRICE, Step, Trader
from local_stack.exchange_process import StackError

QUOTES_A_SECOND = 2000
TICK_SECONDS = 0.005
START_TRIES = 45  # of one second each: for the first order
REQUESTS_A_MINUTE = 200
MEMORY_ASSETS = 20
SAMPLE_SECONDS = 2.0
MEGABYTE = 1e6
MONITOR = PROJECT_ROOT / "src" / "local_stack" / "loop_monitor.py"


@dataclass(eq=False)
class Crowd:
    """One daemon with `assets` that hold coins, and one that trades. `watches_loop`: its pauses are
    seen, by threads and lists in its own process.
    """

    lab: Lab
    checkout: Checkout
    assets: int
    watches_loop: bool = True
    client: Client = field(init=False)
    trader: Trader = field(init=False)
    report_file: Path = field(init=False)
    order_ms: list[float] = field(default_factory=list)
    _steps: Iterator[Step] = field(
        default_factory=lambda: itertools.cycle((Step.SAFETY, Step.TAKE_PROFIT, Step.BASE))
    )

    def __post_init__(self) -> None:
        symbols = [f"M{number}/USD" for number in range(self.assets)]
        self.report_file = self.lab.folder / f"loop-{self.checkout.name.replace(' ', '-')}.json"
        watch = ("-P", str(MONITOR), "--out", str(self.report_file)) if self.watches_loop else ()
        self.client = self.lab.daemon(self.checkout, symbols, command=(*watch, "src/main_app.py"))
        self.trader = Trader(self.lab, self.client, knows_strategy=True)
        self._traded, *self._others = symbols
        self.client.database.add_asset(self._traded)
        held, price = Decimal(1), Decimal(str(PRICE))
        for symbol in self._others:
            self.client.database.add_asset(symbol, quantity=held, price=price)
            self.client.account.hold(symbol, held)

    @contextlib.asynccontextmanager
    async def quotes(self) -> AsyncIterator[None]:
        """Inside, quotes that cross nothing come at a steady pace."""
        flow = asyncio.create_task(self._flow())
        try:
            yield
        finally:
            flow.cancel()
            await asyncio.gather(flow, return_exceptions=True)

    async def _flow(self) -> None:
        rng, symbols = random.Random(1), itertools.cycle(self._others)
        began_at, sent = time.monotonic(), 0
        while True:
            due = int((time.monotonic() - began_at) * QUOTES_A_SECOND)
            for symbol in itertools.islice(symbols, due - sent):
                bid = PRICE * (1 + rng.uniform(-0.002, 0.002))
                quote = Quote(symbol=symbol, bid=bid, ask=bid + 0.01)
                with contextlib.suppress(KeyError):  # it connects again
                    self.lab.exchange.send_quote(self.client.account, quote)
            sent = due
            await asyncio.sleep(TICK_SECONDS)  # the pace

    async def first_order(self) -> None:
        """Raises StackError: none came."""
        await self._trade(Step.BASE, tries=START_TRIES, seconds=1.0)

    async def trade_until(self, deadline: float) -> None:
        """Cycle after cycle, until then (monotonic seconds)."""
        while time.monotonic() < deadline:
            await self.next_order()
            await asyncio.sleep(0.5)  # the pace

    async def next_order(self) -> float:
        """The one that comes after the last; milliseconds from its quote."""
        await self._trade(next(self._steps))
        return self.order_ms[-1]

    async def _trade(self, step: Step, **patience: Any) -> None:
        order_ms, _ = await self.trader.take(step, self._traded, at_once=True, **patience)
        self.order_ms.append(order_ms)

    def pauses(self) -> dict[str, Any]:
        """What the watch on the event loop says of the time since both streams were connected.

        Raises:
            StackError: it has written nothing.
        """
        try:
            found: dict[str, Any] = json.loads(self.report_file.read_text("utf-8"))["run"]
        except (OSError, ValueError, KeyError):
            raise StackError(f"the watch on {self.client.name}'s loop wrote nothing") from None
        return found


async def measure_many(lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan) -> Section:
    lab.exchange.requests_a_minute = REQUESTS_A_MINUTE
    found: dict[str, list[Series]] = {}
    try:
        for checkout in checkouts:
            lab.report(f"many: {checkout.name} starts with {plan.assets} assets")
            for title, value in (await _one_crowd(lab, checkout, plan)).items():
                found.setdefault(title, []).append(value)
            lab.stop_clients()
    finally:
        lab.exchange.requests_a_minute = None
    section, ours = Section("many"), checkouts[0].name
    for title, all_series in found.items():
        series = {one.name: one for one in all_series}
        section.groups.append(Group(f"{plan.assets} assets: {title}", series, ours))
    values = {title: all_series[0].p50 for title, all_series in found.items()}
    section.bars += [
        Bar("longest pause of the event loop", values[_PAUSE], 10.0, "ms"),
        Bar("requests until the first order", values[_REQUESTS], REQUESTS_A_MINUTE, ""),
        Bar("start until the first order", values[_FIRST_ORDER], 60.0, "s"),
    ]
    return section


_PAUSE = "longest pause of the event loop"
_PAUSE_AND_WAIT = "the same with the waits for a core"
_STREAMS, _FIRST_ORDER = "start until both streams", "start until the first order"
_REQUESTS = "requests until the first order"
_ORDERS = "crossed quote to POST"


async def _one_crowd(lab: Lab, checkout: Checkout, plan: BenchmarkPlan) -> dict[str, Series]:
    crowd = await asyncio.to_thread(Crowd, lab, checkout, plan.assets)
    account, began_at = crowd.client.account, now()
    await lab.start([crowd.client], settle=False)
    connected_at = now()
    async with crowd.quotes():
        await crowd.first_order()
        requests = account.requests
        lab.report(f"many: {checkout.name} at {QUOTES_A_SECOND} quotes a second")
        await crowd.trade_until(time.monotonic() + plan.seconds)
    pauses = crowd.pauses()
    first_order_at = account.first_order_at or now()
    figures = {
        _PAUSE: (pauses["own_longest_ms"], "ms"),
        _PAUSE_AND_WAIT: (pauses["longest_ms"], "ms"),
        _STREAMS: (connected_at - began_at, "s"),
        _FIRST_ORDER: (first_order_at - began_at, "s"),
        _REQUESTS: (float(requests), "requests"),
    }
    name = checkout.name
    found = {title: Series(name, unit, ((at,),)) for title, (at, unit) in figures.items()}
    return {**found, _ORDERS: Series(name, "ms", (tuple(crowd.order_ms[1:]),))}


async def measure_memory(lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan) -> Section:
    crowds = [
        await asyncio.to_thread(Crowd, lab, one, MEMORY_ASSETS, watches_loop=False)
        for one in checkouts
    ]
    await lab.start([crowd.client for crowd in crowds])
    samples: dict[str, list[dict[str, float]]] = {one.checkout.name: [] for one in crowds}
    async with contextlib.AsyncExitStack() as flows:
        for crowd in crowds:
            await flows.enter_async_context(crowd.quotes())
        deadline = time.monotonic() + plan.minutes * 60
        trades = [asyncio.create_task(_trade(crowd, deadline)) for crowd in crowds]
        while (left := deadline - time.monotonic()) > 0:
            lab.report(f"memory: {left:.0f} s to go")
            for crowd in crowds:
                samples[crowd.checkout.name].append(_measure(crowd.client.pid))
            await asyncio.sleep(min(SAMPLE_SECONDS, left))  # between samples
        await asyncio.gather(*trades)
    lab.stop_clients()
    return _memory_section(samples, checkouts[0].name)


async def _trade(crowd: Crowd, deadline: float) -> None:
    await crowd.first_order()
    await crowd.trade_until(deadline)


def _measure(pid: int) -> dict[str, float]:
    process = psutil.Process(pid)
    with process.oneshot():
        return {
            "minutes": time.monotonic() / 60,
            "size, MB": process.memory_info().rss / MEGABYTE,
            "threads": float(process.num_threads()),
            "open files and sockets": float(process.num_fds()),
        }


def _memory_section(samples: dict[str, list[dict[str, float]]], ours: str) -> Section:
    section = Section("memory")
    for title in ("size, MB", "threads", "open files and sockets"):
        unit = "MB" if title == "size, MB" else "count"
        series = {
            name: Series(name, unit, (tuple(one[title] for one in found),))
            for name, found in samples.items()
        }
        section.groups.append(Group(f"{MEMORY_ASSETS} assets: {title}", series, ours))
    slopes = {name: _slope_an_hour(found) for name, found in samples.items()}
    for name, slope in slopes.items():
        section.notes.append(f"{name} grows by {slope:.1f} MB an hour (from its second half)")
    section.bars += [
        Bar("size at its largest", max(one["size, MB"] for one in samples[ours]), 110.0, "MB"),
        Bar("growth an hour", slopes[ours], MAX_GROWTH_MB, "MB"),
    ]
    return section


MAX_GROWTH_MB = 1.0  # an hour: what cannot be told from zero within a quarter of one


def _slope_an_hour(samples: Sequence[dict[str, float]]) -> float:
    """MB an hour over the second half: the median of the slopes between its samples (Theil, Sen),
    which a single jump does not move.
    """
    half = samples[len(samples) // 2 :]
    slopes = list(_slopes(half))
    return median(slopes) * 60 if slopes else 0.0


def _slopes(samples: Sequence[dict[str, float]]) -> Iterator[float]:
    for one, other in itertools.combinations(samples, 2):
        minutes = other["minutes"] - one["minutes"]
        if minutes > 0:
            yield (other["size, MB"] - one["size, MB"]) / minutes
