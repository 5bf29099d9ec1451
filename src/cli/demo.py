"""`scripts/demo`: starts a whole local stack, shows it, ends it, and says what it came to.

Owns: the order of a run, signals, and the exit code: 0 all is well, 1 a check failed or the demo
could not run, 2 wrong arguments.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from cli.command_line import forget_unwritten, make_console
from cli.demo_screen import LiveView, PlainView
from local_stack.caretaker_schedule import CaretakerSchedule
from local_stack.demo.arguments import DemoPlan, parse_arguments
from local_stack.demo.page import page_settings
from local_stack.demo.report import print_summary, summary_as_json
from local_stack.demo.run import Demo, View
from local_stack.exchange_process import StackError
from local_stack.scratch import scratch_folder
from local_stack.stack import LocalStack
from local_stack.stopper import Stopper
from mariadb_server.debian_packages import LOCAL_FOLDER
from mariadb_server.errors import MariaDBError
from utils.db_utils import DatabaseError

LAST_FOLDER = LOCAL_FOLDER / "demo-last"
EXIT_WELL, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130


def main(arguments: Sequence[str] | None = None) -> int:
    plan = parse_arguments(arguments)
    out = sys.stderr if plan.json else sys.stdout
    console = make_console(out, is_plain=plan.plain or bool(os.environ.get("NO_COLOR")))
    view: View = LiveView(console) if console.is_terminal else PlainView(console)
    logging.getLogger().addHandler(logging.NullHandler())  # what status logs nobody reads
    with Stopper() as stopper:
        try:
            return _run(plan, view, stopper, console)
        except BrokenPipeError:  # whoever read us has seen enough; no summary, so not EXIT_WELL
            forget_unwritten()
            return EXIT_INTERRUPTED
        except (StackError, MariaDBError, DatabaseError, OSError) as error:
            print(f"ERROR: {error}", file=sys.stderr)
            forget_unwritten()
            return EXIT_FAILED
        except KeyboardInterrupt:
            print("stopped; nothing is left running", file=sys.stderr)
            return EXIT_INTERRUPTED


def _run(plan: DemoPlan, view: View, stopper: Stopper, console: Console) -> int:
    with scratch_folder("demo") as folder:
        settings = {**plan.settings, **(page_settings() if plan.web else {})}
        stack = LocalStack(folder, settings=settings, report=view.say)
        schedule = CaretakerSchedule(stack, plan.schedule)
        demo = Demo(plan, stack, view, stopper, schedule)
        report = None
        try:
            summary = demo.run()
            report = summary_as_json(summary, demo.seconds, plan.market, schedule.records())
        finally:
            stopper.ignore()
            stack.stop()
            _keep(stack.log_dir, report)
    print_summary(console, summary, demo.seconds, schedule.records())
    if plan.json:
        print(json.dumps(report, indent=2))
    if not summary.is_well:
        print(
            f"ERROR: a check failed; logs and summary: {os.path.relpath(LAST_FOLDER)}",
            file=sys.stderr,
        )
    return EXIT_WELL if summary.is_well else EXIT_FAILED


def _keep(log_dir: Path, report: dict[str, Any] | None) -> None:
    """The logs and the summary of the last demo, for whoever wants to look into them."""
    arriving = LAST_FOLDER.with_name(f"{LAST_FOLDER.name}.{os.getpid()}")
    shutil.copytree(log_dir, arriving / "logs")
    if report is not None:
        (arriving / "summary.json").write_text(json.dumps(report, indent=2), "utf-8")
    shutil.rmtree(LAST_FOLDER, ignore_errors=True)
    with contextlib.suppress(OSError):  # another demo that ended at the same moment was first
        arriving.rename(LAST_FOLDER)
    shutil.rmtree(arriving, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
