"""`scripts/install_crontab`: prints, installs and removes the bot's lines in a user's crontab.

Owns the command line only: the lines and the crontab are runtime/crontab.py.
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
    compute_block,
    cron_runs,
    drop_block,
    put_block,
    read_crontab,
    try_as_cron,
    write_crontab,
)
from utils.private_database import is_private_database
from utils.wrapping import PageFormatter, say, warn

MANUAL = """\
  scripts/install_crontab           print the lines; change nothing
  scripts/install_crontab install   put them into your crontab, or bring them up to date
  scripts/install_crontab remove    take them out again

watchdog, order_manager and cooldown_manager run every minute, consistency_checker every five
minutes. Each night the database is backed up (scripts/database backup --help); backups of 14 days
are kept. After a reboot the watchdog runs; if .env names the private MariaDB, scripts/database
start runs first. Your other entries stay as they are. What the jobs print goes to LOG_DIR/cron.out,
beside their logs.

Cron's jobs see no environment: the settings must be in .env. Run remove before you move the folder,
and install after it.

exit codes: 0 done, or nothing to do; 1 not done; 2 a setting or an argument is wrong"""


def main(arguments: Sequence[str] | None = None) -> int:
    command = build_parser().parse_args(arguments).command
    try:
        return COMMANDS[command]()
    except SettingsError as error:
        for problem in error.problems:
            warn(f"install_crontab: {problem}")
        return 2
    except (CrontabError, OSError) as error:
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
    return parser


def print_lines() -> int:
    print(compute_block(_installation()), end="")
    return 0


def install() -> int:
    installation = _installation()
    before = read_crontab()
    after = put_block(before, compute_block(installation), PROJECT_ROOT)
    if trouble := try_as_cron(installation):
        raise CrontabError(f"the jobs would fail under cron, so nothing was installed: {trouble}")
    installation.log_dir.mkdir(parents=True, exist_ok=True)  # cron's shell opens a file in it
    if after == before:
        say("the crontab has these lines already: nothing changed")
    else:
        write_crontab(after)
        say(f"installed; the logs of the jobs are in {installation.log_dir}")
    if not cron_runs():
        warn(f"install_crontab: {NO_CRON}: {START_CRON}")
    return 0


def remove() -> int:
    before = read_crontab()
    after = drop_block(before, PROJECT_ROOT)
    if after == before:
        say("the crontab has no lines of this folder: nothing changed")
        return 0
    write_crontab(after)
    say("removed; a running daemon goes on, but nothing restarts it")
    return 0


COMMANDS = {"print": print_lines, "install": install, "remove": remove}


def _installation() -> Installation:
    settings = get_settings()
    starts_database = is_private_database(settings)
    return Installation(log_dir=settings.log_dir, starts_database=starts_database)


if __name__ == "__main__":
    sys.exit(main())
