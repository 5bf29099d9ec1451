"""What a check of the doctor finds: a level, a line, and the cure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


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


def ok(subject: str, text: str) -> Finding:
    return Finding(Level.OK, subject, text)


def warn(subject: str, text: str, cure: str | None = None) -> Finding:
    return Finding(Level.WARN, subject, text, cure)


def fail(subject: str, text: str, cure: str | None = None) -> Finding:
    return Finding(Level.FAIL, subject, text, cure)
