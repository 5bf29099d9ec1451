"""The records that caretaker scripts leave, as if cron had just run them, or long ago."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from config import Settings
from monitoring.status.caretaker_status import PERIOD_SECONDS
from runtime.script_runs import ScriptRunRecord, save_script_run


def note_runs(settings: Settings, *, age_seconds: float = 1.0, **outcome: Any) -> None:
    """Let every caretaker have run so long ago."""
    ended_at = datetime.now(UTC) - timedelta(seconds=age_seconds)
    for script in PERIOD_SECONDS:
        plain = {"exit_code": 0, **outcome}
        record = ScriptRunRecord(script=script, started_at=ended_at, finished_at=ended_at, **plain)
        save_script_run(settings.run_dir, record)
