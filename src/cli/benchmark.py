"""`scripts/benchmark`: the one place for figures of speed: measures, prints, cleans up.

Exit codes: 0 measured, 1 it could not (with --check also: a bar does not hold), 2 wrong arguments,
130 interrupted. Never a test.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import mysql.connector

from local_stack.benchmark.plan import BenchmarkPlan, parse_arguments
from local_stack.benchmark.report import table_lines
from local_stack.benchmark.run import Outcome, run
from local_stack.exchange_process import StackError
from local_stack.scratch import scratch_folder
from local_stack.stopper import Stopper
from mariadb_server.errors import MariaDBError

EXIT_MEASURED, EXIT_FAILED, EXIT_INTERRUPTED = 0, 1, 130
STANDARD_OUTPUT = Path("-")


def main(arguments: Sequence[str] | None = None) -> int:
    plan = parse_arguments(arguments)
    with Stopper():
        try:
            with scratch_folder("benchmark") as folder:
                outcome = asyncio.run(run(plan, folder, _say))
            _print(outcome, plan)
        except (StackError, MariaDBError, mysql.connector.Error, OSError) as error:
            print(f"ERROR: {' '.join(str(error).split())}", file=sys.stderr)
            return EXIT_FAILED
        except KeyboardInterrupt:
            print("stopped; nothing is left running", file=sys.stderr)
            return EXIT_INTERRUPTED
    return EXIT_MEASURED if outcome.is_well or not plan.check else EXIT_FAILED


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _print(outcome: Outcome, plan: BenchmarkPlan) -> None:
    if plan.json != STANDARD_OUTPUT:
        for line in table_lines(outcome.sections, outcome.ran_on):
            print(line)
    if plan.json is None:
        return
    text = json.dumps(outcome.as_json(), indent=2)
    if plan.json == STANDARD_OUTPUT:
        print(text)
    else:
        plan.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
