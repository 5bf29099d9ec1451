"""What a check of the doctor finds: a level, a line, and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import partial


class Level(StrEnum):
    OK = "ok"
    WARN = "warn"  # it works, but not as it should
    FAIL = "fail"  # it does not work, or money is in danger


@dataclass(frozen=True, slots=True)
class Finding:
    """One line about `subject`. `cure`: what to do, where there is something to do."""

    level: Level
    subject: str
    text: str
    cure: str | None = None


class NotChecked(Exception):
    """A check cannot be made, for a reason that another line gives."""


ok, warn, fail = (partial(Finding, level) for level in Level)
