#!/usr/bin/env python3
"""Lets cycles whose cooldown is over buy again (phase 11). For cron: every minute.

A shell only: when a cooldown is over stands in src/caretakers/plans/cooldown_manager.py, how it is
ended in src/caretakers/cooldown_manager.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import runtime.bootstrap  # noqa: F401 - first: what follows needs the packages

# isort: split
from caretakers.cooldown_manager import end_cooldowns
from caretakers.runner import Script, run_script

SCRIPT = Script(
    name="cooldown_manager",
    summary="End cooldowns that are over: the cycle goes from cooldown to watching.",
    manual="""
A cooldown lasts cooldown_period seconds (dca_assets) from the moment the cycle before it ended
(completed_at, in UTC: time zones and daylight saving play no part). A cooldown without such a cycle
is left alone; consistency_checker reports it. Needs the database, but not the exchange.
Run it by cron every minute; a second run right after the first does nothing.""",
)

if __name__ == "__main__":
    sys.exit(run_script(SCRIPT, end_cooldowns))
