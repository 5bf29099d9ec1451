"""The daemon, `python src/main_app.py`: starts the bot's parts, waits, stops them.

Decides nothing. Exit codes: 0 asked to stop, 1 could not go on (the watchdog starts it again),
2 settings, 3 another daemon runs.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import runtime.bootstrap  # first: what follows needs the packages
from utils.formatting import describe_account

if __name__ == "__main__":
    runtime.bootstrap.keep_thread_caches_empty()

# isort: split
from config import Settings, SettingsError, find_loose_permissions, get_settings
from models.meta import ForeignDatabase, check_schema, claim_account
from runtime.bootstrap import forbid_core_files
from runtime.memory import prepare_process, settle_memory
from runtime.pid_file import AlreadyRunning, PidFile
from runtime.unwritable import describe_unwritable
from trading.bot import SHUTDOWN_SECONDS, Bot
from utils.alpaca_client_rest import ExchangeError, get_trading_client
from utils.alpaca_queries import fetch_account_id
from utils.db_utils import DatabaseError, thread_connection
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging

log = logging.getLogger("main_app")
T = TypeVar("T")

EXIT_STOPPED, EXIT_FAILED, EXIT_SETTINGS, EXIT_ALREADY_RUNNING = 0, 1, 2, 3
HELP = """\
The daemon: watches the prices of the assets in the database, buys and sells, until it gets SIGINT
(Ctrl-C) or SIGTERM. It logs to LOG_DIR/app.log and to standard error.

  scripts/bot start      starts it detached; also stop, restart, pause, close (scripts/bot --help)
  scripts/status         what it does; scripts/doctor: what is wrong
  scripts/assets add     what it trades

All settings are in .env, explained in .env.example.

exit codes: 0 asked to stop; 1 could not go on: the log says why, the watchdog starts it again;
            2 a setting or an argument is wrong; 3 another daemon runs"""
THREADS = 32  # each symbol may have a slow request under way

_bot: Bot | None = None


async def on_crypto_quote(q: Any) -> None:
    """Handler of the quote stream (phases 3 to 6)."""
    if _bot is not None:
        await _bot.market.on_crypto_quote(q)


async def on_crypto_trade_update(tu: Any) -> None:
    """Handler of the trade update stream (phases 3 and 7 to 9)."""
    if _bot is not None:
        await _bot.updates.on_crypto_trade_update(tu)


def _check_first(settings: Settings) -> str:
    """Check tables, keys and that the account is this database's; its id. Blocking.

    Raises:
        ExchangeError, DatabaseError, ForeignDatabase: one line each for the user.
    """
    connection = thread_connection()
    check_schema(connection)
    account_id = fetch_account_id(get_trading_client())
    claim_account(connection, account_id)
    log_event(
        log,
        LogEvent.ACCOUNT_OPENED,
        account=account_id,
        host=settings.trading_host,
        money=describe_account(settings),
    )
    return account_id


async def run_websockets() -> int:
    """Run until SIGINT or SIGTERM (returns 0) or until a part cannot go on (returns 1).

    Raises:
        ExchangeError, DatabaseError, ForeignDatabase, AlreadyRunning: before anything was started.
    """
    global _bot
    settings = get_settings()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="bot"))
    stop_wanted = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop_wanted.set)
    account_id = await _unless_stopped(stop_wanted, asyncio.to_thread(_check_first, settings))
    if account_id is None:
        log_event(log, LogEvent.APP_STOPPING, because="stop")
        return EXIT_STOPPED
    handlers = {"on_quote": on_crypto_quote, "on_trade_update": on_crypto_trade_update}
    bot = _bot = Bot(settings, account_id, **handlers)
    is_ours = await _unless_stopped(stop_wanted, asyncio.to_thread(bot.take_account))
    if is_ours is False:
        raise AlreadyRunning("another daemon trades this account, on this or another host")
    tasks = [
        asyncio.create_task(work, name=name)
        for name, work in {
            "stop": stop_wanted.wait(),
            "reconciler": bot.keep_reconciled(),
            "triggers": bot.keep_triggers_fresh(),
            "cooldowns": bot.cooldowns.run(),
            "peaks": bot.keep_peaks_saved(),
            "trade updates": bot.updates.run(),
            "trade stream": bot.streams.run_trade_stream(),
            "data stream": bot.streams.run_data_stream(),
            "connections": bot.keep_warm(),
            "account": bot.keep_account(),
            "dump guard": bot.market.dumps.run(),
            "heartbeat": bot.keep_beating(),
        }.items()
    ]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    log_event(log, LogEvent.APP_STOPPING, because=",".join(task.get_name() for task in done))
    await bot.stop()
    for task in tasks:
        task.cancel()
    ended, left = await asyncio.wait(tasks, timeout=SHUTDOWN_SECONDS)
    await asyncio.gather(*ended, return_exceptions=True)
    if left:
        names = ",".join(task.get_name() for task in left)
        log_event(log, LogEvent.STOP_HURRIED, left=names, seconds=SHUTDOWN_SECONDS)
    _bot = None
    return _exit_code(done)


async def _unless_stopped(stop_wanted: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns; None when the stop comes first: a slow exchange must not hold it up."""
    stopping, working = asyncio.create_task(stop_wanted.wait()), asyncio.create_task(work)
    try:
        await asyncio.wait({stopping, working}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
        await asyncio.gather(stopping, working, return_exceptions=True)


def _exit_code(done: set[asyncio.Task[Any]]) -> int:
    code = EXIT_STOPPED
    for task in done:
        if task.get_name() == "stop":
            continue
        code = EXIT_FAILED
        error = task.exception()
        if isinstance(error, AlreadyRunning):
            log_event(log, LogEvent.APP_SUPERSEDED, reason=error)
            return EXIT_ALREADY_RUNNING
        part, trace = task.get_name(), error or False
        log_event(log, LogEvent.APP_FAILED, level=logging.CRITICAL, part=part, traceback=trace)
    return code


def main() -> int:
    """Run the daemon; foreseeable trouble is one line on standard error and in the log."""
    forbid_core_files()
    prepare_process()
    try:
        settings = get_settings()
        setup_logging(settings, "app")
    except SettingsError as error:
        for problem in error.problems:
            print(f"main_app: {problem}", file=sys.stderr)
        return EXIT_SETTINGS
    except OSError as error:
        print(f"main_app: {describe_unwritable(error, settings)}", file=sys.stderr)
        return EXIT_SETTINGS
    try:
        with PidFile(settings.pid_file):
            log_event(log, LogEvent.APP_STARTED, pid=os.getpid())
            if loose := find_loose_permissions():
                log_event(log, LogEvent.ENV_FILE_LOOSE_PERMISSIONS, reason=loose)
            settle_memory()
            code = _run_loop()
            log_event(log, LogEvent.APP_STOPPED, code=code)
            logging.shutdown()  # mails what waits, while the PID file still says that we run
            return code
    except AlreadyRunning as error:
        log_event(log, LogEvent.APP_REFUSED, reason=error)
        return EXIT_ALREADY_RUNNING
    except (ExchangeError, DatabaseError, ForeignDatabase) as error:
        log_event(log, LogEvent.APP_FAILED, reason=error)
        return EXIT_FAILED
    except OSError as error:
        log_event(log, LogEvent.APP_FAILED, reason=describe_unwritable(error, settings))
        return EXIT_FAILED
    except Exception:  # noqa: BLE001 - the top of the program: log and mail must say it
        log_event(log, LogEvent.APP_FAILED, level=logging.CRITICAL, traceback=True)
        return EXIT_FAILED


def _run_loop() -> int:
    """As `asyncio.run`, but a hung request in a thread does not hold up the end."""
    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(run_websockets())
    finally:
        loop.close()


def _leave(code: int) -> None:
    """Exit even while a request hangs in a thread: its order, if any, is found again by its id."""
    logging.shutdown()
    if any(thread.name.startswith("bot") for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _parse(arguments: list[str]) -> None:
    """It takes no arguments: all its settings are in `.env`. Ends the program for --help."""
    parser = argparse.ArgumentParser(
        prog="main_app.py", description=HELP, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.parse_args(arguments)


if __name__ == "__main__":
    _parse(sys.argv[1:])
    _leave(main())
