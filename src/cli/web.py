"""`scripts/web`: the process that serves the page, in the foreground, and its link. Owns words and
exit codes; what it does is web/app.py.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Sequence

from cli.command_line import EXIT_DONE, EXIT_FAILED, OneLineParser, Stop
from cli.runner import run_tool
from cli.side_stop import stop_side
from config import Settings, get_settings
from monitoring.status.caretaker_status import is_watched
from runtime.bootstrap import forbid_core_files
from runtime.pid_file import AlreadyRunning, PidFile
from runtime.web_page import PAGE, PageBeat, addresses_of
from utils.logging_setup import setup_logging
from utils.wrapping import warn
from web.access import load_tokens, renew_token

HELP = """\
The bot in a browser: see it, steer it, try other settings. Serves one page to its owner, on this
machine only. Off until WEB=on is set in .env; then the watchdog starts it in the background within
a minute, and again when it ends or .env changes.

  scripts/web                 in the foreground, until Ctrl-C; prints the link first
  scripts/web link            print the link that opens the page
  scripts/web new-token       make another token: the old link and all sessions end
  scripts/web metrics-token   print the token with which a monitor may read /metrics
  scripts/web stop            end the one that runs; the watchdog starts it again within a minute,
                              unless WEB=on is gone from .env

The link holds a secret: whoever has it can see and steer your bot. The page keeps it out of its
address at once; the browser stays signed in for 30 days. From another machine, look at it through a
tunnel, which needs no setting:

  ssh -L 8787:127.0.0.1:8787 you@the-machine       then open the link on yours

docs/page.md has the rest: another port or name, TLS, a reverse proxy, metrics."""
EPILOG = """\
exit codes: 0 done, or asked to end; 1 another one runs, or it could not go on; 2 a setting or an
            argument is wrong
settings:   WEB_... in .env (see .env.example); its log is LOG_DIR/web.log"""
COMMANDS = ("run", "link", "new-token", "metrics-token", "stop")


def main(arguments: Sequence[str] | None = None) -> int:
    return run_tool("web", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = build_parser().parse_args(arguments)
    settings = get_settings()
    match options.command:
        case "link":
            print(links_of(settings))
            if PAGE.find(settings) is None:  # whoever else listens there would get the token
                warn(f"web: do not open it yet, nothing of yours serves it: {_how(settings)}")
        case "new-token":
            renew_token(settings)
            print(f"All sessions have ended. The new link:\n{links_of(settings)}")
        case "metrics-token":
            print(load_tokens(settings).metrics_token)
        case "stop":
            return stop_side(PAGE, settings)
        case _:
            return _serve(settings)
    return EXIT_DONE


def links_of(settings: Settings) -> str:
    """What opens the page, signed in: a line for each of its names. The token stands behind the #:
    no browser sends that.

    Raises:
        OSError: the run folder cannot be written.
    """
    token = load_tokens(settings).token
    return "\n".join(f"{address}/#token={token}" for address in addresses_of(settings))


def _serve(settings: Settings) -> int:
    forbid_core_files()
    setup_logging(settings, PAGE.name)
    try:
        with PidFile(PAGE.pid_path(settings)):
            # What follows takes long on a busy machine.
            PAGE.save_beat(settings, PAGE.first_beat(settings, PageBeat))
            from web.app import serve  # loads the exchange's SDK: a second

            asyncio.run(serve(settings, lambda: _say_link(settings)))
            logging.shutdown()  # sends what waits, while the PID file still says that we run
    except AlreadyRunning:
        process = PAGE.find(settings)
        pid = "unknown" if process is None else process.pid
        reason = f"the page is served already (PID {pid}): scripts/web link opens it"
        raise Stop(reason, EXIT_FAILED) from None
    return EXIT_DONE


def _how(settings: Settings) -> str:
    if not settings.web:
        return "set WEB=on in .env, or run scripts/web"
    if is_watched(settings):
        return "the watchdog starts it within a minute (scripts/doctor)"
    return "the watchdog does not run (scripts/doctor); or run scripts/web"


def _say_link(settings: Settings) -> None:
    """Only where somebody looks: the background's output is a file, and the token a secret."""
    if sys.stdout.isatty():
        print(f"The page: {links_of(settings)}\nCtrl-C ends it.", flush=True)


def build_parser() -> OneLineParser:
    parser = OneLineParser(prog="scripts/web", description=HELP, epilog=EPILOG)
    parser.add_argument(
        "command", nargs="?", choices=COMMANDS, default="run", help="run (default) and others"
    )
    return parser


def _leave(code: int) -> None:
    """Exit even while a request to the database or the exchange hangs in a thread."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    _leave(main())
