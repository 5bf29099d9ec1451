"""The integration tests of the plan's phases: `python integration_test.py`, see --help.

Owns the command line, the order of the tests and the count of what passed. The tests stand in
tests/integration/.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parent / room) for room in ("src", "tests")]
import runtime.bootstrap  # noqa: F401 - first: what follows needs the packages

# isort: split
from integration.cleanup import clean_up
from integration.opening import KEPT_LOGS, Refused, open_rig
from integration.phases_1_to_3 import (
    test_phase1_asset_and_cycle_crud,
    test_phase2_alpaca_rest_api_order_cycle,
    test_phase3_websocket_connection_and_data_receipt,
)
from integration.phases_4_to_6 import (
    test_phase4_marketdata_places_base_order,
    test_phase5_marketdata_places_safety_order,
    test_phase6_marketdata_places_take_profit_order,
)
from integration.phases_7_to_9 import (
    test_phase7_tradingstream_processes_buy_fill,
    test_phase8_tradingstream_processes_sell_fill,
    test_phase9_tradingstream_handles_order_cancellation,
)
from integration.phases_10_to_13 import (
    test_phase10_order_manager_cleans_orders,
    test_phase11_cooldown_manager_updates_status,
    test_phase12_consistency_checker_scenarios,
    test_phase13_watchdog_restarts_app,
)
from integration.report import CheckFailed, Report
from integration.rig import Rig
from utils.wrapping import PageFormatter

Test = Callable[[Rig], None]
TESTS: tuple[Test, ...] = (
    test_phase1_asset_and_cycle_crud,
    test_phase2_alpaca_rest_api_order_cycle,
    test_phase3_websocket_connection_and_data_receipt,
    test_phase4_marketdata_places_base_order,
    test_phase5_marketdata_places_safety_order,
    test_phase6_marketdata_places_take_profit_order,
    test_phase7_tradingstream_processes_buy_fill,
    test_phase8_tradingstream_processes_sell_fill,
    test_phase9_tradingstream_handles_order_cancellation,
    test_phase10_order_manager_cleans_orders,
    test_phase11_cooldown_manager_updates_status,
    test_phase12_consistency_checker_scenarios,
    test_phase13_watchdog_restarts_app,
)
EXIT_PASSED, EXIT_FAILED, EXIT_REFUSED, EXIT_INTERRUPTED = 0, 1, 2, 130
HELP = """\
Tries the whole bot, phase by phase: tables, orders, streams, buying, selling, cron scripts.

  python integration_test.py --local          on this machine alone: a private MariaDB and the local
                                              exchange, no account and no keys; about a minute
  python integration_test.py                  on the Alpaca PAPER account and the database of .env,
                                              with real (paper) orders of about 20 USD; some minutes
  python integration_test.py phase4           one test; phase4 phase5 takes several, also full names
  python integration_test.py --symbol ETH/USD with another coin
  python integration_test.py --list           what there is

On paper it needs a database of its own, whose name ends in _test (set DB_NAME; the tables are
created), and refuses to start while a daemon trades the account, or while the account holds the
test coin or has an open order on it. It closes what it opened, also after a failure and after
Ctrl-C: its orders are canceled, the coins it bought are sold, its rows deleted. It never runs on
a live account. Waits are shortened for its own processes only (stale orders: 15 s on paper, 3 s
locally).

The logs of the last run are in logs/integration.
Exit code 0: all passed; 1: some failed; 2: not started, the lines say why; 130: Ctrl-C.
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one test ended. `problem` is None when it passed; `lines` is what it reported."""

    name: str
    problem: str | None
    is_clean: bool
    seconds: float
    lines: list[str]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parse(arguments)
    if options.list:
        for test in TESTS:
            print(f"{test.__name__:<56} {(test.__doc__ or '').splitlines()[0]}")
        return EXIT_PASSED
    # With --json standard output belongs to the JSON.
    report = Report(partial(print, file=sys.stderr if options.json else sys.stdout, flush=True))
    outcomes: list[Outcome] = []
    interrupted = False
    try:
        with open_rig(is_local=options.local, symbol=options.symbol, report=report) as rig:
            for test in options.tests:
                outcomes.append(run_test(test, rig))
                if not outcomes[-1].is_clean:
                    break  # the next tests would meet what this one left, and fail for that
    except Refused as refused:
        for problem in refused.problems:
            print(f"integration_test: {problem}", file=sys.stderr)
        return EXIT_REFUSED
    except KeyboardInterrupt:
        interrupted = True
    failed = [outcome for outcome in outcomes if outcome.problem is not None]
    report.begin("Result")
    for outcome in failed:
        report.line(f"FAILED {outcome.name}: {outcome.problem}")
    if interrupted:
        report.line("stopped by Ctrl-C")
    if not_run := len(options.tests) - len(outcomes):
        report.line(f"{not_run} not run")
    if outcomes and not outcomes[-1].is_clean:
        report.line("something is left (see above): the next run tries again to take it back")
    report.line(f"logs: {KEPT_LOGS}")
    report.line(f"{len(outcomes) - len(failed)} passed, {len(failed)} failed")
    if options.json:
        print(json.dumps(_as_json(outcomes, interrupted)))
    return EXIT_INTERRUPTED if interrupted else EXIT_FAILED if failed else EXIT_PASSED


def run_test(test: Test, rig: Rig) -> Outcome:
    """Run one test and take back what it opened, however it ended."""
    report, started, problems = rig.report, time.monotonic(), []
    report.begin(test.__name__)
    try:
        rig.begin()
        test(rig)
    except CheckFailed as failure:
        problems.append(str(failure))
        report.line(f"  FAILED  {failure}")
    except Exception as error:  # noqa: BLE001 - the top of a test: it counts as failed, the next go on
        problems.append(f"{type(error).__name__}: {error}")
        for line in traceback.format_exc().splitlines():
            report.line(f"    {line}")
    finally:
        with _undisturbed():
            left = _take_back(rig)
            problems += left
    seconds = time.monotonic() - started
    report.line(f"{'FAILED' if problems else 'PASSED'} in {seconds:.1f} s")
    return Outcome(test.__name__, "; ".join(problems) or None, not left, seconds, report.lines)


def _take_back(rig: Rig) -> list[str]:
    try:
        for action in clean_up(rig):
            rig.report.teardown(action)
        rig.ended_cleanly()
    except Exception as error:  # noqa: BLE001 - whatever it was: something is left, and that is said
        problem = f"teardown: {error}"
        rig.report.line(f"  FAILED  {problem}")
        return [problem]
    return []


@contextmanager
def _undisturbed() -> Iterator[None]:
    """A second Ctrl-C must not stop what takes the orders back; it is bounded in time."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    handlers = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, handlers, strict=True):
            signal.signal(number, handler)


def _as_json(outcomes: list[Outcome], interrupted: bool) -> dict[str, object]:
    failed = sum(outcome.problem is not None for outcome in outcomes)
    return {
        "passed": len(outcomes) - failed,
        "failed": failed,
        "interrupted": interrupted,
        "tests": [asdict(outcome) for outcome in outcomes],
        "logs": str(KEPT_LOGS),
    }


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="integration_test.py",
        description=HELP,
        formatter_class=PageFormatter,
    )
    parser.add_argument("tests", nargs="*", metavar="TEST", help="which tests (default: all)")
    parser.add_argument(
        "--local", action="store_true", help="a database and an exchange of its own"
    )
    parser.add_argument("--symbol", default="BTC/USD", help="the test coin (default: BTC/USD)")
    parser.add_argument("--list", action="store_true", help="list the tests and end")
    parser.add_argument("--json", action="store_true", help="the result as JSON on standard output")
    options = parser.parse_args(arguments)
    chosen = {name: [test for test in TESTS if _is_meant(test, name)] for name in options.tests}
    if unknown := [name for name, tests in chosen.items() if not tests]:
        parser.error(f"there is no test {', '.join(unknown)}: --list shows them")
    wanted = {test for tests in chosen.values() for test in tests}
    options.tests = [test for test in TESTS if not wanted or test in wanted]
    return options


def _is_meant(test: Test, name: str) -> bool:
    """`phase4`, `test_phase4` or the full name; phase1 does not mean phase10."""
    full = name if name.startswith("test_") else f"test_{name}"
    return test.__name__ == full or test.__name__.startswith(f"{full}_")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends and cleans up as Ctrl-C does
    sys.exit(main())
