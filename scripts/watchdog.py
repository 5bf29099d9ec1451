#!/usr/bin/env python3
"""Keeps the daemon alive (phase 13). For cron: every minute.

A shell only: what is done and when stands in src/caretakers/plans/watchdog.py, how in
src/caretakers/watchdog.py.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
import runtime.bootstrap  # noqa: F401 - first: what follows needs the packages

# isort: split
from caretakers.runner import Script, run_script
from caretakers.watchdog import watch

SCRIPT = Script(
    name="watchdog",
    summary="Start main_app.py when it does not run, restart it when it hangs.",
    manual="""
Checks the PID file, the process and its heartbeat:

  does not run               it is started, detached; its log: LOG_DIR/app.log
  suspended or blocked       no heartbeat for HEARTBEAT_MAX_AGE_SECONDS: ended (TERM, then KILL)
                             and started again
  a stream lost or silent    for STREAM_LOST_SECONDS while the exchange answers: restarted
  exchange or database away  left alone: it recovers by itself, a restart would not help
  does not stay alive        tried again at growing intervals, up to 5 minutes; one mail
  run/stopped exists         you stopped it on purpose: left alone

As a unit (scripts/install_crontab --systemd) it is started through systemctl; systemd itself never
restarts it, but calls the watchdog at once when it fails or hangs.

With TELEGRAM_TOKEN set it keeps the process alive that answers there, too (scripts/telegram), and
with WEB=on the one that serves the page (scripts/web), and ends it when the setting is gone; those
processes and the daemon know nothing of each other.

Every start and restart is mailed, if mail is set up. HEARTBEAT_URL is pinged while all is well.
Two watchdogs at once start one daemon.""",
    needs_database=False,
)


def main() -> int:
    return run_script(SCRIPT, watch)


if __name__ == "__main__":
    sys.exit(main())
