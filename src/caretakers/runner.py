"""The shell around every caretaker script: arguments, settings, lock, log, retries, exit code.

A script hands its work to `run_script`; the work says what it plans with `ScriptRun.step` and
raises what it cannot do. Owns how a script starts, ends and prints; knows nothing of its work.

Exit codes: 0 nothing to do or done (also when another run is under way), 1 could not finish (the
next run goes on), 2 settings or arguments.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from config import Settings, SettingsError, get_settings
from models.meta import ForeignDatabase, check_account, check_schema, claim_account
from runtime.bootstrap import forbid_core_files
from runtime.script_runs import ScriptRunRecord, save_script_run
from runtime.unwritable import describe_unwritable
from utils.db_utils import (
    DatabaseError,
    DatabaseUnavailable,
    TransactionConflict,
    close_thread_connection,
    thread_connection,
)
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging
from utils.state_file import locked
from utils.wrapping import PageFormatter, say, warn

log = logging.getLogger(__name__)

EXIT_DONE, EXIT_FAILED, EXIT_SETTINGS = 0, 1, 2
DATABASE_WAITS_SECONDS = (0.5, 2.0)  # three tries; reads of the exchange have their own

_EPILOG = """\
exit codes: 0 nothing to do, or done (also when another run is under way)
            1 could not finish: the line says why, the next run goes on
            2 a setting or an argument is wrong
settings:   .env (see .env.example); the log is LOG_DIR/{name}.log"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What the shell must know of a script. `manual` is the body of --help."""

    name: str
    summary: str
    manual: str
    needs_database: bool = True
    needs_exchange: bool = False


class StepFailed(Exception):
    """This one step cannot be done now; the others go on, and the run ends with exit code 1."""


@dataclass(slots=True)
class ScriptRun:
    """One run: what it is to do, did and failed at. With `dry_run` nothing is done. Steps are plain
    mappings: `action`, `reason`, mostly `symbol`, and what else identifies them.
    """

    settings: Settings
    dry_run: bool = False
    plan: list[dict[str, Any]] = field(default_factory=list)
    done: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)

    def step(self, step: Mapping[str, Any], perform: Callable[[], str | None]) -> bool:
        """Plan `step` and, unless this is a dry run, do it. `perform` may return what came of it.

        Returns:
            Whether it was done.

        Raises:
            Whatever `perform` raises besides StepFailed; the step then counts as failed.
        """
        planned = dict(step)
        self.plan.append(planned)
        if self.dry_run:
            return False
        try:
            outcome = perform()
        except Exception as error:  # counted; handled by the caller unless it is the step's own
            self.failed.append(planned | {"error": str(error)})
            if not isinstance(error, StepFailed):
                raise
            log_event(log, LogEvent.STEP_FAILED, **planned, error=error)
            return False
        self.done.append(planned | ({"outcome": outcome} if outcome else {}))
        return True

    def start_again(self) -> None:
        """Forget what was planned and not done: a new try plans anew."""
        self.plan[:] = self.done
        self.failed.clear()


def run_script(script: Script, work: Callable[[ScriptRun], None]) -> int:
    """Run `work` once and return the exit code."""
    arguments = _parser(script).parse_args()
    forbid_core_files()
    try:
        settings = get_settings()
        settings.run_dir.mkdir(parents=True, exist_ok=True)
        setup_logging(settings, script.name, console=False)
    except SettingsError as error:
        return _refuse(script, arguments, error.problems)
    except OSError as error:
        return _refuse(script, arguments, [describe_unwritable(error, settings)])
    run = ScriptRun(settings=settings, dry_run=arguments.dry_run)
    started_at = datetime.now(UTC)
    reason: str | None = None
    lock = settings.run_dir / f"{script.name}.lock"
    try:
        with contextlib.nullcontext() if run.dry_run else locked(lock, seconds=0.0):
            try:
                reason = _why_unfinished(script, work, run)
            finally:
                if not run.dry_run:
                    _record(script, run, started_at, reason)
    except TimeoutError:
        _say(script, "another run is under way: nothing done")
    _say_result(script, arguments, run, reason)
    return _exit_code(run, reason)


def _why_unfinished(
    script: Script, work: Callable[[ScriptRun], None], run: ScriptRun
) -> str | None:
    """Do the work; None when it came to its end, else one line for a person."""
    exchange_error = _exchange_error(script)
    try:
        _with_retries(lambda: _open_and_work(script, work, run), run)
        return None
    except (DatabaseError, ForeignDatabase, exchange_error, OSError) as error:
        log_event(log, LogEvent.SCRIPT_FAILED, script=script.name, reason=error)
        return str(error)
    except KeyboardInterrupt:
        return "interrupted"
    except Exception as error:  # noqa: BLE001 - the top of a script: the next run goes on
        log_event(log, LogEvent.SCRIPT_FAILED, script=script.name, traceback=True)
        # Its message may hold anything, a secret too; the log has a filter for them.
        return f"a fault of the program ({type(error).__name__}): see the log"
    finally:
        close_thread_connection()


def _with_retries(attempt: Callable[[], None], run: ScriptRun) -> None:
    for wait_seconds in (*DATABASE_WAITS_SECONDS, None):
        try:
            return attempt()
        except (DatabaseUnavailable, TransactionConflict) as error:
            if wait_seconds is None:
                raise
            log_event(log, LogEvent.RUN_REPEATED, reason=error)
            close_thread_connection()
            time.sleep(wait_seconds)  # a bounded pause between tries
            run.start_again()


def _open_and_work(script: Script, work: Callable[[ScriptRun], None], run: ScriptRun) -> None:
    if script.needs_database:
        check_schema(thread_connection())
    if script.needs_exchange:
        _check_account(run)
    work(run)


def _check_account(run: ScriptRun) -> None:
    """A paper database must never meet a live account, in no program."""
    from utils.alpaca_client_rest import get_trading_client
    from utils.alpaca_queries import fetch_account_id

    check = check_account if run.dry_run else claim_account
    check(thread_connection(), fetch_account_id(get_trading_client()))


def _exchange_error(script: Script) -> type[Exception]:
    """The exchange's errors; a script that never asks it does not load the SDK for them."""
    if not script.needs_exchange:
        return StepFailed
    from utils.alpaca_http import ExchangeError

    return ExchangeError


def _record(script: Script, run: ScriptRun, started_at: datetime, reason: str | None) -> None:
    record = ScriptRunRecord(
        script=script.name,
        started_at=started_at,
        finished_at=datetime.now(UTC),
        exit_code=_exit_code(run, reason),
        done=len(run.done),
        failed=len(run.failed),
        reason=reason,
    )
    try:
        save_script_run(run.settings.run_dir, record)
    except OSError as error:
        log_event(log, LogEvent.RUN_UNRECORDED, reason=error)


def _exit_code(run: ScriptRun, reason: str | None) -> int:
    return EXIT_FAILED if reason is not None or run.failed else EXIT_DONE


def _parser(script: Script) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=script.name,
        description=f"{script.summary}\n\n{script.manual.strip()}",
        epilog=_EPILOG.format(name=script.name),
        formatter_class=PageFormatter,
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print what would be done and do nothing"
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object: script, plan, done, failed"
    )
    parser.add_argument("--quiet", action="store_true", help="print only what went wrong")
    return parser


def _refuse(script: Script, arguments: argparse.Namespace, problems: list[str]) -> int:
    for problem in problems:
        _say(script, problem)
    if arguments.json:
        failed = [{"action": "read settings", "error": problem} for problem in problems]
        _print_json(script, [], [], failed)
    return EXIT_SETTINGS


def _say_result(
    script: Script, arguments: argparse.Namespace, run: ScriptRun, reason: str | None
) -> None:
    """Results on standard output; the line that says why a run ended early on standard error."""
    if reason is not None:
        _say(script, f"could not finish: {reason}")
    if arguments.json:
        failed = run.failed + ([{"action": "finish", "error": reason}] if reason else [])
        _print_json(script, run.plan, run.done, failed)
        return
    for step in run.failed:
        _say(script, f"FAILED: {_line(step)}")
    if arguments.quiet:
        return
    if run.dry_run:
        lines = [f"would {_line(step)}" for step in run.plan]
    else:
        lines = [f"done: {_line(step)}" for step in run.done]
    for line in lines or ([] if reason or run.failed else ["nothing to do"]):
        say(f"{script.name}: {line}")


def _line(step: Mapping[str, Any]) -> str:
    """`action symbol: reason (outcome)` for a person."""
    head = " ".join(str(step[key]) for key in ("action", "symbol") if step.get(key))
    tail = step.get("error") or step.get("outcome")
    return f"{head}: {step.get('reason', '')}" + (f" ({tail})" if tail else "")


def _say(script: Script, line: str) -> None:
    warn(f"{script.name}: {line}")


def _print_json(
    script: Script,
    plan: list[dict[str, Any]],
    done: list[dict[str, Any]],
    failed: list[dict[str, Any]],
) -> None:
    shown = {"script": script.name, "plan": plan, "done": done, "failed": failed}
    print(json.dumps(shown, default=str))
