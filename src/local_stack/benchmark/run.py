"""A run: the sections one after another, on one database server and one exchange."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local_stack.benchmark.checkout import (
    Checkout,
    checkout_in,
    checkout_of,
    this_checkout,
)
from local_stack.benchmark.crowd import measure_many, measure_memory
from local_stack.benchmark.distant import measure_network
from local_stack.benchmark.lab import Lab
from local_stack.benchmark.page import measure_page
from local_stack.benchmark.plan import BenchmarkPlan
from local_stack.benchmark.quotes import measure_quotes
from local_stack.benchmark.replays import measure_research
from local_stack.benchmark.report import describe_machine
from local_stack.benchmark.results import Section
from local_stack.benchmark.trades import measure_trades


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run found."""

    sections: list[Section]
    ran_on: dict[str, Any]

    @property
    def is_well(self) -> bool:
        return all(bar.holds for section in self.sections for bar in section.bars)

    def as_json(self) -> dict[str, Any]:
        return {"ran_on": self.ran_on, "sections": [one.as_json() for one in self.sections]}


def find_checkouts(plan: BenchmarkPlan, folder: Path) -> list[Checkout]:
    """The one that is measured, and the one that it is measured against, if any.

    Raises:
        StackError: with one line.
    """
    found = [checkout_in(plan.source, "the bot") if plan.source else this_checkout()]
    if plan.against:
        other = Path(plan.against)
        is_folder = other.is_dir()
        found.append(
            checkout_in(other, other.name) if is_folder else checkout_of(plan.against, folder)
        )
    return found


async def run(plan: BenchmarkPlan, folder: Path, report: Callable[[str], None]) -> Outcome:
    """Measure everything that was asked for.

    Raises:
        StackError, MariaDBError, OSError: with one line for a person.
    """
    if plan.is_urgent:  # whatever is started inherits it
        os.sched_setscheduler(
            0, os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR))
        )
    checkouts = await asyncio.to_thread(find_checkouts, plan, folder)
    sections, database = [], "no database"
    if set(plan.sections) - {"research"}:
        async with Lab(folder, report) as lab:
            database = lab.database_version()
            sections = await _measure_the_bot(lab, checkouts, plan)
    ran_on = describe_machine(checkouts, database)
    if "research" in plan.sections:
        found = await asyncio.to_thread(measure_research, checkouts, plan, folder, report)
        sections.append(found)
    return Outcome(sections, ran_on)


async def _measure_the_bot(
    lab: Lab, checkouts: Sequence[Checkout], plan: BenchmarkPlan
) -> list[Section]:
    sections: list[Section] = []
    if "quotes" in plan.sections:
        sections.append(await measure_quotes(lab, checkouts, plan))
    if wanted := [name for name in ("orders", "fills") if name in plan.sections]:
        found = await measure_trades(lab, checkouts, plan)
        sections += [section for section in found if section.name in wanted]
    if "network" in plan.sections:
        sections.append(await measure_network(lab, checkouts, plan))
    if "many" in plan.sections:
        sections.append(await measure_many(lab, checkouts, plan))
    if "memory" in plan.sections:
        sections.append(await measure_memory(lab, checkouts, plan))
    if "page" in plan.sections:
        sections.append(await measure_page(lab, checkouts, plan))
    return sections
