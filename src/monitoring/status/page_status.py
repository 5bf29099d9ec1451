"""Whether the page is served, from that process' PID file and sign of life alone.

The verdict is the watchdog's own, so that both say the same.
"""

from __future__ import annotations

from dataclasses import dataclass

from caretakers.plans.side_keeper import plan_side
from caretakers.side_keeper import take_side_snapshot
from config import Settings
from runtime.web_page import PAGE, PageBeat, address_of
from utils.formatting import counted


@dataclass(frozen=True, slots=True, kw_only=True)
class PageStatus:
    """`problem`: what is wrong, in one line with the cure. `address`: without the token."""

    words: str
    problem: str | None
    address: str
    pid: int | None = None
    viewers: int = 0
    requests: int = 0


def load_page_status(settings: Settings) -> PageStatus | None:
    """None: it is off. Reads files and the process table only."""
    if not settings.web:
        return None
    process, address = PAGE.find(settings), address_of(settings)
    if process is None:
        problem = "nothing serves the page, though WEB=on: does the watchdog run? (scripts/doctor)"
        return PageStatus(words="not running", problem=problem, address=address)
    snapshot = take_side_snapshot(PAGE, process, settings)
    plan = plan_side(snapshot, PAGE.setting)
    problem_found = None
    if plan is not None and snapshot.has_these_settings:
        problem_found = f"what serves the page does not work ({plan[1]}): see logs/web.log"
    beat = PAGE.load_beat_of(process, settings, PageBeat)
    viewers = 0 if beat is None else beat.viewers
    words = f"at {address}, {counted(viewers, 'viewer')} (scripts/web link opens it)"
    return PageStatus(
        words="starting" if beat is None else words,
        problem=problem_found,
        address=address,
        pid=process.pid,
        viewers=viewers,
        requests=0 if beat is None else beat.requests,
    )
