"""When each caretaker runs, and by which command: the one schedule of cron, of systemd's timers and
of `scripts/caretakers run`. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path

from config import PROJECT_ROOT
from runtime.daemon_process import project_python

OUTPUT_NAME = "cron.out"  # the watchdog keeps every *.out in the log folder short
BACKUP_KEEP_DAYS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """What the commands are made of. `starts_database`: the private MariaDB is used."""

    root: Path = PROJECT_ROOT
    python: str = field(default_factory=project_python)
    log_dir: Path
    starts_database: bool = False

    @property
    def output(self) -> Path:
        """Where all that the jobs print goes: with --quiet that is what went wrong."""
        return self.log_dir / OUTPUT_NAME

    @property
    def start_database(self) -> list[str]:
        """For after a boot. It prints the DB_* lines with the password: not into a file."""
        return [str(self.root / "scripts" / "database"), "start"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One line of the schedule: every so many minutes (a divisor of 60), or once a day at
    `daily_at`, by the wall clock of this machine.
    """

    name: str
    every_minutes: int = 1
    daily_at: time | None = None

    @property
    def cron(self) -> str:
        if self.daily_at is not None:
            return f"{self.daily_at.minute} {self.daily_at.hour} * * *"
        return f"{'*' if self.every_minutes == 1 else f'*/{self.every_minutes}'} * * * *"

    @property
    def calendar(self) -> str:
        """The same for systemd (systemd.time(7))."""
        if self.daily_at is not None:
            return f"*-*-* {self.daily_at:%H:%M}:00"
        return f"*-*-* *:{'*' if self.every_minutes == 1 else f'0/{self.every_minutes}'}:00"

    def is_due(self, before: datetime, now: datetime) -> bool:
        """Whether a moment of it came after `before`; both in the zone of this machine. A clock
        that is set back makes what is due every few minutes due.
        """
        if self.daily_at is None:
            return self._slot(before) != self._slot(now)
        moment = datetime.combine(now.date(), self.daily_at, now.tzinfo)
        return before < moment <= now

    def _slot(self, moment: datetime) -> datetime:
        minutes = moment.minute % self.every_minutes
        return moment.replace(second=0, microsecond=0) - timedelta(minutes=minutes)

    def command(self, installation: Installation) -> list[str]:
        if self is BACKUP:
            keep = ["--keep-days", str(BACKUP_KEEP_DAYS), "--quiet"]
            return [installation.python, "-P", "-m", "cli.database", "backup", *keep]
        script = installation.root / "scripts" / f"{self.name}.py"
        return [installation.python, str(script), "--quiet"]


WATCHDOG = Job(name="watchdog")
BACKUP = Job(name="backup", daily_at=time(3, 17))
CARETAKERS = (
    WATCHDOG,
    Job(name="order_manager"),
    Job(name="cooldown_manager"),
    Job(name="consistency_checker", every_minutes=5),
)
SCHEDULE = (*CARETAKERS, BACKUP)
