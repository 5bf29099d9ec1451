"""Builds the rig of a run and refuses where its tests could do harm.

Local: a database and an exchange of its own, nothing of the user's is read. Otherwise the account
and the database of `.env`: never a live account, a database that is not called a test database, an
account that a daemon trades or that holds anything on the test symbol.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from config import PROJECT_ROOT, Settings, SettingsError, get_settings, reset_settings
from domain.wire import WireError, normalize_symbol
from integration.cleanup import clean_up
from integration.market import LocalMarket
from integration.report import CheckFailed, Report
from integration.rig import Rig
from integration.run import MARKER, Run
from local_stack.exchange_process import StackError
from local_stack.scratch import scratch_folder
from local_stack.stack import LocalStack
from mariadb_server.debian_packages import LOCAL_FOLDER
from mariadb_server.errors import MariaDBError
from models.meta import (
    ForeignDatabase,
    apply_schema,
    check_schema,
    claim_account,
    get_meta,
)
from runtime.account_lock import AccountLock
from runtime.pid_file import read_pid_file
from runtime.process_table import STACK_MARK
from strategy.sizing import is_unsellable
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.alpaca_queries import fetch_account_id
from utils.db_utils import (
    DatabaseError,
    close_quietly,
    close_thread_connection,
    execute_query,
    get_db_connection,
)
from utils.logging_setup import setup_logging

DATABASE_SUFFIX = "_test"
LOCAL_DATABASE = f"dca_integration{DATABASE_SUFFIX}"
KEPT_LOGS = PROJECT_ROOT / "logs" / "integration"
# A test must not mail anybody, and no buy limit of the user may hold back its small orders.
_OFF = (
    "SMTP_HOST",
    "SMTP_USER",
    "SMTP_PASSWORD",
    "ALERT_FROM",
    "ALERT_TO",
    "HEARTBEAT_URL",
    "MAX_BUY_USD_PER_DAY",
    "MAX_POSITION_USD",
    "MAX_OPEN_CYCLES",
)
_PACE = {"HEARTBEAT_SECONDS": "0.5", "REFRESH_SECONDS": "0.5", "LOG_LEVEL": "INFO"}
_PAPER_PACE = {"STALE_ORDER_SECONDS": "15", "UNKNOWN_OUTCOME_SECONDS": "5", **_PACE}
_LOCAL_PACE = {"STALE_ORDER_SECONDS": "3", "UNKNOWN_OUTCOME_SECONDS": "1", **_PACE}


class Refused(Exception):
    """The tests were not started. `problems` holds one line each."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@contextmanager
def open_rig(*, is_local: bool, symbol: str, report: Report) -> Iterator[Rig]:
    """The rig of one run; everything that it started is ended when the context is left.

    Raises:
        Refused: with what to change.
    """
    LOCAL_FOLDER.mkdir(mode=0o700, exist_ok=True)
    with ExitStack() as until_the_end:
        try:
            symbol = normalize_symbol(symbol)
            folder = until_the_end.enter_context(scratch_folder("integration"))
            until_the_end.callback(_keep_logs, folder / "logs")
            opened = _open_local if is_local else _open_paper
            rig = until_the_end.enter_context(opened(folder, symbol, report))
        except SettingsError as error:
            raise Refused(*error.problems) from None
        except (
            CheckFailed,
            DatabaseError,
            ExchangeError,
            ForeignDatabase,
            MariaDBError,
            OSError,
            StackError,
            WireError,
        ) as error:
            raise Refused(str(error)) from None
        yield rig


@contextmanager
def _open_local(folder: Path, symbol: str, report: Report) -> Iterator[Rig]:
    stack = LocalStack(folder, database=LOCAL_DATABASE, settings=_LOCAL_PACE)
    try:
        report.line("starting a private MariaDB and the local exchange")
        stack.start_database()
        stack.start_exchange("--manual", "--partial-probability", "0", "--rate-limit", "0")
        market = LocalMarket(stack.exchange, symbol)
        market.start()
        try:
            with _environment(stack.environment(), instead=True):
                yield from _rig(folder, symbol, report, market)
        finally:
            market.stop()
    finally:
        stack.stop()


@contextmanager
def _open_paper(folder: Path, symbol: str, report: Report) -> Iterator[Rig]:
    reset_settings()
    users = get_settings()
    _refuse_unsafe_settings(users)
    ours = {
        **dict.fromkeys(_OFF, ""),
        **_PAPER_PACE,
        "PID_FILE": str(folder / "run" / "main_app.pid"),
        "LOG_DIR": str(folder / "logs"),
        STACK_MARK: str(folder),
    }
    with _environment(ours, instead=False):
        yield from _rig(folder, symbol, report, None)


def _rig(folder: Path, symbol: str, report: Report, market: LocalMarket | None) -> Iterator[Rig]:
    settings = get_settings()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    setup_logging(settings, "integration_test", console=False)
    rig = None
    try:
        account_id = _check_database_and_account()
        rig = Rig(
            settings=settings,
            symbol=symbol,
            folder=folder,
            report=report,
            market=market,
        )
        _clean_up_after_a_killed_run(rig)
        _refuse_what_is_not_ours(rig, account_id)
        yield rig
    finally:
        close_thread_connection()
        if rig is not None:
            close_quietly(rig.db)


@contextmanager
def _environment(values: Mapping[str, str], *, instead: bool) -> Iterator[None]:
    """This process and its children run with these settings, on top of or instead of the rest."""
    before = dict(os.environ)
    try:
        if instead:
            os.environ.clear()
        os.environ.update(values)
        reset_settings()
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        reset_settings()


def _refuse_unsafe_settings(settings: Settings) -> None:
    problems = []
    if settings.is_live:
        problems.append(
            f"orders would go to {settings.trading_host}, where money is real:"
            " these tests run on a paper account only (ALPACA_PAPER=true), or with --local"
        )
    if not settings.db_name.endswith(DATABASE_SUFFIX):
        problems.append(
            f"DB_NAME is {settings.db_name!r}: these tests delete rows and run only on a database"
            f" whose name ends in {DATABASE_SUFFIX}; create one and set DB_NAME, or use --local"
        )
    record = read_pid_file(settings.pid_file)
    if record is not None and record.is_running():
        problems.append(
            f"main_app.py is running (PID {record.pid}): stop it first,"
            " Alpaca serves one trade stream per account"
        )
    if problems:
        raise Refused(*problems)


def _check_database_and_account() -> str:
    """Tables are there and the database is this account's; the account's id."""
    connection = get_db_connection()
    try:
        apply_schema(connection)
        check_schema(connection)
        account_id = fetch_account_id(get_trading_client())
        claim_account(connection, account_id)
    finally:
        close_quietly(connection)
    lock = AccountLock(account_id)
    if not lock.hold():
        raise Refused("a daemon trades this account, maybe on another host: stop it first")
    lock.release()
    return account_id


def _clean_up_after_a_killed_run(rig: Rig) -> None:
    if (text := get_meta(rig.db, MARKER)) is None:
        return
    rig.report.line("an earlier run was killed: taking back what it opened")
    for action in clean_up(rig, Run.from_text(text)):
        rig.report.teardown(action)
    rig.ended_cleanly()


def _refuse_what_is_not_ours(rig: Rig, account_id: str) -> None:
    problems = []
    rows = execute_query("SELECT asset_symbol FROM dca_assets", fetch_all=True, db_conn=rig.db)
    if rows:
        found = ", ".join(row["asset_symbol"] for row in rows)
        problems.append(
            f"database {rig.settings.db_name} has assets ({found}): the daemon that these tests"
            " start would trade them; use an empty test database"
        )
    position = rig.position()
    if position is not None and not is_unsellable(position.qty, rig.rules):
        problems.append(
            f"account {account_id} holds {position.qty.normalize():f} {rig.symbol}:"
            " close the position, or choose another coin with --symbol"
        )
    if orders := rig.open_orders():
        problems.append(
            f"account {account_id} has {len(orders)} open order(s) on {rig.symbol}"
            f" ({orders[0].client_order_id}): cancel them, or choose another coin with --symbol"
        )
    if problems:
        raise Refused(*problems)


def _keep_logs(folder: Path) -> None:
    """The logs of the last run stay readable after its folder is gone."""
    if folder.is_dir():
        shutil.rmtree(KEPT_LOGS, ignore_errors=True)
        shutil.copytree(folder, KEPT_LOGS)
        (KEPT_LOGS / ".gitignore").write_text("*\n", encoding="ascii")
