"""When the scripts of cron last ran and how that ended, as their records in the run folder tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from config import Settings
from runtime.script_runs import load_script_runs
from utils.formatting import span

# How often scripts/install_crontab lets each run.
PERIOD_SECONDS = {
    "watchdog": 60.0,
    "order_manager": 60.0,
    "cooldown_manager": 60.0,
    "consistency_checker": 300.0,
}
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


def load_caretaker_statuses(settings: Settings, now: datetime) -> tuple[CaretakerStatus, ...]:
    """Every script of cron, whether it ever ran or not."""
    runs = {run.script: run for run in load_script_runs(settings.run_dir)}
    looks = []
    for script in PERIOD_SECONDS:
        run = runs.get(script)
        looks.append(
            CaretakerStatus(script=script)
            if run is None
            else CaretakerStatus(
                script=script,
                age_seconds=run.age_seconds(now),
                exit_code=run.exit_code,
                reason=run.reason,
                first_run_seconds=(
                    (now - run.first_run_at).total_seconds() if run.first_run_at else None
                ),
            )
        )
    return tuple(looks)


def find_caretaker_problems(looks: tuple[CaretakerStatus, ...]) -> list[str]:
    """One line for all that never ran, one for each that is late or failed."""
    problems = []
    if never := [look.script for look in looks if _is_missing(look, looks)]:
        problems.append(f"cron has never run {', '.join(never)}: scripts/install_crontab install")
    for look in looks:
        if look.age_seconds is not None and look.is_stale:
            problems.append(
                f"{look.script} last ran {span(look.age_seconds)} ago: does cron run?"
                " (scripts/doctor)"
            )
        elif look.has_failed:
            why = look.reason or "some of its steps failed"
            problems.append(f"{look.script} failed: {why} (logs/{look.script}.log)")
    return problems


def _is_missing(look: CaretakerStatus, looks: tuple[CaretakerStatus, ...]) -> bool:
    """Whether it never ran and should have. Just installed, cron comes to the one of every five
    minutes last: until then that is nothing wrong.
    """
    others = [one.first_run_seconds for one in looks if one.first_run_seconds is not None]
    cron_seconds = max(others, default=None)
    patience_seconds = PERIOD_SECONDS[look.script] + _PATIENCE_SECONDS
    return look.age_seconds is None and (cron_seconds is None or cron_seconds > patience_seconds)
