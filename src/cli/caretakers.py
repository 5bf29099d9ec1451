"""`scripts/caretakers`: runs the caretakers without cron.

Owns words and exit codes; the schedule is runtime/schedule.py, its loop runtime/foreground.py.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Sequence

from cli.command_line import EXIT_DONE, EXIT_FAILED, OneLineParser, Stop
from cli.runner import run_tool
from config import Settings, get_settings
from runtime.daemon_process import TERM_SECONDS, end_daemon, find_daemon
from runtime.foreground import Foreground, alone
from runtime.schedule import BACKUP, Installation
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging
from utils.private_database import is_private_database

log = logging.getLogger(__name__)

_NIGHTLY = f"{BACKUP.daily_at:%H:%M}"
HELP = f"""\
Runs what cron would run, without cron: for a container, or a machine on which you may not install
cron. Nothing restarts the daemon while neither this, nor cron, nor systemd's timers run
(scripts/install_crontab --help).

  scripts/caretakers run          in the foreground, until Ctrl-C or SIGTERM
  scripts/caretakers run --once   each caretaker once, then end: for a scheduler of your own

It starts the private database, if .env names it, and at once, then every minute, watchdog,
order_manager and cooldown_manager; every five minutes consistency_checker; each night at
{_NIGHTLY} a backup. One that still runs is not started again. The watchdog starts the daemon,
which outlives this command: scripts/bot stop ends it. As process 1 of a container this ends the
daemon, too, because the container ends with it: give it 30 s (docker stop -t 30).

Each failure is one line, on standard error and in LOG_DIR/caretakers.log; all that the jobs print
goes to LOG_DIR/cron.out, beside their logs."""
EPILOG = """\
exit codes: 0 asked to stop; with --once: all went well
            1 it runs already, or, with --once, one of them failed or it was stopped
            2 a setting or an argument is wrong"""


def main(arguments: Sequence[str] | None = None) -> int:
    return run_tool("caretakers", arguments, _run)


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/caretakers", description=HELP, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="run")
    run = commands.add_parser("run", description=HELP, epilog=EPILOG)
    when = run.add_mutually_exclusive_group()
    when.add_argument("--once", action="store_true", help="each caretaker once, then end")
    when.add_argument(
        "--from-next-minute", action="store_true", help="begin as cron does, and not at once"
    )
    return parser


def _run(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    settings = get_settings()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    setup_logging(settings, "caretakers")
    starts_database = is_private_database(settings)
    installation = Installation(log_dir=settings.log_dir, starts_database=starts_database)
    with contextlib.ExitStack() as stack:
        if not options.once:  # once is what a scheduler does, however it overlaps
            try:
                stack.enter_context(alone(settings.run_dir))
            except TimeoutError:
                raise Stop("another scripts/caretakers run is at work", EXIT_FAILED) from None
        with Foreground(installation) as foreground:
            if options.once:
                foreground.run_once()
                failed = foreground.failures or foreground.is_stopping
                return EXIT_FAILED if failed else EXIT_DONE
            log_event(log, LogEvent.CARETAKERS_STARTED, pid=os.getpid())
            foreground.run(at_once=not options.from_next_minute)
        if os.getpid() == 1:
            _end_daemon(settings)
        log_event(log, LogEvent.CARETAKERS_STOPPED)
        return EXIT_DONE


def _end_daemon(settings: Settings) -> None:
    """The container ends with us: better asked than killed. It is not stopped on purpose, so the
    next container starts it again.
    """
    if (process := find_daemon(settings)) is not None:
        how = end_daemon(process, term_seconds=TERM_SECONDS)
        log_event(log, LogEvent.DAEMON_ENDED, pid=process.pid, how=how)


if __name__ == "__main__":
    sys.exit(main())
