"""The fourth step of `scripts/quickstart`: who runs the caretakers.

Owns: which ways a machine has and which of them is the usual one, and that whatever was set up ends
with the sandbox.
"""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable

from cli import install_crontab
from cli.command_line import EXIT_DONE, EXIT_FAILED, Stop
from cli.quickstart_guide import Guide, remember, remembered
from cli.quickstart_options import CRON, FOREGROUND, NOBODY, SYSTEMD
from config import PROJECT_ROOT, Settings
from operations.refused import Refused
from runtime.crontab import CrontabError, read_crontab, split_at_block
from runtime.daemon_process import find_daemon
from runtime.foreground import end_in_background, is_run_in_foreground, start_in_background
from runtime.operator_flags import STOPPED, set_flag
from runtime.systemd import SystemdError, find_units, systemctl

# For each way the question, and what ends it.
QUESTIONS = {
    CRON: "Let cron run them?",
    SYSTEMD: "Let your systemd run them?",
    FOREGROUND: "Run them in the background?",
}
ENDS = {
    CRON: "scripts/install_crontab remove",
    SYSTEMD: "scripts/install_crontab remove --systemd",
    FOREGROUND: "end scripts/caretakers run",
}


def find_caretakers(settings: Settings) -> list[str]:
    """The ways in which they are run for this folder now; one, unless somebody added another."""
    is_there: dict[str, Callable[[], bool]] = {
        CRON: _cron_has_our_lines,
        SYSTEMD: lambda: bool(find_units()),
        FOREGROUND: lambda: is_run_in_foreground(settings.run_dir),
    }
    return [way for way, check in is_there.items() if check()]


def _cron_has_our_lines() -> bool:
    try:
        return split_at_block(read_crontab(), PROJECT_ROOT)[2]
    except CrontabError:
        return False


def install_caretakers(guide: Guide, *, may_begin: bool) -> None:
    """Let them be run. `may_begin`: the watchdog may start a daemon that does not run.

    Raises:
        Refused: another way is at work than the one that is wanted.
        Stop: it did not succeed; its reason was said.
    """
    guide.begin_step("The caretakers")
    at_work = find_caretakers(guide.settings)
    known = at_work[0] if at_work else remembered("caretakers")
    chosen = guide.options.caretakers or known or _choose(guide)
    if chosen != NOBODY and (others := [way for way in at_work if way != chosen]):
        raise Refused(f"{others[0]} has the caretakers already: {ENDS[others[0]]} first")
    if not may_begin and not find_daemon(guide.settings):
        set_flag(guide.settings.run_dir, STOPPED, wanted=True)
    remember(caretakers=chosen)
    if chosen == FOREGROUND:
        _run_in_background(guide)
    elif chosen in (CRON, SYSTEMD) and guide.quietly(lambda: _crontab("install", chosen)):
        reason = "the caretakers are not installed; --caretakers none goes on without"
        raise Stop(reason, EXIT_FAILED)
    elif chosen == NOBODY and not at_work:
        guide.say("Nobody restarts the bot after a crash or a reboot: scripts/install_crontab.")
    guide.shown["caretakers"] = chosen


def _choose(guide: Guide) -> str:
    ways = _ways_of_this_machine()
    if CRON not in ways:
        guide.say("There is no cron on this machine.")
    if guide.options.yes:
        return ways[0]
    guide.say("They restart the bot after a crash, cancel old orders, and back up the database.")
    if ways[1:]:
        guide.say(f"Another way, instead: --caretakers {' or '.join(ways[1:])}.")
    return ways[0] if guide.agrees(QUESTIONS[ways[0]]) else NOBODY


def _ways_of_this_machine() -> list[str]:
    """The usual one first. The foreground is last: nothing begins it after a reboot."""
    ways = [FOREGROUND]
    with contextlib.suppress(SystemdError):
        systemctl("show-environment")
        ways.insert(0, SYSTEMD)
    if shutil.which("crontab") is not None:
        ways.insert(0, CRON)
    return ways


def _run_in_background(guide: Guide) -> None:
    settings = guide.settings
    try:
        with guide.waiting_for("Starting scripts/caretakers run"):
            pid = start_in_background(settings.run_dir, settings.log_dir)
    except TimeoutError as error:
        raise Stop(f"{error}; --caretakers none goes on without", EXIT_FAILED) from None
    guide.say(
        f"scripts/caretakers run is at work in the background (PID {pid}), also when you log out."
        " After a reboot scripts/quickstart starts it again, with the rest."
    )


def stop_caretakers(settings: Settings) -> bool:
    """End all ways; what runs goes on. Whether there was one, and it ended."""
    ended = False
    for way in find_caretakers(settings):
        if way == FOREGROUND:
            ended |= end_in_background(settings.run_dir)
        else:
            with contextlib.redirect_stdout(io.StringIO()):
                ended |= _crontab("remove", way) == EXIT_DONE
    return ended


def _crontab(command: str, way: str) -> int:
    return install_crontab.main([command, *(["--systemd"] if way == SYSTEMD else [])])
