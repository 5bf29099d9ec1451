"""The lines that cron runs for the bot, and how they get into a crontab and out of it again.

Owns: one block between two marker lines that name this folder; nothing else in a crontab is ever
touched. Assumes nothing of cron's environment: absolute paths only, and the block stands on top,
above any SHELL or PATH that is set for other lines. Sets no variable itself (MAILTO and the like
would hold for the lines below): all output goes to a file instead.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from config import PROJECT_ROOT
from runtime.daemon_process import project_python

OUTPUT_NAME = "cron.out"  # the watchdog keeps every *.out in the log folder short
NO_CRON = "no cron daemon runs on this machine"
START_CRON = "start it: service cron start"
MAX_CHARACTERS = 990  # cron's own limit for a command is about a thousand
_SCHEDULE = (
    ("* * * * *", "watchdog"),
    ("* * * * *", "order_manager"),
    ("* * * * *", "cooldown_manager"),
    ("*/5 * * * *", "consistency_checker"),
)
_BACKUP_AT = "17 3 * * *"
BACKUP_KEEP_DAYS = 14


class CrontabError(Exception):
    """The crontab could not be read or written, or not with these lines; for a person to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the lines are made of. `starts_database`: the private MariaDB is used."""

    root: Path = PROJECT_ROOT
    python: str = field(default_factory=project_python)
    log_dir: Path
    starts_database: bool = False


def cron_runs() -> bool:
    return any(
        process.info["name"] in ("cron", "crond") for process in psutil.process_iter(["name"])
    )


def compute_block(installation: Installation) -> str:
    """The block for a crontab, markers included.

    Raises:
        CrontabError: a path cannot be written into a crontab.
    """
    lines = [_begin(installation.root)]
    for when, name in _SCHEDULE:
        lines.append(f"{when} {_command(_job(installation, name), installation)}")
    lines.append(f"{_BACKUP_AT} {_command(_backup_job(installation), installation)}")
    at_boot = _command(_job(installation, "watchdog"), installation)
    if installation.starts_database:
        # It prints the DB_* lines for .env with the password: not into a file.
        database = shlex.quote(str(installation.root / "scripts" / "database"))
        start = f"{database} start >/dev/null 2>>{_output(installation)}"
        at_boot = f"{_escaped(start)}; {at_boot}"
    lines += [f"@reboot {at_boot}", _end(installation.root)]
    for line in lines:
        _check(line)
    return "".join(f"{line}\n" for line in lines)


def _job(installation: Installation, name: str) -> str:
    script = installation.root / "scripts" / f"{name}.py"
    return f"{shlex.quote(installation.python)} {shlex.quote(str(script))} --quiet"


def _backup_job(installation: Installation) -> str:
    database = f"{shlex.quote(installation.python)} -P -m cli.database"
    return f"{database} backup --keep-days {BACKUP_KEEP_DAYS} --quiet"


def _output(installation: Installation) -> str:
    return shlex.quote(str(installation.log_dir / OUTPUT_NAME))


def _command(job: str, installation: Installation) -> str:
    return _escaped(f"{job} >>{_output(installation)} 2>&1")


def _escaped(command: str) -> str:
    """Cron ends a command at a bare percent sign, whatever the shell's quotes say."""
    return command.replace("%", r"\%")


def _check(line: str) -> None:
    # How cron reads a backslash differs from cron to cron.
    if not line.isprintable() or "\\" in line.replace(r"\%", ""):
        raise CrontabError("a path has a backslash or a control character in it: move the folder")
    if len(line.encode()) > MAX_CHARACTERS:
        raise CrontabError("the folder's path is too long for a line of a crontab")


def _begin(root: Path) -> str:
    return f"# BEGIN DCA crypto bot in {root} (see scripts/install_crontab)"


def _end(root: Path) -> str:
    return f"# END DCA crypto bot in {root}"


def put_block(crontab: str, block: str, root: Path) -> str:
    """`crontab` with `block` in place of the old one, or on top.

    Raises:
        CrontabError: see `split_at_block`.
    """
    before, after, was_there = split_at_block(crontab, root)
    if not was_there:
        before, after = "", crontab
    return before + block + after


def drop_block(crontab: str, root: Path) -> str:
    """`crontab` without our block; everything else as it is.

    Raises:
        CrontabError: see `split_at_block`.
    """
    before, after, _ = split_at_block(crontab, root)
    return before + after


def split_at_block(crontab: str, root: Path) -> tuple[str, str, bool]:
    """What stands before and after our block, and whether there is one.

    Raises:
        CrontabError: only a part of the block is there, so its extent is unknown.
    """
    lines = crontab.splitlines(keepends=True)
    bare = [line.strip() for line in lines]
    begins = [number for number, line in enumerate(bare) if line == _begin(root)]
    ends = [number for number, line in enumerate(bare) if line == _end(root)]
    if not begins and not ends:
        return crontab, "", False
    if len(begins) != 1 or len(ends) != 1 or begins[0] > ends[0]:
        raise CrontabError(
            "the crontab has only a part of our block: mend the BEGIN and END lines with crontab -e"
        )
    return "".join(lines[: begins[0]]), "".join(lines[ends[0] + 1 :]), True


def read_crontab() -> str:
    """This user's crontab; empty when there is none.

    Raises:
        CrontabError: it could not be read. Never taken for an empty one: it would be overwritten.
    """
    done = _run_crontab("-l")
    if done.returncode == 0:
        return done.stdout
    if "no crontab for" in done.stderr:
        return ""
    raise CrontabError(f"cannot read the crontab: {done.stderr.strip() or 'no reason given'}")


def write_crontab(text: str) -> None:
    """Replace this user's crontab; an empty one is removed.

    Raises:
        CrontabError: cron refused it; the old one stands.
    """
    done = _run_crontab("-", text=text) if text.strip() else _run_crontab("-r")
    if done.returncode != 0:
        raise CrontabError(f"cron refused the crontab: {done.stderr.strip() or 'no reason given'}")
    if read_crontab().strip() != text.strip():
        raise CrontabError("the crontab is not what was written: check it with crontab -l")


def _run_crontab(argument: str, *, text: str = "") -> subprocess.CompletedProcess[str]:
    program = shutil.which("crontab")
    if program is None:
        raise CrontabError("there is no crontab program on this machine: install cron")
    done = subprocess.run(
        ["/usr/bin/env", "LC_ALL=C", program, argument],  # the words of its errors matter
        input=os.fsencode(text),
        capture_output=True,
        check=False,
    )
    # Not text=True: other lines may hold any bytes, and must come back as they were.
    return subprocess.CompletedProcess(
        done.args, done.returncode, os.fsdecode(done.stdout), os.fsdecode(done.stderr)
    )


def try_as_cron(installation: Installation) -> str | None:
    """Run the watchdog's dry run as cron would. None when that works, else what it said."""
    done = subprocess.run(
        [installation.python, str(installation.root / "scripts" / "watchdog.py"), "--dry-run"],
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "SHELL": "/bin/sh"},
        cwd=Path.home(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stderr.strip() or f"code {done.returncode}"
