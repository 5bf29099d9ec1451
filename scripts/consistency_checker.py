#!/usr/bin/env python3
"""Compares database and exchange, repairs and reports (phase 12). For cron: every 5 minutes.

A shell only: what follows from what stands in src/caretakers/plans/consistency_checker.py, how it
is done in src/caretakers/consistency_checker.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import runtime.bootstrap  # noqa: F401 - first: what follows needs the packages

# isort: split
from caretakers.runner import Script, ScriptRun, run_script

SCRIPT = Script(
    name="consistency_checker",
    summary="Compare the cycles with the exchange; repair what a lost event left wrong.",
    manual="""
Repairs (each is a row in dca_events):
  an order or a fill that the database lacks      is linked or booked
  a cycle in buying or selling whose order does
  not exist                                       goes back to watching
  a cycle that holds coins while the exchange
  has no position                                 ends in error; a new cycle begins, which waits
                                                  cooldown_period before it buys

Reports, once: a position that differs from its cycle by more than fees explain, an order with our
prefix that no cycle claims, a cooldown that cannot end. Ends the alerts whose cause is gone, and
mails once that each has ended (scripts/alerts lists the others).

It also replaces the estimated fees of finished days by what Alpaca posted (CFEE, FEE), and sends
the summary of a day that is over (ALERT_ON=daily).

Nothing is repaired before two checks some seconds apart agree; an outage or a partial answer of
the exchange changes nothing. Run it by cron every five minutes; a second run right after the first
does nothing.""",
    needs_exchange=True,
)


def main() -> int:
    return run_script(SCRIPT, _work)


def _work(run: ScriptRun) -> None:
    from caretakers.consistency_checker import check_consistency  # loads the SDK: a second
    from caretakers.daily_summary import sum_up_the_day
    from caretakers.fee_settlement import settle_fees

    check_consistency(run)
    settle_fees(run)
    sum_up_the_day(run)


if __name__ == "__main__":
    sys.exit(main())
