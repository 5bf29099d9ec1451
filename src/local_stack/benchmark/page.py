"""The section `page`: what serves the page beside a daemon with 20 assets. Its CPU with one viewer,
orders with and without it, first paint in a real browser, tries over three years of minutes.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from local_stack.benchmark.browser import find_chromium, measure_paints
from local_stack.benchmark.checkout import Checkout
from local_stack.benchmark.crowd import MEMORY_ASSETS, Crowd
from local_stack.benchmark.figures import Series
from local_stack.benchmark.lab import Lab
from local_stack.benchmark.page_process import PageProcess
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.replay_bars import draw_market, read_recordings
from local_stack.benchmark.results import Bar, Group, Section
from local_stack.benchmark.rivals.replay_task import SYMBOL
from local_stack.benchmark.trades import Step
from research.history import History, by_month
from research.history_file import MonthFile, Origin

MINUTES_OF_THREE_YEARS = (2 * 365 + 366) * 24 * 60
TRIES_A_CYCLE, WARM_UP = 8, 3  # of --orders
WITH, WITHOUT = "with the page", "without"
USUAL, EXITS = "usual sliders", "with a trail or a stop loss"
# Where a user drags them; the others stay where `scripts/assets add` puts them.
_SLIDERS: Mapping[str, Sequence[str]] = {
    "deviation": [f"{tenths / 10:g}" for tenths in range(8, 51)],
    "take_profit": [f"{tenths / 10:g}" for tenths in range(8, 31)],
    "max_safety": [str(count) for count in range(2, 13)],
    "volume_scale": ["1", "1.1", "1.25", "1.5", "2"],
    "step_scale": ["1", "1.1", "1.25", "1.5"],
}
_EXITS: Mapping[str, Sequence[str]] = {
    "trailing": ["0.2", "0.5", "1"],
    "stop_loss": ["5", "10", "20"],
}
MAX_CPU_PERCENT, MAX_PAINT_MS, MAX_TRY_MS = 3.0, 300.0, 100.0
LEAST_PERCENT = 0.001  # what the clock cannot tell from nothing
MAX_ORDER_RATIO = 1.05  # what cannot be told from nothing on a quiet machine


async def measure_page(lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan) -> Section:
    """Raises StackError: something did not start or did not answer."""
    section, checkout = Section("page"), checkouts[0]
    source = await asyncio.to_thread(_store_three_years, lab.folder / "history", plan)
    crowd = await asyncio.to_thread(Crowd, lab, checkout, MEMORY_ASSETS, watches_loop=False)
    await lab.start([crowd.client], settle=False)
    async with crowd.quotes():
        await crowd.first_order()
        page = PageProcess(crowd.client, {"HISTORY_DIR": str(lab.folder / "history")})
        try:
            await page.start()
            await _measure_cpu(lab, page, crowd, plan, section)
            await _measure_orders(lab, page, crowd, plan, section)
            await _measure_paint(lab, page, plan, section)
        finally:
            await page.stop()
    lab.stop_clients()
    # Tries of a quiet hour: how fast they are beside a flood of quotes is not what a user sees.
    page = PageProcess(crowd.client, {"HISTORY_DIR": str(lab.folder / "history")})
    try:
        await page.start()
        await _measure_tries(lab, page, plan, source, section)
    finally:
        await page.stop()
    return section


# CPU


async def _measure_cpu(
    lab: Lab, page: PageProcess, crowd: Crowd, plan: BenchmarkPlan, section: Section
) -> None:
    found: dict[str, float] = {}
    for name in ("no viewer", "one viewer"):
        lab.report(f"page: its CPU, {name}, {plan.seconds:.0f} s")
        async with _viewer(page, name == "one viewer"):
            trading = asyncio.create_task(crowd.trade_until(time.monotonic() + plan.seconds))
            before, began_at = page.cpu_seconds(), time.monotonic()
            await trading
            found[name] = (page.cpu_seconds() - before) / (time.monotonic() - began_at) * 100
    series = {
        name: Series(name, "% of a core", ((max(one, LEAST_PERCENT),),))
        for name, one in found.items()
    }
    title = f"CPU of what serves the page, {MEMORY_ASSETS} assets"
    section.groups.append(Group(title, series, "no viewer"))
    section.notes.append(f"it takes {page.megabytes():.0f} MB; {page.updates} updates were sent")
    section.bars.append(Bar("CPU with one viewer", found["one viewer"], MAX_CPU_PERCENT, "%"))


@asynccontextmanager
async def _viewer(page: PageProcess, is_there: bool) -> AsyncIterator[None]:
    """An open page: its stream is read."""
    watching = asyncio.create_task(page.watch()) if is_there else None
    try:
        yield
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)


# Orders


async def _measure_orders(
    lab: Lab, page: PageProcess, crowd: Crowd, plan: BenchmarkPlan, section: Section
) -> None:
    """In turns: with a viewer, and with the process stopped by a signal."""
    rounds: dict[str, list[list[float]]] = {WITH: [], WITHOUT: []}
    for number in range(plan.rounds):
        for found in rounds.values():
            found.append([])
        for turn in range(plan.orders * 2):
            is_with = (turn + number) % 2 == 0
            name = WITH if is_with else WITHOUT
            lab.report(f"page: orders {name}, round {number + 1} of {plan.rounds}")
            os.kill(page.pid, signal.SIGCONT if is_with else signal.SIGSTOP)
            async with _viewer(page, is_with):
                for _ in Step:  # a whole cycle
                    rounds[name][-1].append(await crowd.next_order())
    os.kill(page.pid, signal.SIGCONT)
    series = {
        name: Series(name, "ms", tuple(tuple(one) for one in found))
        for name, found in rounds.items()
    }
    group = Group("crossed quote to POST", series, WITHOUT)
    section.groups.append(group)
    ratio = group.ratio(WITH).median
    section.bars.append(Bar(f"orders {WITH} / {WITHOUT}, p50", ratio, MAX_ORDER_RATIO))


# First paint


async def _measure_paint(
    lab: Lab, page: PageProcess, plan: BenchmarkPlan, section: Section
) -> None:
    program = find_chromium()
    if program is None:
        section.notes.append("no Chromium on this machine: the first paint was not measured")
        return
    lab.report("page: first paint")
    link = await page.link()
    found = await measure_paints(program, link, page.address, plan.rounds, lab.folder / "browser")
    series = {name: Series(name, "ms", (tuple(one),)) for name, one in found.items()}
    section.groups.append(Group("a real browser on loopback", series, "first paint"))
    paint = series["first paint"].p50
    section.bars.append(Bar("first paint", paint, MAX_PAINT_MS, "ms"))


# Tries


def _store_three_years(folder: Path, plan: BenchmarkPlan) -> str:
    count = MINUTES_OF_THREE_YEARS
    files = plan.bar_files
    market = read_recordings(files, count) if files else draw_market(count)
    history = History(folder)
    with history.writing():
        for month, part in by_month(market.bars):
            history.save(MonthFile(month, part, Origin(source="benchmark")))
    return market.source


def _draw_settings(chance: random.Random, *, has_exit: bool) -> dict[str, str]:
    """One or two sliders that were dragged."""
    moved = chance.sample(sorted(_SLIDERS), chance.choice((1, 2)))
    settings = {option: chance.choice(_SLIDERS[option]) for option in moved}
    if has_exit:
        option = chance.choice(sorted(_EXITS))
        settings |= {option: chance.choice(_EXITS[option])}
    return settings


async def _measure_tries(
    lab: Lab, page: PageProcess, plan: BenchmarkPlan, source: str, section: Section
) -> None:
    lab.report("page: tries over three years of minutes")
    began_at = time.perf_counter()
    await page.get(f"/api/try?symbol={SYMBOL}")
    loaded = time.perf_counter() - began_at
    found: dict[str, list[float]] = {USUAL: [], EXITS: []}
    orders: dict[str, list[int]] = {USUAL: [], EXITS: []}
    replays: list[float] = []
    chance, tried = random.Random(1), set[str]()
    for number in range(-WARM_UP, plan.orders * TRIES_A_CYCLE):
        for name in found:
            settings = _draw_settings(chance, has_exit=name == EXITS)
            while (text := json.dumps(settings, sort_keys=True)) in tried:  # that would be kept
                settings = _draw_settings(chance, has_exit=name == EXITS)
            tried.add(text)
            began_at = time.perf_counter()
            answer = await page.post("/api/try", {"symbol": SYMBOL, "settings": settings})
            if number >= 0:
                found[name].append((time.perf_counter() - began_at) * 1e3)
                orders[name].append(answer["figures"]["orders"])
                if name == USUAL:
                    replays.append(answer["milliseconds"])
    series = {name: Series(name, "ms", (tuple(one),)) for name, one in found.items()}
    series["its own part"] = Series("its own part", "ms", (tuple(replays),))
    section.groups.append(Group("a try, asked and answered", series, USUAL))
    counts = " and ".join(f"{sorted(one)[len(one) // 2]:,}" for one in orders.values())
    section.notes.append(
        f"tries on {source}; the first one waits {loaded:.1f} s for the prices; median orders of a"
        f" replay: {counts}"
    )
    section.bars.append(Bar("a try, p95", series[USUAL].at(0.95), MAX_TRY_MS, "ms"))
