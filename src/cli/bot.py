"""`scripts/bot`: the command line over the daemon's life, the pause of buys, opening and selling.

Owns words and the order of steps; `open` is cli/bot_open.py, `close` cli/bot_close.py. How a daemon
is started and ended is runtime.daemon_process' business.
"""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Sequence

import psutil
from rich.text import Text

from cli.bot_options import parse_options
from cli.command_line import EXIT_DONE, EXIT_FAILED, print_json
from cli.runner import Command, run_tool
from cli.start_warnings import find_start_warnings
from config import (
    Settings,
    find_bad_lines,
    get_settings,
    inspect_environment,
    use_settings,
)
from operations.pause import PAUSED_TEXT, pause_buying, resume_buying
from runtime.daemon_process import (
    DaemonError,
    age_seconds,
    find_daemon,
    is_suspended,
    load_beat_of,
    restart_on_purpose,
    start_on_purpose,
    stop_on_purpose,
)
from runtime.heartbeat import Heartbeat
from runtime.operator_flags import is_paused, is_stopped
from runtime.unwritable import describe_unwritable
from utils.formatting import span
from utils.log_events import LogEvent, log_event
from utils.logging_setup import setup_logging

log = logging.getLogger(__name__)

TRADING_SECONDS = 10.0  # a start that takes longer to trade is reported as it stands
POLL_SECONDS = 0.1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; whatever stops it is one line, and an exit code."""
    return run_tool("bot", arguments, _run)


def _run(arguments: Sequence[str]) -> int:
    options = parse_options(arguments)
    if options.command == "stop":
        return BotCommand(_settings_to_stop_with(), options).run()
    settings = get_settings()
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    setup_logging(settings, "bot", console=False)
    return BotCommand(settings, options).run()


def _settings_to_stop_with() -> Settings:
    """A daemon can be stopped whatever is wrong in `.env` by now, and where no log can be written.
    Only the place of its PID file is needed.
    """
    settings, _ = inspect_environment()
    use_settings(settings)
    for problem in find_bad_lines():
        where = f"the daemon is searched for at PID_FILE={settings.pid_file}"
        print(f"bot: {problem}; {where}", file=sys.stderr)
    try:
        setup_logging(settings, "bot", console=False)
    except OSError as error:
        logging.getLogger().addHandler(logging.NullHandler())
        print(f"bot: {describe_unwritable(error, settings)}", file=sys.stderr)
    return settings


class BotCommand(Command):
    """The methods are named as the commands."""

    # The daemon

    def start(self) -> None:
        before = find_daemon(self.settings)
        process = start_on_purpose(self.settings)
        ran = before is not None and before == process
        log_event(log, LogEvent.DAEMON_START_REQUESTED, pid=process.pid, ran=ran)
        state = self._wait_until_it_trades(process)
        text = f"The daemon {'runs already' if ran else 'runs'} (PID {process.pid}): {state}."
        warnings = find_start_warnings(self.settings)
        self.answer(text, pid=process.pid, ran_already=ran, state=state, warnings=warnings)
        self._warn(warnings)

    def stop(self) -> None:
        how = stop_on_purpose(self.settings)
        log_event(log, LogEvent.DAEMON_STOP_REQUESTED, how=how)
        texts = {
            "did not run": "The daemon does not run, and the watchdog will not start it.",
            "killed": "The daemon did not end when asked and was killed; its open orders are found"
            " again at the next start. The watchdog leaves it stopped.",
        }
        text = texts.get(how, "The daemon has ended; the watchdog leaves it stopped.")
        self.answer(text, how=how)

    def restart(self) -> None:
        how, process = restart_on_purpose(self.settings)
        log_event(log, LogEvent.DAEMON_RESTART_REQUESTED, how=how, pid=process.pid)
        state = self._wait_until_it_trades(process)
        old = {
            "did not run": "It did not run",
            "killed": "The old daemon did not end when asked and was killed",
        }.get(how, "The old daemon has ended")
        text = f"{old}; a new one runs (PID {process.pid}): {state}."
        warnings = find_start_warnings(self.settings)
        self.answer(text, pid=process.pid, how=how, state=state, warnings=warnings)
        self._warn(warnings)

    def _warn(self, warnings: Sequence[str]) -> None:
        for warning in warnings:
            self.say(Text(f"WARNING: {warning}", style="yellow"))

    def _wait_until_it_trades(self, process: psutil.Process) -> str:
        """What it does, for a person: a start that has to wait for something is no failure."""
        deadline = time.monotonic() + TRADING_SECONDS
        while True:
            beat = load_beat_of(process, self.settings)
            is_late = time.monotonic() >= deadline
            if beat is not None and (beat.state == "trading" or is_late):
                break
            if find_daemon(self.settings) != process:
                raise DaemonError("the daemon has ended again: see LOG_DIR/app.log")
            if is_late:
                break
            time.sleep(POLL_SECONDS)  # the pause of a poll with a bound
        if beat is None or beat.age_seconds() > self.settings.heartbeat_max_age_seconds:
            raise DaemonError(
                f"the daemon (PID {process.pid}) runs but does not answer: scripts/bot restart"
            )
        texts = {
            "trading": "it trades",
            "recovering": "it still compares its records with the exchange",
        }
        text = texts.get(beat.state, f"it is {beat.state}: {beat.reason or 'no reason given'}")
        return text + ("; buying is paused" if is_paused(self.settings.run_dir) else "")

    # Buying

    def pause(self) -> None:
        pause_buying(self.settings)
        self.answer(f"{PAUSED_TEXT} Again: scripts/bot resume", paused=True)

    def resume(self) -> None:
        self.answer(resume_buying(self.settings), paused=False)

    # One line

    def status_line(self) -> int:
        process = find_daemon(self.settings)
        beat = None if process is None else load_beat_of(process, self.settings)
        stopped, paused = is_stopped(self.settings.run_dir), is_paused(self.settings.run_dir)
        parts, trades = _describe_daemon(self.settings, process, beat, is_stopped=stopped)
        line = " | ".join([*parts, *(["buying is paused"] if paused else [])])
        self.say(line)
        if self.as_json:
            print_json(
                {
                    "trades": trades,
                    "line": line,
                    "pid": None if process is None else process.pid,
                    "state": None if beat is None else beat.state,
                    "stopped_on_purpose": stopped,
                    "paused": paused,
                }
            )
        return EXIT_DONE if trades else EXIT_FAILED

    # Opening and selling now

    def open(self) -> None:
        from cli.bot_open import open_cycle  # loads the SDK, which takes a second

        open_cycle(self)

    def close(self) -> None:
        from cli.bot_close import close  # loads the SDK, which takes a second

        close(self)


def _describe_daemon(
    settings: Settings,
    process: psutil.Process | None,
    beat: Heartbeat | None,
    *,
    is_stopped: bool,
) -> tuple[list[str], bool]:
    """The parts of the status line, and whether the daemon trades."""
    if process is None:
        return ["stopped on purpose" if is_stopped else "NOT RUNNING"], False
    runs = f"PID {process.pid} for {span(age_seconds(process))}"
    if is_suspended(process):
        return ["SUSPENDED", runs], False
    if beat is None:
        return ["no heartbeat yet", runs], False
    if beat.age_seconds() > settings.heartbeat_max_age_seconds:
        return [f"HUNG: last heartbeat {span(beat.age_seconds())} ago", runs], False
    if beat.state != "trading":
        return [f"{beat.state}: {beat.reason or 'no reason given'}", runs], False
    lost = []
    if not beat.trade_stream_connected:
        lost.append("trade stream LOST")
    if beat.symbols and not beat.data_stream_connected:
        lost.append("data stream LOST")
    quote = "no quote yet"
    if beat.last_quote_at is not None:
        quote = f"last quote {span(time.monotonic() - beat.last_quote_at)} ago"
    what = ", ".join(beat.symbols) or "no asset configured"
    return [", ".join(lost) or "trading", runs, what, quote], not lost


if __name__ == "__main__":
    sys.exit(main())
