"""When cron last ran each script and how that ended, from the records in the run folder."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from config import Settings
from runtime.schedule import CARETAKERS, WATCHDOG
from runtime.script_runs import load_script_runs
from utils.formatting import span

PERIOD_SECONDS = {job.name: 60.0 * job.every_minutes for job in CARETAKERS}
_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CaretakerStatus:
    """The last run of one script, and how long ago its first one was. None: it never ran here."""

    script: str
    age_seconds: float | None = None
    exit_code: int | None = None
    reason: str | None = None
    first_run_seconds: float | None = None

    @property
    def stale_after_seconds(self) -> float:
        return 3 * PERIOD_SECONDS[self.script] + _PATIENCE_SECONDS

    @property
    def is_stale(self) -> bool:
        """Whether cron should have run it since."""
        return self.age_seconds is None or self.age_seconds > self.stale_after_seconds

    @property
    def has_failed(self) -> bool:
        return self.exit_code not in (None, 0)

    @property
    def why_failed(self) -> str:
        return self.reason or "some of its steps failed"


def load_caretaker_statuses(settings: Settings, now: datetime) -> tuple[CaretakerStatus, ...]:
    """Every script of cron, whether it ever ran or not."""
    statuses = {script: CaretakerStatus(script=script) for script in PERIOD_SECONDS}
    for run in load_script_runs(settings.run_dir):
        if run.script in statuses:
            first_at = run.first_run_at
            statuses[run.script] = CaretakerStatus(
                script=run.script,
                age_seconds=run.age_seconds(now),
                exit_code=run.exit_code,
                reason=run.reason,
                first_run_seconds=(now - first_at).total_seconds() if first_at else None,
            )
    return tuple(statuses.values())


def is_watched(settings: Settings) -> bool:
    """Whether something, be it no cron that can be seen from here, runs the watchdog."""
    ages = {
        one.script: one.age_seconds for one in load_caretaker_statuses(settings, datetime.now(UTC))
    }
    age_seconds = ages[WATCHDOG.name]
    return age_seconds is not None and age_seconds < 2 * PERIOD_SECONDS[WATCHDOG.name]


def find_caretaker_problems(caretakers: tuple[CaretakerStatus, ...]) -> list[str]:
    """One line for each cause: all that never ran, all that are late, all that failed alike."""
    problems = []
    if never := [one.script for one in caretakers if is_missing(one, caretakers)]:
        problems.append(f"cron has never run {', '.join(never)}: scripts/install_crontab install")
    late = [one for one in caretakers if one.age_seconds is not None and one.is_stale]
    if late:
        ago = span(min(one.age_seconds or 0.0 for one in late))
        scripts = ", ".join(one.script for one in late)
        problems.append(f"{scripts} last ran {ago} ago: does cron run? (scripts/doctor)")
    failed: dict[str, list[str]] = {}
    for one in caretakers:
        if one.has_failed and one not in late:
            failed.setdefault(one.why_failed, []).append(one.script)
    for why, names in failed.items():
        problems.append(f"{', '.join(names)} failed: {why} (logs/{names[0]}.log)")
    return problems


def is_missing(one: CaretakerStatus, caretakers: tuple[CaretakerStatus, ...]) -> bool:
    """Whether it never ran and should have. After an installation, cron runs the script of every
    five minutes last: until then nothing is wrong.
    """
    first_runs = [other.first_run_seconds for other in caretakers]
    cron_seconds = max((one for one in first_runs if one is not None), default=math.inf)
    patience_seconds = PERIOD_SECONDS[one.script] + _PATIENCE_SECONDS
    return one.age_seconds is None and cron_seconds > patience_seconds
