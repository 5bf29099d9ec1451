"""The schedule as lines of a crontab, and how they get into one and out of it again.

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
from pathlib import Path

import psutil

from runtime.schedule import SCHEDULE, WATCHDOG, Job
from runtime.schedule import Installation as Installation

NO_CRON = "no cron daemon runs on this machine"
START_CRON = "start it: service cron start"
MAX_CHARACTERS = 990  # cron's own limit for a command is about a thousand


class CrontabError(Exception):
    """The crontab could not be read or written, or not with these lines; for a person to read."""


class NoCrontab(CrontabError):
    """This machine has no cron."""


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
    lines += [f"{job.cron} {_command(job, installation)}" for job in SCHEDULE]
    at_boot = _command(WATCHDOG, installation)
    if installation.starts_database:
        start = f"{shlex.join(installation.start_database)} >/dev/null 2>>{_output(installation)}"
        at_boot = f"{_escaped(start)}; {at_boot}"
    lines += [f"@reboot {at_boot}", _end(installation.root)]
    for line in lines:
        _check(line)
    return "".join(f"{line}\n" for line in lines)


def _output(installation: Installation) -> str:
    return shlex.quote(str(installation.output))


def _command(job: Job, installation: Installation) -> str:
    command = shlex.join(job.command(installation))
    return _escaped(f"{command} >>{_output(installation)} 2>&1")


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
        raise NoCrontab("there is no crontab program on this machine")
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
