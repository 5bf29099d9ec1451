"""`scripts/install_crontab`: prints, installs and removes the bot's lines in a user's crontab, or
its units of the user's systemd.

Owns the command line only: the lines and the crontab are runtime/crontab.py, the units
runtime/systemd_units.py.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from config import PROJECT_ROOT, SettingsError, get_settings
from runtime.crontab import (
    NO_CRON,
    START_CRON,
    CrontabError,
    Installation,
    NoCrontab,
    compute_block,
    cron_runs,
    drop_block,
    put_block,
    read_crontab,
    split_at_block,
    try_as_cron,
    write_crontab,
)
from runtime.systemd import (
    SystemdError,
    find_units,
    install_units,
    lingers,
    remove_units,
    systemctl,
    unit_folder,
    user_name,
)
from runtime.systemd_units import compute_units
from utils.private_database import is_private_database
from utils.wrapping import PageFormatter, say, warn

_THIS = "scripts/install_crontab"
MANUAL = """\
  scripts/install_crontab           print the lines; change nothing
  scripts/install_crontab install   put them into your crontab, or bring them up to date
  scripts/install_crontab remove    take them out again

With --systemd each does so with units of your own systemd instead, without cron and without root:
a timer for each line, and the daemon as a service.

watchdog, order_manager and cooldown_manager run every minute, consistency_checker every five
minutes. Each night the database is backed up (scripts/database backup --help); backups of 14 days
are kept. After a reboot the watchdog runs; if .env names the private MariaDB, scripts/database
start runs first. Your other entries stay as they are. What the jobs print goes to LOG_DIR/cron.out,
beside their logs.

The jobs see no environment: the settings must be in .env. Run remove before you move the folder,
and install after it. Without cron and systemd, in a container: scripts/caretakers run.

As a service the daemon tells systemd that it lives. When it fails or hangs, systemd ends it and
calls the watchdog at once, which starts it through systemctl, as scripts/bot does; systemd itself
never restarts it. Stop it with scripts/bot stop: after systemctl stop the watchdog starts it again.

exit codes: 0 done, or nothing to do; 1 not done; 2 a setting or an argument is wrong"""


def main(arguments: Sequence[str] | None = None) -> int:
    options = build_parser().parse_args(arguments)
    try:
        return (SYSTEMD_COMMANDS if options.systemd else COMMANDS)[options.command]()
    except SettingsError as error:
        for problem in error.problems:
            warn(f"install_crontab: {problem}")
        return 2
    except NoCrontab as error:
        ways = "install cron, or use install --systemd (your own systemd) or scripts/caretakers run"
        warn(f"install_crontab: {error}: {ways}")
        return 1
    except (CrontabError, SystemdError, OSError) as error:
        warn(f"install_crontab: {error}")
        return 1


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/install_crontab",
        description=MANUAL,
        formatter_class=PageFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=("print", "install", "remove"), default="print"
    )
    parser.add_argument(
        "--systemd", action="store_true", help="units of your own systemd instead of the crontab"
    )
    return parser


def print_lines() -> int:
    print(compute_block(_installation()), end="")
    return 0


def install() -> int:
    installation = _installation()
    if find_units():
        raise CrontabError(f"systemd runs the jobs already: {_THIS} remove --systemd first")
    before = read_crontab()
    after = put_block(before, compute_block(installation), PROJECT_ROOT)
    _prepare(installation)
    if after == before:
        say("the crontab has these lines already: nothing changed")
    else:
        write_crontab(after)
        say(f"installed; the logs of the jobs are in {installation.log_dir}")
    if not cron_runs():
        warn(f"install_crontab: {NO_CRON}: {START_CRON}")
    return 0


def remove() -> int:
    try:
        before = read_crontab()
    except NoCrontab as error:
        say(f"{error}, so nothing of this folder is in it: nothing changed")
        return 0
    after = drop_block(before, PROJECT_ROOT)
    if after == before:
        say("the crontab has no lines of this folder: nothing changed")
        return 0
    write_crontab(after)
    say("removed; a running daemon goes on, but nothing restarts it")
    return 0


def print_units() -> int:
    for name, text in compute_units(_installation(), get_settings()).items():
        print(f"# {unit_folder() / name}\n{text}")
    return 0


def install_as_units() -> int:
    installation, settings = _installation(), get_settings()
    units = compute_units(installation, settings)
    if _is_in_crontab():
        raise SystemdError(f"the crontab has the jobs already: {_THIS} remove first")
    try:
        systemctl("show-environment")
    except SystemdError as error:
        raise SystemdError(
            f"your systemd does not answer ({error}): log in as {user_name()}, not by su or sudo."
            f" Where there is none: {_THIS} install, or scripts/caretakers run"
        ) from None
    _prepare(installation)
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    if install_units(units):
        say(f"installed in {unit_folder()}; the logs of the jobs are in {installation.log_dir}")
        say("a daemon that runs already goes on; scripts/bot restart makes it the service")
    else:
        say("systemd has these units already: nothing changed")
    if not lingers():
        warn(
            "install_crontab: your units end when you log out, and do not start at a boot:"
            f" loginctl enable-linger {user_name()} (if it is refused: with sudo)"
        )
    return 0


def remove_the_units() -> int:
    if not remove_units():
        say("systemd has no units of this folder: nothing changed")
        return 0
    say("removed; a running daemon goes on, but nothing restarts it")
    return 0


def _is_in_crontab() -> bool:
    try:
        return split_at_block(read_crontab(), PROJECT_ROOT)[2]
    except CrontabError:
        return False  # no cron here


def _prepare(installation: Installation) -> None:
    """The jobs' outputs go to the log folder. What would fail is not installed."""
    if trouble := try_as_cron(installation):
        raise CrontabError(f"the jobs would fail under cron, so nothing was installed: {trouble}")
    installation.log_dir.mkdir(parents=True, exist_ok=True)


COMMANDS = {"print": print_lines, "install": install, "remove": remove}
SYSTEMD_COMMANDS = {
    "print": print_units,
    "install": install_as_units,
    "remove": remove_the_units,
}


def _installation() -> Installation:
    settings = get_settings()
    starts_database = is_private_database(settings)
    return Installation(log_dir=settings.log_dir, starts_database=starts_database)


if __name__ == "__main__":
    sys.exit(main())
