"""The schedule and the daemon as units of this user's systemd. Pure.

systemd never restarts the daemon by itself: when it fails, or its heartbeat stays away, systemd
ends it and calls the watchdog at once, which decides (back-off, alerts) and starts it through
systemctl. So two never pull at one daemon, and every start is told.
"""

from __future__ import annotations

from pathlib import Path

from config import Settings
from runtime.daemon_process import TERM_SECONDS
from runtime.operator_flags import STOPPED
from runtime.schedule import SCHEDULE, WATCHDOG, Installation, Job
from runtime.systemd import SystemdError, unit_name
from utils.logging_setup import OUTPUT_NAME

START_SECONDS = 90  # as the watchdog's patience
STOP_SECONDS = round(TERM_SECONDS) + 10


def compute_units(installation: Installation, settings: Settings) -> dict[str, str]:
    """The text of each unit, by its name.

    Raises:
        SystemdError: a path cannot be written into a unit.
    """
    for path in (installation.root, installation.log_dir, settings.run_dir, installation.python):
        if not str(path).isprintable() or {"\\", "="} & set(str(path)):
            text = "a path has a backslash, a = or a control character in it: move the folder"
            raise SystemdError(text)
    root, units = installation.root, {}
    units[unit_name("daemon.service", root)] = _daemon(installation, settings)
    if installation.starts_database:
        units[unit_name("database.service", root)] = _database(installation)
    for job in SCHEDULE:
        units[unit_name(f"{job.name}.service", root)] = _service(job, installation)
        units[unit_name(f"{job.name}.timer", root)] = _timer(job, installation)
    return units


def _daemon(installation: Installation, settings: Settings) -> str:
    program = [installation.python, str(installation.root / "src" / "main_app.py")]
    return f"""\
{_head(installation, "the daemon")}
{_after_database(installation)}OnFailure={unit_name("watchdog.service", installation.root)}
StartLimitIntervalSec=0
ConditionPathExists=!{_plain(settings.run_dir / STOPPED)}

[Service]
Type=notify
NotifyAccess=main
{_run(program, installation, installation.log_dir / OUTPUT_NAME)}
Restart=no
WatchdogSec={settings.heartbeat_max_age_seconds:g}
TimeoutStartSec={START_SECONDS}
TimeoutStopSec={STOP_SECONDS}
LimitCORE=0

[Install]
WantedBy=default.target
"""


def _database(installation: Installation) -> str:
    return f"""\
{_head(installation, "the private database")}

[Service]
Type=oneshot
RemainAfterExit=yes
{_run(installation.start_database, installation, installation.output, prints=False)}

[Install]
WantedBy=default.target
"""


def _service(job: Job, installation: Installation) -> str:
    # A daemon that it started by itself would be ended with it.
    kill_mode = "KillMode=process\n" if job is WATCHDOG else ""
    database = _after_database(installation) if job is WATCHDOG else ""
    return f"""\
{_head(installation, job.name)}
{database}
[Service]
Type=oneshot
{kill_mode}{_run(job.command(installation), installation, installation.output)}
"""


def _timer(job: Job, installation: Installation) -> str:
    is_daily = job.daily_at is not None
    return f"""\
{_head(installation, job.name)}

[Timer]
OnCalendar={job.calendar}
AccuracySec=1s
Persistent={"yes" if is_daily else "no"}

[Install]
WantedBy=timers.target
"""


def _head(installation: Installation, what: str) -> str:
    # The folder last: a user has several bots, and systemctl cuts lines off.
    return f"[Unit]\nDescription=DCA crypto bot: {what} ({_plain(installation.root)})"


def _after_database(installation: Installation) -> str:
    if not installation.starts_database:
        return ""
    database = unit_name("database.service", installation.root)
    return f"Wants={database}\nAfter={database}\n"


def _run(
    command: list[str], installation: Installation, output: Path, *, prints: bool = True
) -> str:
    out = f"append:{_plain(output)}"
    return "\n".join(
        [
            # systemd takes no odd name for the program itself, env takes any without a "=".
            f"ExecStart=/usr/bin/env {' '.join(map(_quoted, command))}",
            f"WorkingDirectory={_plain(installation.root)}",
            f"StandardOutput={out if prints else 'null'}",
            f"StandardError={out}",
        ]
    )


def _plain(path: Path) -> str:
    return str(path).replace("%", "%%")


def _quoted(word: str) -> str:
    """For ExecStart: systemd replaces % and $, and reads quotes much as a shell does."""
    word = word.replace("%", "%%").replace("$", "$$").replace('"', r"\"")
    return f'"{word}"'
