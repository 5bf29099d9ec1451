"""`scripts/telegram`: the process that answers on Telegram, in the foreground. Owns words and exit
codes; what it does is telegram/poller.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Sequence

from cli.command_line import EXIT_DONE, EXIT_FAILED, OneLineParser, Stop
from cli.runner import run_tool
from cli.side_stop import stop_side
from config import Settings, get_settings
from operations.refused import Refused
from runtime.bootstrap import forbid_core_files
from runtime.pid_file import AlreadyRunning, PidFile
from runtime.telegram_poller import TELEGRAM, find_poller, first_beat, save_beat
from utils.logging_setup import setup_logging

HELP = """\
Answers you on Telegram: /status, /report, /pause, /resume, /close BTC/USD (which asks to be
confirmed), /help. Off until TELEGRAM_TOKEN is set in .env; then the watchdog starts it in the
background within a minute, and again when it ends or .env changes. You need this script only to
watch it.

  scripts/telegram            in the foreground, until Ctrl-C
  scripts/telegram stop       end the one that runs; the watchdog starts it again within a minute,
                              unless TELEGRAM_TOKEN is gone from .env

Set it up (docs/telegram.md):

  first       write /newbot to @BotFather on Telegram. It gives you a token: TELEGRAM_TOKEN=... in
              .env
  second      write anything to your new bot. It does not answer, but scripts/doctor names your chat
  third       TELEGRAM_CHATS=<that number> in .env. Nobody else is answered, and you are told of who
              tries
  last        scripts/doctor says whether it works

Only one process reads the messages of a bot: a second one here refuses to start, and of one
elsewhere you are told. It needs no open port: it asks Telegram."""
EPILOG = """\
exit codes: 0 asked to end; 1 another one runs, or it could not go on; 2 a setting or an argument is
            wrong
settings:   .env (see .env.example); its log is LOG_DIR/telegram.log"""
COMMANDS = ("run", "stop")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_tool("telegram", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    settings = get_settings()
    if options.command == "stop":
        return stop_side(TELEGRAM, settings)
    if settings.telegram_token is None:
        raise Refused("TELEGRAM_TOKEN is not set in .env: it is off (see scripts/telegram --help)")
    forbid_core_files()
    setup_logging(settings, "telegram")
    try:
        with PidFile(TELEGRAM.pid_path(settings)):
            save_beat(settings, first_beat(settings))  # what follows takes long on a busy machine
            _poll(settings)
            logging.shutdown()  # sends what waits, while the PID file still says that we run
    except AlreadyRunning:
        process = find_poller(settings)
        pid = "unknown" if process is None else process.pid
        raise Stop(f"another one answers already (PID {pid})", EXIT_FAILED) from None
    return EXIT_DONE


def _poll(settings: Settings) -> None:
    """As `asyncio.run`, but a name server that hangs does not hold up the end."""
    from telegram.poller import Poller  # loads the exchange's SDK: a second

    loop = asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        poller = Poller(settings)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup
                loop.add_signal_handler(number, poller.stop)
        loop.run_until_complete(poller.run())
    finally:
        loop.close()


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/telegram", description=HELP, epilog=EPILOG)
    parser.add_argument(
        "command", nargs="?", choices=COMMANDS, default="run", help="run (default) or stop"
    )
    return parser


def _leave(code: int) -> None:
    """Exit even while a command hangs in a thread: what it began is told at the next start."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
