"""The last run of each caretaker script: one small JSON file per script in the run folder.

Written at the end of every run, read by status. A run that was killed leaves the record of the one
before it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from utils.state_file import load_state, save_state

_SUFFIX = ".last_run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ScriptRunRecord:
    """How a run ended. `done` and `failed` count steps; `reason`: why it could not finish.

    `first_run_at`: when the first recorded run began (None: not known).
    """

    script: str
    started_at: datetime
    finished_at: datetime
    exit_code: int
    done: int = 0
    failed: int = 0
    reason: str | None = None
    first_run_at: datetime | None = None

    def age_seconds(self, now: datetime) -> float:
        """How long ago the run ended, by the wall clock."""
        return (now - self.finished_at).total_seconds()


def save_script_run(run_dir: Path, record: ScriptRunRecord) -> None:
    """Replace the script's record, but keep when it first ran.

    Raises:
        OSError: when the folder cannot be written.
    """
    path = run_dir / f"{record.script}{_SUFFIX}"
    before = _load(path)
    first_run_at = record.first_run_at or (before and before.first_run_at) or record.started_at
    texts = asdict(record) | {
        "started_at": record.started_at.isoformat(),
        "finished_at": record.finished_at.isoformat(),
        "first_run_at": first_run_at.isoformat(),
    }
    save_state(path, texts)


def load_script_runs(run_dir: Path) -> list[ScriptRunRecord]:
    """The last run of every script that ever ran here, by name; unreadable files count as none."""
    found = [_load(path) for path in sorted(run_dir.glob(f"[!.]*{_SUFFIX}"))]
    return [record for record in found if record is not None]


def _load(path: Path) -> ScriptRunRecord | None:
    raw = load_state(path)
    try:
        raw.setdefault("first_run_at", raw["started_at"])  # one of an older version
        for name in ("started_at", "finished_at", "first_run_at"):
            raw[name] = datetime.fromisoformat(raw[name]).astimezone(UTC)
        return ScriptRunRecord(**raw)
    except (ValueError, TypeError, KeyError):
        return None
