"""This user's systemd: our units in it, by the folder that they are of.

Owns: the names of the units, their files, and the calls of systemctl. The units that exist are the
daemon's way to start (runtime/daemon_process.py); what stands in them is runtime/systemd_units.py.
"""

from __future__ import annotations

import hashlib
import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from config import PROJECT_ROOT

_LINGER = Path("/var/lib/systemd/linger")


class SystemdError(Exception):
    """systemd could not be asked, or did not do it; for a person to read."""


def unit_name(part: str, root: Path = PROJECT_ROOT) -> str:
    """Of the folder `root`: two bots of one user do not share units."""
    return f"dca-bot-{hashlib.sha256(os.fsencode(root)).hexdigest()[:8]}-{part}"


DAEMON, WATCHDOG_TIMER = unit_name("daemon.service"), unit_name("watchdog.timer")


def unit_folder() -> Path:
    return Path.home() / ".config" / "systemd" / "user"


def is_service() -> bool:
    """Whether the daemon of this folder is a unit: systemd starts it, nobody else."""
    return (unit_folder() / DAEMON).exists()


def systemctl_command(*arguments: str) -> list[str]:
    """For this user's manager, also where the shell does not know it (su, cron)."""
    # The words of its errors matter.
    environment = ["LC_ALL=C", f"XDG_RUNTIME_DIR=/run/user/{os.getuid()}"]
    return ["/usr/bin/env", *environment, "systemctl", "--user", *arguments]


def systemctl(*arguments: str) -> str:
    """What it printed.

    Raises:
        SystemdError: it failed, or there is none.
    """
    if shutil.which("systemctl") is None:
        raise SystemdError("there is no systemctl on this machine")
    done = subprocess.run(
        systemctl_command(*arguments), capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        reason = " ".join(done.stderr.split()) or f"code {done.returncode}"
        raise SystemdError(f"systemctl --user {arguments[0]}: {reason}")
    return done.stdout


def timers_run() -> bool:
    """Whether the watchdog's timer is waiting for its next minute."""
    try:
        return is_service() and systemctl("is-active", WATCHDOG_TIMER).strip() == "active"
    except SystemdError:
        return False


def user_name() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def lingers() -> bool:
    """Whether this user's units run without a login: from the boot on, and after a logout."""
    return (_LINGER / user_name()).exists()


def find_units(root: Path = PROJECT_ROOT) -> dict[str, str]:
    """The units of this folder that are installed, by name."""
    paths = sorted(unit_folder().glob(unit_name("*", root)))
    return {path.name: path.read_text("utf-8") for path in paths}


def install_units(units: Mapping[str, str]) -> bool:
    """Put them in place of what was there, and let the timers run. False: nothing had to change.

    Raises:
        SystemdError, OSError: not finished; once more finishes it.
    """
    before = find_units()
    folder = unit_folder()
    folder.mkdir(parents=True, exist_ok=True)
    _drop({name: text for name, text in before.items() if name not in units})
    for name, text in units.items():
        (folder / name).write_text(text, "utf-8")
    systemctl("daemon-reload")
    systemctl("enable", *_enabled(units))
    systemctl("start", *_timers(units))
    return before != dict(units)


def remove_units() -> bool:
    """End the timers and take the units away; what runs goes on. False: there were none.

    Raises:
        SystemdError, OSError: not finished; once more finishes it.
    """
    units = find_units()
    _drop(units)
    if units:
        systemctl("daemon-reload")
    return bool(units)


def _drop(units: Mapping[str, str]) -> None:
    if timers := _timers(units):
        systemctl("stop", *timers)
    if enabled := _enabled(units):
        systemctl("disable", *enabled)
    for name in units:
        (unit_folder() / name).unlink(missing_ok=True)


def _timers(units: Mapping[str, str]) -> list[str]:
    return [name for name in units if name.endswith(".timer")]


def _enabled(units: Mapping[str, str]) -> list[str]:
    """Those that begin by themselves: with the boot, or at their times."""
    return [name for name, text in units.items() if "[Install]" in text]
