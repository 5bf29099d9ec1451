"""`scripts/chaos`: makes a chaos run on a stack of its own, and says how it ended.

Exit codes: 0 every invariant held, 1 one did not or the run could not be made, 2 wrong arguments,
130 interrupted. What a failed run leaves stands in .local/chaos-failed-SEED.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import mysql.connector

from local_stack.caretaker_schedule import CaretakerSchedule
from local_stack.chaos.arguments import ChaosPlan, parse_arguments
from local_stack.chaos.database_line import DatabaseLine
from local_stack.chaos.faults import ChaosFaults
from local_stack.chaos.load import busy_processes
from local_stack.chaos.plan import SCHEDULE, SETTINGS
from local_stack.chaos.report import Figures, story, summary_lines
from local_stack.chaos.run import Chaos
from local_stack.exchange_process import StackError
from local_stack.scratch import scratch_folder
from local_stack.stack import LocalStack
from local_stack.stopper import Stopper
from mariadb_server.debian_packages import LOCAL_FOLDER
from mariadb_server.errors import MariaDBError
from utils.db_utils import DatabaseError

EXIT_WELL, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
LAST_FOLDER = LOCAL_FOLDER / "chaos-last"


def main(arguments: Sequence[str] | None = None) -> int:
    plan = parse_arguments(arguments)
    out = sys.stderr if plan.json else sys.stdout

    def say(line: str) -> None:
        print(line, file=out, flush=True)

    with Stopper() as stopper:
        try:
            return _run(plan, say, stopper)
        except (StackError, MariaDBError, DatabaseError, mysql.connector.Error, OSError) as error:
            print(f"ERROR: seed {plan.seed}: {error}", file=sys.stderr)
            return EXIT_FAILED
        except KeyboardInterrupt:
            print("stopped; nothing is left running", file=sys.stderr)
            return EXIT_INTERRUPTED


def _run(plan: ChaosPlan, say: Callable[[str], None], stopper: Stopper) -> int:
    figures = Figures(seed=plan.seed, minutes=plan.minutes, assets=plan.assets, load=plan.load)
    beside = f", {plan.load} busy processes beside" if plan.load else ""
    say(f"chaos: seed {plan.seed}, {len(plan.storms)} storms, {', '.join(plan.symbols)}{beside}")
    with scratch_folder("chaos") as folder, busy_processes(plan.load, folder):
        line = DatabaseLine(lambda: int(stack.server.db_env()["DB_PORT"]))
        line.start()
        settings = {**SETTINGS, **line.settings()}
        stack = LocalStack(folder, database="dca_chaos", settings=settings, report=say)
        faults = ChaosFaults(stack, plan.symbols, line)
        chaos = Chaos(plan, stack, say, CaretakerSchedule(stack, SCHEDULE), figures, faults, line)
        failed = LOCAL_FOLDER / f"chaos-failed-{plan.seed}"
        try:
            chaos.run()
            chaos.count()
            stopper.ignore()
            lines = _stories(chaos)
            kept = _keep(LAST_FOLDER if figures.is_well else failed, stack, chaos, lines)
        except BaseException:
            _keep(failed, stack, chaos, [])
            raise
        finally:
            stopper.ignore()
            stack.stop()
            line.stop()
    for text in (*summary_lines(figures), *lines):
        say(text)
    if plan.json:
        print(json.dumps(figures.as_json(), indent=2, default=str))
    if not figures.is_well:
        print(f"ERROR: seed {plan.seed}: an invariant broke; see {kept}", file=sys.stderr)
    return EXIT_WELL if figures.is_well else EXIT_FAILED


def _stories(chaos: Chaos) -> list[str]:
    """One for each violation; of each cycle only once."""
    lines: list[str] = []
    seen: set[int | None] = set()
    for violation in chaos.figures.violations:
        if violation.cycle_id in seen or chaos.records is None:
            lines.append(f"VIOLATION of {violation.rule!r}: {violation.text}")
            continue
        seen.add(violation.cycle_id)
        lines += story(violation, chaos.records, chaos.stack.log_dir)
    return lines


def _keep(where: Path, stack: LocalStack, chaos: Chaos, lines: list[str]) -> Path:
    """Logs, figures, story and ledger, for whoever wants to look into them."""
    shutil.rmtree(where, ignore_errors=True)
    shutil.copytree(stack.log_dir, where / "logs")
    (where / "figures.json").write_text(
        json.dumps(chaos.figures.as_json(), indent=2, default=str), "utf-8"
    )
    (where / "story.txt").write_text("\n".join(lines), "utf-8")
    if chaos.records is not None:
        (where / "ledger.json").write_text(json.dumps(chaos.records.ledger, default=str), "utf-8")
        rows = [*map(str, chaos.records.evidence.rows), *map(str, chaos.records.evidence.journal)]
        (where / "rows.txt").write_text("\n".join(rows), "utf-8")
        events = "\n".join(map(str, chaos.records.events))
        (where / "events.txt").write_text(events, "utf-8")
    return where


if __name__ == "__main__":
    sys.exit(main())
