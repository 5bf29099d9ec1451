#!/usr/bin/env python3
"""Cancels open orders that are stale, stuck or orphaned (phase 10). For cron: every minute.

A shell only: what is canceled and why stands in src/caretakers/plans/order_manager.py, how in
src/caretakers/order_manager.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import runtime.bootstrap  # noqa: F401 - first: what follows needs the packages

# isort: split
from caretakers.runner import Script, ScriptRun, run_script

SCRIPT = Script(
    name="order_manager",
    summary="Cancel open orders that are stale, stuck or orphaned.",
    manual="""
Checks the orders on the symbols in dca_assets (enabled or not: those symbols belong to the bot)
that have been open for longer than STALE_ORDER_SECONDS by the exchange's clock:

  stale limit buy   the price moved away: the cycle goes back to watching and buys anew
  stuck sell        a market sell that is not filled: what is left of it is sold again
  orphan            a buy or a sell that no cycle claims

and, at any age, the open buy of a cycle that is to be sold now (scripts/bot close).

It only asks for the cancellation. When the order has ended, the daemon books what was filled.
Run it by cron every minute; a second run right after the first does nothing.""",
    needs_exchange=True,
)


def main() -> int:
    return run_script(SCRIPT, _work)


def _work(run: ScriptRun) -> None:
    from caretakers.order_manager import manage_orders  # loads the SDK, which takes a second

    manage_orders(run)


if __name__ == "__main__":
    sys.exit(main())
